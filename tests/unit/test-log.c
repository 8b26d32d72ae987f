/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "net"

#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

struct heard
{
  int count;
  int level;
  char stage[32];
  char message[4096];
};

static void
hear (void *user, int level, const char *stage, const char *message)
{
  struct heard *h = user;

  h->count++;
  h->level = level;
  strncpy (h->stage, stage, sizeof h->stage - 1);
  strncpy (h->message, message, sizeof h->message - 1);
  errno = EBADF;
}

TEST (test_message)
{
  struct heard h = { 0 };
  struct rcvmi_log log = { .level = RCVM_LOG_INFO, .fn = hear, .user = &h };

  errno = ENOENT;
  rcvmi_log (&log, RCVM_LOG_WARNING, "%d of %s", 7, "nine");
  assert_int_equal (errno, ENOENT);
  assert_int_equal (h.count, 1);
  assert_int_equal (h.level, RCVM_LOG_WARNING);
  assert_string_equal (h.stage, "net");
  assert_string_equal (h.message, "7 of nine");
}

TEST (test_levels)
{
  struct heard h = { 0 };
  struct rcvmi_log log = { .level = RCVM_LOG_WARNING, .fn = hear, .user = &h };

  for (int level = RCVM_LOG_ERROR; level <= RCVM_LOG_DEBUG; level++)
    rcvmi_log (&log, level, "x");
  assert_int_equal (h.count, 2);
  assert_int_equal (h.level, RCVM_LOG_WARNING);
}

TEST (test_nobody_listens)
{
  struct rcvmi_log log = { .level = RCVM_LOG_DEBUG };

  rcvmi_log (NULL, RCVM_LOG_ERROR, "x");
  rcvmi_log (&log, RCVM_LOG_ERROR, "x");
}

TEST (test_long)
{
  struct heard h = { 0 };
  struct rcvmi_log log = { .level = RCVM_LOG_INFO, .fn = hear, .user = &h };
  char *text = malloc (100001);

  assert_non_null (text);
  memset (text, 'x', 100000);
  text[100000] = 0;
  rcvmi_log (&log, RCVM_LOG_INFO, "%s", text);
  assert_int_equal (h.count, 1);
  assert_in_range (strlen (h.message), 1000, 3000);
  free (text);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_message),
    cmocka_unit_test (test_levels),
    cmocka_unit_test (test_nobody_listens),
    cmocka_unit_test (test_long),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
