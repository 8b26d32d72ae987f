/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stage "disks": what the VM has of disks beyond those of its root; claimed, looked at, and told to the guest. */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "host-disk.h"
#include "rootfs.h"

struct rcvmi_run_disks
{
  struct rcvmi_host_disk disks[RCVMI_VMM_DISKS];
  char serials[RCVMI_VMM_DISKS][16];
  size_t n;
};

/* Where libblkid's name is not the kernel's. */
static const char *
kernel_name (const char *type)
{
  return strcmp (type, "msdos") == 0 ? "vfat" : type;
}

static int
find_type (const struct rcvmi_plan_disk *p, const struct rcvmi_host_disk *d, char type[RCVMI_ROOTFS_TYPE],
           rcvm_error **err)
{
  char usage[RCVMI_ROOTFS_TYPE];
  int code = rcvmi_rootfs_probe (d->fd, d->path, type, usage, err);

  if (code < 0 || strcmp (usage, "filesystem") == 0)
    return code;
  if (*type)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.200s' holds no file system that could be mounted at '%.200s', but %.40s (%.40s): fstype=raw "
                       "gives the VM the disk itself",
                       d->path, p->target, type, usage);
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "'%.200s' holds no known file system that could be mounted at '%.200s': say which one it is "
                     "(fstype=TYPE), or give the VM the disk itself (fstype=raw)",
                     d->path, p->target);
}

static int
open_block (struct rcvmi_run *run, size_t index, rcvm_error **err)
{
  const struct rcvmi_plan_disk *p = &run->plan->disks[index];
  struct rcvmi_host_disk *d = &run->more_disks->disks[index];
  struct tlv_writer *w = &run->plan->setup;
  char type[RCVMI_ROOTFS_TYPE], locator[16];
  size_t mark;
  int code = rcvmi_host_disk_open (d, p->source, p->read_only, err);

  if (code < 0 || p->fstype)
    return code;
  code = find_type (p, d, type, err);
  if (code < 0)
    return code;
  rcvmi_plan_disk_locator (run->plan, index, locator);
  mark = tlv_begin (w, S_DISK_TYPE);
  tlv_put_str (w, K_NAME, locator);
  tlv_put_str (w, K_VALUE, kernel_name (type));
  tlv_end (w, mark);
  return 0;
}

enum rcvmi_run_step
rcvmi_run_begin_disks (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_run_disks *m;

  if (plan->n_disks == 0)
    return RCVMI_STEP_DONE;
  m = run->more_disks = calloc (1, sizeof *m);
  if (!m)
    {
      rcvmi_fail_nomem (err);
      return RCVMI_STEP_FAILED;
    }
  for (size_t i = 0; i < plan->n_disks; i++)
    {
      m->disks[i] = RCVMI_HOST_DISK_INIT;
      snprintf (m->serials[i], sizeof m->serials[i], "volume%zu", i);
      m->n++;
      if (plan->disks[i].kind == RCVMI_PLAN_DISK_BLOCK && open_block (run, i, err) < 0)
        return RCVMI_STEP_FAILED;
    }
  return RCVMI_STEP_DONE;
}

void
rcvmi_run_undo_disks (struct rcvmi_run *run)
{
  struct rcvmi_run_disks *m = steal_ptr (run->more_disks);

  for (size_t i = 0; m && i < m->n; i++)
    rcvmi_host_disk_close (&m->disks[i]);
  free (m);
}

struct rcvmi_vmm_disk *
rcvmi_run_put_disks (struct rcvmi_run *run, struct rcvmi_vmm_disk *out)
{
  for (size_t i = 0; i < run->plan->n_disks; i++)
    {
      const struct rcvmi_plan_disk *p = &run->plan->disks[i];
      const struct rcvmi_host_disk *d = &run->more_disks->disks[i];

      if (p->kind == RCVMI_PLAN_DISK_BINDS)
        *out++ = (struct rcvmi_vmm_disk){ .path = run->disks.binds, .serial = "binds", .passing = true };
      else
        *out++ = (struct rcvmi_vmm_disk){ .path = d->path,
                                          .serial = run->more_disks->serials[i],
                                          .readonly = p->read_only,
                                          .device = d->device };
    }
  return out;
}
