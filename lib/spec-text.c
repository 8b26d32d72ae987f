/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json-c accepts more than JSON, and loses some of it: of two members with one name the last wins,
 * a number that does not fit becomes the largest that does, and a key ends at a NUL.  A
 * config.json that two readers may understand differently is refused, so the text is scanned once
 * more after json-c has found it well-formed.
 */
#include "config.h"

#define RCVMI_STAGE "spec"

#include "spec-text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct scan
{
  const char *name;
  const char *json;
  size_t len;
  size_t pos;
  size_t members;
};

static size_t
line_of (const char *json, size_t pos)
{
  size_t line = 1;

  for (size_t i = 0; i < pos; i++)
    if (json[i] == '\n')
      line++;
  return line;
}

static int
fail_at (const struct scan *s, size_t pos, rcvm_error **err, const char *what)
{
  return rcvmi_fail (err, RCVM_E_SPEC, 0, "%s: %s in line %zu (byte %zu)", s->name, what,
                     line_of (s->json, pos), pos);
}

/* From the opening quote to behind the closing one. */
static int
scan_string (struct scan *s, rcvm_error **err)
{
  size_t start = s->pos++;

  while (s->pos < s->len && s->json[s->pos] != '"')
    {
      if ((unsigned char) s->json[s->pos] < 0x20)
        return fail_at (s, s->pos, err, "a control character inside a string");
      if (s->json[s->pos] == '\\')
        {
          if (s->len - s->pos >= 6 && memcmp (s->json + s->pos, "\\u0000", 6) == 0)
            return fail_at (s, s->pos, err, "a NUL character inside a string");
          s->pos++;
        }
      s->pos++;
    }
  if (s->pos >= s->len)
    return fail_at (s, start, err, "a string without an end");
  s->pos++;
  return 0;
}

static int
scan_number (struct scan *s, rcvm_error **err)
{
  size_t n = 0, start = s->pos;
  char text[32];

  while (s->pos + n < s->len && strchr ("+-.eE0123456789", s->json[s->pos + n])
         && s->json[s->pos + n])
    n++;
  s->pos += n;
  if (memchr (s->json + start, '.', n) || memchr (s->json + start, 'e', n)
      || memchr (s->json + start, 'E', n))
    return 0; /* no property of the spec is one: refused by its type */
  if (n >= sizeof text)
    return fail_at (s, start, err, "a number too large for 64 bits");
  memcpy (text, s->json + start, n);
  text[n] = 0;
  errno = 0;
  if (text[0] == '-')
    strtoll (text, NULL, 10);
  else
    strtoull (text, NULL, 10);
  if (errno == ERANGE)
    return fail_at (s, start, err, "a number too large for 64 bits");
  return 0;
}

static int
scan_text (struct scan *s, rcvm_error **err)
{
  int rc = 0;

  while (rc == 0 && s->pos < s->len)
    switch (s->json[s->pos])
      {
      case '"':
        rc = scan_string (s, err);
        break;
      case '\'':
        return fail_at (s, s->pos, err, "a string in single quotes");
      case 'N':
      case 'I':
        return fail_at (s, s->pos, err, "a number that is not finite");
      case '-':
        if (s->pos + 1 < s->len && s->json[s->pos + 1] == 'I')
          return fail_at (s, s->pos, err, "a number that is not finite");
        /* fall through */
      case '0' ... '9':
        rc = scan_number (s, err);
        break;
      case ':':
        s->members++;
        /* fall through */
      default:
        s->pos++;
      }
  return rc;
}

/* Of the tree.  The depth is bounded by the parser. */
static size_t
count_members (struct json_object *o)
{
  size_t n = 0;

  if (json_object_is_type (o, json_type_object))
    {
      json_object_object_foreach (o, key, value)
        {
          (void) key;
          n += 1 + count_members (value);
        }
    }
  else if (json_object_is_type (o, json_type_array))
    for (size_t i = 0; i < json_object_array_length (o); i++)
      n += count_members (json_object_array_get_idx (o, i));
  return n;
}

