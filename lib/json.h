/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json-c's objects while they are put together.  json-c fails only for want of memory: one flag for all keeps the callers
   plain.  Whatever is put or appended is taken over, also on failure. */
#ifndef RCVM_LIB_JSON_H
#define RCVM_LIB_JSON_H

#include <stdbool.h>
#include <stdint.h>

struct json_object;

struct rcvmi_json
{
  bool failed;
};

void rcvmi_json_put (struct rcvmi_json *b, struct json_object *o, const char *key, struct json_object *value);
/* NULL: nothing. */
void rcvmi_json_put_str (struct rcvmi_json *b, struct json_object *o, const char *key, const char *value);
void rcvmi_json_put_int (struct rcvmi_json *b, struct json_object *o, const char *key, int64_t value);
void rcvmi_json_append (struct rcvmi_json *b, struct json_object *array, struct json_object *value);
/* An empty object at the end of the array, which owns it; NULL on failure. */
struct json_object *rcvmi_json_append_object (struct rcvmi_json *b, struct json_object *array);

#endif
