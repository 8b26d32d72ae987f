/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host wants what was written until now on the disks. */
#ifndef RCVM_GUEST_SYNC_H
#define RCVM_GUEST_SYNC_H

#include <stdint.h>
#include <sys/types.h>

/* SYNC: the answer follows when it is done. */
void sync_begin (uint32_t number);
void sync_reaped (pid_t pid, int status);

#endif
