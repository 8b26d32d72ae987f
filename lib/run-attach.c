/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks that come to a VM that runs: claimed and looked at as those of the start (run-disks.c), given to the VMM, and mounted by the
 * guest; and back.  One at a time: the guest tells a new disk from the others by what was not there before.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "host-disk.h"
#include "plan-parts.h"
#include "volume-figures.h"

enum
{
  ANSWER_TIMEOUT_MS = 90000, /* beyond what the guest waits for a device */
  WAITING_MAX = 64,
  SECTOR = 512
};

struct hot_disk
{
  char *source, *target;
  char *fstype; /* what was said, then what it is */
  bool read_only;
  bool there; /* in the guest */
  struct rcvmi_host_disk host;
  unsigned slot;
};

/* What somebody has asked for. */
struct op
{
  struct op *next;
  struct hot_disk *disk; /* of an attachment: its own until the guest has it */
  char *target;          /* of a detachment */
  rcvmi_run_net_fn done; /* NULL: nobody waits */
  void *user;
};

struct rcvmi_run_attach
{
  struct hot_disk *disks[RCVMI_VMM_HOT_DISKS]; /* by slot */
  struct op *ops; /* the first is under way */
  bool asked;     /* and the guest has been asked */
  uint32_t number;
  struct rcvmi_ev_source *timer;
};

static void begin_next (struct rcvmi_run *run);

static void
free_disk (struct hot_disk *d)
{
  if (!d)
    return;
  rcvmi_host_disk_close (&d->host);
  free (d->source);
  free (d->target);
  free (d->fstype);
  free (d);
}

static void
free_op (struct op *op)
{
  free_disk (op->disk);
  free (op->target);
  free (op);
}

static struct hot_disk *
find (const struct rcvmi_run_attach *a, const char *target)
{
  for (size_t i = 0; a && i < RCVMI_VMM_HOT_DISKS; i++)
    if (a->disks[i] && strcmp (a->disks[i]->target, target) == 0)
      return a->disks[i];
  return NULL;
}

/* The guest. */

static void
tell (struct rcvmi_run *run, rcvm_error *e)
{
  rcvmi_log_at (run->log, RCVM_LOG_WARNING, "volumes", "%s", rcvm_error_get_message (e));
  rcvm_error_free (e);
}

/* The first is over; the error is its owner's. */
static void
finish (struct rcvmi_run *run, rcvm_error *e)
{
  struct rcvmi_run_attach *a = run->attach;
  struct op *op = a->ops;
  rcvmi_run_net_fn done = op->done;
  void *user = op->user;

  rcvmi_ev_remove (steal_ptr (a->timer));
  a->asked = false;
  a->ops = op->next;
  free_op (op);
  if (done)
    done (user, NULL, e);
  else if (e)
    tell (run, e);
  begin_next (run);
}

/* What the VMM does not let go of stays claimed until the VM ends: somebody else could not have it safely. */
static void
drop_disk (struct rcvmi_run *run, struct hot_disk *d, rcvm_error **err)
{
  if (rcvmi_vmm_remove_disk (&run->vmm, d->slot, err) < 0)
    return;
  run->attach->disks[d->slot] = NULL;
  free_disk (d);
}

void
rcvmi_run_disk_answer (void *user, uint32_t number, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_attach *a = run->attach;
  rcvm_error *e = NULL;
  struct hot_disk *d;

  if (!a || !a->asked || number != a->number)
    {
      rcvm_error_free (err);
      return;
    }
  d = find (a, a->ops->target);
  if (d && !d->there)
    {
      d->there = !err;
      if (err)
        drop_disk (run, d, &e);
      if (e)
        tell (run, e);
    }
  else if (d && !err)
    {
      d->there = false;
      drop_disk (run, d, &err);
    }
  finish (run, err);
}

static void
on_no_answer (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  struct hot_disk *d = find (run->attach, run->attach->ops->target);
  rcvm_error *e = NULL;

  (void) events;
  /* Nobody knows what becomes of it. */
  if (d)
    d->there = false;
  rcvmi_fail (&e, RCVM_E_GUEST, 0, "the guest's agent said nothing about the disk for %d seconds", ANSWER_TIMEOUT_MS / 1000);
  finish (run, e);
}

static int
ask (struct rcvmi_run *run, uint16_t type, struct tlv_writer *w, rcvm_error **err)
{
  struct rcvmi_run_attach *a = run->attach;

  a->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS, on_no_answer, run, err);
  if (!a->timer)
    {
      tlv_writer_free (w);
      return RCVM_E_SYSTEM;
    }
  a->asked = true;
  return rcvmi_agent_disk (run->agent, type, ++a->number, w, err);
}

/* A disk that comes. */

