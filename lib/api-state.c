/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a VM. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <runcvm/version.h>

#include "cleanup.h"
#include "err.h"
#include "control.h"
#include "handle.h"
#include "plan.h"
#include "visibility.h"
#include "volume-metrics.h"

RCVM_PUBLIC const char *
rcvm_version (void)
{
  return RCVM_VERSION_STRING;
}

RCVM_PUBLIC const char *
rcvm_status_name (int status)
{
  static const char *const names[] = { "new", "creating", "created", "running", "paused", "stopped" };

  return status >= 0 && status < (int) (sizeof names / sizeof names[0]) ? names[status] : "unknown";
}

RCVM_PUBLIC const char *
rcvm_vm_get_id (const rcvm_vm *vm)
{
  return vm ? vm->id : NULL;
}

RCVM_PUBLIC int
rcvm_vm_get_status (rcvm_vm *vm)
{
  int status;

  if (!vm)
    return RCVM_STATUS_NEW;
  rcvmi_handle_lock (vm);
  status = vm->status;
  rcvmi_handle_unlock (vm);
  return status;
}

RCVM_PUBLIC int
rcvm_vm_get_pid (rcvm_vm *vm)
{
  int pid = -1;

  if (!vm)
    return -1;
  rcvmi_handle_lock (vm);
  if (vm->status >= RCVM_STATUS_CREATED && vm->status < RCVM_STATUS_STOPPED)
    pid = vm->state.pid;
  rcvmi_handle_unlock (vm);
  return pid;
}

/* The state as it is on disk now, of whatever process made it. */
static int
update (rcvm_vm *vm, rcvm_error **err)
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state s;
  int code;

  if (vm->status == RCVM_STATUS_NEW)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' has not been created by this handle; rcvm_vm_open finds others",
                       vm->id);
  code = rcvmi_handle_refresh (vm, err);
  if (code < 0 || vm->settled)
    return code;
  code = rcvmi_state_dir_open (&dir, vm->root, vm->id, err);
  if (code == 0)
    code = rcvmi_state_dir_read (&dir, &s, err);
  rcvmi_state_dir_close (&dir);
  if (code == 0)
    {
      rcvmi_state_clear (&vm->state);
      vm->state = s;
    }
  return code;
}

RCVM_PUBLIC char *
rcvm_vm_state (rcvm_vm *vm, rcvm_error **err)
{
  char *json = NULL;

  if (!vm)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
      return NULL;
    }
  rcvmi_handle_lock (vm);
  if (update (vm, err) == 0)
    json = rcvmi_state_to_json (&vm->state, false, err);
  rcvmi_handle_unlock (vm);
  return json;
}

RCVM_PUBLIC size_t
rcvm_vm_phase_count (rcvm_vm *vm)
{
  size_t n;

  if (!vm)
    return 0;
  rcvmi_handle_lock (vm);
  n = vm->state.n_phases;
  rcvmi_handle_unlock (vm);
  return n;
}

RCVM_PUBLIC const char *
rcvm_vm_phase_name (rcvm_vm *vm, size_t index)
{
  const char *name = NULL;

  if (!vm)
    return NULL;
  rcvmi_handle_lock (vm);
  if (index < vm->state.n_phases)
    name = vm->state.phases[index].name;
  rcvmi_handle_unlock (vm);
  return name;
}

RCVM_PUBLIC int64_t
rcvm_vm_phase_usec (rcvm_vm *vm, size_t index)
{
  int64_t usec = -1;

  if (!vm)
    return -1;
  rcvmi_handle_lock (vm);
  if (index < vm->state.n_phases)
    usec = vm->state.phases[index].usec;
  rcvmi_handle_unlock (vm);
  return usec;
}

