/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine that is about to be saved: the container's processes stand still, and the host hears nothing until it says GO_ON, perhaps
   by another connection, and perhaps on another day, in another machine (docs/snapshots.md). */
#ifndef RCVM_GUEST_QUIESCE_H
#define RCVM_GUEST_QUIESCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* QUIESCE and GO_ON; both are answered. */
void quiesce_begin (uint32_t number);
void quiesce_end (uint32_t number, const void *record, size_t len);
/* QUIESCED has been said, and GO_ON has not come: the connection may be reset. */
bool quiesce_is_held (void);
void quiesce_reaped (pid_t pid, int status);

#endif
