/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast the processor's time stamp counter counts: a guest that is translated has the host's, and no way to find out. */
#ifndef RCVM_LIB_TSC_H
#define RCVM_LIB_TSC_H

#include <stdint.h>

struct rcvmi_tsc
{
  uint64_t ticks;
  uint64_t nsec; /* of CLOCK_MONOTONIC_RAW, at the same moment */
};

/* The moment from which is measured. */
void rcvmi_tsc_read (struct rcvmi_tsc *from);
/* kHz, to some parts in 100,000; takes what is left of 10 ms since then.  0 where there is no such counter. */
unsigned rcvmi_tsc_khz (const struct rcvmi_tsc *from);

#endif
