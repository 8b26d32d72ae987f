/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RCVM_GUEST_SURVIVORS_H
#define RCVM_GUEST_SURVIVORS_H

#include <sys/types.h>

/* Kills every process but this one, `keep` and the kernel's own.  Returns how many there were: one that is gone is
   reaped, and then the rest is counted again. */
unsigned survivors_kill (pid_t keep);

#endif
