/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: what cannot be built says so, and leaves nothing; trees that change while they are read. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs-image.h"

static void
test_arguments (void **state)
{
  rcvm_error *err = NULL;

  (void) state;
  assert_int_equal (rcvm_rootfs_build (NULL, "image", NULL, &err), RCVM_E_INVALID);
  rcvm_error_free (err);
  assert_int_equal (rcvm_rootfs_build ("tree", "", NULL, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_build ("absent", "image", NULL, NULL), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvm_rootfs_build ("tree", "absent/image", NULL, NULL), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvm_rootfs_options_set_headroom (NULL, 1, NULL), RCVM_E_INVALID);
}

static void
test_source_is_a_file (void **state)
{
  rcvm_error *err = NULL;

  (void) state;
  make_text ("file", "x");
  assert_int_equal (rcvm_rootfs_build ("file", "image", NULL, &err), RCVM_E_NOT_FOUND);
  assert_non_null (strstr (rcvm_error_get_message (err), "file"));
  assert_int_equal (rcvm_error_get_errno (err), ENOTDIR);
  rcvm_error_free (err);
  assert_int_not_equal (access ("image", F_OK), 0);
}

static void
test_image_exists (void **state)
{
  rcvm_error *err = NULL;

  (void) state;
  make_text ("image", "mine");
  assert_int_equal (rcvm_rootfs_build ("tree", "image", NULL, &err), RCVM_E_EXISTS);
  assert_non_null (strstr (rcvm_error_get_message (err), "'image' exists"));
  rcvm_error_free (err);
  assert_int_equal (unlink ("image"), 0);
  /* A symlink is a name, too, wherever it leads. */
  make_link ("elsewhere", "image");
  assert_int_equal (rcvm_rootfs_build ("tree", "image", NULL, NULL), RCVM_E_EXISTS);
  assert_int_not_equal (access ("elsewhere", F_OK), 0);
}

static void
test_unreadable (void **state)
{
  rcvm_error *err = NULL;

  (void) state;
  make_dir ("tree/d");
  make_text ("tree/d/secret", "x");
  assert_int_equal (chmod ("tree/d/secret", 0), 0);
  if (geteuid () == 0)
    {
      assert_int_equal (chmod (".", 0777), 0);
      assert_int_equal (seteuid (65534), 0);
    }
  assert_int_equal (rcvm_rootfs_build ("tree", "image", NULL, &err), RCVM_E_PERMISSION);
  if (getuid () == 0)
    assert_int_equal (seteuid (0), 0);
  assert_non_null (strstr (rcvm_error_get_message (err), "tree/d/secret'"));
  rcvm_error_free (err);
  assert_int_not_equal (access ("image", F_OK), 0);
}

/* What root may do must not be needed. */
static void
test_unprivileged (void **state)
{
  rcvm_error *err = NULL;
  ext2_filsys fs;
  int r;

  (void) state;
  make_text ("tree/f", "readable");
  make_link ("f", "tree/l");
  if (geteuid () == 0)
    {
      assert_int_equal (chmod (".", 0777), 0);
      assert_int_equal (seteuid (65534), 0);
    }
  r = rcvm_rootfs_build ("tree", "image", NULL, &err);
  if (getuid () == 0)
    assert_int_equal (seteuid (0), 0);
  if (r < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  check_clean ("image");
  fs = image_open ("image");
  image_expect_text (fs, "/f", "readable");
  assert_int_equal (inode_uid (image_inode (fs, "/f")), getuid ());
  ext2fs_close_free (&fs);
}

static int
cancel_in (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  (void) files;
  (void) bytes;
  return strcmp (phase, user) == 0;
}

static void
test_cancel (void **state)
{
  static const char *const phases[] = { "scan", "write", "finish" };

  (void) state;
  make_text ("tree/f", "x");
  for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
    {
      rcvm_rootfs_options *o = options_new ();

      rcvm_rootfs_options_set_progress (o, cancel_in, (void *) phases[i], NULL);
      build_fails (o, RCVM_E_CANCELLED, "cancelled");
    }
}

struct seen
{
  char order[256];
  uint64_t files, bytes;
};

static int
see (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct seen *s = user;
  size_t len = strlen (s->order), last = strlen (phase);

  if (len < last || strcmp (s->order + len - last, phase) != 0)
    strcat (s->order, phase);
  if (strcmp (phase, "write") == 0)
    {
      assert_true (files >= s->files && bytes >= s->bytes);
      s->files = files;
      s->bytes = bytes;
    }
  return 0;
}

static void
test_progress (void **state)
{
  static char data[500000];
  struct seen seen = { .order = "" };
  rcvm_rootfs_options *o = options_new ();

  (void) state;
  make_file ("tree/a", data, sizeof data);
  make_file ("tree/b", data, 1000);
  make_text ("tree/empty", "");
  make_link ("a", "tree/link");
  rcvm_rootfs_options_set_progress (o, see, &seen, NULL);
  build (o);
  assert_string_equal (seen.order, "scanwritefinish");
  assert_int_equal (seen.files, 3);
  assert_int_equal (seen.bytes, sizeof data + 1000);
}

/* Something that happens to the tree between the scan and the writing. */
struct change
{
  void (*fn) (void);
  int done;
};

static int
change_before_writing (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct change *c = user;

  (void) bytes;
  /* The first report of the scan comes with the first file; the last one when it is complete. */
  if (!c->done && strcmp (phase, "scan") == 0 && files >= 4)
    {
      c->done = 1;
      c->fn ();
    }
  return 0;
}

static void
grow (void)
{
  int fd = open ("tree/d/f", O_WRONLY | O_APPEND | O_CLOEXEC);

  assert_int_equal (write (fd, "more", 4), 4);
  close (fd);
}

static void
shrink (void)
{
  assert_int_equal (truncate ("tree/d/f", 3), 0);
}

static void
vanish (void)
{
  assert_int_equal (unlink ("tree/d/f"), 0);
}

static void
become_fifo (void)
{
  vanish ();
  assert_int_equal (mkfifo ("tree/d/f", 0644), 0);
}

static void
become_symlink (void)
{
  vanish ();
  make_link ("/etc/passwd", "tree/d/f");
}

static void
become_directory (void)
{
  vanish ();
  make_dir ("tree/d/f");
}

static void
become_another (void)
{
  vanish ();
  make_text ("tree/d/f", "contents");
}

/* The directory above leads out of the tree, to a file of the same name. */
static void
lead_out (void)
{
  assert_int_equal (rename ("tree/d", "moved"), 0);
  make_link ("../outside", "tree/d");
}

static void
test_changes (void **state)
{
  static void (*const changes[]) (void)
      = { grow, shrink, vanish, become_fifo, become_symlink, become_directory, become_another };

  (void) state;
  make_dir ("tree/d");
  make_text ("tree/a", "x");
  make_text ("tree/b", "x");
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
    {
      struct change c = { .fn = changes[i] };
      rcvm_rootfs_options *o = options_new ();

      make_text ("tree/d/f", "contents");
      rcvm_rootfs_options_set_progress (o, change_before_writing, &c, NULL);
      build_fails (o, RCVM_E_STATE, "tree/d/f' changed");
      assert_int_equal (c.done, 1);
      remove ("tree/d/f");
    }
}

static void
test_led_out (void **state)
{
  struct change c = { .fn = lead_out };
  rcvm_rootfs_options *o = options_new ();
  rcvm_error *err = NULL;

  (void) state;
  make_dir ("outside");
  make_text ("outside/f", "contents");
  make_dir ("tree/d");
  make_text ("tree/a", "x");
  make_text ("tree/b", "x");
  make_text ("tree/d/f", "contents");
  rcvm_rootfs_options_set_progress (o, change_before_writing, &c, NULL);
  assert_int_not_equal (rcvm_rootfs_build ("tree", "image", o, &err), 0);
  assert_int_equal (c.done, 1);
  assert_non_null (strstr (rcvm_error_get_message (err), "tree/d'"));
  rcvm_error_free (err);
  rcvm_rootfs_options_free (o);
  assert_int_not_equal (access ("image", F_OK), 0);
}

static void
test_disk_full (void **state)
{
  static char data[3 << 20];
  rcvm_error *err = NULL;

  (void) state;
  if (geteuid () != 0)
    skip ();
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (char) (i * 31);
  make_file ("tree/f", data, sizeof data);
  make_dir ("small");
  if (mount ("tmpfs", "small", "tmpfs", 0, "size=2m") < 0)
    skip ();
  assert_int_equal (rcvm_rootfs_build ("tree", "small/image", NULL, &err), RCVM_E_NO_SPACE);
  assert_int_equal (rcvm_error_get_errno (err), ENOSPC);
  rcvm_error_free (err);
  assert_int_equal (count_entries ("small"), 0);
  assert_int_equal (umount2 ("small", 0), 0);
  assert_int_equal (rmdir ("small"), 0);
}

/* Contents of a mounted /proc or /sys are not part of a tree. */
static void
test_virtual (void **state)
{
  ext2_filsys fs;

  (void) state;
  make_dir ("tree/proc");
  make_dir ("tree/shm");
  if (geteuid () != 0 || mount ("proc", "tree/proc", "proc", 0, NULL) < 0)
    skip ();
  assert_int_equal (mount ("tmpfs", "tree/shm", "tmpfs", 0, NULL), 0);
  make_text ("tree/shm/f", "data");
  build (NULL);
  assert_int_equal (umount ("tree/proc"), 0);
  assert_int_equal (umount ("tree/shm"), 0);
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/proc").i_mode, S_IFDIR | 0555);
  assert_int_equal (image_lookup (fs, "/proc/self"), 0);
  image_expect_text (fs, "/shm/f", "data");
  ext2fs_close_free (&fs);
}

/* Reading the source leaves no traces in it. */
static void
test_source_untouched (void **state)
{
  static const char *const paths[] = { "tree", "tree/f", "tree/d", "tree/l" };
  struct timespec set[2] = { { 1000000, 1 }, { 2000000, 2 } };
  struct stat before[4], after;
  int n = 4, view;

  (void) state;
  if (geteuid () != 0)
    skip ();
  /* Where there is no private view of the tree (under valgrind, say), reading a symlink can be seen. */
  view = open_tree (AT_FDCWD, "tree", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (view < 0)
    n = 3;
  else
    close (view);
  make_text ("tree/f", "x");
  make_dir ("tree/d");
  make_link ("f", "tree/l");
  for (int i = 3; i >= 0; i--)
    {
      assert_int_equal (utimensat (AT_FDCWD, paths[i], set, AT_SYMLINK_NOFOLLOW), 0);
      assert_int_equal (lstat (paths[i], &before[i]), 0);
    }
  build (NULL);
  for (int i = 0; i < n; i++)
    {
      assert_int_equal (lstat (paths[i], &after), 0);
      assert_memory_equal (&after.st_atim, &before[i].st_atim, sizeof after.st_atim);
      assert_memory_equal (&after.st_ctim, &before[i].st_ctim, sizeof after.st_ctim);
    }
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_arguments),    TEST (test_source_is_a_file), TEST (test_image_exists),
    TEST (test_unreadable),   TEST (test_unprivileged),     TEST (test_cancel),
    TEST (test_progress),     TEST (test_changes),          TEST (test_led_out),
    TEST (test_disk_full),    TEST (test_virtual),          TEST (test_source_untouched),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
