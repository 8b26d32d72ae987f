/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: trees that are made to do harm, and files that change in the middle of being read. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "rootfs-image.h"

/* More than is copied at once, whatever the way. */
#define LARGE (40 << 20)

static void
make_socket (const char *path)
{
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  assert_true (fd >= 0);
  strcpy (addr.sun_path, path);
  assert_int_equal (bind (fd, (struct sockaddr *) &addr, sizeof addr), 0);
  close (fd);
}

/* Opening a FIFO waits or wakes somebody, opening a device may rewind a tape. */
static void
test_never_opened (void **state)
{
  static const char *const paths[] = { "tree/fifo", "tree/socket", "tree/null", "outside", "secret/file" };
  int watch = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  char events[4096];
  ext2_filsys fs;

  (void) state;
  assert_true (watch >= 0);
  assert_int_equal (mkfifo ("tree/fifo", 0600), 0);
  make_socket ("tree/socket");
  if (geteuid () == 0)
    assert_int_equal (mknod ("tree/null", S_IFCHR | 0600, makedev (1, 3)), 0);
  make_text ("outside", "not to be read");
  make_dir ("secret");
  make_text ("secret/file", "not to be read");
  make_link ("../outside", "tree/link");
  make_link ("../secret", "tree/dir");
  make_link ("/proc/self/root/etc/shadow", "tree/abs");
  for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
    if (access (paths[i], F_OK) == 0)
      assert_true (inotify_add_watch (watch, paths[i], IN_OPEN | IN_ACCESS) >= 0);
  build (NULL);
  assert_int_equal (read (watch, events, sizeof events), -1);
  assert_int_equal (errno, EAGAIN);
  close (watch);
  fs = image_open ("image");
  assert_true (S_ISFIFO (image_inode (fs, "/fifo").i_mode));
  assert_true (LINUX_S_ISSOCK (image_inode (fs, "/socket").i_mode));
  assert_true (S_ISLNK (image_inode (fs, "/link").i_mode));
  assert_true (S_ISLNK (image_inode (fs, "/dir").i_mode));
  ext2fs_close_free (&fs);
}

struct change
{
  void (*fn) (void);
  int done;
};

/* When some of the file has been written, and not all. */
static int
change_while_writing (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct change *c = user;

  (void) files;
  if (!c->done && strcmp (phase, "write") == 0 && bytes > 0 && bytes < LARGE)
    {
      c->done = 1;
      c->fn ();
    }
  return 0;
}

static void
grow (void)
{
  int fd = open ("tree/large", O_WRONLY | O_APPEND | O_CLOEXEC);

  assert_int_equal (write (fd, "more", 4), 4);
  close (fd);
}

static void
shrink (void)
{
  assert_int_equal (truncate ("tree/large", 5), 0);
}

static void
vanish (void)
{
  assert_int_equal (unlink ("tree/large"), 0);
}

static void
overwrite (void)
{
  int fd = open ("tree/large", O_WRONLY | O_CLOEXEC);

  assert_int_equal (pwrite (fd, "X", 1, LARGE - 1), 1);
  close (fd);
}

static void
test_changes_while_read (void **state)
{
  static void (*const changes[]) (void) = { grow, shrink, vanish, overwrite };
  char *data = malloc (LARGE);

  (void) state;
  assert_non_null (data);
  memset (data, 'd', LARGE);
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
    {
      struct change c = { .fn = changes[i] };
      rcvm_rootfs_options *o = options_new ();

      unlink ("tree/large");
      make_file ("tree/large", data, LARGE);
      rcvm_rootfs_options_set_progress (o, change_while_writing, &c, NULL);
      build_fails (o, RCVM_E_STATE, "'tree/large' changed while it was read");
      assert_int_equal (c.done, 1);
    }
  free (data);
}

/* Too small a size is found before anything is written. */
static int
no_writing (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  (void) user;
  (void) files;
  (void) bytes;
  assert_string_equal (phase, "scan");
  return 0;
}

static void
test_size_limit (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  char *data = calloc (1, LARGE);

  (void) state;
  assert_non_null (data);
  make_file ("tree/large", data, LARGE);
  free (data);
  rcvm_rootfs_options_set_size (o, LARGE, NULL);
  rcvm_rootfs_options_set_progress (o, no_writing, NULL, NULL);
  build_fails (o, RCVM_E_NO_SPACE, "too small for the tree");
}

static void
test_wide_directory (void **state)
{
  int n = getenv ("UNDER_VALGRIND") ? 500 : 20000;
  ext2_filsys fs;
  char name[40];

  (void) state;
  make_dir ("tree/wide");
  for (int i = 0; i < n; i++)
    {
      snprintf (name, sizeof name, "tree/wide/%d", i);
      assert_int_equal (mknod (name, S_IFREG | 0600, 0), 0);
    }
  build (NULL);
  fs = image_open ("image");
  for (int i = 0; i < n; i += 97)
    {
      snprintf (name, sizeof name, "/wide/%d", i);
      assert_int_not_equal (image_lookup (fs, name), 0);
    }
  ext2fs_close_free (&fs);
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_never_opened),
    TEST (test_changes_while_read),
    TEST (test_size_limit),
    TEST (test_wide_directory),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
