/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A snapshot's directory: begun, published, read, and damaged in every way. */
#include "config.h"

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "snapshot.h"

struct bench
{
  char top[64], place[96];
};

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);

  *state = b;
  if (!b)
    return -1;
  snprintf (b->top, sizeof b->top, "/tmp/runcvm-snapshot.XXXXXX");
  if (!mkdtemp (b->top))
    return -1;
  snprintf (b->place, sizeof b->place, "%s/place", b->top);
  return 0;
}

static int
tear_down (void **state)
{
  struct bench *b = *state;

  rcvmi_snapshot_discard (b->place);
  assert_int_equal (rmdir (b->top), 0); /* nothing else was left */
  free (b);
  return 0;
}

static void
put (const char *dir, const char *name, const void *data, size_t len, off_t size)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  autoclose int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  assert_true (fd >= 0);
  assert_int_equal (write (fd, data, len), len);
  assert_int_equal (ftruncate (fd, size), 0);
}

static struct rcvmi_snapshot
make (struct bench *b)
{
  struct rcvmi_snapshot s = { .vmm = "firecracker", .version = 1016, .guest_pid = 77, .n_nics = 1, .n_disks = 1, .has_key = true };
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  autofree char *temp = NULL;
  rcvm_error *e = NULL;

  memset (s.cpu, 'c', sizeof s.cpu - 1);
  memset (s.shape, '5', sizeof s.shape - 1);
  snprintf (s.base, sizeof s.base, "tree-abc");
  s.streams = (struct rcvmi_streams_saved){ .in_credit = 17, .in_ended = true, .owed = { 5, 6 }, .broken = { false, true } };
  s.nics[0].number = 3;
  memcpy (s.nics[0].mac, "\x02\x00\x5e\x10\xff\x01", 6);
  snprintf (s.disks[0].serial, sizeof s.disks[0].serial, "upper");
  s.disks[0].size = 4096;
  memcpy (s.key, "0123456789abcdef", sizeof s.key);
  options.id = strdup ("one");
  options.hostname = strdup ("box");
  check_ok (rcvmi_snapshot_begin (b->place, &temp, &e), e);
  put (temp, "memory", "mem", 3, 65536);
  put (temp, "state", "state", 5, 5);
  put (temp, "disk-upper", "d", 1, 4096);
  check_ok (rcvmi_snapshot_publish (&s, temp, b->place, &options, &e), e);
  rcvmi_options_clear (&options);
  return s;
}

static void
test_round (void **state)
{
  struct rcvmi_snapshot made = make (*state), got;
  struct bench *b = *state;
  struct rcvmi_options options;
  rcvm_error *e = NULL;
  struct stat st;

  check_ok (rcvmi_snapshot_read (&got, b->place, &options, &e), e);
  assert_string_equal (options.hostname, "box");
  assert_memory_equal (&got, &made, sizeof got);
  assert_int_equal (got.memory, 65536);
  rcvmi_options_clear (&options);
  assert_int_equal (stat (b->place, &st), 0);
  assert_int_equal (st.st_mode & 0777, 0700);
}

static void
test_place_is_taken (void **state)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;
  char *temp;

  make (b);
  assert_int_equal (rcvmi_snapshot_begin (b->place, &temp, &e), RCVM_E_EXISTS);
  assert_null (temp);
  rcvm_error_free (e);
}

static void
test_nothing_was_written (void **state)
{
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  struct rcvmi_snapshot s = { 0 };
  struct bench *b = *state;
  autofree char *temp = NULL;
  rcvm_error *e = NULL;

  check_ok (rcvmi_snapshot_begin (b->place, &temp, &e), e);
  assert_int_equal (rcvmi_snapshot_publish (&s, temp, b->place, &options, &e), RCVM_E_VMM);
  rcvm_error_free (e);
  rcvmi_snapshot_discard (temp);
}

