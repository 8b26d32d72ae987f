/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two network namespaces: the agent's own, which keeps what belongs to the machine, and the container's. */
#ifndef RCVM_GUEST_NETSPACE_H
#define RCVM_GUEST_NETSPACE_H

/* The container's becomes the agent's to hold.  -1: errno says why its own cannot be held. */
int netspace_begin (int container_fd);
/* -1: not known yet. */
int netspace_container (void);
int netspace_own (void);
/* The agent is in the container's until it leaves. */
int netspace_enter (void);
void netspace_leave (void);
/* socket(2) in the container's; close-on-exec, non-blocking. */
int netspace_socket (int domain, int type, int protocol);

#endif
