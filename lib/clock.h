/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time that only goes forward, for durations and deadlines. */
#ifndef RCVM_LIB_CLOCK_H
#define RCVM_LIB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t
rcvmi_clock_usec (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C (1000000) + t.tv_nsec / 1000;
}

static inline int64_t
rcvmi_clock_ms (void)
{
  return rcvmi_clock_usec () / 1000;
}

#endif
