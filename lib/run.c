/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "console.h"
#include "err.h"

void
rcvmi_run_add_phase (struct rcvmi_run *run, const char *name, int64_t usec)
{
  struct rcvmi_state_phase *p = &run->state.phases[run->state.n_phases];

  if (run->state.n_phases == RCVMI_STATE_PHASES)
    return;
  snprintf (p->name, sizeof p->name, "%s", name);
  p->usec = usec;
  run->state.n_phases++;
}

void
rcvmi_run_set_timer (struct rcvmi_run *run, unsigned ms, rcvmi_ev_fn fn)
{
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (run->timer));
  if (ms == 0)
    return;
  run->timer = rcvmi_ev_add_timer (run->ev, ms, fn, run, &e);
  if (!run->timer)
    rcvmi_run_fail (run, e);
}

int
rcvmi_run_save (struct rcvmi_run *run, rcvm_error **err)
{
  return rcvmi_state_dir_write (&run->dir, &run->state, err);
}

/* The path of one run.  A stage that fails, and those before it, are undone in reverse order. */
static const struct stage
{
  const char *name;
  enum rcvmi_run_step (*begin) (struct rcvmi_run *run, rcvm_error **err);
  void (*undo) (struct rcvmi_run *run);
} stages[] = {
  { "spec", rcvmi_run_begin_spec, rcvmi_run_undo_restore },
  { "plan", rcvmi_run_begin_plan, rcvmi_run_undo_vmm },
  { "cgroup", rcvmi_run_begin_cgroup, rcvmi_run_undo_cgroup },
  { "netns", rcvmi_run_begin_netns, NULL },
  { "hooks", rcvmi_run_begin_hooks, rcvmi_run_undo_hooks },
  { "rootfs", rcvmi_run_begin_rootfs, rcvmi_run_undo_rootfs },
  { "disks", rcvmi_run_begin_disks, rcvmi_run_undo_disks },
  { "virtiofs", rcvmi_run_begin_shares, rcvmi_run_undo_shares },
  { "volumes", rcvmi_run_begin_volumes, rcvmi_run_undo_volumes },
  { "notify", rcvmi_run_begin_notify, rcvmi_run_undo_notify },
  { "net", rcvmi_run_begin_net, rcvmi_run_undo_net },
  { "vmm", rcvmi_run_begin_vmm, rcvmi_run_undo_vmm },
  { "kernel", rcvmi_run_begin_kernel, rcvmi_run_undo_agent },
  { "agent", rcvmi_run_begin_agent, NULL },
};

enum
{
  N_STAGES = sizeof stages / sizeof stages[0]
};

static void
undo_all (struct rcvmi_run *run)
{
  size_t last = run->stage < N_STAGES ? run->stage : N_STAGES - 1;

  rcvmi_run_set_timer (run, 0, NULL);
  rcvmi_run_undo_flush (run);
  for (size_t i = last + 1; i-- > 0;)
    if (stages[i].undo)
      stages[i].undo (run);
}

/* The end of one that never came to be. */
static void
end_failed (struct rcvmi_run *run, rcvm_error *hooks)
{
  if (hooks)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "hooks", "%s", rcvm_error_get_message (hooks));
  rcvm_error_free (hooks);
  run->state.status = RCVM_STATUS_STOPPED;
  run->handler->failed (run->user, steal_ptr (run->error));
}

