/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's cgroup (version 2) within the guest. */
#ifndef RCVM_GUEST_CGROUP_H
#define RCVM_GUEST_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "setup.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_CONTAINER CGROUP_ROOT "/container"

/* Mounts the hierarchy and makes the container's group with its limits. */
int cgroup_make (const struct setup *s, struct failure *f);
/* Moves the calling process into it.  `init` is the container's first process, or 0: if the
   container has divided its group, newcomers go where that process is. */
int cgroup_join (pid_t init, struct failure *f);

/* CGROUP_SET and CGROUP_GET frames: the answer is sent. */
void cgroup_set (uint32_t number, const void *record, size_t len);
void cgroup_get (uint32_t number, const void *record, size_t len);
/* Tells the host, if more processes have been killed for want of memory than it knows of. */
void cgroup_report_oom (void);

#endif
