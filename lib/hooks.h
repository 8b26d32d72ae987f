/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running hooks (OCI runtime-spec, config.md#posix-platform-hooks): programs that get the container's state on stdin.
 * It waits for them: for a worker of the monitor, or for a caller that has the time.
 */
#ifndef RCVM_LIB_HOOKS_H
#define RCVM_LIB_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

#include <runcvm/error.h>

#include "spec-types.h"

struct rcvmi_hooks
{
  const char *kind; /* "prestart" ... */
  const struct rcvmi_spec_hook *list;
  size_t n;
  const char *state; /* the OCI state as JSON */
  const char *dir;   /* the working directory */
  bool go_on;        /* one that fails does not keep the others from running */
  int abort_fd;      /* when its other end is closed, what runs is killed; -1: none */
};

/* One after the other.  The error is that of the first that failed (RCVM_E_PROCESS): how it ended, and the last line that it wrote. */
int rcvmi_hooks_run (const struct rcvmi_hooks *hooks, rcvm_error **err);

#endif
