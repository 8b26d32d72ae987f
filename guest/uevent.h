/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for devices to appear. */
#ifndef RCVM_GUEST_UEVENT_H
#define RCVM_GUEST_UEVENT_H

#include <stdbool.h>

/* Calls `there` now, and after each event of the kernel's devices, until it returns true: 0.  -1
   and errno, ETIMEDOUT after `timeout_ms`. */
int uevent_wait (bool (*there) (void *data), void *data, int timeout_ms);

#endif
