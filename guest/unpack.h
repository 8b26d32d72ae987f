/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What others have put into the container's root on the host (put-wire.h). */
#ifndef RCVM_GUEST_UNPACK_H
#define RCVM_GUEST_UNPACK_H

#include "failure.h"

/* In a process of its own: takes the entries from `in`, answers on `out`, and exits.  Returns only where it cannot begin. */
void unpack_run (int in, int out, int handoff, struct failure *f);

#endif
