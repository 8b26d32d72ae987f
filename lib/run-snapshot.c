/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container that runs is written into a directory, and goes on or ends (docs/snapshots.md).
 *
 *   the monitor   what can be refused is; a directory beside the place
 *   a worker      for a difference of which the VMM knows what has changed: the memory of the snapshot below is copied there
 *   the monitor   its files are the VMM's to write to
 *   the monitor   a VM that is paused goes on, for the guest has to do its part; afterwards it is paused again
 *   the guest     is quiet: its processes stand still, and nothing is under way in the channels
 *   a worker      pauses, saves, copies the disks, lets it go on; then writes the rest, and puts the directory in its place
 *   the guest     connects once more, is told the time, and its processes go on
 */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "run-parts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "snapshot.h"

enum
{
  ENTROPY_BYTES = 64
};

struct rcvmi_run_snapshot
{
  struct rcvmi_run *run;
  struct rcvmi_worker worker;
  struct rcvmi_snapshot s;
  char *place, *temp;
  char *parent; /* NULL: it is whole */
  bool noted;   /* the VMM has noted what has changed since the parent, and no more than that is written */
  char *paths[RCVMI_VMM_DISKS]; /* of s.disks */
  bool leave_running, resting, saved, gone_on, answered;
  bool was_paused; /* and will be again */
  rcvm_error *error;
  rcvmi_run_json_fn done;
  void *user;
};

/* Whoever buries a dead monitor removes what it had begun. */
static int
remember_temp (struct rcvmi_run *run, const char *temp, rcvm_error **err)
{
  bool had = run->state.saving != NULL;

  free (steal_ptr (run->state.saving));
  if (temp && !(run->state.saving = strdup (temp)))
    return rcvmi_fail_nomem (err);
  return had || temp ? rcvmi_run_save (run, err) : 0;
}

/* Docker's containerd pauses what it has saved, and lets it go on later. */
static void
pause_again (struct rcvmi_run *run)
{
  rcvm_error *e = NULL;

  if (run->ending || run->process_ended || run->state.status != RCVM_STATUS_RUNNING)
    return;
  if (rcvmi_run_stand_still (run, &e) == 0)
    rcvmi_run_set_status (run, RCVM_STATUS_PAUSED);
  else
    rcvmi_log_at (run->log, RCVM_LOG_ERROR, "snapshot", "the VM was paused, and is not any more: %s", rcvm_error_get_message (e));
  rcvm_error_free (e);
}

static void
finish (struct rcvmi_run *run)
{
  struct rcvmi_run_snapshot *n = steal_ptr (run->snapshot);

  rcvmi_run_stop_worker (&n->worker);
  rcvmi_run_puts_forget (run, n);
  if (n->error && n->temp)
    rcvmi_snapshot_discard (n->temp);
  remember_temp (run, NULL, NULL);
  if (!run->ending)
    rcvmi_run_lift_memory (run, false);
  if (n->was_paused)
    pause_again (run);
  if (n->done)
    n->done (n->user, NULL, n->error);
  else
    rcvm_error_free (n->error);
  for (size_t i = 0; i < RCVMI_VMM_DISKS; i++)
    free (n->paths[i]);
  free (n->place);
  free (n->parent);
  free (n->temp);
  free (n);
  if (!run->ending && run->state.status != RCVM_STATUS_PAUSED)
    rcvmi_run_puts_go_on (run);
}

bool
rcvmi_run_is_being_saved (const struct rcvmi_run *run)
{
  return run->snapshot && run->snapshot->resting;
}

void
rcvmi_run_undo_snapshot (struct rcvmi_run *run)
{
  struct rcvmi_run_snapshot *n = run->snapshot;

  if (!n)
    return;
  /* What is in its place by now stays there. */
  if (!n->error && !n->saved)
    rcvmi_fail (&n->error, RCVM_E_CANCELLED, 0, "VM '%s' has stopped before it was saved", run->options.id);
  finish (run);
}

void
rcvmi_run_snapshot_forget (struct rcvmi_run *run, void *user)
{
  if (run->snapshot && run->snapshot->user == user)
    run->snapshot->done = NULL;
}

/* In the worker. */

static int
copy_disks (struct rcvmi_run_snapshot *n, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; code == 0 && i < n->s.n_disks; i++)
    {
      char name[RCVMI_SNAPSHOT_SERIAL + 8];
      autofree char *path = NULL;

      snprintf (name, sizeof name, "disk-%s", n->s.disks[i].serial);
      path = rcvmi_snapshot_path (n->temp, name);
      code = path ? rcvmi_snapshot_disk_pack (n->paths[i], path, &n->s.disks[i], err) : rcvmi_fail_nomem (err);
    }
  return code;
}

