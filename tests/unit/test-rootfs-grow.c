/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: images that are made larger. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs-image.h"

#define MIB (UINT64_C (1) << 20)
#define GIB (UINT64_C (1) << 30)

static void
build_small (int journal)
{
  static char data[3000000];
  rcvm_rootfs_options *o = options_new ();

  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char) (i * 7 + i / 1000);
  unlink ("tree/data");
  make_file ("tree/data", data, sizeof data);
  unlink ("tree/text");
  make_text ("tree/text", "still there");
  rcvm_rootfs_options_set_size (o, 8 * MIB, NULL);
  rcvm_rootfs_options_set_journal (o, journal, NULL);
  unlink ("image");
  build (o);
}

static void
grow_to (uint64_t bytes)
{
  rcvm_error *err = NULL;
  struct stat st;
  ext2_filsys fs;

  if (rcvm_rootfs_grow ("image", bytes, &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  check_clean ("image");
  if (rcvm_rootfs_verify ("image", &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  assert_int_equal (stat ("image", &st), 0);
  fs = image_open ("image");
  assert_int_equal (ext2fs_blocks_count (fs->super) * 4096, st.st_size);
  /* All but less than a small group. */
  assert_true ((uint64_t) st.st_size <= bytes && (uint64_t) st.st_size + 16 * MIB > bytes);
  image_expect_text (fs, "/text", "still there");
  ext2fs_close_free (&fs);
}

static void
expect_failure (uint64_t bytes, int code, const char *part)
{
  rcvm_error *err = NULL;
  int r;

  assert_int_equal (system ("cp --sparse=always image before"), 0);
  r = rcvm_rootfs_grow ("image", bytes, &err);
  if (r != code || !strstr (rcvm_error_get_message (err), part))
    fail_msg ("'%s' is not in %s: %s", part, rcvm_code_name (r), rcvm_error_get_message (err));
  assert_string_equal (rcvm_error_get_stage (err), "rootfs");
  rcvm_error_free (err);
  /* Not a byte of it has changed. */
  assert_int_equal (system ("cmp image before && rm before"), 0);
}

static void
test_steps (void **state)
{
  /* Within a group; a group that is made whole, and more; up to and past the first block of the table. */
  static const uint64_t sizes[] = { 20 * MIB, 20 * MIB, 127 * MIB, 129 * MIB, 300 * MIB + 12345, 7 * GIB,
                                    8 * GIB,  9 * GIB,  17 * GIB,  40 * GIB };

  (void) state;
  for (int journal = 0; journal < 2; journal++)
    {
      build_small (journal);
      for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        grow_to (sizes[i]);
    }
}

static void
test_same_bytes (void **state)
{
  (void) state;
  build_small (1);
  assert_int_equal (system ("cp --sparse=always image second"), 0);
  for (int i = 0; i < 2; i++)
    {
      if (i)
        assert_int_equal (rename ("second", "image"), 0);
      grow_to (400 * MIB);
      assert_int_equal (rename ("image", i ? "b" : "a"), 0);
    }
  assert_int_equal (system ("cmp a b"), 0);
}

static void
test_refused (void **state)
{
  int fd;

  (void) state;
  assert_int_equal (rcvm_rootfs_grow (NULL, 1, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_grow ("", 1, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_grow ("image", UINT64_MAX, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_grow ("image", 1, NULL), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvm_rootfs_grow ("/dev/null", 1, NULL), RCVM_E_INVALID);
  build_small (1);
  expect_failure (4 * MIB, RCVM_E_INVALID, "cannot become smaller");
  expect_failure (UINT64_C (1) << 60, RCVM_E_UNSUPPORTED, "more than 16 TiB");
  fd = open ("image", O_RDWR | O_CLOEXEC);
  assert_int_equal (flock (fd, LOCK_SH), 0);
  expect_failure (20 * MIB, RCVM_E_STATE, "is in use");
  close (fd);
  /* Something that nobody has said may go. */
  fd = open ("image", O_WRONLY | O_APPEND | O_CLOEXEC);
  assert_int_equal (write (fd, "appended", 8), 8);
  close (fd);
  expect_failure (20 * MIB, RCVM_E_IMAGE, "something behind its file system");
  assert_int_equal (truncate ("image", 8 * MIB), 0);
  /* A hole is nothing. */
  assert_int_equal (truncate ("image", 20 * MIB), 0);
  grow_to (20 * MIB);
  assert_int_equal (truncate ("image", MIB), 0);
  expect_failure (20 * MIB, RCVM_E_IMAGE, "");
  unlink ("image");
  make_text ("image", "no image");
  expect_failure (20 * MIB, RCVM_E_IMAGE, "no ext4 image");
  if (system ("mke2fs -q -F -t ext4 image 20M > /dev/null 2>&1") == 0)
    expect_failure (40 * MIB, RCVM_E_UNSUPPORTED, "use resize2fs");
}

static void
test_no_room (void **state)
{
  struct rlimit old, limit;

  (void) state;
  build_small (1);
  signal (SIGXFSZ, SIG_IGN);
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &old), 0);
  limit = (struct rlimit){ 100 * MIB, old.rlim_max };
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &limit), 0);
  expect_failure (400 * MIB, RCVM_E_SYSTEM, "cannot make the image 'image' that large");
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &old), 0);
  signal (SIGXFSZ, SIG_DFL);
  grow_to (400 * MIB);
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_steps),
    TEST (test_same_bytes),
    TEST (test_refused),
    TEST (test_no_room),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
