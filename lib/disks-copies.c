/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copy volumes: where what the VM has changed of them belongs, and its way back. */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "err.h"
#include "json.h"
#include "writeback.h"

#define RECORD "copies.json"

int
rcvmi_disks_intend_copies (const struct rcvmi_disks *d, const struct rcvmi_disks_copy *copies, size_t n, rcvm_error **err)
{
  struct json_object *list = json_object_new_array ();
  struct rcvmi_json b = { .failed = !list };
  int r = 0;

  for (size_t i = 0; r == 0 && i < n; i++)
    {
      autofree char *real = realpath (copies[i].source, NULL);
      struct rcvmi_disks_identity id;
      struct json_object *o;

      if (!real)
        {
          r = rcvmi_fail_errno (err, errno, "cannot open '%.200s'", copies[i].source);
          break;
        }
      r = rcvmi_disks_identify (real, &id, err);
      if (r < 0)
        break;
      o = json_object_new_object ();
      rcvmi_json_put (&b, o, "number", json_object_new_int ((int) copies[i].number));
      rcvmi_json_put (&b, o, "source", json_object_new_string (real));
      rcvmi_json_put (&b, o, "ino", json_object_new_uint64 (id.ino));
      rcvmi_json_put (&b, o, "birthSec", json_object_new_int64 (id.birth.tv_sec));
      rcvmi_json_put (&b, o, "birthNsec", json_object_new_int64 (id.birth.tv_nsec));
      if (json_object_array_add (list, o) < 0)
        b.failed = true;
    }
  if (r == 0)
    r = b.failed ? rcvmi_fail_nomem (err) : rcvmi_disks_write_json (d, RECORD, list, err);
  json_object_put (list);
  return r;
}

static int64_t
number (struct json_object *o, const char *key)
{
  struct json_object *value;

  return json_object_object_get_ex (o, key, &value) ? (int64_t) json_object_get_uint64 (value) : 0;
}

static int
carry_out (const struct rcvmi_disks *d, struct json_object *o, rcvm_error **err)
{
  struct json_object *value;
  const char *source = json_object_object_get_ex (o, "source", &value) ? json_object_get_string (value) : NULL;
  struct rcvmi_disks_identity id, meant = { .ino = (uint64_t) number (o, "ino"),
                                            .birth = { .tv_sec = number (o, "birthSec"),
                                                       .tv_nsec = (uint32_t) number (o, "birthNsec") } };
  char top[32];
  autofree char *note = NULL;
  struct rcvmi_writeback_options options = { .top = top };
  int r;

  if (!source)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "'%s/" RECORD "' does not say where a copy came from", d->dir);
  if (asprintf (&note, "%s.%d", d->copies, (int) number (o, "number")) < 0)
    {
      note = NULL;
      return rcvmi_fail_nomem (err);
    }
  snprintf (top, sizeof top, "upper%d", (int) number (o, "number"));
  options.note = note;
  r = rcvmi_disks_identify (source, &id, err);
  if (r < 0)
    return r;
  id.overlay = false; /* whose inode numbers last as long as they have to here */
  if (!rcvmi_disks_is_same (&id, &meant))
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%.200s' is not the directory that was copied into the VM: what the VM changed of it stays in '%s'",
                       source, d->copies);
  return rcvmi_writeback (d->copies, source, &options, err);
}

int
rcvmi_disks_write_back_copies (const struct rcvmi_disks *d, rcvm_error **err)
{
  struct json_object *list;
  rcvm_error *first = NULL;
  int r = rcvmi_disks_read_json (d, RECORD, &list, err);

  if (r <= 0)
    return r;
  for (size_t i = 0; json_object_is_type (list, json_type_array) && i < json_object_array_length (list); i++)
    carry_out (d, json_object_array_get_idx (list, i), first ? NULL : &first);
  json_object_put (list);
  if (first)
    return rcvmi_error_pass (err, first);
  if (unlinkat (d->dir_fd, RECORD, 0) < 0 && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot remove '%s/" RECORD "'", d->dir);
  return 0;
}