static int
copy_parent (void *user, rcvm_error **err)
{
  const struct rcvmi_run *run = user;
  const struct rcvmi_run_snapshot *n = run->snapshot;
  autofree char *path = rcvmi_snapshot_path (n->temp, "memory");

  return path ? rcvmi_snapshot_memory_put (n->parent, n->s.parent_digest, path, 0, err) : rcvmi_fail_nomem (err);
}

/* Once: a VM that runs and is told to go on waits for its guest to take an event of vsock that never comes. */
static int
go_on (struct rcvmi_run *run, int code, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int after = run->vmm.ops->go_on_running (&e);

  if (code == 0 && after < 0)
    return rcvmi_error_pass (err, e);
  rcvm_error_free (e);
  return code;
}

static int
save (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_snapshot *n = run->snapshot;
  rcvm_error *e = NULL;
  int code = run->vmm.ops->save_running (n->noted, &e);
  bool goes_on;

  if (code == 0)
    code = copy_disks (n, &e);
  /* As soon as nothing of it is needed any more. */
  goes_on = n->leave_running || code < 0;
  if (goes_on)
    code = go_on (run, code, &e);
  if (code == 0)
    code = rcvmi_snapshot_publish (&n->s, n->temp, n->place, n->parent, &run->options, &e);
  if (code < 0 && !goes_on)
    code = go_on (run, code, &e);
  return code < 0 ? rcvmi_error_pass (err, e) : 0;
}

/* In the monitor. */

static void
on_too_late (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail_at (&e, "snapshot", RCVM_E_TIMEOUT, 0, "the VM did not go on within %d seconds after it had been saved",
                 RCVMI_RUN_BOOT_TIMEOUT_MS / 1000);
  rcvmi_run_fail (user, e);
}

static void
check_all_done (struct rcvmi_run *run)
{
  struct rcvmi_run_snapshot *n = run->snapshot;

  if (!n->saved || !n->gone_on)
    return;
  rcvmi_run_set_timer (run, 0, NULL);
  finish (run);
}

static void
on_saved (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_snapshot *n = run->snapshot;
  int code;

  (void) events;
  code = rcvmi_run_end_worker (&n->worker, "the worker that saves the VM", &n->error);
  run->vmm.ops->withdraw (&run->vmm);
  n->saved = true;
  if (code == 0)
    snprintf (run->noted_since, sizeof run->noted_since, "%s", n->s.id);
  if (code < 0 || n->leave_running)
    {
      check_all_done (run);
      return;
    }
  rcvmi_run_set_timer (run, 0, NULL);
  n->was_paused = false;
  finish (run);
  rcvmi_run_stop (run);
}

void
rcvmi_run_quiesced (void *user, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_snapshot *n = run->snapshot;

  if (!n)
    {
      rcvm_error_free (err);
      return;
    }
  if (!err)
    {
      rcvmi_run_net_hold (run);
      rcvmi_run_hold_requests (run);
      rcvmi_run_hold_live (run);
      rcvmi_agent_save (run->agent, &n->s.streams);
      /* What was noted is forgotten once it is written, whatever becomes of that. */
      run->noted_since[0] = 0;
      if (rcvmi_run_start_worker (run, &n->worker, save, run->vmm.ops->control (&run->vmm), on_saved, &err) == 0)
        return;
      /* Nobody has touched the connection. */
      n->error = err;
      n->saved = true;
      rcvmi_run_snapshot_returned (run);
      return;
    }
  rcvmi_run_set_timer (run, 0, NULL);
  run->vmm.ops->withdraw (&run->vmm);
  n->error = err;
  finish (run);
}

