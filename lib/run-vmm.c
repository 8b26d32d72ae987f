/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stages "vmm", "kernel" and "agent": a machine, its kernel, and what is prepared inside of it. */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "err.h"
#include "spec-types.h"

enum
{
  /* Between the end of the agent's connection and that of the VMM, whose death says more. */
  DEATH_TIMEOUT_MS = 3000,
  ENTROPY_BYTES = 64,
  /* A guest that boots is busy: one that has used no more than this between two looks stands still. */
  LOOK_MS = 3000,
  STANDSTILL_MS = 30,
  MAX_RESETS = 2
};

/* Stage "vmm": the machine, until it accepts its configuration. */

static void
on_vmm_running (void *user)
{
  rcvmi_run_advance (user);
}

int
rcvmi_run_choose_vmm (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;

  return rcvmi_vmm_choose (&run->vmm, plan->hypervisor,
                           (rcvmi_plan_expects_nics (plan) ? RCVMI_VMM_NEEDS_MORE_NICS : 0)
                               | (plan->n_shares ? RCVMI_VMM_NEEDS_VIRTIOFS : 0) | (plan->link ? RCVMI_VMM_NEEDS_LINK : 0),
                           err);
}

/* What the template could not, another process of the VMM does from the beginning. */
static void
boot_after_all (struct rcvmi_run *run)
{
  rcvm_error *e = NULL;

  rcvmi_vmm_stop (&run->vmm);
  if (rcvmi_run_choose_vmm (run, &e) < 0 || rcvmi_run_start_vmm (run, &e) < 0)
    rcvmi_run_fail (run, e);
}

static void
on_vmm_died (void *user, rcvm_error *err)
{
  struct rcvmi_run *run = user;

  if (!run->takes_channels && rcvmi_run_blame_template (run, err))
    {
      boot_after_all (run);
      return;
    }

  if (rcvmi_cgroup_oom_kills (&run->cgroup) > 0)
    {
      rcvm_error_free (steal_ptr (err));
      rcvmi_fail_at (&err, "vmm", RCVM_E_VMM, 0,
                     "the VMM (%s) was killed because the container's cgroup on the host had used up its memory: the guest's %"
                     PRIu64 " MiB and what the VMM needs; raise the limit that an engine has set there",
                     run->vmm.ops->name, run->plan->memory / (1024 * 1024));
    }
  rcvmi_run_fail (run, err);
}

static void on_vmm_connected (void *user);

const struct rcvmi_vmm_handler rcvmi_run_vmm_handler
    = { .running = on_vmm_running, .connected = on_vmm_connected, .died = on_vmm_died };

static void
on_vmm_timeout (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail_at (&e, "vmm", RCVM_E_TIMEOUT, 0, "the VMM was not ready after %d seconds", RCVMI_RUN_BOOT_TIMEOUT_MS / 1000);
  rcvmi_run_fail (user, e);
}

/* In the order in which the plan has told the guest of them. */
static void
put_disks (struct rcvmi_run *run, struct rcvmi_vmm_config *config)
{
  struct rcvmi_vmm_disk *disk = config->disks;

  if (run->plan->root_disk == RCVMI_ROOT_SINGLE)
    *disk++ = (struct rcvmi_vmm_disk){ .path = run->disks.root, .serial = "root", .passing = true, .own = true };
  else
    {
      *disk++ = (struct rcvmi_vmm_disk){ .path = run->base, .serial = "root", .readonly = true, .own = true };
      *disk++ = (struct rcvmi_vmm_disk){ .path = run->disks.upper,
                                        .serial = "upper",
                                        .passing = run->plan->changes == RCVMI_CHANGES_DISCARD,
                                        .own = true };
    }
  disk = rcvmi_run_put_disks (run, disk);
  config->n_disks = (size_t) (disk - config->disks);
}

int
rcvmi_run_configure (struct rcvmi_run *run, struct rcvmi_vmm_config *config, rcvm_error **err)
{
  *config = (struct rcvmi_vmm_config){
    .id = run->plan->id,
    .dir_fd = run->dir.fd,
    .kernel = run->plan->kernel,
    .initramfs = run->plan->initramfs,
    .kernel_args = run->plan->kernel_args,
    .memory = run->plan->memory,
    .more_memory = run->plan->memory_max - run->plan->memory,
    .cpus = run->plan->cpus,
    .balloon = run->plan->balloon,
    .tuning = run->plan->tuning,
    .volumes = (run->link ? 0 : run->plan->n_volumes) + run->plan->n_diods > 0,
    .verbose = run->options.log_level >= RCVM_LOG_DEBUG,
  };

  if (config->tuning.huge_pages && rcvmi_tuning_check_huge_pages (config->memory, err) < 0)
    return RCVM_E_HOST;
  put_disks (run, config);
  rcvmi_run_put_shares (run, config);
  rcvmi_run_put_link (run, config);
  return rcvmi_run_net_config (run, config, err);
}