static int
measure (const struct hot_disk *d, uint64_t *bytes, rcvm_error **err)
{
  struct stat st;

  if (d->host.device ? ioctl (d->host.fd, BLKGETSIZE64, bytes) < 0 : fstat (d->host.fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot measure the disk '%.200s'", d->source);
  if (!d->host.device)
    *bytes = (uint64_t) st.st_size;
  *bytes -= *bytes % SECTOR;
  return *bytes ? 0 : rcvmi_fail (err, RCVM_E_INVALID, 0, "the disk '%.200s' is empty", d->source);
}

static int
open_disk (struct hot_disk *d, uint64_t *bytes, rcvm_error **err)
{
  struct rcvmi_plan_disk p = { .source = d->source, .target = d->target };
  char type[RCVMI_ROOTFS_TYPE];
  int code = rcvmi_host_disk_open (&d->host, d->source, d->read_only, err);

  if (code == 0)
    code = measure (d, bytes, err);
  if (code == 0 && !d->fstype)
    {
      code = rcvmi_run_disk_type (&p, &d->host, type, err);
      if (code == 0 && !(d->fstype = strdup (type)))
        code = rcvmi_fail_nomem (err);
    }
  return code;
}

static int
begin_attach (struct rcvmi_run *run, struct op *op, rcvm_error **err)
{
  struct rcvmi_run_attach *a = run->attach;
  struct hot_disk *d = op->disk;
  struct rcvmi_vmm_hot_disk hot = { .readonly = d->read_only };
  struct tlv_writer w = TLV_WRITER_INIT;
  int code;

  if (find (a, d->target))
    return rcvmi_fail (err, RCVM_E_EXISTS, 0, "VM '%s' has a disk at '%.200s' already", run->options.id, d->target);
  code = open_disk (d, &hot.bytes, err);
  if (code < 0)
    return code;
  hot.path = d->host.path;
  hot.fd = d->host.fd;
  hot.device = d->host.device;
  code = rcvmi_vmm_add_disk (&run->vmm, &hot, err);
  if (code < 0)
    return code;
  d->slot = hot.slot;
  a->disks[d->slot] = steal_ptr (op->disk);
  tlv_put_u32 (&w, B_SLOT, d->slot);
  if (hot.serial[0])
    tlv_put_str (&w, B_SERIAL, hot.serial);
  if (hot.kept)
    tlv_put_u32 (&w, B_KEPT, 1);
  tlv_put_u64 (&w, B_BYTES, hot.bytes);
  tlv_put_str (&w, B_TARGET, d->target);
  tlv_put_str (&w, B_TYPE, d->fstype);
  if (d->read_only)
    tlv_put_u64 (&w, B_FLAGS, MS_RDONLY);
  code = ask (run, AGENT_DISK_ADD, &w, err);
  if (code < 0)
    drop_disk (run, d, NULL);
  return code;
}

static int
begin_detach (struct rcvmi_run *run, struct op *op, rcvm_error **err)
{
  struct hot_disk *d = find (run->attach, op->target);
  struct tlv_writer w = TLV_WRITER_INIT;

  if (!d)
    {
      for (size_t i = 0; i < run->plan->n_disks; i++)
        if (run->plan->disks[i].target && strcmp (run->plan->disks[i].target, op->target) == 0)
          return rcvmi_fail (err, RCVM_E_STATE, 0, "the disk at '%.200s' is one of the start of VM '%s': only those that came later can be detached",
                             op->target, run->options.id);
      return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "VM '%s' has no disk at '%.200s' that was attached to it", run->options.id, op->target);
    }
  if (!d->there)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the disk at '%.200s' cannot be detached: the VMM or the guest has not let go of it, and it is free when the VM ends",
                       op->target);
  tlv_put_u32 (&w, B_SLOT, d->slot);
  return ask (run, AGENT_DISK_DEL, &w, err);
}

static int
check (const struct rcvmi_run *run, rcvm_error **err)
{
  int status = run->state.status;

  if (status == RCVM_STATUS_PAUSED)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused: resume it first", run->options.id);
  if (!run->agent || run->process_ended || run->ending || (status != RCVM_STATUS_CREATED && status != RCVM_STATUS_RUNNING))
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  return 0;
}

static void
begin_next (struct rcvmi_run *run)
{
  struct rcvmi_run_attach *a = run->attach;

  while (a->ops && !a->asked)
    {
      struct op *op = a->ops;
      rcvm_error *e = NULL;
      int code = check (run, &e);

      if (code == 0)
        code = op->disk ? begin_attach (run, op, &e) : begin_detach (run, op, &e);
      if (code < 0)
        {
          /* It comes back here. */
          finish (run, e);
          return;
        }
    }
}

/* What others ask for. */