int
rcvmi_run_put_moment (struct tlv_writer *w, rcvm_error **err)
{
  unsigned char entropy[ENTROPY_BYTES];
  struct timespec now;

  if (getrandom (entropy, sizeof entropy, 0) != sizeof entropy)
    return rcvmi_fail_errno (err, errno, "cannot draw random bytes for the guest");
  clock_gettime (CLOCK_REALTIME, &now);
  tlv_put_u64 (w, S_CLOCK_NSEC, (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
  tlv_put (w, S_ENTROPY, entropy, sizeof entropy);
  return 0;
}

void
rcvmi_run_snapshot_returned (struct rcvmi_run *run)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  if (rcvmi_run_put_moment (&w, &e) < 0)
    tlv_writer_free (&w);
  else
    rcvmi_agent_go_on_from (run->agent, 0, &w, &e);
  if (e)
    rcvmi_run_fail (run, e);
}

void
rcvmi_run_gone_on (void *user, rcvm_error *err)
{
  struct rcvmi_run *run = user;

  if (!err && rcvmi_run_net_go_on (run, &err) == 0 && rcvmi_run_go_on_with_live (run, &err) == 0)
    rcvmi_run_go_on_with_requests (run, &err);
  if (run->restore)
    {
      rcvmi_run_restored (run, err);
      return;
    }
  if (err)
    {
      rcvmi_run_fail (run, err);
      return;
    }
  run->snapshot->gone_on = true;
  check_all_done (run);
}

/* What is not saved, or would not be there again. */
static int
check_kinds (const struct rcvmi_run *run, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;

  if (config->more_memory)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "a VM to which memory may come later cannot be saved with its container: no RUNCVM_MEMORY_MAX does without");
  if (config->tuning.huge_pages)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "a VM with huge pages cannot be restored, so it is not saved");
  if (plan->n_diods || run->unfsd || config->n_shares)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "volumes by 9P, virtiofs or another NFS server do not outlive their connections, so the container cannot be saved");
  if (rcvmi_plan_copies_go_back (plan))
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "a container with copy volumes that are written back cannot be saved");
  for (size_t i = 0; i < config->n_disks; i++)
    if (!config->disks[i].own)
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "a container with disks of the host ('%.200s') cannot be saved, since these go on to change",
                         config->disks[i].path);
  for (size_t i = 0; i < plan->n_volumes; i++)
    if (plan->volumes[i].tcp)
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "a container with volumes by TCP cannot be saved: use those through the tunnel");
  return 0;
}

static int
fill (struct rcvmi_run *run, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct rcvmi_run_snapshot *n = run->snapshot;
  const uint8_t *key = rcvmi_run_volumes_key (run);
  int code = rcvmi_snapshot_identify (&run->vmm, config, &n->s, err);

  n->s.hotplug = config->hotplug;
  for (size_t i = 0; i < config->n_nics; i++)
    {
      n->s.nics[i].number = config->nics[i].number;
      memcpy (n->s.nics[i].mac, config->nics[i].mac, sizeof n->s.nics[i].mac);
      n->s.n_nics++;
    }
  for (size_t i = 0; code == 0 && i < config->n_disks; i++)
    {
      const struct rcvmi_vmm_disk *d = &config->disks[i];
      const char *slash = strrchr (d->path, '/'), *dot;

      if (d->readonly && strcmp (d->path, run->disks.root) != 0)
        {
          /* In the cache, under its key. */
          dot = slash ? strrchr (slash, '.') : NULL;
          if (!dot || (size_t) (dot - slash) > sizeof n->s.base)
            code = rcvmi_fail (err, RCVM_E_SYSTEM, 0, "'%.200s' is no image of the cache", d->path);
          else
            snprintf (n->s.base, sizeof n->s.base, "%.*s", (int) (dot - slash - 1), slash + 1);
          continue;
        }
      snprintf (n->s.disks[n->s.n_disks].serial, sizeof n->s.disks[0].serial, "%s", d->serial);
      n->paths[n->s.n_disks] = strdup (d->path);
      if (!n->paths[n->s.n_disks++])
        code = rcvmi_fail_nomem (err);
    }
  if (!run->machine[0])
    rcvmi_snapshot_draw_id (run->machine);
  snprintf (n->s.machine, sizeof n->s.machine, "%s", run->machine);
  rcvmi_snapshot_draw_id (n->s.id);
  if (code == 0 && n->parent)
    code = rcvmi_snapshot_descend (&n->s, n->place, n->parent, err);
  n->noted = n->parent && config->tuning.track_memory && strcmp (run->noted_since, n->s.parent_id) == 0;
  n->s.guest_pid = run->hooks.guest_pid;
  n->s.has_key = key != NULL;
  if (key)
    memcpy (n->s.key, key, sizeof n->s.key);
  return code;
}

static int
check_state (const struct rcvmi_run *run, rcvm_error **err)
{
  if ((run->state.status != RCVM_STATUS_RUNNING && run->state.status != RCVM_STATUS_PAUSED) || run->process_ended || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is %s: only one that runs, or is paused, can be saved", run->options.id,
                       rcvm_status_name (run->state.status));
  if (rcvmi_run_is_flushing (run) || run->hooks.worker.proc.pid > 0)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is being written back, or its hooks run: try again", run->options.id);
  return 0;
}