int
rcvmi_run_start_vmm (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_vmm_config config;
  int code = rcvmi_run_configure (run, &config, err);

  if (code < 0)
    return code;
  rcvmi_run_put_template (run, &config);
  code = rcvmi_run_put_restore (run, &config, err);
  if (code < 0)
    return code;
  rcvmi_run_set_timer (run, RCVMI_RUN_BOOT_TIMEOUT_MS, on_vmm_timeout);
  code = rcvmi_vmm_start (&run->vmm, &config, err);
  if (code < 0)
    return code;
  /* From here on a killed monitor leaves a VMM that the next one must be able to find. */
  run->state.vmm_pid = run->vmm.proc.pid;
  run->state.vmm_start = rcvmi_proc_start_time (run->vmm.proc.pid);
  return rcvmi_run_save (run, err);
}

enum rcvmi_run_step
rcvmi_run_begin_vmm (struct rcvmi_run *run, rcvm_error **err)
{
  enum rcvmi_run_step step = RCVMI_STEP_DONE;
  struct rcvmi_vmm_config config;

  if (run->template && rcvmi_run_configure (run, &config, err) < 0)
    return RCVMI_STEP_FAILED;
  if (run->template)
    step = rcvmi_run_begin_template (run, &config, err);
  if (step == RCVMI_STEP_DONE && rcvmi_run_start_vmm (run, err) < 0)
    return RCVMI_STEP_FAILED;
  return step == RCVMI_STEP_FAILED ? step : RCVMI_STEP_PENDING;
}

void
rcvmi_run_undo_vmm (struct rcvmi_run *run)
{
  rcvmi_vmm_stop (&run->vmm);
  rcvmi_run_undo_attach (run);
  rcvmi_run_undo_template (run);
  rcvmi_run_undo_restore (run);
  run->state.vmm_pid = 0;
}

/* Stage "kernel": boots until the agent says hello. */

static void
on_boot_timeout (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;
  char line[400];

  (void) events;
  rcvmi_run_doubt_template (run);
  rcvmi_vmm_last_words (&run->vmm, line, sizeof line);
  rcvmi_fail_at (&e, "agent", RCVM_E_TIMEOUT, 0, "the guest's agent said nothing for %d seconds%s%s",
                 (int) ((rcvmi_clock_ms () - run->boot_began_ms) / 1000),
                 line[0] ? "; its console's last word: " : "; --log-level debug lets its kernel speak",
                 line);
  rcvmi_run_fail (run, e);
}

static void on_boot_look (void *user, uint32_t events);

static void
wait_for_hello (struct rcvmi_run *run)
{
  run->boot_cpu_ms = rcvmi_proc_cpu_ms (run->vmm.proc.pid);
  rcvmi_run_set_timer (run, LOOK_MS, on_boot_look);
}

/* Emulated, a machine without a PIT has but one timer, which its kernel measures by the clock that has been told to it.  Where the host
   lets the VMM wait for a tenth of a second just then, the kernel finds a timer that is too slow to be used, does without, and waits for
   ever as soon as it waits for anything.  No event tells of that. */
static void
on_boot_look (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  int64_t used = rcvmi_proc_cpu_ms (run->vmm.proc.pid) - run->boot_cpu_ms;
  rcvm_error *e = NULL;

  (void) events;
  if (rcvmi_clock_ms () - run->boot_began_ms >= RCVMI_RUN_BOOT_TIMEOUT_MS
      || (used <= STANDSTILL_MS && run->boot_resets == MAX_RESETS))
    {
      on_boot_timeout (run, 0);
      return;
    }
  if (used <= STANDSTILL_MS && run->vmm.ops->reset && strcmp (run->vmm.accel, "tcg") == 0)
    {
      run->boot_resets++;
      if (rcvmi_vmm_reset (&run->vmm, &e) < 0)
        {
          rcvmi_run_fail (run, e);
          return;
        }
      rcvmi_log_at (run->log, RCVM_LOG_INFO, "vmm", "the guest stood still in its boot, and boots once more");
    }
  wait_for_hello (run);
}

static void
on_hello (void *user, const char *kernel, uint64_t boot_usec)
{
  struct rcvmi_run *run = user;
  int64_t left;

  (void) boot_usec;
  if (run->snapshot)
    {
      rcvmi_run_snapshot_returned (run);
      return;
    }
  /* It has booted, and may wait for something else. */
  left = run->boot_began_ms + RCVMI_RUN_BOOT_TIMEOUT_MS - rcvmi_clock_ms ();
  rcvmi_run_set_timer (run, left > 0 ? (unsigned) left : 1, on_boot_timeout);
  free (run->state.kernel);
  run->state.kernel = strdup (kernel);
  rcvmi_run_advance (run);
}

static void
on_ready (void *user)
{
  rcvmi_run_advance (user);
}

static void
on_setup_failed (void *user, rcvm_error *err)
{
  rcvmi_run_fail (user, err);
}

static void
on_goodbye (void *user)
{
  struct rcvmi_run *run = user;

  run->disks.quiet = true;
  rcvmi_run_finish_shutdown (run);
}

