/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The disk of copy volumes: made in the worker of stage "rootfs", written back by the one at the end. */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs.h"

enum
{
  PER_COPY = 3 /* the copy, what is changed of it, and overlayfs's own directory */
};

/* Sparse: what it takes up is what is written. */
static const uint64_t size_default = UINT64_C (16) << 30;

static void
free_list (struct rcvmi_rootfs_copy *list, size_t n)
{
  for (size_t i = 0; i < n; i++)
    free (list[i].destination);
  free (list);
}

static int
check_source (const struct rcvmi_plan_copy_volume *c, rcvm_error **err)
{
  struct stat st;

  if (stat (c->source, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s', which is to be copied into the VM", c->source);
  if (c->back != RCVMI_PLAN_COPY_NEVER && !S_ISDIR (st.st_mode))
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "'%.200s' is no directory: what a VM changes of a copy is written back into directories only",
                       c->source);
  return 0;
}

static int
add (struct rcvmi_rootfs_copy *list, size_t *n, char *source, const char *name, size_t number, bool shallow)
{
  struct rcvmi_rootfs_copy *c = &list[*n];

  *c = (struct rcvmi_rootfs_copy){ .source = source, .shallow = shallow };
  if (asprintf (&c->destination, "/%s%zu", name, number) < 0)
    {
      c->destination = NULL;
      return -1;
    }
  ++*n;
  return 0;
}

/* Large enough for whatever is changed; and for what is copied, where that is more. */
static int
build (struct rcvmi_run *run, struct rcvmi_rootfs_copy *list, size_t n, rcvm_error **err)
{
  struct rcvmi_rootfs_params params = RCVMI_ROOTFS_PARAMS_INIT;
  rcvm_error *e = NULL;
  int r;

  params.size = size_default;
  params.sync = false;
  params.copies = list;
  params.n_copies = n;
  r = rcvmi_rootfs_build (NULL, run->disks.copies, &params, &e);
  if (r != RCVM_E_NO_SPACE || rcvm_error_get_errno (e))
    return r < 0 ? rcvmi_error_pass (err, e) : 0;
  rcvm_error_free (e);
  params.size = 0;
  params.headroom = 200;
  return rcvmi_rootfs_build (NULL, run->disks.copies, &params, err);
}

int
rcvmi_run_build_copies (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_rootfs_copy *list;
  size_t n = 0;
  int r = 0;

  if (plan->n_copy_volumes == 0)
    return 0;
  list = calloc (plan->n_copy_volumes, PER_COPY * sizeof *list);
  if (!list)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; r == 0 && i < plan->n_copy_volumes; i++)
    {
      const struct rcvmi_plan_copy_volume *c = &plan->copy_volumes[i];
      bool back = c->back != RCVMI_PLAN_COPY_NEVER;

      r = check_source (c, err);
      if (r == 0
          && (add (list, &n, c->source, "", i, false) < 0 || (back && add (list, &n, c->source, "upper", i, true) < 0)
              || (back && add (list, &n, run->disks.dir, "work", i, true) < 0)))
        r = rcvmi_fail_nomem (err);
    }
  if (r == 0)
    r = build (run, list, n, err);
  free_list (list, n);
  return r;
}

int
rcvmi_run_intend_copies (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  autofree struct rcvmi_disks_copy *list = NULL;
  size_t n = 0;

  if (!rcvmi_plan_copies_go_back (plan))
    return 0;
  list = calloc (plan->n_copy_volumes, sizeof *list);
  if (!list)
    return rcvmi_fail_nomem (err);
  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    if (plan->copy_volumes[i].back != RCVMI_PLAN_COPY_NEVER)
      list[n++] = (struct rcvmi_disks_copy){ .number = (unsigned) i,
                                             .source = plan->copy_volumes[i].source,
                                             .live = rcvmi_plan_copy_is_live (&plan->copy_volumes[i]) };
  return rcvmi_disks_intend_copies (&run->disks, list, n, err);
}