/* An id has no character that a label's value would have to escape. */
static void
print_metrics (FILE *f, const rcvm_vm *vm)
{
  const struct rcvmi_state *s = &vm->state;

  fputs ("# HELP runcvm_info What the VM is made of.\n# TYPE runcvm_info gauge\n", f);
  fprintf (f, "runcvm_info{id=\"%s\",vmm=\"%s\",accelerator=\"%s\",version=\"" RCVM_VERSION_STRING "\"} 1\n",
           vm->id, s->vmm ? s->vmm : "", s->accel ? s->accel : "");
  fputs ("# HELP runcvm_running Whether the container runs.\n# TYPE runcvm_running gauge\n", f);
  fprintf (f, "runcvm_running{id=\"%s\"} %d\n", vm->id, s->status == RCVM_STATUS_RUNNING);
  fputs ("# HELP runcvm_memory_bytes Memory of the guest.\n# TYPE runcvm_memory_bytes gauge\n", f);
  fprintf (f, "runcvm_memory_bytes{id=\"%s\"} %" PRIu64 "\n", vm->id, s->memory);
  fputs ("# HELP runcvm_cpus Virtual CPUs of the guest.\n# TYPE runcvm_cpus gauge\n", f);
  fprintf (f, "runcvm_cpus{id=\"%s\"} %u\n", vm->id, s->cpus);
  fputs ("# HELP runcvm_start_phase_seconds Duration of the phases of the start.\n"
         "# TYPE runcvm_start_phase_seconds gauge\n",
         f);
  for (size_t i = 0; i < s->n_phases; i++)
    fprintf (f, "runcvm_start_phase_seconds{id=\"%s\",phase=\"%s\"} %" PRId64 ".%06" PRId64 "\n", vm->id,
             s->phases[i].name, s->phases[i].usec / 1000000, s->phases[i].usec % 1000000);
  if (s->has_exit)
    {
      fputs ("# HELP runcvm_exit_code Exit code of the container.\n# TYPE runcvm_exit_code gauge\n", f);
      fprintf (f, "runcvm_exit_code{id=\"%s\"} %d\n", vm->id, s->exit_code);
    }
}

/* Of one that runs.  A server that is just started again has none: they are missing then. */
static void
ask_for (rcvm_vm *vm, enum rcvmi_control_frame what)
{
  free (steal_ptr (vm->json));
  if (vm->status >= RCVM_STATUS_CREATED && vm->status < RCVM_STATUS_STOPPED && vm->link.fd >= 0)
    rcvmi_handle_request (vm, what, NULL, NULL, -1, NULL);
}

RCVM_PUBLIC char *
rcvm_vm_metrics (rcvm_vm *vm, rcvm_error **err)
{
  char *text = NULL;
  size_t size;
  FILE *f;
  int code;

  if (!vm)
    {
      rcvmi_fail (err, RCVM_E_INVALID, 0, "the VM's handle is NULL");
      return NULL;
    }
  rcvmi_handle_lock (vm);
  code = update (vm, err);
  if (code == 0)
    {
      ask_for (vm, CONTROL_VOLUMES);
      f = open_memstream (&text, &size);
      if (f)
        print_metrics (f, vm);
      if (f && vm->json)
        code = rcvmi_volume_metrics (f, vm->id, vm->json, err);
      ask_for (vm, CONTROL_FIGURES);
      if (f && vm->json)
        fputs (vm->json, f);
      free (steal_ptr (vm->json));
      if (!f || fclose (f) != 0 || code < 0)
        {
          free (steal_ptr (text));
          if (code == 0)
            rcvmi_fail_nomem (err);
        }
    }
  rcvmi_handle_unlock (vm);
  return text;
}

static int
compare (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

RCVM_PUBLIC char *
rcvm_vm_list (const char *root, rcvm_error **err)
{
  autofree char *path = rcvmi_state_root (root, err);
  char **ids = NULL, *text = NULL;
  size_t size = 0, length = 0;
  struct dirent *e;
  DIR *dir;

  if (!path)
    return NULL;
  dir = opendir (path);
  if (!dir && errno != ENOENT)
    {
      rcvmi_fail_errno (err, errno, "cannot read the state directory '%s'", path);
      return NULL;
    }
  while (dir && (e = readdir (dir)))
    if (rcvmi_plan_check_id (e->d_name, NULL) == 0 && e->d_type == DT_DIR)
      {
        if (rcvmi_strv_append (&ids, e->d_name) < 0)
          goto no_memory;
        length += strlen (e->d_name) + 1;
      }
  size = rcvmi_strv_length (ids);
  if (size > 0)
    qsort (ids, size, sizeof *ids, compare);
  text = malloc (length + 1);
  if (text)
    {
      char *p = text;

      for (size_t i = 0; i < size; i++)
        p += sprintf (p, "%s\n", ids[i]);
      *p = 0;
    }
no_memory:
  if (!text)
    rcvmi_fail_nomem (err);
  if (dir)
    closedir (dir);
  rcvmi_strv_free (ids);
  return text;
}
