/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stage "rootfs": the disks of the root file system. */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <runcvm/rootfs.h>

#include "cleanup.h"
#include "err.h"

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
    rcvmi_run_fail (run, e);
  else
    rcvmi_run_advance (run);
}

enum rcvmi_run_step
rcvmi_run_begin_rootfs (struct rcvmi_run *run, rcvm_error **err)
{
  if (asprintf (&run->image, "%s/root.img", run->dir.path) < 0)
    {
      run->image = NULL;
      rcvmi_fail_nomem (err);
      return RCVMI_STEP_FAILED;
    }
  if (rcvmi_proc_fork (&run->builder, build_image, run, &run->builder_error_fd, err) < 0)
    return RCVMI_STEP_FAILED;
  run->builder_source
      = rcvmi_ev_add (run->ev, run->builder.pidfd, EPOLLIN, on_image_built, run, err);
  return run->builder_source ? RCVMI_STEP_PENDING : RCVMI_STEP_FAILED;
}

void
rcvmi_run_undo_rootfs (struct rcvmi_run *run)
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