/* The end of a run that had been created, and of one that had not. */
static void
end (struct rcvmi_run *run)
{
  bool was_created = run->stage == N_STAGES;

  /* Whoever started it waits for the hooks of after the start, and goes on when they are done. */
  if (was_created && run->hooks.worker.proc.pid > 0)
    {
      run->hooks.end_waits = true;
      return;
    }

  if (was_created)
    {
      /* Nobody writes to the disks any more. */
      rcvmi_run_set_timer (run, 0, NULL);
      rcvmi_run_abort_flush (run);
      rcvmi_run_undo_agent (run);
      rcvmi_run_undo_vmm (run);
      if (rcvmi_run_write_back (run, end))
        return;
    }
  else
    run->changes_wanted = false;
  undo_all (run);
  if (!was_created)
    {
      if (!rcvmi_run_poststop (run, end_failed))
        end_failed (run, NULL);
      return;
    }
  run->state.finished = time (NULL);
  run->state.error = steal_ptr (run->error);
  if (run->start_wanted && !run->state.started)
    run->handler->not_started (run->user, NULL);
  run->state.status = RCVM_STATUS_STOPPED;
  /* If the state cannot be written, the next call finds a dead monitor and says that. */
  rcvmi_run_save (run, NULL);
  run->handler->status (run->user, RCVM_STATUS_STOPPED);
  run->handler->stopped (run->user);
}

static void
on_deferred_end (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;

  (void) events;
  rcvmi_ev_remove (steal_ptr (run->deferred));
  end (run);
}

void
rcvmi_run_end_after_hooks (struct rcvmi_run *run)
{
  if (!run->hooks.end_waits)
    return;
  run->hooks.end_waits = false;
  end (run);
}

void
rcvmi_run_defer_end (struct rcvmi_run *run)
{
  rcvm_error *e = NULL;

  run->ending = true;
  if (run->deferred)
    return;
  run->deferred = rcvmi_ev_add_timer (run->ev, 0, on_deferred_end, run, &e);
  if (!run->deferred)
    {
      /* Without even a timer there is no orderly way: the process's end undoes the rest. */
      rcvm_error_free (e);
      rcvmi_ev_stop (run->ev);
    }
}

void
rcvmi_run_fail (struct rcvmi_run *run, rcvm_error *err)
{
  if (run->ending)
    {
      rcvm_error_free (err);
      return;
    }
  /* After the process's end only the guest's shutdown can still go wrong, and the exit code is known. */
  if (run->process_ended)
    rcvm_error_free (err);
  else
    {
      rcvm_error_free (run->error);
      run->error = err;
    }
  rcvmi_run_defer_end (run);
}

void
rcvmi_run_advance (struct rcvmi_run *run)
{
  enum rcvmi_run_step step = RCVMI_STEP_DONE;
  rcvm_error *e = NULL;

  if (run->ending)
    return;
  while (step == RCVMI_STEP_DONE)
    {
      int64_t now = rcvmi_clock_usec ();

      rcvmi_run_add_phase (run, stages[run->stage].name, now - run->stage_start);
      run->stage_start = now;
      if (++run->stage == N_STAGES)
        break;
      step = stages[run->stage].begin (run, &e);
    }
  if (step == RCVMI_STEP_FAILED)
    rcvmi_run_fail (run, e);
  else if (run->stage == N_STAGES)
    {
      rcvmi_run_set_timer (run, 0, NULL);
      run->state.created = time (NULL);
      run->state.status = RCVM_STATUS_CREATED;
      if (rcvmi_run_net_watch (run, &e) < 0 || rcvmi_run_limit_time (run, &e) < 0 || rcvmi_run_save (run, &e) < 0)
        {
          run->stage--;
          rcvmi_run_fail (run, e);
          return;
        }
      /* Nothing is said to a guest that sleeps. */
      if (run->restore)
        rcvmi_run_net_hold (run);
      else
        rcvmi_run_watch_lookers (run);
      run->handler->status (run->user, RCVM_STATUS_CREATED);
      run->handler->created (run->user);
    }
}