static int
add_op (struct rcvmi_run *run, struct op *op, rcvm_error **err)
{
  struct op **last;
  size_t n = 0;

  if (!run->attach)
    run->attach = calloc (1, sizeof *run->attach);
  if (!run->attach)
    return rcvmi_fail_nomem (err);
  for (last = &run->attach->ops; *last; last = &(*last)->next)
    n++;
  if (n >= WAITING_MAX)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "too many requests about the disks of VM '%s' are under way", run->options.id);
  *last = op;
  if (n == 0)
    begin_next (run);
  return 0;
}

/* Takes what was made; `whole`: there was memory for all of it. */
static int
begin (struct rcvmi_run *run, struct op *op, bool whole, rcvm_error **err)
{
  int code = whole ? add_op (run, op, err) : rcvmi_fail_nomem (err);

  if (code < 0 && op)
    free_op (op);
  return code;
}

int
rcvmi_run_disk_attach (struct rcvmi_run *run, const struct rcvmi_run_disk_order *o, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct op *op;
  int code = check (run, err);

  if (code == 0 && o->fstype && !rcvmi_plan_is_fstype (o->fstype))
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no type of a file system, for the disk '%.200s'", o->fstype, o->source);
  if (code == 0 && (o->source[0] != '/' || o->target[0] != '/'))
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the disk '%.200s' and its place '%.200s' have to be absolute paths", o->source, o->target);
  if (code < 0)
    return code;
  op = calloc (1, sizeof *op);
  if (op)
    *op = (struct op){ .disk = calloc (1, sizeof *op->disk), .target = strdup (o->target), .done = done, .user = user };
  if (op && op->disk)
    {
      *op->disk = (struct hot_disk){ .source = strdup (o->source),
                                     .target = strdup (o->target),
                                     .fstype = o->fstype ? strdup (o->fstype) : NULL,
                                     .read_only = o->read_only,
                                     .host = RCVMI_HOST_DISK_INIT };
    }
  return begin (run, op,
                op && op->disk && op->target && op->disk->source && op->disk->target && (!o->fstype || op->disk->fstype), err);
}

int
rcvmi_run_disk_detach (struct rcvmi_run *run, const char *target, rcvmi_run_net_fn done, void *user, rcvm_error **err)
{
  struct op *op;
  int code = check (run, err);

  if (code < 0)
    return code;
  op = calloc (1, sizeof *op);
  if (op)
    *op = (struct op){ .target = strdup (target), .done = done, .user = user };
  return begin (run, op, op && op->target, err);
}

void
rcvmi_run_attach_forget (struct rcvmi_run *run, void *user)
{
  for (struct op *op = run->attach ? run->attach->ops : NULL; op; op = op->next)
    if (op->done && op->user == user)
      op->done = NULL;
}

char *
rcvmi_run_disks_json (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_volume_disk list[RCVMI_VMM_DISKS + RCVMI_VMM_HOT_DISKS];
  size_t n = 0;

  for (size_t i = 0; i < run->plan->n_disks; i++)
    {
      const struct rcvmi_plan_disk *p = &run->plan->disks[i];

      if (p->kind == RCVMI_PLAN_DISK_BLOCK)
        list[n++] = (struct rcvmi_volume_disk){ p->source, p->target, p->fstype, p->read_only, false };
    }
  for (size_t i = 0; run->attach && i < RCVMI_VMM_HOT_DISKS; i++)
    {
      const struct hot_disk *d = run->attach->disks[i];

      if (d)
        list[n++] = (struct rcvmi_volume_disk){ d->source, d->target, d->fstype, d->read_only, true };
    }
  return rcvmi_volume_disks_json (list, n, err);
}

/* A pause. */

void
rcvmi_run_hold_attach (struct rcvmi_run *run)
{
  if (run->attach)
    rcvmi_ev_remove (steal_ptr (run->attach->timer));
}

int
rcvmi_run_go_on_with_attach (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_run_attach *a = run->attach;

  if (!a || !a->asked || a->timer)
    return 0;
  a->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS, on_no_answer, run, err);
  return a->timer ? 0 : RCVM_E_SYSTEM;
}

/* The end. */

void
rcvmi_run_undo_attach_ops (struct rcvmi_run *run)
{
  struct rcvmi_run_attach *a = run->attach;

  if (!a)
    return;
  rcvmi_ev_remove (steal_ptr (a->timer));
  a->asked = false;
  while (a->ops)
    {
      struct op *op = a->ops;
      rcvm_error *e = NULL;

      a->ops = op->next;
      if (op->done)
        {
          rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' has stopped", run->options.id);
          op->done (op->user, NULL, e);
        }
      free_op (op);
    }
}

void
rcvmi_run_undo_attach (struct rcvmi_run *run)
{
  struct rcvmi_run_attach *a = steal_ptr (run->attach);

  for (size_t i = 0; a && i < RCVMI_VMM_HOT_DISKS; i++)
    free_disk (a->disks[i]);
  free (a);
}