/* The text has more members than the tree: finds the first one that is there twice, to name it. */
static int
fail_duplicate (struct scan *s, rcvm_error **err)
{
  struct json_object *seen[RCVMI_JSON_DEPTH_MAX + 1] = { NULL };
  size_t depth = 0, start = 0, end = 0;
  int rc = 0;

  for (s->pos = 0; rc == 0 && s->pos < s->len;)
    {
      char c = s->json[s->pos];

      if (c == '"')
        {
          start = s->pos + 1;
          rc = scan_string (s, err);
          end = s->pos - 1;
          continue;
        }
      s->pos++;
      if ((c == '{' || c == '[') && depth < RCVMI_JSON_DEPTH_MAX)
        seen[++depth] = c == '{' ? json_object_new_object () : NULL;
      else if ((c == '}' || c == ']') && depth > 0)
        json_object_put (seen[depth--]);
      else if (c == ':' && seen[depth])
        {
          char *key = strndup (s->json + start, end - start);

          if (!key)
            rc = rcvmi_fail_nomem (err);
          else if (json_object_object_get_ex (seen[depth], key, NULL))
            rc = rcvmi_fail (err, RCVM_E_SPEC, 0,
                             "%s: the property '%.100s' is there twice, again in line %zu (byte "
                             "%zu)",
                             s->name, key, line_of (s->json, start), start);
          else
            json_object_object_add (seen[depth], key, NULL);
          free (key);
        }
    }
  while (depth > 0)
    json_object_put (seen[depth--]);
  if (rc == 0)
    rc = rcvmi_fail (err, RCVM_E_SPEC, 0, "%s has an object with two properties of one name",
                     s->name);
  return rc;
}

static int
fail_parse (const struct scan *s, struct json_tokener *tok, rcvm_error **err)
{
  enum json_tokener_error what = json_tokener_get_error (tok);
  size_t pos = json_tokener_get_parse_end (tok);

  if (pos > s->len)
    pos = s->len;
  if (what == json_tokener_continue || what == json_tokener_error_parse_eof)
    return rcvmi_fail (err, RCVM_E_SPEC, 0,
                       "%s is cut short: it ends inside a value in line %zu (byte %zu)", s->name,
                       line_of (s->json, s->len), s->len);
  if (what == json_tokener_error_depth)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "%s is nested more than %d levels deep in line %zu",
                       s->name, RCVMI_JSON_DEPTH_MAX, line_of (s->json, pos));
  return rcvmi_fail (err, RCVM_E_SPEC, 0, "%s is not JSON: %s in line %zu (byte %zu)", s->name,
                     json_tokener_error_desc (what), line_of (s->json, pos), pos);
}

struct json_object *
rcvmi_json_parse (const char *name, const char *json, size_t len, rcvm_error **err)
{
  struct scan s = { .name = name, .json = json, .len = len };
  struct json_tokener *tok;
  struct json_object *o;

  if (len > RCVMI_JSON_TEXT_MAX)
    {
      rcvmi_fail (err, RCVM_E_SPEC, 0, "%s is larger than %d MiB", name,
                  RCVMI_JSON_TEXT_MAX / (1024 * 1024));
      return NULL;
    }
  if (memchr (json, 0, len))
    {
      fail_at (&s, (size_t) ((const char *) memchr (json, 0, len) - json), err, "a NUL byte");
      return NULL;
    }
  tok = json_tokener_new_ex (RCVMI_JSON_DEPTH_MAX);
  if (!tok)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  json_tokener_set_flags (tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
  o = json_tokener_parse_ex (tok, json, (int) len);
  if (json_tokener_get_error (tok) != json_tokener_success)
    {
      fail_parse (&s, tok, err);
      goto fail;
    }
  if (!json_object_is_type (o, json_type_object))
    {
      rcvmi_fail (err, RCVM_E_SPEC, 0, "%s must be an object", name);
      goto fail;
    }
  if (scan_text (&s, err) < 0)
    goto fail;
  if (s.members != count_members (o))
    {
      fail_duplicate (&s, err);
      goto fail;
    }
  json_tokener_free (tok);
  return o;

fail:
  json_object_put (o);
  json_tokener_free (tok);
  return NULL;
}