void
rcvmi_run_create (struct rcvmi_run *run, struct rcvmi_state_dir *dir)
{
  rcvm_error *e = NULL;
  enum rcvmi_run_step step;

  run->dir = *dir;
  *dir = RCVMI_STATE_DIR_INIT;
  run->stage_start = rcvmi_clock_usec ();
  run->state.status = RCVM_STATUS_CREATING;
  run->state.pid = getpid ();
  run->state.pid_start = rcvmi_proc_start_time (getpid ());
  if (rcvmi_run_save (run, &e) < 0)
    {
      rcvmi_run_fail (run, e);
      return;
    }
  if (run->options.console && (run->console = rcvmi_console_take (run->stdio[0], &e)) < 0)
    {
      rcvmi_run_fail (run, e);
      return;
    }
  step = stages[0].begin (run, &e);
  if (step == RCVMI_STEP_FAILED)
    rcvmi_run_fail (run, e);
  else if (step == RCVMI_STEP_DONE)
    rcvmi_run_advance (run);
}

void
rcvmi_run_undo (struct rcvmi_run *run)
{
  undo_all (run);
}

void
rcvmi_run_stop (struct rcvmi_run *run)
{
  /* Nobody waits for hooks then. */
  rcvmi_run_abort_hooks (run);
  if (run->ending)
    return;
  if (run->state.status == RCVM_STATUS_CREATING)
    rcvmi_fail (&run->error, RCVM_E_CANCELLED, 0, "the start of VM '%s' was cancelled", run->options.id);
  else if (!run->state.has_exit && !run->error)
    {
      run->state.has_exit = true;
      run->state.exit_code = 128 + SIGKILL;
      run->state.exit_signal = SIGKILL;
    }
  rcvmi_run_defer_end (run);
}

struct rcvmi_agent *
rcvmi_run_agent (struct rcvmi_run *run)
{
  return run->agent;
}

const struct rcvmi_state *
rcvmi_run_state (const struct rcvmi_run *run)
{
  return &run->state;
}

struct rcvmi_state_dir *
rcvmi_run_dir (struct rcvmi_run *run)
{
  return &run->dir;
}

struct rcvmi_run *
rcvmi_run_new (struct rcvmi_ev *ev, const struct rcvmi_log *log, struct rcvmi_options *options,
               const int stdio[3], const struct rcvmi_run_handler *handler, void *user, rcvm_error **err)
{
  struct rcvmi_run *run = calloc (1, sizeof *run);

  if (!run || !(run->state.id = strdup (options->id)))
    {
      free (run);
      for (int i = 0; i < 3; i++)
        if (stdio[i] >= 0)
          close (stdio[i]);
      rcvmi_options_clear (options);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  run->ev = ev;
  run->log = log;
  run->handler = handler;
  run->user = user;
  run->options = *options;
  *options = RCVMI_OPTIONS_INIT;
  memcpy (run->stdio, stdio, sizeof run->stdio);
  run->dir = RCVMI_STATE_DIR_INIT;
  run->disks = RCVMI_DISKS_INIT;
  run->base_fd = run->console = -1;
  run->host_netns_fd = -1;
  run->hooks.worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  run->worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  run->worker_fd = -1;
  run->vmm = (struct rcvmi_vmm){ .ev = ev,
                                 .log = log,
                                 .handler = &rcvmi_run_vmm_handler,
                                 .user = run,
                                 .proc = RCVMI_PROC_INIT,
                                 .agent_fd = -1,
                                 .volumes_fd = -1,
                                 .listeners = RCVMI_VMM_LISTENERS_INIT,
                                 .output = RCVMI_VMM_TEXT_INIT,
                                 .console = RCVMI_VMM_TEXT_INIT };
  return run;
}

void
rcvmi_run_free (struct rcvmi_run *run)
{
  if (!run)
    return;
  undo_all (run);
  rcvmi_ev_remove (run->deferred);
  for (int i = 0; i < 3; i++)
    if (run->stdio[i] >= 0)
      close (run->stdio[i]);
  cleanup_close (&run->console);
  rcvmi_run_undo_hooks (run);
  cleanup_close (&run->host_netns_fd);
  rcvmi_spec_free (run->spec);
  rcvmi_plan_free (run->plan);
  rcvmi_state_clear (&run->state);
  rcvmi_state_dir_close (&run->dir);
  rcvmi_options_clear (&run->options);
  rcvm_error_free (run->error);
  free (run);
}
