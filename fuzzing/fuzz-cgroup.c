/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest may say of its cgroup: it becomes statistics that are JSON, or an error.  And the texts of /proc that say
   where the host's cgroups are. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cgroup-stats.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
parse_mounts (const uint8_t *data, size_t size)
{
  const uint8_t *half = memchr (data, 0, size);
  size_t first = half ? (size_t) (half - data) : size;
  char *mountinfo = strndup ((const char *) data, first);
  char *cgroup = strndup (half ? (const char *) half + 1 : "", half ? size - first - 1 : 0);
  struct rcvmi_cgroup c;

  if (mountinfo && cgroup && rcvmi_cgroup_parse (&c, mountinfo, cgroup, NULL) == 0)
    rcvmi_cgroup_clear (&c);
  free (mountinfo);
  free (cgroup);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const struct rcvmi_cgroup none = { 0 };
  rcvm_error *err = NULL;
  char *json = rcvmi_cgroup_stats (&none, data, size, 0, &err);

  if (!json == !err)
    abort ();
  if (json)
    {
      struct json_object *o = json_tokener_parse (json);

      if (!o)
        abort ();
      json_object_put (o);
    }
  free (json);
  rcvm_error_free (err);
  parse_mounts (data, size);
  return 0;
}
