/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Resource limits, OOM score, I/O and CPU scheduling of a process: what takes the rights of the
   initial user namespace and can be set from outside. */
#ifndef RCVM_GUEST_RESOURCES_H
#define RCVM_GUEST_RESOURCES_H

#include "request.h"

/* `pid` 0 is the calling process.  Runs where /proc is the initramfs's. */
int resources_apply (const struct request *q, pid_t pid, struct failure *f);

#endif
