/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* guest.json: what runcvm-mkguest says of the kernel and the initramfs that it made. */
#include "config.h"

#include "vmm.h"

#include <json-c/json.h>
#include <string.h>

int
rcvmi_vmm_guest_modules (const char *path, char **release)
{
  struct json_object *o = json_object_from_file (path), *modules, *name;
  int n = -1;

  if (json_object_object_get_ex (o, "modules", &modules) && json_object_is_type (modules, json_type_array)
      && json_object_object_get_ex (o, "release", &name) && json_object_is_type (name, json_type_string)
      && (*release = strdup (json_object_get_string (name))))
    n = (int) json_object_array_length (modules);
  json_object_put (o);
  return n;
}
