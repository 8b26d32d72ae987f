/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens in a VM that is created: its process, further ones, signals, the guest's shutdown. */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "console.h"
#include "err.h"

enum
{
  /* For a guest that is told to kill what runs in it. */
  KILL_TIMEOUT_MS = 5000,
  SHUTDOWN_LASTING_TIMEOUT_MS = 60000
};

/* Changes that shall last have to reach a disk that may be busy. */
static unsigned
shutdown_timeout (const struct rcvmi_run *run)
{
  return run->plan->changes == RCVMI_CHANGES_DISCARD && !rcvmi_plan_copies_go_back (run->plan) ? RCVMI_RUN_SHUTDOWN_TIMEOUT_MS : SHUTDOWN_LASTING_TIMEOUT_MS;
}

static void
on_shutdown_timeout (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;

  (void) events;
  /* It writes to its volumes yet. */
  if (rcvmi_run_link_is_used (run))
    {
      rcvmi_run_set_timer (run, RCVMI_RUN_SHUTDOWN_TIMEOUT_MS, on_shutdown_timeout);
      return;
    }
  rcvmi_log_at (run->log, RCVM_LOG_WARNING, "agent", "the guest did not shut down within %u seconds and is killed",
                shutdown_timeout (run) / 1000);
  rcvmi_run_finish_shutdown (run);
}

void
rcvmi_run_begin_shutdown (struct rcvmi_run *run)
{
  run->process_ended = true;
  /* What it had said before it was paused has arrived just now. */
  if (run->state.status == RCVM_STATUS_PAUSED)
    rcvmi_run_resume (run, NULL);
  rcvmi_run_undo_live (run);
  rcvmi_run_link_is_used (run);
  rcvmi_run_set_timer (run, shutdown_timeout (run), on_shutdown_timeout);
  if (rcvmi_agent_shutdown (run->agent, NULL) < 0)
    rcvmi_run_finish_shutdown (run);
}

void
rcvmi_run_extend_shutdown (struct rcvmi_run *run)
{
  int64_t now = rcvmi_clock_ms ();

  if (!run->process_ended || run->ending || now - run->shutdown_extended < 1000)
    return;
  run->shutdown_extended = now;
  rcvmi_run_set_timer (run, RCVMI_RUN_SHUTDOWN_TIMEOUT_MS, on_shutdown_timeout);
}

/* The disks are quiet. */
void
rcvmi_run_finish_shutdown (struct rcvmi_run *run)
{
  if (!run->ending)
    rcvmi_run_defer_end (run);
}

static void
on_poststart_done (struct rcvmi_run *run, rcvm_error *err)
{
  if (err)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "hooks", "%s", rcvm_error_get_message (err));
  rcvm_error_free (err);
  run->handler->started (run->user, run->hooks.guest_pid);
  rcvmi_run_end_after_hooks (run);
}

void
rcvmi_run_process_started (struct rcvmi_run *run, uint32_t guest_pid)
{
  rcvm_error *e = NULL;

  rcvmi_run_add_phase (run, "process", rcvmi_clock_usec () - run->stage_start);
  run->state.started = time (NULL);
  run->state.status = RCVM_STATUS_RUNNING;
  if (rcvmi_run_save (run, &e) < 0)
    {
      rcvmi_run_fail (run, e);
      return;
    }
  run->handler->status (run->user, RCVM_STATUS_RUNNING);
  rcvmi_run_start_live (run);
  /* Its size may have changed since the start was asked for. */
  rcvmi_run_follow_console (run);
  run->hooks.guest_pid = guest_pid;
  if (!rcvmi_run_poststart (run, on_poststart_done))
    on_poststart_done (run, NULL);
}

static void
on_process_started (void *user, uint32_t guest_pid)
{
  rcvmi_run_process_started (user, guest_pid);
}

static void
on_process_failed (void *user, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  rcvm_error *copy = NULL;

  rcvmi_error_restore (&copy, rcvm_error_get_code (err), rcvm_error_get_errno (err),
                       rcvm_error_get_exit_code (err), rcvm_error_get_stage (err),
                       rcvm_error_get_message (err));
  rcvm_error_free (run->error);
  run->error = copy;
  run->start_wanted = false;
  run->handler->not_started (run->user, err);
  rcvmi_run_begin_shutdown (run);
}

static void
on_process_exited (void *user, int code, int signum)
{
  struct rcvmi_run *run = user;

  run->state.has_exit = true;
  run->state.exit_code = code;
  run->state.exit_signal = signum;
  rcvmi_run_begin_shutdown (run);
}

static const struct rcvmi_agent_process_ops process_ops
    = { .started = on_process_started, .failed = on_process_failed, .exited = on_process_exited };

static int
exec_first (struct rcvmi_run *run, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int64_t number;
  int fds[3];

  for (int i = 0; i < 3; i++)
    fds[i] = steal_fd (&run->stdio[i]);
  number = rcvmi_agent_exec (run->agent, run->plan->exec.data, run->plan->exec.len, fds, &process_ops, run, &e);
  if (number >= 0)
    return 0;
  /* Its streams are gone: it cannot be started again. */
  run->start_wanted = false;
  rcvmi_error_restore (&run->error, rcvm_error_get_code (e), rcvm_error_get_errno (e), rcvm_error_get_exit_code (e),
                       rcvm_error_get_stage (e), rcvm_error_get_message (e));
  rcvmi_run_begin_shutdown (run);
  return rcvmi_error_pass (err, e);
}

void
rcvmi_run_start_process (struct rcvmi_run *run)
{
  rcvm_error *e = NULL;

  if (exec_first (run, &e) < 0)
    run->handler->not_started (run->user, e);
}

