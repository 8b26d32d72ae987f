/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "hooks", and the hooks of after the start and of the end.  A worker runs them: in the runtime's namespaces and cgroup,
 * as far as they are the monitor's no more, or (createContainer) in the container's.  startContainer is the guest's, and
 * poststop that of whoever deletes the VM; here it is for one that never came to be.
 */
#include "config.h"

#define RCVMI_STAGE "hooks"
#include "run-parts.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "hooks.h"

enum
{
  REPORT_FD = 3 /* of rcvmi_proc_fork: its other end is closed when nobody wants the result any more */
};

/* What the worker needs to know. */
struct job
{
  struct rcvmi_run *run;
  struct rcvmi_hooks hooks;
  bool inside; /* in the container's place */
  bool has_netns;
};

static int
work (void *user, rcvm_error **err)
{
  struct job *job = user;

  /* It ends by itself with the monitor, and then has something to kill first. */
  prctl (PR_SET_PDEATHSIG, 0);
  umask (022);
  if (!job->inside && job->run->cgroup.entered)
    rcvmi_cgroup_leave (&job->run->cgroup);
  if (job->has_netns && setns (RCVMI_PROC_FORK_FD, CLONE_NEWNET) < 0)
    return rcvmi_fail_errno (err, errno, "cannot return to the host's network namespace for a hook");
  return rcvmi_hooks_run (&job->hooks, err);
}

static void
on_ended (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  struct rcvmi_worker *w = &run->hooks.worker;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (w->source));
  rcvmi_proc_read_error (steal_fd (&w->error_fd), rcvmi_proc_reap (&w->proc), "the worker that runs hooks", &e);
  run->hooks.done (run, e);
}

static char *
make_state (const struct rcvmi_run *run, int status, rcvm_error **err)
{
  struct rcvmi_state s = run->state;

  s.status = status;
  return rcvmi_state_to_json (&s, false, err);
}

static int
begin (struct rcvmi_run *run, struct job *job, int status, void (*done) (struct rcvmi_run *run, rcvm_error *err),
       rcvm_error **err)
{
  struct rcvmi_worker *w = &run->hooks.worker;
  autofree char *state = make_state (run, status, err);
  int code;

  if (!state)
    return RCVM_E_NOMEM;
  job->run = run;
  job->hooks.state = state;
  job->hooks.dir = run->plan->bundle ? run->plan->bundle : "/";
  job->hooks.abort_fd = REPORT_FD;
  job->has_netns = !job->inside && run->host_netns_fd >= 0;
  run->hooks.done = done;
  code = rcvmi_proc_fork_with (&w->proc, work, job, &run->host_netns_fd, job->has_netns, &w->error_fd, err);
  if (code < 0)
    return code;
  w->source = rcvmi_ev_add (run->ev, w->proc.pidfd, EPOLLIN, on_ended, run, err);
  if (w->source)
    return 0;
  rcvmi_run_undo_hooks (run);
  return RCVM_E_SYSTEM;
}

void
rcvmi_run_undo_hooks (struct rcvmi_run *run)
{
  struct rcvmi_worker *w = &run->hooks.worker;

  rcvmi_ev_remove (steal_ptr (w->source));
  if (w->error_fd >= 0)
    close (steal_fd (&w->error_fd));
  if (w->proc.pid > 0)
    rcvmi_proc_reap (&w->proc);
}

/* The worker notices, kills what it runs, and ends. */
void
rcvmi_run_abort_hooks (struct rcvmi_run *run)
{
  if (run->hooks.worker.error_fd >= 0)
    close (steal_fd (&run->hooks.worker.error_fd));
}

/* Before the VM is made: one kind after the other. */

static int
next_kind (struct rcvmi_run *run, rcvm_error **err);

static void
on_kind_done (struct rcvmi_run *run, rcvm_error *err)
{
  int left;

  if (!err)
    {
      left = next_kind (run, &err);
      if (left > 0)
        return;
    }
  if (err)
    rcvmi_run_fail (run, err);
  else
    rcvmi_run_advance (run);
}

