/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stage "disks" (and a part of "rootfs", for those that have to be made): what the VM has of disks beyond those of its root; claimed, looked at, and told to the guest. */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "host-disk.h"
#include "rootfs.h"

struct rcvmi_run_disks
{
  struct rcvmi_host_disk disks[RCVMI_VMM_DISKS];
  char serials[RCVMI_VMM_DISKS][16];
  char *own[RCVMI_VMM_DISKS]; /* images that go with the VM */
  size_t n;
};

/* Where libblkid's name is not the kernel's. */
static const char *
kernel_name (const char *type)
{
  return strcmp (type, "msdos") == 0 ? "vfat" : type;
}

int
rcvmi_run_disk_type (const struct rcvmi_plan_disk *p, const struct rcvmi_host_disk *d, char type[RCVMI_ROOTFS_TYPE],
                     rcvm_error **err)
{
  char usage[RCVMI_ROOTFS_TYPE];
  int code = rcvmi_rootfs_probe (d->fd, p->source, type, usage, err);

  if (code == 0 && strcmp (usage, "filesystem") == 0)
    memmove (type, kernel_name (type), strlen (kernel_name (type)) + 1);
  if (code < 0 || strcmp (usage, "filesystem") == 0)
    return code;
  if (*type)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.200s' holds no file system that could be mounted at '%.200s', but %.40s (%.40s): fstype=raw "
                       "gives the VM the disk itself",
                       p->source, p->target, type, usage);
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "'%.200s' holds no known file system that could be mounted at '%.200s': say which one it is "
                     "(fstype=TYPE), or give the VM the disk itself (fstype=raw)",
                     p->source, p->target);
}

static int
open_source (const struct rcvmi_plan_disk *p, struct rcvmi_host_disk *d, rcvm_error **err)
{
  autoclose int place = -1;

  if (!p->store)
    return rcvmi_host_disk_open (d, p->source, p->read_only, err);
  place = rcvmi_host_disk_find (p->store, p->source, false, err);
  return place < 0 ? place : rcvmi_host_disk_open_found (d, place, p->source, err);
}

static int
open_disk (struct rcvmi_run *run, size_t index, rcvm_error **err)
{
  const struct rcvmi_plan_disk *p = &run->plan->disks[index];
  struct rcvmi_host_disk *d = &run->more_disks->disks[index];
  struct tlv_writer *w = &run->plan->setup;
  char type[RCVMI_ROOTFS_TYPE], locator[16];
  size_t mark;
  int code;

  if (!p->source)
    return 0;
  code = open_source (p, d, err);
  if (code < 0 || p->fstype)
    return code;
  code = rcvmi_run_disk_type (p, d, type, err);
  if (code < 0)
    return code;
  rcvmi_plan_disk_locator (run->plan, index, locator);
  mark = tlv_begin (w, S_DISK_TYPE);
  tlv_put_str (w, K_NAME, locator);
  tlv_put_str (w, K_VALUE, type);
  tlv_end (w, mark);
  return 0;
}

/* In the worker of stage "rootfs". */

static int
build_own (struct rcvmi_run *run, size_t index, const struct rcvmi_rootfs_params *params, rcvm_error **err)
{
  autofree char *path = rcvmi_disks_scratch (&run->disks, index);

  return path ? rcvmi_rootfs_build (NULL, path, params, err) : rcvmi_fail_nomem (err);
}

/* One that is there is taken as it is; and also one that another VM makes at this moment. */
static int
build_lasting (const struct rcvmi_plan_disk *p, const struct rcvmi_rootfs_params *params, rcvm_error **err)
{
  const char *slash = strrchr (p->source, '/'), *name = slash ? slash + 1 : p->source;
  autoclose int dir = p->store ? rcvmi_host_disk_find (p->store, p->source, true, err) : -1;
  autofree char *path = NULL;
  rcvm_error *e = NULL;
  struct stat st;
  int code;

  if (p->store && dir < 0)
    return dir;
  if (asprintf (&path, "/proc/self/fd/%d/%s", dir, name) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  if (fstatat (dir, p->store ? name : p->source, &st, p->store ? AT_SYMLINK_NOFOLLOW : 0) == 0)
    return 0;
  if (errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot look for the disk '%.200s'", p->source);
  if (!p->size)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "there is no disk '%.200s' for '%.200s', and without a size none is made",
                       p->source, p->target);
  code = rcvmi_rootfs_build (NULL, p->store ? path : p->source, params, &e);
  if (code == RCVM_E_EXISTS)
    {
      rcvm_error_free (e);
      return 0;
    }
  return code < 0 ? rcvmi_error_pass (err, e) : 0;
}

int
rcvmi_run_build_scratch (struct rcvmi_run *run, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; code == 0 && i < run->plan->n_disks; i++)
    {
      const struct rcvmi_plan_disk *p = &run->plan->disks[i];
      struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;

      params.size = p->size;
      params.sync = p->source != NULL;
      if (p->kind == RCVMI_PLAN_DISK_SCRATCH)
        code = p->source ? build_lasting (p, &params, err) : build_own (run, i, &params, err);
    }
  return code;
}

/* In the monitor. */

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
      if (plan->disks[i].kind == RCVMI_PLAN_DISK_SCRATCH && !plan->disks[i].source
          && !(m->own[i] = rcvmi_disks_scratch (&run->disks, i)))
        {
          rcvmi_fail_nomem (err);
          return RCVMI_STEP_FAILED;
        }
      if (open_disk (run, i, err) < 0)
        return RCVMI_STEP_FAILED;
    }
  return RCVMI_STEP_DONE;
}

void
rcvmi_run_undo_disks (struct rcvmi_run *run)
{
  struct rcvmi_run_disks *m = steal_ptr (run->more_disks);

  for (size_t i = 0; m && i < m->n; i++)
    {
      rcvmi_host_disk_close (&m->disks[i]);
      free (m->own[i]);
    }
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
        *out++ = (struct rcvmi_vmm_disk){ .path = run->disks.binds, .serial = "binds", .passing = true, .own = true };
      else if (p->kind == RCVMI_PLAN_DISK_COPIES)
        *out++ = (struct rcvmi_vmm_disk){ .path = run->disks.copies,
                                          .serial = "copies",
                                          .passing = !rcvmi_plan_copies_go_back (run->plan),
                                          .own = true };
      else if (run->more_disks->own[i])
        *out++ = (struct rcvmi_vmm_disk){ .path = run->more_disks->own[i],
                                          .serial = run->more_disks->serials[i],
                                          .passing = true,
                                          .own = true };
      else
        *out++ = (struct rcvmi_vmm_disk){ .path = d->path,
                                          .serial = run->more_disks->serials[i],
                                          .readonly = p->read_only,
                                          .device = d->device };
    }
  return out;
}
