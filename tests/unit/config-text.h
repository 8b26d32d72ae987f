/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* config.json texts for tests, and a look into the records that come of them. */
#ifndef RCVM_TESTS_CONFIG_TEXT_H
#define RCVM_TESTS_CONFIG_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <runcvm/error.h>

#include "tlv.h"

/* Tests write ' for ". */
static inline char *
quotes (char *s)
{
  assert_non_null (s);
  for (char *c = s; *c; c++)
    if (*c == '\'')
      *c = '"';
  return s;
}

static inline char *
text (const char *s)
{
  return quotes (strdup (s));
}

/* A small config.json that is fine, with additions to its top, process and linux objects: each NULL
   or like "'hostname':'x'". */
static inline char *
config_text (const char *top, const char *process, const char *lx)
{
  char *s;

  assert_true (asprintf (&s,
                         "{'ociVersion':'1.2.0','root':{'path':'/srv/root'},"
                         "'process':{'args':['sh'],'cwd':'/'%s%s},"
                         "'linux':{'namespaces':[{'type':'network'},{'type':'uts'}]%s%s}%s%s}",
                         process ? "," : "", process ? process : "", lx ? "," : "", lx ? lx : "",
                         top ? "," : "", top ? top : "")
               > 0);
  return quotes (s);
}

static inline void
assert_error (rcvm_error **err, int code, const char *stage, const char *needle)
{
  if (!*err)
    fail_msg ("no error, where one with '%s' was due", needle);
  if (rcvm_error_get_code (*err) != code || strcmp (rcvm_error_get_stage (*err), stage) != 0
      || !strstr (rcvm_error_get_message (*err), needle))
    fail_msg ("%s in '%s': \"%s\", where %s in '%s' with '%s' was due",
              rcvm_code_name (rcvm_error_get_code (*err)), rcvm_error_get_stage (*err),
              rcvm_error_get_message (*err), rcvm_code_name (code), stage, needle);
  rcvm_error_free (*err);
  *err = NULL;
}

static inline void
assert_no_error (rcvm_error *err)
{
  if (err)
    fail_msg ("%s in '%s': %s", rcvm_code_name (rcvm_error_get_code (err)),
              rcvm_error_get_stage (err), rcvm_error_get_message (err));
}

static inline size_t
count_warnings (char *const *warnings, const char *needle)
{
  size_t n = 0;

  for (; warnings && *warnings; warnings++)
    n += strstr (*warnings, needle) != NULL;
  return n;
}

/* The n-th field of that tag, or false. */
static inline bool
find_field (const void *data, size_t len, uint16_t tag, size_t n, struct tlv_field *f)
{
  struct tlv_reader r;

  if (len == 0)
    return false;
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, f))
    if (f->tag == tag && n-- == 0)
      return true;
  assert_false (r.bad);
  return false;
}

static inline const char *
get_str (const void *data, size_t len, uint16_t tag, size_t n)
{
  struct tlv_reader r;
  struct tlv_field f;

  if (!find_field (data, len, tag, n, &f))
    return NULL;
  tlv_reader_init (&r, data, len);
  return tlv_get_str (&r, &f);
}

/* -1 where there is none. */
static inline int64_t
get_number (const void *data, size_t len, uint16_t tag, size_t n)
{
  struct tlv_reader r;
  struct tlv_field f;

  if (!find_field (data, len, tag, n, &f))
    return -1;
  tlv_reader_init (&r, data, len);
  return f.len == 4 ? (int64_t) tlv_get_u32 (&r, &f) : (int64_t) tlv_get_u64 (&r, &f);
}

static inline size_t
count_fields (const void *data, size_t len, uint16_t tag)
{
  struct tlv_field f;
  size_t n = 0;

  while (find_field (data, len, tag, n, &f))
    n++;
  return n;
}

/* A file of the source tree; free it. */
static inline char *
read_source_file (const char *name)
{
  char *text = NULL;
  size_t len = 0;
  char path[4096];
  FILE *f;

  snprintf (path, sizeof path, TOP_SRCDIR "/%s", name);
  f = fopen (path, "re");
  if (!f)
    fail_msg ("cannot open %s", path);
  assert_true (getdelim (&text, &len, 0, f) > 0);
  fclose (f);
  return text;
}

#endif
