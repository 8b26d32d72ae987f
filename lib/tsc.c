/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "tsc.h"

#include <time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#endif

enum
{
  TRIES = 8,
  SPAN_NSEC = 10000000
};

static uint64_t
now (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC_RAW, &t);
  return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static uint64_t
ticks (void)
{
#if defined(__x86_64__) || defined(__i386__)
  return __rdtsc ();
#else
  return 0;
#endif
}

/* The try that took least was not interrupted in between. */
void
rcvmi_tsc_read (struct rcvmi_tsc *from)
{
  uint64_t best = UINT64_MAX;

  for (int i = 0; i < TRIES; i++)
    {
      uint64_t before = now (), t = ticks (), after = now ();

      if (after - before < best)
        {
          best = after - before;
          *from = (struct rcvmi_tsc){ .ticks = t, .nsec = before + (after - before) / 2 };
        }
    }
}

unsigned
rcvmi_tsc_khz (const struct rcvmi_tsc *from)
{
  struct rcvmi_tsc to;
  uint64_t gone = now () - from->nsec;

  if (gone < SPAN_NSEC)
    nanosleep (&(struct timespec){ .tv_nsec = (long) (SPAN_NSEC - gone) }, NULL);
  rcvmi_tsc_read (&to);
  if (to.ticks <= from->ticks || to.nsec <= from->nsec)
    return 0;
  return (unsigned) ((double) (to.ticks - from->ticks) * 1e6 / (double) (to.nsec - from->nsec));
}
