/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's cgroup (version 2) within the guest. */
#ifndef RCVM_GUEST_CGROUP_H
#define RCVM_GUEST_CGROUP_H

#include <sys/types.h>

#include "setup.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_CONTAINER CGROUP_ROOT "/container"

/* Mounts the hierarchy and makes the container's group with its limits. */
int cgroup_make (const struct setup *s, struct failure *f);
/* Moves the calling process into it.  `init` is the container's first process, or 0: if the
   container has divided its group, newcomers go where that process is. */
int cgroup_join (pid_t init, struct failure *f);

#endif
