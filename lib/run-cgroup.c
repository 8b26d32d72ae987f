/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stage "cgroup": the group on the host that holds all of the VM, and its limits. */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "run-parts.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "digest.h"
#include "err.h"
#include "plan-limits.h"
#include "spec-types.h"
#include "systemd.h"

enum
{
  /* QEMU's pool for file I/O has at most 64; then its own few, the monitor, a worker, the volume server. */
  HELPER_THREADS = 128,
  TELL_TIMEOUT_MS = 10000,
  NAME_SIZE = 160
};

static const struct rcvmi_spec_resources *
resources_of (const struct rcvmi_run *run)
{
  return run->plan->spec->lx ? run->plan->spec->lx->resources : NULL;
}

struct rcvmi_limits_vm
rcvmi_run_limits_vm (const struct rcvmi_run *run)
{
  return (struct rcvmi_limits_vm){ .memory = run->plan->memory_max,
                                   .overhead = rcvmi_vmm_overhead (&run->vmm, run->plan->cpus),
                                   .threads = HELPER_THREADS + run->plan->cpus };
}

/* An id is unique in its state root alone. */
static void
make_default_name (const struct rcvmi_run *run, char name[NAME_SIZE])
{
  uint8_t digest[RCVMI_SHA256_BYTES];
  char hex[RCVMI_SHA256_HEX + 1];

  rcvmi_sha256 (run->dir.root, strlen (run->dir.root), digest);
  rcvmi_sha256_hex (digest, hex);
  snprintf (name, NAME_SIZE, "%s@%.8s", run->options.id, hex);
}

static void
warn_of_missing (struct rcvmi_run *run)
{
  const char *last = "";

  for (size_t i = 0; i < run->limits.n; i++)
    {
      const struct rcvmi_limit *l = &run->limits.list[i];

      if (strcmp (l->what, last) == 0 || rcvmi_cgroup_takes (&run->cgroup, &run->limits, l->what))
        continue;
      last = l->what;
      /* What the guest's kernel limits by itself, and what is the guest's first of all. */
      rcvmi_log_at (run->log, strncmp (last, "memory.", 7) == 0 || strcmp (last, "pids.limit") == 0 || strcmp (last, "unified") == 0
                                  ? RCVM_LOG_INFO
                                  : RCVM_LOG_WARNING,
                    "cgroup", "'linux.resources.%s' has no effect on the host: its cgroups have no controller '%s' for that", last,
                    l->controller);
    }
}

/* Where this process comes from, to which it goes back, is known before anybody moves it. */
static int
find (struct rcvmi_run *run, rcvm_error **err)
{
  int code = rcvmi_cgroup_find (&run->cgroup, err);

  return code == 0 && run->cgroup.n == 0 ? rcvmi_fail (err, RCVM_E_HOST, 0, "no cgroup file system is mounted on this host") : code;
}

static int
make (struct rcvmi_run *run, const char *path, rcvm_error **err)
{
  int code = rcvmi_cgroup_make (&run->cgroup, path, err);

  if (code < 0)
    return code;
  /* From here on a killed monitor leaves a group that others must be able to find. */
  run->state.cgroup = rcvmi_cgroup_to_record (&run->cgroup, err);
  if (!run->state.cgroup)
    return RCVM_E_NOMEM;
  code = rcvmi_run_save (run, err);
  if (code == 0)
    code = rcvmi_cgroup_apply (&run->cgroup, &run->limits, false, err);
  if (code == 0)
    code = rcvmi_cgroup_enter (&run->cgroup, err);
  if (code == 0)
    warn_of_missing (run);
  return code;
}

/* What a user without rights, or a container around us, does not have. */
static bool
is_forbidden (const rcvm_error *e)
{
  int code = rcvm_error_get_code (e);

  return code == RCVM_E_HOST || code == RCVM_E_PERMISSION || rcvm_error_get_errno (e) == EROFS;
}

/* systemd's part, in a child. */

static int
start_scope (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  char description[NAME_SIZE];

  snprintf (description, sizeof description, "libruncvm VM %s", run->options.id);
  return rcvmi_systemd_start_scope (&run->plan->scope, description, getppid (), &run->limits, err);
}

static void
on_scope_started (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  (void) events;
  if (rcvmi_run_end_worker (&run->worker, "the worker that speaks to systemd", &e) < 0 || make (run, run->plan->scope.path, &e) < 0)
    rcvmi_run_fail (run, e);
  else
    rcvmi_run_advance (run);
}

static enum rcvmi_run_step
begin_scope (struct rcvmi_run *run, rcvm_error **err)
{
  if (find (run, err) < 0)
    return RCVMI_STEP_FAILED;
  run->cgroup.managed = true;
  return rcvmi_run_start_worker (run, &run->worker, start_scope, -1, on_scope_started, err) < 0 ? RCVMI_STEP_FAILED
                                                                                                : RCVMI_STEP_PENDING;
}

