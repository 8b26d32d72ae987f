/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "defaults.h"
#include "err.h"
#include "plan.h"
#include "proc.h"
#include <runcvm/rootfs.h>
#include "spec.h"
#include "vmm.h"

enum
{
  /* A guest that has not spoken by then never will, however busy the host. */
  BOOT_TIMEOUT_MS = 180000,
  SHUTDOWN_TIMEOUT_MS = 15000,
  /* Between the end of the agent's connection and that of the VMM, whose death says more. */
  DEATH_TIMEOUT_MS = 3000,
  ENTROPY_BYTES = 64
};

enum step
{
  STEP_DONE,
  STEP_PENDING,
  STEP_FAILED
};

struct rcvmi_run
{
  struct rcvmi_ev *ev;
  const struct rcvmi_log *log;
  const struct rcvmi_run_handler *handler;
  void *user;

  struct rcvmi_options options;
  int stdio[3];
  struct rcvmi_state_dir dir;
  struct rcvmi_state state;

  size_t stage; /* the one under way, or the number of stages: created */
  int64_t stage_start;
  bool start_wanted, process_ended, ending;

  struct rcvmi_spec *spec;
  struct rcvmi_plan *plan;
  char *image;
  struct rcvmi_proc builder;
  struct rcvmi_ev_source *builder_source;
  int builder_error_fd;
  struct rcvmi_vmm vmm;
  struct rcvmi_agent *agent;
  struct rcvmi_ev_source *timer;
  struct rcvmi_ev_source *deferred;
  rcvm_error *error; /* what ends the run */
};

static void advance (struct rcvmi_run *run);
static void fail (struct rcvmi_run *run, rcvm_error *err);

static void
add_phase (struct rcvmi_run *run, const char *name, int64_t usec)
{
  struct rcvmi_state_phase *p = &run->state.phases[run->state.n_phases];

  if (run->state.n_phases == RCVMI_STATE_PHASES)
    return;
  snprintf (p->name, sizeof p->name, "%s", name);
  p->usec = usec;
  run->state.n_phases++;
}

static void
set_timer (struct rcvmi_run *run, unsigned ms, rcvmi_ev_fn fn)
{
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (run->timer));
  if (ms == 0)
    return;
  run->timer = rcvmi_ev_add_timer (run->ev, ms, fn, run, &e);
  if (!run->timer)
    fail (run, e);
}

static int
save_state (struct rcvmi_run *run, rcvm_error **err)
{
  return rcvmi_state_dir_write (&run->dir, &run->state, err);
}

/* Stage "spec": what config.json says. */

static enum step
begin_spec (struct rcvmi_run *run, rcvm_error **err)
{
  run->spec = rcvmi_spec_load (&run->options, err);
  return run->spec ? STEP_DONE : STEP_FAILED;
}

/* Stage "plan": everything decided. */

static enum step
begin_plan (struct rcvmi_run *run, rcvm_error **err)
{
  autofree char *kernel = rcvmi_default_kernel (), *initramfs = rcvmi_default_initramfs ();
  struct rcvmi_defaults defaults = { .kernel = kernel, .initramfs = initramfs };
  struct rcvmi_plan *plan;

  if (!kernel || !initramfs)
    {
      rcvmi_fail_nomem (err);
      return STEP_FAILED;
    }
  plan = run->plan = rcvmi_plan_new (steal_ptr (run->spec), &run->options, &defaults, err);
  if (!plan)
    return STEP_FAILED;
  for (char **w = plan->warnings; w && *w; w++)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "plan", "%s", *w);
  run->state.bundle = plan->bundle ? strdup (plan->bundle) : NULL;
  run->state.rootfs = strdup (plan->rootfs);
  run->state.annotations = rcvmi_strv_copy (plan->annotations);
  run->state.oci_version = strdup (rcvmi_spec_get_oci_version (plan->spec));
  run->state.memory = plan->memory;
  run->state.cpus = plan->cpus;
  /* Before the long work: what cannot boot is said at once, and no image is built for it. */
  if (rcvmi_vmm_choose (&run->vmm, plan->hypervisor, err) < 0
      || rcvmi_vmm_check_files (plan->kernel, plan->initramfs, plan->memory, err) < 0)
    return STEP_FAILED;
  run->state.vmm = strdup (run->vmm.ops->name);
  run->state.accel = strdup (run->vmm.accel);
  if (run->vmm.accel_reason)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "vmm", "KVM is not used: %s; the guest runs by translation, much slower",
                  run->vmm.accel_reason);
  return STEP_DONE;
}

