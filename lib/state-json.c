/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* state.json: the OCI state (runtime-spec, runtime.md#state) with an object "org.runcvm" of our own. */
#include "config.h"

#define RCVMI_STAGE "state"
#include "state.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "options.h"

void
rcvmi_state_clear (struct rcvmi_state *s)
{
  free (s->id);
  free (s->oci_version);
  free (s->bundle);
  free (s->rootfs);
  free (s->disks);
  rcvmi_strv_free (s->annotations);
  free (s->vmm);
  free (s->accel);
  free (s->from_template);
  free (s->kernel);
  free (s->cgroup);
  free (s->poststop);
  free (s->saving);
  free (s->network);
  rcvm_error_free (s->error);
  *s = (struct rcvmi_state){ .status = RCVM_STATUS_NEW };
}

/* An object in another, which owns it. */
static struct json_object *
new_member (struct rcvmi_json *b, struct json_object *o, const char *key)
{
  struct json_object *sub = json_object_new_object ();

  rcvmi_json_put (b, o, key, sub);
  return b->failed ? NULL : sub;
}

static struct json_object *
annotations_to_json (struct rcvmi_json *b, char *const *list)
{
  struct json_object *o = json_object_new_object ();

  for (; o && list && *list; list++)
    {
      const char *eq = strchr (*list, '=');
      autofree char *key = eq ? strndup (*list, (size_t) (eq - *list)) : NULL;

      if (key)
        rcvmi_json_put_str (b, o, key, eq + 1);
      else
        b->failed = true;
    }
  return o;
}

static struct json_object *
ours_to_json (struct rcvmi_json *b, const struct rcvmi_state *s, bool for_disk)
{
  struct json_object *o = json_object_new_object (), *phases = json_object_new_array (), *sub;

  if (!o || !phases)
    {
      json_object_put (phases);
      json_object_put (o);
      return NULL;
    }
  rcvmi_json_put_str (b, o, "rootfs", s->rootfs);
  rcvmi_json_put_str (b, o, "disks", s->disks);
  rcvmi_json_put_str (b, o, "vmm", s->vmm);
  rcvmi_json_put_str (b, o, "accelerator", s->accel);
  rcvmi_json_put_str (b, o, "kernel", s->kernel);
  rcvmi_json_put_str (b, o, "template", s->from_template);
  if (s->memory)
    rcvmi_json_put_int (b, o, "memory", (int64_t) s->memory);
  if (s->cpus)
    rcvmi_json_put_int (b, o, "cpus", s->cpus);
  if (s->vmm_pid > 0)
    rcvmi_json_put_int (b, o, "vmmPid", s->vmm_pid);
  if (for_disk)
    {
      rcvmi_json_put_int (b, o, "monitorPid", s->pid);
      rcvmi_json_put_int (b, o, "monitorStart", (int64_t) s->pid_start);
      rcvmi_json_put_int (b, o, "vmmStart", (int64_t) s->vmm_start);
      rcvmi_json_put_str (b, o, "cgroup", s->cgroup);
      rcvmi_json_put_str (b, o, "poststop", s->poststop);
      rcvmi_json_put_str (b, o, "saving", s->saving);
      rcvmi_json_put_str (b, o, "network", s->network);
    }
  if (s->created)
    rcvmi_json_put_int (b, o, "created", s->created);
  if (s->started)
    rcvmi_json_put_int (b, o, "started", s->started);
  if (s->finished)
    rcvmi_json_put_int (b, o, "finished", s->finished);
  if (s->has_exit)
    {
      rcvmi_json_put_int (b, o, "exitCode", s->exit_code);
      if (s->exit_signal)
        rcvmi_json_put_int (b, o, "exitSignal", s->exit_signal);
    }
  if (s->oom_kills)
    rcvmi_json_put_int (b, o, "oomKills", (int64_t) s->oom_kills);
  if (s->error)
    {
      sub = new_member (b, o, "error");
      rcvmi_json_put_int (b, sub, "code", rcvm_error_get_code (s->error));
      rcvmi_json_put_str (b, sub, "name", rcvm_code_name (rcvm_error_get_code (s->error)));
      rcvmi_json_put_int (b, sub, "errno", rcvm_error_get_errno (s->error));
      rcvmi_json_put_int (b, sub, "exitCode", rcvm_error_get_exit_code (s->error));
      rcvmi_json_put_str (b, sub, "stage", rcvm_error_get_stage (s->error));
      rcvmi_json_put_str (b, sub, "message", rcvm_error_get_message (s->error));
    }
  for (size_t i = 0; i < s->n_phases; i++)
    {
      sub = json_object_new_object ();
      if (!sub || json_object_array_add (phases, sub) < 0)
        {
          json_object_put (sub);
          b->failed = true;
          break;
        }
      rcvmi_json_put_str (b, sub, "name", s->phases[i].name);
      rcvmi_json_put_int (b, sub, "usec", s->phases[i].usec);
    }
  rcvmi_json_put (b, o, "phases", phases);
  return o;
}

char *
rcvmi_state_to_json (const struct rcvmi_state *s, bool for_disk, rcvm_error **err)
{
  struct rcvmi_json b = { false };
  struct json_object *o = json_object_new_object ();
  const char *text = NULL;
  char *copy = NULL;
  bool runs = s->status != RCVM_STATUS_STOPPED && s->pid > 0;

  if (o)
    {
      rcvmi_json_put_str (&b, o, "ociVersion", s->oci_version ? s->oci_version : "1.0.2");
      rcvmi_json_put_str (&b, o, "id", s->id ? s->id : "");
      rcvmi_json_put_str (&b, o, "status", rcvm_status_name (s->status));
      if (runs)
        rcvmi_json_put_int (&b, o, "pid", s->pid);
      rcvmi_json_put_str (&b, o, "bundle", s->bundle ? s->bundle : "");
      if (s->annotations)
        rcvmi_json_put (&b, o, "annotations", annotations_to_json (&b, s->annotations));
      rcvmi_json_put (&b, o, "org.runcvm", ours_to_json (&b, s, for_disk));
      text = json_object_to_json_string_ext (o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                                                    | JSON_C_TO_STRING_NOSLASHESCAPE);
    }
  if (text && !b.failed && asprintf (&copy, "%s\n", text) < 0)
    copy = NULL;
  json_object_put (o);
  if (!copy)
    rcvmi_fail_nomem (err);
  return copy;
}

/* Members of the wrong type, and numbers out of bounds, count as missing: the file may be damaged, but what is
   left of it still helps to clean up.  Only memory that lacks is a failure. */
struct reader
{
  bool failed;
};

static char *
get_str (struct reader *r, struct json_object *o, const char *key)
{
  struct json_object *v;
  char *copy;

  if (!json_object_object_get_ex (o, key, &v) || !json_object_is_type (v, json_type_string))
    return NULL;
  copy = strdup (json_object_get_string (v));
  if (!copy)
    r->failed = true;
  return copy;
}

static int64_t
get_int (struct json_object *o, const char *key, int64_t min, int64_t max)
{
  struct json_object *v;
  int64_t value;

  if (!json_object_object_get_ex (o, key, &v) || !json_object_is_type (v, json_type_int))
    return 0;
  value = json_object_get_int64 (v);
  return value < min || value > max ? 0 : value;
}

static void
read_error (struct reader *r, struct rcvmi_state *s, struct json_object *o)
{
  autofree char *stage = get_str (r, o, "stage");
  autofree char *message = get_str (r, o, "message");
  int code = (int) get_int (o, "code", INT_MIN, -1);

  if (code < 0)
    rcvmi_error_restore (&s->error, code, (int) get_int (o, "errno", 0, INT_MAX),
                         (int) get_int (o, "exitCode", 0, 255), stage ? stage : "", message ? message : "");
}

static void
read_phases (struct reader *r, struct rcvmi_state *s, struct json_object *list)
{
  for (size_t i = 0; i < json_object_array_length (list) && s->n_phases < RCVMI_STATE_PHASES; i++)
    {
      struct json_object *phase = json_object_array_get_idx (list, i);
      autofree char *name = get_str (r, phase, "name");
      struct rcvmi_state_phase *p = &s->phases[s->n_phases];

      if (!name)
        continue;
      snprintf (p->name, sizeof p->name, "%s", name);
      p->usec = get_int (phase, "usec", 0, INT64_MAX);
      s->n_phases++;
    }
}

static void
read_ours (struct reader *r, struct rcvmi_state *s, struct json_object *o)
{
  struct json_object *v;

  s->rootfs = get_str (r, o, "rootfs");
  s->disks = get_str (r, o, "disks");
  s->vmm = get_str (r, o, "vmm");
  s->accel = get_str (r, o, "accelerator");
  s->kernel = get_str (r, o, "kernel");
  s->from_template = get_str (r, o, "template");
  s->memory = (uint64_t) get_int (o, "memory", 0, INT64_MAX);
  s->cpus = (unsigned) get_int (o, "cpus", 0, INT_MAX);
  s->pid = (pid_t) get_int (o, "monitorPid", 1, INT_MAX);
  s->pid_start = (unsigned long long) get_int (o, "monitorStart", 0, INT64_MAX);
  s->vmm_pid = (pid_t) get_int (o, "vmmPid", 1, INT_MAX);
  s->vmm_start = (unsigned long long) get_int (o, "vmmStart", 0, INT64_MAX);
  s->cgroup = get_str (r, o, "cgroup");
  s->poststop = get_str (r, o, "poststop");
  s->saving = get_str (r, o, "saving");
  s->network = get_str (r, o, "network");
  s->created = get_int (o, "created", 0, INT64_MAX);
  s->started = get_int (o, "started", 0, INT64_MAX);
  s->finished = get_int (o, "finished", 0, INT64_MAX);
  s->has_exit = json_object_object_get_ex (o, "exitCode", &v) && json_object_is_type (v, json_type_int);
  s->exit_code = (int) get_int (o, "exitCode", 0, 255);
  s->exit_signal = (int) get_int (o, "exitSignal", 0, 127);
  s->oom_kills = (uint64_t) get_int (o, "oomKills", 0, INT64_MAX);
  if (json_object_object_get_ex (o, "error", &v))
    read_error (r, s, v);
  if (json_object_object_get_ex (o, "phases", &v) && json_object_is_type (v, json_type_array))
    read_phases (r, s, v);
}

static void
read_annotations (struct reader *r, struct rcvmi_state *s, struct json_object *o)
{
  json_object_object_foreach (o, key, value)
    {
      autofree char *pair = NULL;

      if (!json_object_is_type (value, json_type_string))
        continue;
      if (asprintf (&pair, "%s=%s", key, json_object_get_string (value)) < 0)
        pair = NULL;
      if (!pair || rcvmi_strv_append (&s->annotations, pair) < 0)
        r->failed = true;
    }
}

int
rcvmi_state_from_json (struct rcvmi_state *s, const char *json, rcvm_error **err)
{
  struct json_object *o = json_tokener_parse (json), *v;
  autofree char *status = NULL;
  struct reader r = { false };

  *s = (struct rcvmi_state){ .status = RCVM_STATUS_CREATING };
  if (!o || !json_object_is_type (o, json_type_object))
    {
      json_object_put (o);
      return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "the VM's state.json is damaged");
    }
  s->id = get_str (&r, o, "id");
  s->oci_version = get_str (&r, o, "ociVersion");
  s->bundle = get_str (&r, o, "bundle");
  status = get_str (&r, o, "status");
  for (int i = RCVM_STATUS_CREATING; status && i <= RCVM_STATUS_STOPPED; i++)
    if (strcmp (status, rcvm_status_name (i)) == 0)
      s->status = i;
  if (json_object_object_get_ex (o, "annotations", &v) && json_object_is_type (v, json_type_object))
    read_annotations (&r, s, v);
  if (json_object_object_get_ex (o, "org.runcvm", &v))
    read_ours (&r, s, v);
  json_object_put (o);
  if (!r.failed)
    return 0;
  rcvmi_state_clear (s);
  return rcvmi_fail_nomem (err);
}
