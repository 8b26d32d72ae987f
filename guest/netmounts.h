/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes that come over the container's network: they can be mounted only in its namespace when that is up, and with
 * rights that the container's processes may not have any more (a user namespace).  A process of the agent's does it, and
 * passes the trees on to the container's first process.
 */
#ifndef RCVM_GUEST_NETMOUNTS_H
#define RCVM_GUEST_NETMOUNTS_H

#include "setup.h"

/* Starts that process, where there is anything to mount; failures go to the agent through `handoff`.  *trees becomes the first
   process's end, or -1. */
int netmounts_start (struct setup *s, int handoff, int *trees, struct failure *f);
/* The network is up. */
void netmounts_go (int network_namespace);

/* In the first process: the trees of all those mounts.  Closes `trees`.  What failed has been told. */
int netmounts_take (struct setup *s, int trees);

#endif
