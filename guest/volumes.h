/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that carries the connections of the kernel's NFS client to the host.  They come to a port of 127.0.0.1
 * in the agent's own network namespace, which is not the container's.
 */
#ifndef RCVM_GUEST_VOLUMES_H
#define RCVM_GUEST_VOLUMES_H

#include <sys/types.h>

#include "failure.h"

int volumes_start (struct failure *f);
/* The kernel chose it. */
int volumes_port (void);
/* 0: there is none. */
pid_t volumes_process (void);
void volumes_reaped (pid_t pid, int status);

#endif
