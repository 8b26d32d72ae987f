/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "spec"

#include "spec-json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "spec-text.h"

enum
{
  WARNINGS_MAX = 100,
  PATH_SIZE = 256
};

struct reader
{
  struct rcvmi_spec *spec;
  const char *name;
  rcvm_error **err;
  char path[PATH_SIZE]; /* "process.rlimits[2].type": where the walk is */
};

int
rcvmi_spec_warn (struct rcvmi_spec *spec, rcvm_error **err, const char *fmt, ...)
{
  size_t n = rcvmi_strv_length (spec->warnings);
  char buf[512];
  va_list ap;

  if (n > WARNINGS_MAX)
    return 0;
  va_start (ap, fmt);
  vsnprintf (buf, sizeof buf, fmt, ap);
  va_end (ap);
  if (rcvmi_strv_append (&spec->warnings, n < WARNINGS_MAX ? buf : "further warnings are left out")
      < 0)
    return rcvmi_fail_nomem (err);
  return 0;
}

/* Appends a step to the path; keys are the file's, so they are made fit for a message.  Returns
   what to cut the path back to. */
static size_t
push (struct reader *r, const char *fmt, ...)
{
  size_t len = strlen (r->path);
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (r->path + len, sizeof r->path - len, fmt, ap);
  va_end (ap);
  for (char *c = r->path + len; *c; c++)
    if ((unsigned char) *c < 0x20 || *c == 0x7f)
      *c = '?';
  return len;
}

static size_t
push_key (struct reader *r, const char *key)
{
  return push (r, r->path[0] ? ".%.80s" : "%.80s", key);
}

static const char *
type_name (struct json_object *o)
{
  switch (json_object_get_type (o))
    {
    case json_type_null:
      return "null";
    case json_type_boolean:
      return "a boolean";
    case json_type_double:
      return "a number with a fraction or exponent";
    case json_type_int:
      return "a number";
    case json_type_object:
      return "an object";
    case json_type_array:
      return "an array";
    case json_type_string:
      return "a string";
    }
  return "something else";
}

static int
wrong_type (struct reader *r, struct json_object *o, const char *wanted)
{
  return rcvmi_fail (r->err, RCVM_E_SPEC, 0, "%s: '%s' must be %s, not %s", r->name, r->path,
                     wanted,
                     type_name (o));
}

static int
no_memory (struct reader *r)
{
  return rcvmi_fail_nomem (r->err);
}

/* Does it ask for anything?  Go's encoders write out zero values, which mean the same as nothing.
   */
static bool
is_significant (struct json_object *o)
{
  switch (json_object_get_type (o))
    {
    case json_type_boolean:
      return json_object_get_boolean (o);
    case json_type_int:
      return json_object_get_int64 (o) > 0 || json_object_get_int64 (o) < -1;
    case json_type_string:
      return json_object_get_string_len (o) > 0;
    case json_type_array:
      return json_object_array_length (o) > 0;
    case json_type_object:
      {
        json_object_object_foreach (o, key, value)
          {
            (void) key;
            if (is_significant (value))
              return true;
          }
        return false;
      }
    case json_type_double:
      return true;
    case json_type_null:
      return false;
    }
  return true;
}

static int
read_string (struct reader *r, struct json_object *o, char **out)
{
  if (!json_object_is_type (o, json_type_string))
    return wrong_type (r, o, "a string");
  *out = rcvmi_arena_strdup (&r->spec->arena, json_object_get_string (o));
  return *out ? 0 : no_memory (r);
}

static int
read_strings (struct reader *r, struct json_object *o, char ***out)
{
  size_t n;

  if (!json_object_is_type (o, json_type_array))
    return wrong_type (r, o, "an array of strings");
  n = json_object_array_length (o);
  if (n == 0)
    return 0;
  *out = rcvmi_arena_alloc (&r->spec->arena, n + 1, sizeof **out);
  if (!*out)
    return no_memory (r);
  for (size_t i = 0; i < n; i++)
    {
      size_t mark = push (r, "[%zu]", i);
      int rc = read_string (r, json_object_array_get_idx (o, i), &(*out)[i]);

      if (rc < 0)
        return rc;
      r->path[mark] = 0;
    }
  return 0;
}

