/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RCVM_GUEST_SYSCTL_H
#define RCVM_GUEST_SYSCTL_H

#include "setup.h"

/* Those of the network (`net`), which belong to the machine, or all others.  /proc is the
   initramfs's. */
int sysctl_apply (const struct setup *s, bool net, struct failure *f);

#endif