struct told
{
  const struct rcvmi_scope *scope;
  const struct rcvmi_limits *limits;
  bool late;
};

static int
tell_systemd (void *user, rcvm_error **err)
{
  struct told *t = user;

  return rcvmi_systemd_set_limits (t->scope, t->limits, t->late, err);
}

/* They hold already; but systemd writes what it knows when it is reloaded. */
static void
tell (struct rcvmi_run *run, const struct rcvmi_limits *limits, bool late)
{
  struct told t = { .scope = &run->plan->scope, .limits = limits, .late = late };
  struct rcvmi_worker w = { .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  bool any = false;
  rcvm_error *e = NULL;

  for (size_t i = 0; i < limits->n; i++)
    any |= limits->list[i].v2 && limits->list[i].late == late;
  if (!run->cgroup.managed || !any)
    return;
  if (rcvmi_proc_fork_with (&w.proc, tell_systemd, &t, NULL, 0, &w.error_fd, &e) == 0)
    {
      struct pollfd p = { .fd = w.proc.pidfd, .events = POLLIN };

      if (poll (&p, 1, TELL_TIMEOUT_MS) > 0)
        rcvmi_run_end_worker (&w, "the worker that speaks to systemd", &e);
      else
        rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "systemd did not answer within %d seconds", TELL_TIMEOUT_MS / 1000);
    }
  rcvmi_run_stop_worker (&w);
  if (e)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "cgroup", "the limits hold until systemd is reloaded: %s", rcvm_error_get_message (e));
  rcvm_error_free (e);
}

void
rcvmi_run_lift_memory (struct rcvmi_run *run, bool lift)
{
  struct rcvmi_limit list[4];
  struct rcvmi_limits memory = { .list = list };
  rcvm_error *e = NULL;

  for (size_t i = 0; i < run->limits.n && memory.n < sizeof list / sizeof list[0]; i++)
    if (strcmp (run->limits.list[i].what, "memory.limit") == 0 || strcmp (run->limits.list[i].what, "memory.swap") == 0)
      {
        list[memory.n] = run->limits.list[i];
        if (lift)
          list[memory.n].value = (char *) (list[memory.n].v2 ? "max" : "-1");
        memory.n++;
      }
  if (rcvmi_cgroup_apply (&run->cgroup, &memory, false, &e) < 0)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "cgroup", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
}

int
rcvmi_run_limit (struct rcvmi_run *run, const struct rcvmi_limits *limits, bool late, rcvm_error **err)
{
  int code = rcvmi_cgroup_apply (&run->cgroup, limits, late, err);

  if (code == 0)
    tell (run, limits, late);
  return code;
}

enum rcvmi_run_step
rcvmi_run_begin_cgroup (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_spec_lx *lx = run->plan->spec->lx;
  const struct rcvmi_limits_vm vm = rcvmi_run_limits_vm (run);
  const char *path = lx && lx->cgroups_path && lx->cgroups_path[0] ? lx->cgroups_path : NULL;
  rcvm_error *e = NULL;
  char name[NAME_SIZE];

  if (rcvmi_plan_limits (&run->limits, resources_of (run), &vm, false, err) < 0)
    return RCVMI_STEP_FAILED;
  if (run->plan->scope.unit)
    return begin_scope (run, err);
  make_default_name (run, name);
  if (find (run, &e) == 0 && make (run, path ? path : name, &e) == 0)
    return RCVMI_STEP_DONE;
  if (path || !is_forbidden (e))
    {
      rcvmi_error_pass (err, e);
      return RCVMI_STEP_FAILED;
    }
  /* Nobody asked for one in particular. */
  rcvmi_log_at (run->log, run->limits.n ? RCVM_LOG_WARNING : RCVM_LOG_INFO, "cgroup",
                "the container has no cgroup on the host%s: %s", run->limits.n ? ", its limits hold in the guest alone" : "",
                rcvm_error_get_message (e));
  rcvm_error_free (e);
  rcvmi_run_undo_cgroup (run);
  return RCVMI_STEP_DONE;
}

int
rcvmi_run_limit_time (struct rcvmi_run *run, rcvm_error **err)
{
  return rcvmi_run_limit (run, &run->limits, true, err);
}

void
rcvmi_run_undo_cgroup (struct rcvmi_run *run)
{
  autofree char *record = steal_ptr (run->state.cgroup);
  rcvm_error *e = NULL;

  rcvmi_run_stop_worker (&run->worker);
  if (run->cgroup.entered)
    rcvmi_cgroup_leave (&run->cgroup);
  if (record && rcvmi_cgroup_remove_record (record, &e) < 0)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "cgroup", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  rcvmi_cgroup_clear (&run->cgroup);
  rcvmi_limits_clear (&run->limits);
}