static int
read_int (struct reader *r, struct json_object *o, int64_t min, uint64_t max,
          struct rcvmi_spec_int *out)
{
  if (!json_object_is_type (o, json_type_int))
    return wrong_type (r, o, "a whole number");
  out->set = true;
  out->value = json_object_get_int64 (o);
  /* json-c's getters saturate: the unsigned one tells a number above INT64_MAX. */
  if (out->value < min || (out->value > 0 && json_object_get_uint64 (o) > max))
    return rcvmi_fail (r->err, RCVM_E_SPEC, 0,
                       "%s: '%s' is %s and must be between %" PRId64 " and %" PRIu64, r->name,
                       r->path,
                       json_object_get_string (o), min, max);
  return 0;
}

static int
read_uint (struct reader *r, struct json_object *o, uint64_t max, struct rcvmi_spec_uint *out)
{
  if (!json_object_is_type (o, json_type_int))
    return wrong_type (r, o, "a whole number");
  out->set = true;
  out->value = json_object_get_uint64 (o);
  if (json_object_get_int64 (o) < 0 || out->value > max)
    return rcvmi_fail (r->err, RCVM_E_SPEC, 0, "%s: '%s' is %s and must be between 0 and %" PRIu64,
                       r->name, r->path, json_object_get_string (o), max);
  return 0;
}

static int read_object (struct reader *r, struct json_object *o,
                        const struct rcvmi_json_schema *schema, char *base);

static int
read_uints (struct reader *r, struct json_object *o, const struct rcvmi_json_field *f, char *base)
{
  uint64_t *items;
  size_t n;

  if (!json_object_is_type (o, json_type_array))
    return wrong_type (r, o, "an array of numbers");
  n = json_object_array_length (o);
  items = rcvmi_arena_alloc (&r->spec->arena, n ? n : 1, sizeof *items);
  if (!items)
    return no_memory (r);
  for (size_t i = 0; i < n; i++)
    {
      size_t mark = push (r, "[%zu]", i);
      struct rcvmi_spec_uint number;
      int rc = read_uint (r, json_object_array_get_idx (o, i), f->max, &number);

      if (rc < 0)
        return rc;
      items[i] = number.value;
      r->path[mark] = 0;
    }
  memcpy (base + f->offset, &items, sizeof items);
  memcpy (base + f->count_offset, &n, sizeof n);
  return 0;
}

static int
read_list (struct reader *r, struct json_object *o, const struct rcvmi_json_field *f, char *base)
{
  char *items;
  size_t n;

  if (!json_object_is_type (o, json_type_array))
    return wrong_type (r, o, "an array of objects");
  n = json_object_array_length (o);
  items = rcvmi_arena_alloc (&r->spec->arena, n ? n : 1, f->sub->size);
  if (!items)
    return no_memory (r);
  for (size_t i = 0; i < n; i++)
    {
      size_t mark = push (r, "[%zu]", i);
      int rc = read_object (r, json_object_array_get_idx (o, i), f->sub, items + i * f->sub->size);

      if (rc < 0)
        return rc;
      r->path[mark] = 0;
    }
  if (f->offset != RCVMI_JSON_NOWHERE)
    {
      memcpy (base + f->offset, &items, sizeof items);
      memcpy (base + f->count_offset, &n, sizeof n);
    }
  return 0;
}

/* An object whose keys are data. */
static int
read_map (struct reader *r, struct json_object *o, const struct rcvmi_json_field *f, char *base)
{
  size_t size = f->kind == RCVMI_JSON_STR_MAP ? sizeof (struct rcvmi_spec_pair) : f->sub->size;
  size_t n = 0;
  char *items;

  if (!json_object_is_type (o, json_type_object))
    return wrong_type (r, o, "an object");
  items = rcvmi_arena_alloc (&r->spec->arena, (size_t) json_object_object_length (o) + 1, size);
  if (!items)
    return no_memory (r);
  json_object_object_foreach (o, key, value)
    {
      char *item = items + n++ * size;
      char *name = rcvmi_arena_strdup (&r->spec->arena, key);
      size_t mark = push_key (r, key);
      int rc;

      if (!name)
        return no_memory (r);
      if (!*key)
        return rcvmi_fail (r->err, RCVM_E_SPEC, 0, "%s: '%s' has a property without a name",
                           r->name,
                           r->path);
      if (f->kind == RCVMI_JSON_STR_MAP)
        rc = read_string (r, value, &((struct rcvmi_spec_pair *) (void *) item)->value);
      else
        rc = read_object (r, value, f->sub, item);
      if (rc < 0)
        return rc;
      memcpy (item, &name, sizeof name);
      r->path[mark] = 0;
    }
  if (f->offset != RCVMI_JSON_NOWHERE)
    {
      memcpy (base + f->offset, &items, sizeof items);
      memcpy (base + f->count_offset, &n, sizeof n);
    }
  return 0;
}

