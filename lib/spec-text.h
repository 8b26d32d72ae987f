/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON text to json-c's tree, with what json-c lets pass refused. */
#ifndef RCVM_LIB_SPEC_TEXT_H
#define RCVM_LIB_SPEC_TEXT_H

#include <stddef.h>

#include <json-c/json.h>

#include <runcvm/error.h>

enum
{
  RCVMI_JSON_TEXT_MAX = 16 * 1024 * 1024,
  RCVMI_JSON_DEPTH_MAX = 64
};

/* The object that `json` holds, or NULL.  `name` is what messages call the text. */
struct json_object *rcvmi_json_parse (const char *name, const char *json, size_t len,
                                      rcvm_error **err);

#endif
