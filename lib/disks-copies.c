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
      rcvmi_json_put (&b, o, "live", json_object_new_boolean (copies[i].live));
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

/* One of them, and its way. */
struct way
{
  const char *source; /* of the JSON */
  char *note;
  char top[32];
  struct rcvmi_writeback_options options;
};

static int
find_way (struct way *w, const struct rcvmi_disks *d, struct json_object *o, struct timespec frozen, rcvm_error **err)
{
  struct json_object *value;
  struct rcvmi_disks_identity id, meant = { .ino = (uint64_t) number (o, "ino"),
                                            .birth = { .tv_sec = number (o, "birthSec"),
                                                       .tv_nsec = (uint32_t) number (o, "birthNsec") } };
  int r;

  *w = (struct way){ .source = json_object_object_get_ex (o, "source", &value) ? json_object_get_string (value) : NULL };
  if (!w->source)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "'%s/" RECORD "' does not say where a copy came from", d->dir);
  if (access (w->source, F_OK) < 0)
    return rcvmi_fail_errno (err, errno, "cannot find '%.200s', to which the changes in '%s' belong", w->source, d->copies);
  r = rcvmi_disks_identify (w->source, &id, err);
  if (r < 0)
    return r;
  id.overlay = false; /* whose inode numbers last as long as they have to here */
  if (!rcvmi_disks_is_same (&id, &meant))
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%.200s' is not the directory that was copied into the VM: what the VM changed of it stays in '%s'",
                       w->source, d->copies);
  if (asprintf (&w->note, "%s.%d", d->copies, (int) number (o, "number")) < 0)
    {
      w->note = NULL;
      return rcvmi_fail_nomem (err);
    }
  snprintf (w->top, sizeof w->top, "upper%d", (int) number (o, "number"));
  w->options = (struct rcvmi_writeback_options){ .top = w->top,
                                                 .note = w->note,
                                                 .repeated = number (o, "live") != 0,
                                                 .frozen = frozen };
  return 0;
}

static int
carry_out (const struct rcvmi_disks *d, struct json_object *o, rcvm_error **err)
{
  /* No clock goes on in there. */
  const struct timespec never = { .tv_sec = INT64_MAX };
  struct way w;
  int r = find_way (&w, d, o, never, err);

  if (r == 0)
    r = rcvmi_writeback (d->copies, w.source, &w.options, err);
  free (w.note);
  return r;
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

static bool
is_in (struct json_object *o, const struct rcvmi_disks_round *round)
{
  for (size_t i = 0; i < round->n; i++)
    if (number (o, "number") == round->numbers[i])
      return true;
  return false;
}

/* One after the other is read, and all of them are made to last when the guest goes on. */
int
rcvmi_disks_round (const struct rcvmi_disks *d, const struct rcvmi_disks_round *round, rcvm_error **err)
{
  autofree struct rcvmi_writeback **applied = calloc (round->n + 1, sizeof *applied);
  autofree struct way *ways = calloc (round->n + 1, sizeof *ways);
  autofree unsigned *numbers = calloc (round->n + 1, sizeof *numbers);
  struct json_object *list = NULL;
  rcvm_error *first = NULL;
  size_t n = 0, n_ways = 0;
  int r = applied && ways && numbers ? rcvmi_disks_read_json (d, RECORD, &list, err) : rcvmi_fail_nomem (err);

  if (r <= 0)
    return r;
  for (size_t i = 0; json_object_is_type (list, json_type_array) && i < json_object_array_length (list) && n_ways < round->n; i++)
    {
      struct json_object *o = json_object_array_get_idx (list, i);
      struct way *w = &ways[n_ways];

      if (!is_in (o, round))
        continue;
      n_ways++;
      if (find_way (w, d, o, round->frozen, first ? NULL : &first) < 0)
        continue;
      applied[n] = rcvmi_writeback_apply (d->copies, w->source, &w->options, first ? NULL : &first);
      numbers[n] = (unsigned) number (o, "number");
      n += applied[n] != NULL;
    }
  r = round->read (round->user, err);
  for (size_t i = 0; i < n; i++)
    {
      if (r == 0 && rcvmi_writeback_commit (applied[i], first ? NULL : &first) == 0)
        round->done (round->user, numbers[i]);
      rcvmi_writeback_free (applied[i]);
    }
  for (size_t i = 0; i < n_ways; i++)
    free (ways[i].note);
  json_object_put (list);
  if (r == 0 && first)
    return rcvmi_error_pass (err, first);
  rcvm_error_free (first);
  return r;
}
