/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "json.h"

#include <stddef.h>

#include <json-c/json.h>

void
rcvmi_json_put (struct rcvmi_json *b, struct json_object *o, const char *key, struct json_object *value)
{
  if (!o || !value || json_object_object_add (o, key, value) < 0)
    {
      json_object_put (value);
      b->failed = true;
    }
}

void
rcvmi_json_put_str (struct rcvmi_json *b, struct json_object *o, const char *key, const char *value)
{
  if (value)
    rcvmi_json_put (b, o, key, json_object_new_string (value));
}

void
rcvmi_json_put_int (struct rcvmi_json *b, struct json_object *o, const char *key, int64_t value)
{
  rcvmi_json_put (b, o, key, json_object_new_int64 (value));
}

void
rcvmi_json_append (struct rcvmi_json *b, struct json_object *array, struct json_object *value)
{
  if (!array || !value || json_object_array_add (array, value) < 0)
    {
      json_object_put (value);
      b->failed = true;
    }
}

struct json_object *
rcvmi_json_append_object (struct rcvmi_json *b, struct json_object *array)
{
  struct json_object *o = json_object_new_object ();
  bool before = b->failed;

  b->failed = false;
  rcvmi_json_append (b, array, o);
  if (b->failed)
    return NULL;
  b->failed = before;
  return o;
}
