/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From JSON text to structs, by tables.  A schema says for each property of an object what its
 * type is, where it goes and what a VM makes of it; the walk over the tables then does all of the
 * checking, so that every message has the same form and no property can be forgotten.
 */
#ifndef RCVM_LIB_SPEC_JSON_H
#define RCVM_LIB_SPEC_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "spec-types.h"

enum rcvmi_json_kind
{
  RCVMI_JSON_STR,      /* char * */
  RCVMI_JSON_STRV,     /* char **, NULL-terminated; NULL if empty */
  RCVMI_JSON_BOOL,     /* bool */
  RCVMI_JSON_INT,      /* struct rcvmi_spec_int, in [min, max] */
  RCVMI_JSON_UINT,     /* struct rcvmi_spec_uint, up to max */
  RCVMI_JSON_UINTV,    /* uint64_t * and its count */
  RCVMI_JSON_OBJECT,   /* a pointer to sub's struct */
  RCVMI_JSON_LIST,     /* an array of sub's structs and its count */
  RCVMI_JSON_STR_MAP,  /* an array of struct rcvmi_spec_pair and its count */
  RCVMI_JSON_OBJ_MAP,  /* as LIST, from an object: the first member, a char *, takes the key */
  RCVMI_JSON_ANY       /* looked at by nobody */
};

/* What a VM makes of a property that holds something: not "", 0, -1, false, [] or {}. */
enum rcvmi_json_use
{
  RCVMI_JSON_USED,
  RCVMI_JSON_QUIET,  /* no effect, and none is missed; `why` is for the reader of the table */
  RCVMI_JSON_WARN,   /* no effect: "PATH has no effect: WHY" */
  RCVMI_JSON_REFUSE  /* RCVM_E_UNSUPPORTED: "PATH cannot be honoured: WHY" */
};

/* The offset of a property that is checked and not kept. */
#define RCVMI_JSON_NOWHERE SIZE_MAX

struct rcvmi_json_schema;

struct rcvmi_json_field
{
  const char *name;
  enum rcvmi_json_kind kind;
  enum rcvmi_json_use use;
  bool required;
  size_t offset;
  size_t count_offset;
  const struct rcvmi_json_schema *sub;
  int64_t min;
  uint64_t max;
  const char *why;
};

struct rcvmi_json_schema
{
  size_t size;
  const struct rcvmi_json_field *fields; /* ended by a NULL name */
};

extern const struct rcvmi_json_schema rcvmi_spec_schema;
extern const struct rcvmi_json_schema rcvmi_spec_process_schema;
extern const struct rcvmi_json_schema rcvmi_spec_hooks_schema;
extern const struct rcvmi_json_schema rcvmi_spec_resources_schema;

/* Reads `json`, called `name` in messages, into `out`, a zeroed struct of `schema`; memory and
   warnings are those of `spec`. */
int rcvmi_json_read (struct rcvmi_spec *spec, const char *name, const char *json, size_t len,
                     const struct rcvmi_json_schema *schema, void *out, rcvm_error **err);

#endif
