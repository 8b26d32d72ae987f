/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <stdlib.h>
#include <time.h>

#include "tsc.h"

/* A short look and one that is ten times as long agree. */
TEST (test_khz)
{
  struct rcvmi_tsc from;
  unsigned khz, longer;

  SKIP_UNDER_VALGRIND ();
  rcvmi_tsc_read (&from);
  khz = rcvmi_tsc_khz (&from);
  if (khz == 0)
    skip ();
  assert_true (khz > 100000 && khz < 10000000);
  nanosleep (&(struct timespec){ .tv_nsec = 100000000 }, NULL);
  longer = rcvmi_tsc_khz (&from);
  assert_true (labs ((long) longer - (long) khz) < (long) khz / 200);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_khz),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