int
rcvmi_run_start (struct rcvmi_run *run, rcvm_error **err)
{
  unsigned rows, cols;
  int waits;

  if (run->state.status != RCVM_STATUS_CREATED || run->start_wanted || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s: only one that is created can be started",
                       run->options.id,
                       run->start_wanted && run->state.status == RCVM_STATUS_CREATED
                           ? "being started"
                           : rcvm_status_name (run->state.status));
  if (run->restore)
    {
      run->start_wanted = true;
      run->stage_start = rcvmi_clock_usec ();
      waits = rcvmi_run_start_restored (run, &process_ops, err);
      if (waits < 0)
        rcvmi_run_stop (run);
      return waits;
    }
  /* What was put into the network namespace meanwhile is there before the process is. */
  waits = rcvmi_run_net_sync (run, err);
  if (waits < 0)
    return waits;
  if (run->stdio[0] < 0 && !run->plan->terminal)
    tlv_put_u32 (&run->plan->exec, E_NO_STDIN, 1);
  /* The last ones count. */
  if (rcvmi_console_size (run->console, &rows, &cols))
    {
      tlv_put_u32 (&run->plan->exec, E_ROWS, rows);
      tlv_put_u32 (&run->plan->exec, E_COLS, cols);
    }
  if (rcvmi_run_wants_names (run))
    tlv_put_u32 (&run->plan->exec, E_NAMES, 1);
  if (rcvmi_run_put_hooks (run, err) < 0 || run->plan->exec.failed)
    return rcvmi_fail_nomem (err);
  run->start_wanted = true;
  run->stage_start = rcvmi_clock_usec ();
  run->start_waits_for_net = waits > 0;
  return waits ? 0 : exec_first (run, err);
}

static bool
is_running (const struct rcvmi_run *run)
{
  return (run->state.status == RCVM_STATUS_RUNNING || run->state.status == RCVM_STATUS_PAUSED) && !run->process_ended
         && !run->ending;
}

static void
on_kill_timeout (void *user, uint32_t events)
{
  (void) events;
  rcvmi_run_stop (user);
}

int
rcvmi_run_kill (struct rcvmi_run *run, int signum, bool all, rcvm_error **err)
{
  /* A container that waits to be started has no process: what ends it ends the VM, as with runc. */
  if (run->state.status == RCVM_STATUS_CREATED && !run->start_wanted && !run->ending)
    {
      if (signum != SIGKILL && signum != SIGTERM && signum != SIGINT)
        return 0;
      run->state.has_exit = true;
      run->state.exit_code = 128 + signum;
      run->state.exit_signal = signum;
      rcvmi_run_begin_shutdown (run);
      return 0;
    }
  if (!is_running (run))
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  /* Other signals wait until it goes on; what has no say in the matter does not. */
  if (signum == SIGKILL && run->state.status == RCVM_STATUS_PAUSED && rcvmi_run_resume (run, err) < 0)
    return RCVM_E_VMM;
  /* Its end is told after its output, and nobody may be reading that: SIGKILL does not wait for ever. */
  if (signum == SIGKILL)
    {
      rcvmi_run_undo_live (run);
      rcvmi_run_set_timer (run, RCVMI_RUN_SHUTDOWN_TIMEOUT_MS, on_kill_timeout);
    }
  return rcvmi_agent_signal (run->agent, RCVMI_AGENT_INIT, signum, all, err);
}

void
rcvmi_run_stop_gently (struct rcvmi_run *run)
{
  rcvmi_run_abort_hooks (run);
  /* One that shuts down already has its own time for that. */
  if (run->process_ended && !run->ending)
    return;
  if ((!run->changes_wanted && !run->volumes) || rcvmi_run_kill (run, SIGKILL, true, NULL) < 0)
    rcvmi_run_stop (run);
  else if (!run->process_ended)
    rcvmi_run_set_timer (run, KILL_TIMEOUT_MS, on_kill_timeout);
}

int
rcvmi_run_resize (struct rcvmi_run *run, unsigned rows, unsigned cols, rcvm_error **err)
{
  if (!is_running (run))
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  return rcvmi_agent_resize (run->agent, RCVMI_AGENT_INIT, rows, cols, err);
}

void
rcvmi_run_follow_console (struct rcvmi_run *run)
{
  unsigned rows, cols;

  /* Before the start it is read when that comes. */
  if (rcvmi_console_size (run->console, &rows, &cols))
    rcvmi_run_resize (run, rows, cols, NULL);
}

int64_t
rcvmi_run_exec (struct rcvmi_run *run, const struct rcvmi_exec_options *options, const int fds[3],
                const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err)
{
  struct tlv_writer record = TLV_WRITER_INIT;
  bool terminal;
  int64_t number = 0;

  if (is_running (run) && run->state.status == RCVM_STATUS_PAUSED)
    number = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused: resume it first", run->options.id);
  else if (!is_running (run))
    number = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  if (number == 0)
    number = rcvmi_plan_exec (run->plan, options, &record, &terminal, err);
  if (number == 0 && fds[0] < 0 && !terminal)
    tlv_put_u32 (&record, E_NO_STDIN, 1);
  if (number == 0 && record.failed)
    number = rcvmi_fail_nomem (err);
  if (number == 0)
    number = rcvmi_agent_exec (run->agent, record.data, record.len, fds, ops, user, err);
  else
    for (int i = 0; i < 3; i++)
      if (fds[i] >= 0)
        close (fds[i]);
  tlv_writer_free (&record);
  return number;
}