/* Stage "rootfs": the image, built by a worker, so that its memory goes with it. */

static int
build_image (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  rcvm_rootfs_options *options = rcvm_rootfs_options_new (err);
  int code = options ? 0 : RCVM_E_NOMEM;

  if (code == 0)
    code = rcvm_rootfs_options_set_size (options, run->plan->rootfs_size, err);
  /* It goes with the VM: a power failure takes nothing that is missed. */
  if (code == 0)
    code = rcvm_rootfs_options_set_sync (options, 0, err);
  for (size_t i = 0; code == 0 && i < run->plan->n_copies; i++)
    code = rcvm_rootfs_options_add_copy (options, run->plan->copies[i].source,
                                         run->plan->copies[i].destination, err);
  if (code == 0)
    code = rcvm_rootfs_build (run->plan->rootfs, run->image, options, err);
  rcvm_rootfs_options_free (options);
  return code;
}

static void
on_image_built (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;
  int status;

  (void) events;
  rcvmi_ev_remove (steal_ptr (run->builder_source));
  status = rcvmi_proc_reap (&run->builder);
  if (rcvmi_proc_read_error (run->builder_error_fd, status, "the worker that builds the root disk", &e) < 0)
    fail (run, e);
  else
    advance (run);
}

static enum step
begin_rootfs (struct rcvmi_run *run, rcvm_error **err)
{
  if (asprintf (&run->image, "%s/root.img", run->dir.path) < 0)
    {
      run->image = NULL;
      rcvmi_fail_nomem (err);
      return STEP_FAILED;
    }
  if (rcvmi_proc_fork (&run->builder, build_image, run, &run->builder_error_fd, err) < 0)
    return STEP_FAILED;
  run->builder_source
      = rcvmi_ev_add (run->ev, run->builder.pidfd, EPOLLIN, on_image_built, run, err);
  return run->builder_source ? STEP_PENDING : STEP_FAILED;
}

static void
undo_rootfs (struct rcvmi_run *run)
{
  rcvmi_ev_remove (steal_ptr (run->builder_source));
  rcvmi_proc_kill (&run->builder);
  if (run->builder_error_fd >= 0)
    close (run->builder_error_fd);
  run->builder_error_fd = -1;
  if (run->image)
    unlink (run->image);
  free (steal_ptr (run->image));
}

/* Stage "vmm": the machine, until it accepts its configuration. */

static void
on_vmm_running (void *user)
{
  advance (user);
}

static void
on_vmm_died (void *user, rcvm_error *err)
{
  fail (user, err);
}

static const struct rcvmi_vmm_handler vmm_handler = { .running = on_vmm_running, .died = on_vmm_died };

static void
on_vmm_timeout (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail_at (&e, "vmm", RCVM_E_TIMEOUT, 0, "the VMM was not ready after %d seconds", BOOT_TIMEOUT_MS / 1000);
  fail (user, e);
}

static enum step
begin_vmm (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_vmm_config config = {
    .id = run->plan->id,
    .kernel = run->plan->kernel,
    .initramfs = run->plan->initramfs,
    .kernel_args = run->plan->kernel_args,
    .memory = run->plan->memory,
    .cpus = run->plan->cpus,
    .disks = { { .path = run->image, .serial = "root" } },
    .n_disks = 1,
    .verbose = run->options.log_level >= RCVM_LOG_DEBUG,
  };

  set_timer (run, BOOT_TIMEOUT_MS, on_vmm_timeout);
  if (rcvmi_vmm_start (&run->vmm, &config, err) < 0)
    return STEP_FAILED;
  /* From here on a killed monitor leaves a VMM that the next one must be able to find. */
  run->state.vmm_pid = run->vmm.proc.pid;
  run->state.vmm_start = rcvmi_proc_start_time (run->vmm.proc.pid);
  return save_state (run, err) < 0 ? STEP_FAILED : STEP_PENDING;
}