static int
read_field (struct reader *r, struct json_object *o, const struct rcvmi_json_field *f, char *base)
{
  union
  {
    char *str;
    char **strv;
    bool boolean;
    struct rcvmi_spec_int number;
    struct rcvmi_spec_uint unumber;
    char *object;
  } v = { 0 };
  size_t size = 0;
  int rc = 0;

  switch (f->kind)
    {
    case RCVMI_JSON_STR:
      rc = read_string (r, o, &v.str);
      size = sizeof v.str;
      break;
    case RCVMI_JSON_STRV:
      rc = read_strings (r, o, &v.strv);
      size = sizeof v.strv;
      break;
    case RCVMI_JSON_BOOL:
      if (!json_object_is_type (o, json_type_boolean))
        return wrong_type (r, o, "true or false");
      v.boolean = json_object_get_boolean (o);
      size = sizeof v.boolean;
      break;
    case RCVMI_JSON_INT:
      rc = read_int (r, o, f->min, f->max, &v.number);
      size = sizeof v.number;
      break;
    case RCVMI_JSON_UINT:
      rc = read_uint (r, o, f->max, &v.unumber);
      size = sizeof v.unumber;
      break;
    case RCVMI_JSON_OBJECT:
      v.object = rcvmi_arena_alloc (&r->spec->arena, 1, f->sub->size ? f->sub->size : 1);
      if (!v.object)
        return no_memory (r);
      rc = read_object (r, o, f->sub, v.object);
      size = sizeof v.object;
      break;
    case RCVMI_JSON_UINTV:
      return read_uints (r, o, f, base);
    case RCVMI_JSON_LIST:
      return read_list (r, o, f, base);
    case RCVMI_JSON_STR_MAP:
    case RCVMI_JSON_OBJ_MAP:
      return read_map (r, o, f, base);
    case RCVMI_JSON_ANY:
      return 0;
    }
  if (rc == 0 && f->offset != RCVMI_JSON_NOWHERE)
    memcpy (base + f->offset, &v, size);
  return rc;
}

static int
judge_field (struct reader *r, struct json_object *o, const struct rcvmi_json_field *f)
{
  if (f->use == RCVMI_JSON_REFUSE && is_significant (o))
    return rcvmi_fail (r->err, RCVM_E_UNSUPPORTED, 0, "%s: '%s' cannot be honoured: %s", r->name,
                       r->path, f->why);
  if (f->use == RCVMI_JSON_WARN && is_significant (o))
    return rcvmi_spec_warn (r->spec, r->err, "'%s' has no effect: %s", r->path, f->why);
  return 0;
}

static int
read_object (struct reader *r, struct json_object *o, const struct rcvmi_json_schema *schema,
             char *base)
{
  if (!json_object_is_type (o, json_type_object))
    return wrong_type (r, o, "an object");
  for (const struct rcvmi_json_field *f = schema->fields; f->name; f++)
    {
      struct json_object *value = NULL;
      size_t mark = push_key (r, f->name);
      int rc;

      json_object_object_get_ex (o, f->name, &value);
      if (!value)
        {
          if (f->required)
            return rcvmi_fail (r->err, RCVM_E_SPEC, 0, "%s: '%s' is missing", r->name, r->path);
          r->path[mark] = 0;
          continue;
        }
      rc = read_field (r, value, f, base);
      if (rc == 0)
        rc = judge_field (r, value, f);
      if (rc < 0)
        return rc;
      r->path[mark] = 0;
    }
  json_object_object_foreach (o, key, unknown)
    {
      const struct rcvmi_json_field *f = schema->fields;
      size_t mark;
      int rc;

      (void) unknown;
      while (f->name && strcmp (f->name, key) != 0)
        f++;
      if (f->name)
        continue;
      mark = push_key (r, key);
      rc = rcvmi_spec_warn (r->spec, r->err,
                            "'%s' is no property of the OCI runtime spec and is ignored",
                            r->path);
      if (rc < 0)
        return rc;
      r->path[mark] = 0;
    }
  return 0;
}

int
rcvmi_json_read (struct rcvmi_spec *spec, const char *name, const char *json, size_t len,
                 const struct rcvmi_json_schema *schema, void *out, rcvm_error **err)
{
  struct reader r = { .spec = spec, .name = name, .err = err };
  struct json_object *o = rcvmi_json_parse (name, json, len, err);
  int rc;

  if (!o)
    return -1;
  rc = read_object (&r, o, schema, out);
  json_object_put (o);
  return rc;
}
