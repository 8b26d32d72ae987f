/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the VM itself needs: early mounts, clock, entropy, loopback. */
#ifndef RCVM_GUEST_MACHINE_H
#define RCVM_GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "failure.h"

void machine_mount_early (void);
/* Does not return where no timer of the kernel's ever fires: the host then sees a guest that stands still, and boots it once more. */
void machine_await_timer (void);
uint64_t machine_usec (clockid_t clock);
/* The following only log what fails. */
void machine_set_clock (uint64_t nsec);
/* False: it did not. */
bool machine_add_entropy (const unsigned char *data, size_t len);
void machine_bring_up_loopback (void);
/* Whether memory can be added: it comes by a virtio-mem device, which has to have its driver. */
int machine_check_memory (struct failure *f);

#endif
