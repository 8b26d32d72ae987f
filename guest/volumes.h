/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that carries the connections of the kernel's NFS client to the host.  They come to a port of 127.0.0.1
 * in the agent's own network namespace, which is not the container's.  Those of its 9P client are sockets that the agent hands over.
 */
#ifndef RCVM_GUEST_VOLUMES_H
#define RCVM_GUEST_VOLUMES_H

#include <stdint.h>
#include <sys/types.h>

#include "failure.h"

int volumes_start (struct failure *f);
/* The kernel chose it. */
int volumes_port (void);
/* A connection to number `share` of the servers of 9P, which the caller gets; -1 and errno. */
int volumes_connect (uint32_t share);
/* By which that goes: to be kept in a process that mounts, and no further; -1: there is none. */
int volumes_socket (void);
void volumes_disconnect (void);
/* 0: there is none. */
pid_t volumes_process (void);
void volumes_reaped (pid_t pid, int status);

#endif
