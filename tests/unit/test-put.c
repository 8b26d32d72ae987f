/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is found of others in an upper directory, and the list of it that is kept. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "le.h"
#include "put-list.h"
#include "put-scan.h"
#include "put-wire.h"
#include "tlv.h"

static char top[64];
static int dir = -1;

static void
put_file (const char *name, const char *text)
{
  int fd = openat (dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

  assert_true (fd >= 0);
  assert_int_equal (write (fd, text, strlen (text)), strlen (text));
  close (fd);
}

/* What comes next is younger than the time that is returned, and than what was before. */
static struct timespec
tick (void)
{
  struct timespec began, now, ms = { .tv_nsec = 1000000 };

  clock_gettime (CLOCK_REALTIME, &began);
  do
    {
      nanosleep (&ms, NULL);
      clock_gettime (CLOCK_REALTIME_COARSE, &now);
    }
  while (now.tv_sec < began.tv_sec || (now.tv_sec == began.tv_sec && now.tv_nsec <= began.tv_nsec));
  return now;
}

/* Returns how many bytes it has sent. */
static off_t
scan (struct timespec since, int before, int *out, int *list)
{
  struct rcvmi_put_scan q = { .upper = top, .rootfs = top, .since = since, .before = before };
  rcvm_error *e = NULL;
  struct stat st;

  *out = q.out = memfd_create ("out", MFD_CLOEXEC);
  *list = q.list = memfd_create ("list", MFD_CLOEXEC);
  assert_int_equal (rcvmi_put_scan (&q, &e), 0);
  assert_null (e);
  assert_int_equal (fstat (*out, &st), 0);
  return st.st_size;
}

static int
set_up (void **state)
{
  (void) state;
  strcpy (top, "/tmp/test-put.XXXXXX");
  if (!mkdtemp (top))
    return -1;
  dir = open (top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return dir < 0 ? -1 : 0;
}

static int
tear_down (void **state)
{
  static const char *const names[] = { "old", "new", "link", "name", "d/e/f", RCVMI_PUT_FILE };

  (void) state;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    unlinkat (dir, names[i], 0);
  unlinkat (dir, "d/e", AT_REMOVEDIR);
  unlinkat (dir, "d", AT_REMOVEDIR);
  close (dir);
  return rmdir (top);
}

static void
test_scan (void **state)
{
  struct rcvmi_puts puts;
  struct timespec since;
  rcvm_error *e = NULL;
  int out, list, again, none;
  unsigned char length[PUT_LENGTH];

  (void) state;
  SKIP_UNDER_VALGRIND (); /* openat2 */
  put_file ("old", "old");
  mkdirat (dir, "d", 0755);
  mkdirat (dir, "d/e", 0755);
  since = tick ();
  put_file ("new", "text");
  put_file ("d/e/f", "deep");
  assert_int_equal (symlinkat ("/etc/passwd", dir, "link"), 0);
  assert_int_equal (linkat (dir, "new", dir, "name", 0), 0);
  assert_true (scan (since, -1, &out, &list) > 0);
  assert_int_equal (rcvmi_puts_read (&puts, list, &e), 0);
  /* The root itself is none, nor a directory in which only a directory has changed. */
  assert_int_equal (puts.n, 5);
  assert_non_null (rcvmi_puts_find (&puts, "new"));
  assert_non_null (rcvmi_puts_find (&puts, "name"));
  assert_non_null (rcvmi_puts_find (&puts, "link"));
  assert_non_null (rcvmi_puts_find (&puts, "d/e/f"));
  assert_true (rcvmi_puts_find (&puts, "d/e")->dir);
  assert_null (rcvmi_puts_find (&puts, "d"));
  assert_null (rcvmi_puts_find (&puts, "old"));
  rcvmi_puts_clear (&puts);
  assert_int_equal (pread (out, length, sizeof length, 0), sizeof length);
  assert_true (le_get (length, PUT_LENGTH) < 4096);

  /* What was found is not found again, unless it has changed. */
  assert_int_equal (scan (since, list, &again, &none), 0);
  close (again), close (none);
  tick ();
  put_file ("new", "other");
  assert_true (scan (since, list, &again, &none) > 0);
  assert_int_equal (rcvmi_puts_read (&puts, none, &e), 0);
  assert_int_equal (puts.n, 2); /* and its other name */
  rcvmi_puts_clear (&puts);
  close (again), close (none), close (out), close (list);
}

static void
test_list (void **state)
{
  const struct rcvmi_put a = { .path = "b/c", .change = { 5, 6 } }, b = { .path = "b", .change = { 7, 8 }, .dir = true },
                         newer = { .path = "b/c", .change = { 9, 0 } };
  int list = memfd_create ("list", MFD_CLOEXEC), results = memfd_create ("results", MFD_CLOEXEC);
  struct rcvmi_puts_outcome outcome;
  struct rcvmi_puts puts;
  rcvm_error *e = NULL;
  struct stat st;
  int fd;

  (void) state;
  assert_int_equal (rcvmi_puts_read_at (&puts, dir, &e), 0);
  assert_int_equal (puts.n, 0);
  assert_int_equal (rcvmi_puts_append (list, &a, &e), 0);
  assert_int_equal (rcvmi_puts_append (list, &b, &e), 0);
  assert_int_equal (rcvmi_puts_append (list, &newer, &e), 0);
  /* The second was covered, and of the third nothing was heard. */
  assert_int_equal (write (results, "\0\022", 2), 2);
  assert_int_equal (EXDEV, 18);
  assert_int_equal (rcvmi_puts_keep (list, results, dir, &outcome, &e), 0);
  assert_int_equal (outcome.n, 3);
  assert_int_equal (outcome.covered, 1);
  assert_int_equal (outcome.failed, 1);
  assert_int_equal (outcome.errnum, EIO);
  assert_string_equal (outcome.path, "b/c");
  assert_int_equal (rcvmi_puts_read_at (&puts, dir, &e), 0);
  assert_int_equal (puts.n, 1);
  assert_int_equal (puts.list[0].change.tv_sec, 5);
  rcvmi_puts_clear (&puts);

  assert_int_equal (write (results, "\0", 1), 1);
  assert_int_equal (rcvmi_puts_keep (list, results, dir, &outcome, &e), 0);
  assert_int_equal (rcvmi_puts_read_at (&puts, dir, &e), 0);
  assert_int_equal (puts.n, 1);
  assert_int_equal (rcvmi_puts_find (&puts, "b/c")->change.tv_sec, 9);
  rcvmi_puts_clear (&puts);

  /* A writer that was killed; and what no writer has written. */
  fd = openat (dir, RCVMI_PUT_FILE, O_RDWR);
  assert_int_equal (fstat (fd, &st), 0);
  assert_int_equal (ftruncate (fd, st.st_size - 1), 0);
  assert_int_equal (rcvmi_puts_read (&puts, fd, &e), 0);
  assert_int_equal (puts.n, 1);
  rcvmi_puts_clear (&puts);
  assert_int_equal (pwrite (fd, "\377\377\377\377", 4, 6), 4);
  assert_true (rcvmi_puts_read (&puts, fd, &e) < 0);
  assert_non_null (strstr (rcvm_error_get_message (e), "damaged"));
  assert_int_equal (puts.n, 0);
  rcvm_error_free (e);
  close (fd), close (list), close (results);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_scan, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_list, set_up, tear_down),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