static int
begin_quiesce (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_run_snapshot *n = run->snapshot;
  autofree char *memory = rcvmi_snapshot_path (n->temp, "memory"), *state = rcvmi_snapshot_path (n->temp, "state");
  int code;

  if (!memory || !state)
    return rcvmi_fail_nomem (err);
  code = run->vmm.ops->offer (&run->vmm, memory, state, err);
  if (code < 0)
    return code;
  code = run->vmm.ops->listen_again (&run->vmm, err);
  if (code == 0)
    code = rcvmi_agent_quiesce (run->agent, 0, err);
  if (code < 0)
    run->vmm.ops->withdraw (&run->vmm);
  else
    rcvmi_run_set_timer (run, RCVMI_RUN_BOOT_TIMEOUT_MS, on_too_late);
  n->resting = code == 0;
  return code;
}

static void
on_put (void *user)
{
  struct rcvmi_run_snapshot *n = user;
  int code = check_state (n->run, &n->error);

  if (code == 0)
    code = begin_quiesce (n->run, &n->error);
  if (code < 0)
    finish (n->run);
}

/* What others have put into the root by now is saved, too. */
static int
quiesce_when_put (struct rcvmi_run *run, rcvm_error **err)
{
  run->snapshot->was_paused = run->state.status == RCVM_STATUS_PAUSED;
  if (run->snapshot->was_paused && rcvmi_run_go_on (run, err) < 0)
    return RCVM_E_VMM;
  return rcvmi_run_puts_first (run, on_put, run->snapshot) ? 0 : begin_quiesce (run, err);
}

static void
on_parent_copied (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_snapshot *n = run->snapshot;
  int code = rcvmi_run_end_worker (&n->worker, "the worker that copies the snapshot below", &n->error);

  (void) events;
  if (code == 0)
    code = check_state (run, &n->error);
  if (code == 0)
    code = quiesce_when_put (run, &n->error);
  if (code < 0)
    finish (run);
}

static int
begin (struct rcvmi_run *run, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct rcvmi_run_snapshot *n = run->snapshot;
  int code = fill (run, config, err);

  if (code == 0)
    code = rcvmi_snapshot_name (n->place, &n->temp, err);
  if (code == 0)
    code = remember_temp (run, n->temp, err);
  if (code == 0)
    code = rcvmi_snapshot_begin (n->temp, err);
  if (code < 0)
    return code;
  rcvmi_run_lift_memory (run, true);
  if (n->parent)
    rcvmi_log_at (run->log, RCVM_LOG_INFO, "snapshot", n->noted ? "the VMM writes what it has noted as changed since '%s'"
                                                                : "the VMM has not noted what has changed since '%s': all is written, and compared",
                  n->parent);
  if (n->noted)
    return rcvmi_run_start_worker (run, &n->worker, copy_parent, -1, on_parent_copied, err);
  return quiesce_when_put (run, err);
}

int
rcvmi_run_snapshot (struct rcvmi_run *run, const struct rcvmi_run_snapshot_order *order, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_vmm_config config;
  struct rcvmi_run_snapshot *n;
  int code;

  if (run->snapshot)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is being saved: try again when that is done", run->options.id);
  code = check_state (run, err);
  if (code < 0)
    return code;
  if (order->dir[0] != '/' || (order->parent && order->parent[0] != '/'))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.200s' is no absolute path", order->dir[0] != '/' ? order->dir : order->parent);
  code = rcvmi_vmm_check_save (&run->vmm, err);
  if (code == 0)
    code = rcvmi_run_configure (run, &config, err);
  if (code == 0)
    code = check_kinds (run, &config, err);
  if (code < 0)
    return code;
  n = run->snapshot = calloc (1, sizeof *n);
  if (!n)
    return rcvmi_fail_nomem (err);
  *n = (struct rcvmi_run_snapshot){ .run = run, .worker = { .proc = RCVMI_PROC_INIT, .error_fd = -1 }, .leave_running = order->leave_running };
  n->place = strdup (order->dir);
  n->parent = order->parent ? strdup (order->parent) : NULL;
  code = n->place && (n->parent || !order->parent) ? begin (run, &config, &n->error) : rcvmi_fail_nomem (&n->error);
  if (code < 0)
    {
      rcvm_error *e = NULL;

      e = steal_ptr (n->error);
      rcvmi_fail (&n->error, RCVM_E_CANCELLED, 0, "not begun");
      finish (run);
      return rcvmi_error_pass (err, e);
    }
  n->done = done;
  n->user = user;
  return 0;
}