static void
undo_vmm (struct rcvmi_run *run)
{
  rcvmi_vmm_stop (&run->vmm);
  run->state.vmm_pid = 0;
}

/* Stage "kernel": boots until the agent says hello. */

static void
on_boot_timeout (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail_at (&e, "agent", RCVM_E_TIMEOUT, 0,
                 "the guest's agent said nothing for %d seconds: look at the guest's console with --log-level debug",
                 BOOT_TIMEOUT_MS / 1000);
  fail (user, e);
}

static void
on_hello (void *user, const char *kernel, uint64_t boot_usec)
{
  struct rcvmi_run *run = user;

  (void) boot_usec;
  free (run->state.kernel);
  run->state.kernel = strdup (kernel);
  advance (run);
}

static void
on_ready (void *user)
{
  advance (user);
}

static void
on_setup_failed (void *user, rcvm_error *err)
{
  fail (user, err);
}

static void finish_shutdown (struct rcvmi_run *run);

static void
on_goodbye (void *user)
{
  finish_shutdown (user);
}

static void
on_death_timeout (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;

  (void) events;
  fail (run, steal_ptr (run->error));
}

static void
on_agent_broken (void *user, rcvm_error *err)
{
  struct rcvmi_run *run = user;

  if (run->ending)
    rcvm_error_free (err);
  else if (run->process_ended)
    {
      /* How it ended is known; without an agent there is nothing left to shut down. */
      rcvm_error_free (err);
      finish_shutdown (run);
    }
  else if (rcvm_error_get_code (err) == RCVM_E_PROTOCOL && run->vmm.proc.pid > 0)
    fail (run, err);
  else
    {
      rcvm_error_free (run->error);
      run->error = err;
      set_timer (run, DEATH_TIMEOUT_MS, on_death_timeout);
    }
}

static const struct rcvmi_agent_ops agent_ops = {
  .hello = on_hello,
  .ready = on_ready,
  .setup_failed = on_setup_failed,
  .goodbye = on_goodbye,
  .broken = on_agent_broken,
};

static enum step
begin_kernel (struct rcvmi_run *run, rcvm_error **err)
{
  set_timer (run, BOOT_TIMEOUT_MS, on_boot_timeout);
  run->agent
      = rcvmi_agent_new (run->ev, rcvmi_vmm_take_agent (&run->vmm), run->log, &agent_ops, run, err);
  return run->agent ? STEP_PENDING : STEP_FAILED;
}

static void
undo_agent (struct rcvmi_run *run)
{
  rcvmi_agent_free (steal_ptr (run->agent));
}

/* Stage "agent": the guest mounts and prepares what the plan says. */

