/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's /dev: what every container has (OCI runtime spec, config-linux.md, default
   devices) and linux.devices. */
#ifndef RCVM_GUEST_DEVICES_H
#define RCVM_GUEST_DEVICES_H

#include "setup.h"

/* In the initial user namespace, before devices_make: the numbers of disks, and nodes to bind where mknod is not
   allowed. */
int devices_prepare (struct setup *s, struct failure *f);
int devices_make (const struct setup *s, int root, struct failure *f);

#endif