static void
on_death_timeout (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;

  (void) events;
  rcvmi_run_fail (run, steal_ptr (run->error));
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
      rcvmi_run_finish_shutdown (run);
    }
  else if (rcvm_error_get_code (err) == RCVM_E_PROTOCOL && run->vmm.proc.pid > 0)
    rcvmi_run_fail (run, err);
  else
    {
      rcvm_error_free (run->error);
      run->error = err;
      rcvmi_run_set_timer (run, DEATH_TIMEOUT_MS, on_death_timeout);
    }
}

static const struct rcvmi_agent_ops agent_ops = {
  .hello = on_hello,
  .ready = on_ready,
  .setup_failed = on_setup_failed,
  .goodbye = on_goodbye,
  .net_answer = rcvmi_run_net_answer,
  .disk_answer = rcvmi_run_disk_answer,
  .cgroup_answer = rcvmi_run_cgroup_answer,
  .oom = rcvmi_run_oom,
  .synced = rcvmi_run_synced,
  .name_query = rcvmi_run_name_query,
  .frozen = rcvmi_run_copies_frozen,
  .thawed = rcvmi_run_copies_thawed,
  .changed = rcvmi_run_copies_changed,
  .quiesced = rcvmi_run_quiesced,
  .gone_on = rcvmi_run_gone_on,
  .broken = on_agent_broken,
};

/* Whichever is later: the stage, or the guest's connections. */
static int
take_channels (struct rcvmi_run *run, rcvm_error **err)
{
  int fd = rcvmi_vmm_take_agent (&run->vmm);

  if (fd >= 0 && run->agent)
    {
      /* Out of turn: a guest whose connection still holds. */
      if (!rcvmi_agent_is_asleep (run->agent))
        {
          close (fd);
          return rcvmi_fail_at (err, "agent", RCVM_E_PROTOCOL, 0, "the guest connected to the agent's channel twice");
        }
      if (rcvmi_agent_reconnect (run->agent, fd, err) < 0)
        return RCVM_E_SYSTEM;
    }
  else if (fd >= 0)
    {
      run->agent = rcvmi_agent_new (run->ev, fd, run->log, &agent_ops, run, err);
      if (!run->agent)
        return RCVM_E_SYSTEM;
      if (run->restore)
        rcvmi_agent_expect_sleeper (run->agent);
    }
  return rcvmi_run_carry_volumes (run, err);
}

static void
on_vmm_connected (void *user)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  if (run->takes_channels && take_channels (run, &e) < 0)
    rcvmi_run_fail (run, e);
}

enum rcvmi_run_step
rcvmi_run_begin_kernel (struct rcvmi_run *run, rcvm_error **err)
{
  run->boot_began_ms = rcvmi_clock_ms ();
  run->boot_resets = 0;
  wait_for_hello (run);
  run->takes_channels = true;
  return take_channels (run, err) < 0 ? RCVMI_STEP_FAILED : RCVMI_STEP_PENDING;
}

void
rcvmi_run_undo_agent (struct rcvmi_run *run)
{
  rcvmi_run_undo_snapshot (run);
  rcvmi_run_undo_net_ops (run);
  rcvmi_run_undo_attach_ops (run);
  rcvmi_run_undo_live (run);
  rcvmi_run_undo_requests (run);
  rcvmi_run_undo_names (run);
  rcvmi_agent_free (steal_ptr (run->agent));
  run->takes_channels = false;
}

/* Stage "agent": the guest mounts and prepares what the plan says. */

/* Where the host's cgroup cannot limit it. */
static void
put_guest_cpu (struct rcvmi_run *run)
{
  const struct rcvmi_spec_lx *lx = run->plan->spec->lx;
  struct tlv_writer pairs = TLV_WRITER_INIT;

  if (!lx || !lx->resources || rcvmi_cgroup_of (&run->cgroup, "cpu"))
    return;
  rcvmi_plan_guest_cpu (&pairs, lx->resources, run->plan->cpus, false);
  run->plan->setup.failed |= pairs.failed;
  if (pairs.len)
    tlv_put (&run->plan->setup, S_CGROUP, pairs.data, pairs.len);
  tlv_writer_free (&pairs);
}

enum rcvmi_run_step
rcvmi_run_begin_agent (struct rcvmi_run *run, rcvm_error **err)
{
  unsigned char entropy[ENTROPY_BYTES];
  struct timespec now;

  if (getrandom (entropy, sizeof entropy, 0) != sizeof entropy)
    {
      rcvmi_fail_errno (err, errno, "cannot draw random bytes for the guest");
      return RCVMI_STEP_FAILED;
    }
  /* It has been set up, and the rest it learns when it is started. */
  if (run->restore)
    return RCVMI_STEP_DONE;
  put_guest_cpu (run);
  if (rcvmi_run_begin_live (run, err) < 0 || rcvmi_run_tell_template (run, err) < 0)
    return RCVMI_STEP_FAILED;
  clock_gettime (CLOCK_REALTIME, &now);
  tlv_put_u64 (&run->plan->setup, S_CLOCK_NSEC,
               (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
  tlv_put (&run->plan->setup, S_ENTROPY, entropy, sizeof entropy);
  return rcvmi_agent_setup (run->agent, &run->plan->setup, err) < 0 ? RCVMI_STEP_FAILED : RCVMI_STEP_PENDING;
}