static enum step
begin_agent (struct rcvmi_run *run, rcvm_error **err)
{
  unsigned char entropy[ENTROPY_BYTES];
  struct timespec now;

  if (getrandom (entropy, sizeof entropy, 0) != sizeof entropy)
    {
      rcvmi_fail_errno (err, errno, "cannot draw random bytes for the guest");
      return STEP_FAILED;
    }
  clock_gettime (CLOCK_REALTIME, &now);
  tlv_put_u64 (&run->plan->setup, S_CLOCK_NSEC,
               (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
  tlv_put (&run->plan->setup, S_ENTROPY, entropy, sizeof entropy);
  return rcvmi_agent_setup (run->agent, &run->plan->setup, err) < 0 ? STEP_FAILED : STEP_PENDING;
}

/* The path of one run.  A stage that fails, and those before it, are undone in reverse order. */
static const struct stage
{
  const char *name;
  enum step (*begin) (struct rcvmi_run *run, rcvm_error **err);
  void (*undo) (struct rcvmi_run *run);
} stages[] = {
  { "spec", begin_spec, NULL },
  { "plan", begin_plan, undo_vmm },
  { "rootfs", begin_rootfs, undo_rootfs },
  { "vmm", begin_vmm, undo_vmm },
  { "kernel", begin_kernel, undo_agent },
  { "agent", begin_agent, NULL },
};

enum
{
  N_STAGES = sizeof stages / sizeof stages[0]
};

static void
undo_all (struct rcvmi_run *run)
{
  size_t last = run->stage < N_STAGES ? run->stage : N_STAGES - 1;

  set_timer (run, 0, NULL);
  for (size_t i = last + 1; i-- > 0;)
    if (stages[i].undo)
      stages[i].undo (run);
}

/* The end of a run that had been created, and of one that had not. */
static void
end (struct rcvmi_run *run)
{
  bool was_created = run->stage == N_STAGES;

  undo_all (run);
  if (!was_created)
    {
      run->state.status = RCVM_STATUS_STOPPED;
      run->handler->failed (run->user, steal_ptr (run->error));
      return;
    }
  run->state.finished = time (NULL);
  run->state.error = steal_ptr (run->error);
  if (run->start_wanted && !run->state.started)
    run->handler->not_started (run->user, NULL);
  run->state.status = RCVM_STATUS_STOPPED;
  /* If the state cannot be written, the next call finds a dead monitor and says that. */
  save_state (run, NULL);
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

/* Ends the run when the callbacks under way have returned: they may belong to what is about to be freed. */
static void
defer_end (struct rcvmi_run *run)
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

static void
fail (struct rcvmi_run *run, rcvm_error *err)
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
  defer_end (run);
}

/* The stage under way is done: the next ones, until one has to wait. */
static void
advance (struct rcvmi_run *run)
{
  enum step step = STEP_DONE;
  rcvm_error *e = NULL;

  if (run->ending)
    return;
  while (step == STEP_DONE)
    {
      int64_t now = rcvmi_clock_usec ();

      add_phase (run, stages[run->stage].name, now - run->stage_start);
      run->stage_start = now;
      if (++run->stage == N_STAGES)
        break;
      step = stages[run->stage].begin (run, &e);
    }
  if (step == STEP_FAILED)
    fail (run, e);
  else if (run->stage == N_STAGES)
    {
      set_timer (run, 0, NULL);
      run->state.created = time (NULL);
      run->state.status = RCVM_STATUS_CREATED;
      if (save_state (run, &e) < 0)
        {
          run->stage--;
          fail (run, e);
          return;
        }
      run->handler->status (run->user, RCVM_STATUS_CREATED);
      run->handler->created (run->user);
    }
}

void
rcvmi_run_create (struct rcvmi_run *run, struct rcvmi_state_dir *dir)
{
  rcvm_error *e = NULL;
  enum step step;

  run->dir = *dir;
  *dir = RCVMI_STATE_DIR_INIT;
  run->stage_start = rcvmi_clock_usec ();
  run->state.status = RCVM_STATUS_CREATING;
  run->state.pid = getpid ();
  run->state.pid_start = rcvmi_proc_start_time (getpid ());
  if (save_state (run, &e) < 0)
    {
      fail (run, e);
      return;
    }
  step = stages[0].begin (run, &e);
  if (step == STEP_FAILED)
    fail (run, e);
  else if (step == STEP_DONE)
    advance (run);
}

/* The process. */

static void
on_shutdown_timeout (void *user, uint32_t events)
{
  (void) events;
  rcvmi_log_at (((struct rcvmi_run *) user)->log, RCVM_LOG_WARNING, "agent",
                "the guest did not shut down within %d seconds and is killed", SHUTDOWN_TIMEOUT_MS / 1000);
  finish_shutdown (user);
}

static void
begin_shutdown (struct rcvmi_run *run)
{
  run->process_ended = true;
  set_timer (run, SHUTDOWN_TIMEOUT_MS, on_shutdown_timeout);
  if (rcvmi_agent_shutdown (run->agent, NULL) < 0)
    finish_shutdown (run);
}

/* The disks are quiet. */
static void
finish_shutdown (struct rcvmi_run *run)
{
  if (!run->ending)
    defer_end (run);
}

static void
on_process_started (void *user, uint32_t guest_pid)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  add_phase (run, "process", rcvmi_clock_usec () - run->stage_start);
  run->state.started = time (NULL);
  run->state.status = RCVM_STATUS_RUNNING;
  if (save_state (run, &e) < 0)
    {
      fail (run, e);
      return;
    }
  run->handler->status (run->user, RCVM_STATUS_RUNNING);
  run->handler->started (run->user, guest_pid);
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
  begin_shutdown (run);
}

static void
on_process_exited (void *user, int code, int signum)
{
  struct rcvmi_run *run = user;

  run->state.has_exit = true;
  run->state.exit_code = code;
  run->state.exit_signal = signum;
  begin_shutdown (run);
}

static const struct rcvmi_agent_process_ops process_ops
    = { .started = on_process_started, .failed = on_process_failed, .exited = on_process_exited };

int
rcvmi_run_start (struct rcvmi_run *run, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int64_t number;
  int fds[3];

  if (run->state.status != RCVM_STATUS_CREATED || run->start_wanted || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s: only one that is created can be started",
                       run->options.id,
                       run->start_wanted && run->state.status == RCVM_STATUS_CREATED
                           ? "being started"
                           : rcvm_status_name (run->state.status));
  if (run->stdio[0] < 0 && !run->plan->terminal)
    tlv_put_u32 (&run->plan->exec, E_NO_STDIN, 1);
  if (run->plan->exec.failed)
    return rcvmi_fail_nomem (err);
  for (int i = 0; i < 3; i++)
    fds[i] = steal_fd (&run->stdio[i]);
  run->start_wanted = true;
  run->stage_start = rcvmi_clock_usec ();
  number = rcvmi_agent_exec (run->agent, run->plan->exec.data, run->plan->exec.len, fds, &process_ops, run, &e);
  if (number >= 0)
    return 0;
  /* Its streams are gone: it cannot be started again. */
  run->start_wanted = false;
  rcvmi_error_restore (&run->error, rcvm_error_get_code (e), rcvm_error_get_errno (e), rcvm_error_get_exit_code (e),
                       rcvm_error_get_stage (e), rcvm_error_get_message (e));
  begin_shutdown (run);
  return rcvmi_error_pass (err, e);
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
      begin_shutdown (run);
      return 0;
    }
  if (run->state.status != RCVM_STATUS_RUNNING || run->process_ended || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  /* Its end is told after its output, and nobody may be reading that: SIGKILL does not wait for ever. */
  if (signum == SIGKILL)
    set_timer (run, SHUTDOWN_TIMEOUT_MS, on_kill_timeout);
  return rcvmi_agent_signal (run->agent, RCVMI_AGENT_INIT, signum, all, err);
}

int
rcvmi_run_resize (struct rcvmi_run *run, unsigned rows, unsigned cols, rcvm_error **err)
{
  if (run->state.status != RCVM_STATUS_RUNNING || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  return rcvmi_agent_resize (run->agent, RCVMI_AGENT_INIT, rows, cols, err);
}

void
rcvmi_run_undo (struct rcvmi_run *run)
{
  undo_all (run);
}

void
rcvmi_run_stop (struct rcvmi_run *run)
{
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
  defer_end (run);
}

int64_t
rcvmi_run_exec (struct rcvmi_run *run, const struct rcvmi_exec_options *options, const int fds[3],
                const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err)
{
  struct tlv_writer record = TLV_WRITER_INIT;
  bool terminal;
  int64_t number = 0;

  if (run->state.status != RCVM_STATUS_RUNNING || run->process_ended || run->ending)
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
  run->builder = RCVMI_PROC_INIT;
  run->builder_error_fd = -1;
  run->vmm = (struct rcvmi_vmm){ .ev = ev,
                                 .log = log,
                                 .handler = &vmm_handler,
                                 .user = run,
                                 .proc = RCVMI_PROC_INIT,
                                 .agent_fd = -1,
                                 .output = { .fd = -1 },
                                 .console = { .fd = -1 } };
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
  rcvmi_spec_free (run->spec);
  rcvmi_plan_free (run->plan);
  rcvmi_state_clear (&run->state);
  rcvmi_state_dir_close (&run->dir);
  rcvmi_options_clear (&run->options);
  rcvm_error_free (run->error);
  free (run);
}