/* Holes stay holes, and everything else is the same. */
static void
test_copy (void **state)
{
  struct bench *b = *state;
  autofree char *from = NULL, *to = NULL;
  rcvm_error *e = NULL;
  struct stat st;
  uint64_t size = 0;
  char buf[8] = "";
  int fd;

  make (b);
  put (b->place, "a", "begin", 5, 8 << 20);
  from = rcvmi_snapshot_path (b->place, "a");
  to = rcvmi_snapshot_path (b->place, "b");
  fd = open (from, O_WRONLY | O_CLOEXEC);
  assert_int_equal (pwrite (fd, "middle", 6, 4 << 20), 6);
  close (fd);
  check_ok (rcvmi_snapshot_copy (from, to, &size, &e), e);
  assert_int_equal (size, 8 << 20);
  assert_int_equal (stat (to, &st), 0);
  assert_int_equal (st.st_size, 8 << 20);
  assert_true (st.st_blocks < 2048);
  fd = open (to, O_RDONLY | O_CLOEXEC);
  assert_int_equal (pread (fd, buf, 6, 4 << 20), 6);
  assert_memory_equal (buf, "middle", 6);
  assert_int_equal (pread (fd, buf, 5, 0), 5);
  assert_memory_equal (buf, "begin", 5);
  close (fd);
  assert_true (rcvmi_snapshot_copy (from, to, &size, &e) < 0); /* nothing is written over */
  rcvm_error_free (e);
}

static int
read_it (const char *dir)
{
  struct rcvmi_options options;
  struct rcvmi_snapshot s;
  rcvm_error *e = NULL;
  int code = rcvmi_snapshot_read (&s, dir, &options, &e);

  rcvmi_options_clear (&options);
  assert_true (code == 0 || (e && rcvm_error_get_message (e)[0]));
  rcvm_error_free (e);
  return code;
}

/* Whatever byte of the small files is another, and wherever a file is cut, it is seen. */
static void
test_damage (void **state)
{
  static const char *const files[] = { "index", "state", "options", "memory", "disk-upper" };
  struct bench *b = *state;

  make (b);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    {
      autofree char *path = rcvmi_snapshot_path (b->place, files[i]);
      autoclose int fd = open (path, O_RDWR | O_CLOEXEC);
      struct stat st;
      unsigned char c;

      assert_int_equal (fstat (fd, &st), 0);
      for (off_t at = 0; i < 3 && at < st.st_size; at++)
        {
          assert_int_equal (pread (fd, &c, 1, at), 1);
          c ^= 0x20;
          assert_int_equal (pwrite (fd, &c, 1, at), 1);
          assert_int_equal (read_it (b->place), RCVM_E_INVALID);
          c ^= 0x20;
          assert_int_equal (pwrite (fd, &c, 1, at), 1);
        }
      assert_int_equal (read_it (b->place), 0);
      c = 0;
      assert_int_equal (pread (fd, &c, 1, st.st_size - 1), 1);
      assert_int_equal (ftruncate (fd, st.st_size - 1), 0);
      assert_int_equal (read_it (b->place), RCVM_E_INVALID);
      assert_int_equal (pwrite (fd, &c, 1, st.st_size - 1), 1);
      assert_int_equal (read_it (b->place), 0);
      assert_int_equal (unlink (path), 0);
      assert_int_equal (read_it (b->place), RCVM_E_NOT_FOUND);
      assert_int_equal (symlink ("/etc/passwd", path), 0);
      assert_true (read_it (b->place) < 0);
      assert_int_equal (unlink (path), 0);
      {
        autofree char *fd_path = NULL;
        char buf[65536];
        ssize_t n = pread (fd, buf, sizeof buf, 0);

        put (b->place, files[i], buf, (size_t) n, st.st_size);
      }
    }
  assert_int_equal (read_it (b->place), 0);
}

/* With a digest that is right, what it says is still looked at. */
static void
test_parse (void **state)
{
  static const char *const bad[] = {
    "", "{", "[]", "null", "{}", "{\"format\":1}", "{\"format\":\"1\",\"library\":1}", "{\"format\":2,\"library\":\"0.1.0\"}",
  };

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      uint8_t digest[RCVMI_SHA256_BYTES];
      char text[512], hex[RCVMI_SHA256_HEX + 1];
      struct rcvmi_snapshot s;
      const char *why;

      rcvmi_sha256 (bad[i], strlen (bad[i]), digest);
      rcvmi_sha256_hex (digest, hex);
      snprintf (text, sizeof text, "%s\n%s", hex, bad[i]);
      assert_int_equal (rcvmi_snapshot_parse (&s, text, strlen (text), &why), 1);
      assert_non_null (why);
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_round, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_place_is_taken, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_nothing_was_written, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_copy, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_damage, set_up, tear_down),
    cmocka_unit_test (test_parse),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