/* 1: hooks of some kind are under way; 0: there are no more. */
static int
next_kind (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_spec_hooks *h = run->plan->spec->hooks;
  const struct job kinds[] = {
    { .hooks = { .kind = "prestart", .list = h->prestart, .n = h->n_prestart } },
    { .hooks = { .kind = "createRuntime", .list = h->create_runtime, .n = h->n_create_runtime } },
    { .hooks = { .kind = "createContainer", .list = h->create_container, .n = h->n_create_container }, .inside = true },
  };

  while (run->hooks.next_kind < sizeof kinds / sizeof kinds[0])
    {
      struct job job = kinds[run->hooks.next_kind++];
      int code;

      if (job.hooks.n == 0)
        continue;
      code = begin (run, &job, RCVM_STATUS_CREATING, on_kind_done, err);
      return code < 0 ? code : 1;
    }
  return 0;
}

enum rcvmi_run_step
rcvmi_run_begin_hooks (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_spec_hooks *h = run->plan->spec->hooks;
  int code;

  if (!h)
    return RCVMI_STEP_DONE;
  run->hooks.begun = true;
  if (h->n_poststop && !(run->state.poststop = rcvmi_spec_hooks_to_json (h, err)))
    return RCVMI_STEP_FAILED;
  /* A hook may look at the state by itself. */
  if (rcvmi_run_save (run, err) < 0)
    return RCVMI_STEP_FAILED;
  code = next_kind (run, err);
  return code < 0 ? RCVMI_STEP_FAILED : code > 0 ? RCVMI_STEP_PENDING : RCVMI_STEP_DONE;
}

/* In the guest, where the container's process is PID 1. */
int
rcvmi_run_put_hooks (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_spec_hooks *h = run->plan->spec->hooks;
  struct tlv_writer *w = &run->plan->exec;
  struct rcvmi_state s = run->state;
  autofree char *state = NULL;

  if (!h || h->n_start_container == 0)
    return 0;
  s.pid = 1;
  state = rcvmi_state_to_json (&s, false, err);
  if (!state)
    return RCVM_E_NOMEM;
  tlv_put_str (w, E_STATE, state);
  for (size_t i = 0; i < h->n_start_container; i++)
    {
      const struct rcvmi_spec_hook *hook = &h->start_container[i];
      size_t mark = tlv_begin (w, E_HOOK);

      tlv_put_str (w, H_PATH, hook->path);
      for (char **arg = hook->args; arg && *arg; arg++)
        tlv_put_str (w, H_ARG, *arg);
      for (char **env = hook->env; env && *env; env++)
        tlv_put_str (w, H_ENV, *env);
      if (hook->timeout.set)
        tlv_put_u32 (w, H_TIMEOUT, (uint32_t) hook->timeout.value);
      tlv_end (w, mark);
    }
  return 0;
}

/* Later: what fails is said, and changes nothing. */

static bool
begin_late (struct rcvmi_run *run, struct job *job, int status, void (*done) (struct rcvmi_run *run, rcvm_error *err))
{
  rcvm_error *e = NULL;

  if (job->hooks.n == 0)
    return false;
  job->hooks.go_on = true;
  if (begin (run, job, status, done, &e) == 0)
    return true;
  rcvmi_log_at (run->log, RCVM_LOG_WARNING, "hooks", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
  return false;
}

bool
rcvmi_run_poststart (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run, rcvm_error *err))
{
  const struct rcvmi_spec_hooks *h = run->plan->spec->hooks;
  struct job job = { .hooks = { .kind = "poststart" } };

  if (h)
    {
      job.hooks.list = h->poststart;
      job.hooks.n = h->n_poststart;
    }
  return begin_late (run, &job, RCVM_STATUS_RUNNING, done);
}

bool
rcvmi_run_poststop (struct rcvmi_run *run, void (*done) (struct rcvmi_run *run, rcvm_error *err))
{
  const struct rcvmi_spec_hooks *h = run->hooks.begun ? run->plan->spec->hooks : NULL;
  struct job job = { .hooks = { .kind = "poststop" } };

  run->hooks.begun = false;
  if (h)
    {
      job.hooks.list = h->poststop;
      job.hooks.n = h->n_poststop;
    }
  return begin_late (run, &job, RCVM_STATUS_STOPPED, done);
}
