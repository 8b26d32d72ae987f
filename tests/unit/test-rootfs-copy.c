/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: files and directories of the host copied over the tree. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rootfs-image.h"

static void
copy (const char *source, const char *destination)
{
  build (options_copy (options_new (), source, destination));
}

static void
test_file (void **state)
{
  struct ext2_inode_large inode, parent;
  struct timespec set[2] = { { 1000000000, 7 }, { 1234567890, 987654321 } };
  ext2_filsys fs;
  uint32_t nsec;

  (void) state;
  make_dir ("tree/etc");
  make_text ("tree/etc/hosts", "of the image");
  make_text ("tree/etc/other", "kept");
  make_text ("mine", "of the host");
  assert_int_equal (chmod ("mine", 0604), 0);
  assert_int_equal (utimensat (AT_FDCWD, "mine", set, 0), 0);
  copy ("mine", "/etc/hosts");
  fs = image_open ("image");
  image_expect_text (fs, "/etc/hosts", "of the host");
  image_expect_text (fs, "/etc/other", "kept");
  inode = image_inode (fs, "/etc/hosts");
  assert_int_equal (inode.i_mode, S_IFREG | 0604);
  assert_true (image_time (inode.i_mtime, inode.i_mtime_extra, &nsec) == 1234567890);
  assert_int_equal (nsec, 987654321);
  parent = image_inode (fs, "/etc");
  assert_int_equal (parent.i_mode, S_IFDIR | 0755);
  ext2fs_close_free (&fs);
}

static void
test_parents_are_made (void **state)
{
  ext2_filsys fs;

  (void) state;
  make_text ("mine", "deep down");
  copy ("mine", "/a/b//c/./d/../file");
  fs = image_open ("image");
  image_expect_text (fs, "/a/b/c/file", "deep down");
  assert_int_equal (image_inode (fs, "/a/b").i_mode, S_IFDIR | 0755);
  assert_int_equal (image_inode (fs, "/a/b/c").i_links_count, 3);
  ext2fs_close_free (&fs);
}

static void
test_directories_merge (void **state)
{
  ext2_filsys fs;

  (void) state;
  make_dir ("tree/d");
  make_dir ("tree/d/sub");
  make_text ("tree/d/a", "old a");
  make_text ("tree/d/b", "old b");
  make_text ("tree/d/sub/x", "old x");
  make_text ("tree/d/was-file", "file");
  make_dir ("tree/d/was-dir");
  make_text ("tree/d/was-dir/gone", "gone");
  make_dir ("mine");
  make_dir ("mine/sub");
  make_text ("mine/b", "new b");
  make_text ("mine/c", "new c");
  make_text ("mine/sub/y", "new y");
  make_dir ("mine/was-file");
  make_text ("mine/was-file/in", "in");
  make_text ("mine/was-dir", "now a file");
  assert_int_equal (chmod ("mine", 0711), 0);
  assert_int_equal (chmod ("mine/sub", 0700), 0);
  copy ("mine", "/d");
  fs = image_open ("image");
  image_expect_text (fs, "/d/a", "old a");
  image_expect_text (fs, "/d/b", "new b");
  image_expect_text (fs, "/d/c", "new c");
  image_expect_text (fs, "/d/sub/x", "old x");
  image_expect_text (fs, "/d/sub/y", "new y");
  image_expect_text (fs, "/d/was-file/in", "in");
  image_expect_text (fs, "/d/was-dir", "now a file");
  assert_int_equal (image_lookup (fs, "/d/was-dir/gone"), 0);
  assert_int_equal (image_inode (fs, "/d").i_mode, S_IFDIR | 0711);
  assert_int_equal (image_inode (fs, "/d/sub").i_mode, S_IFDIR | 0700);
  ext2fs_close_free (&fs);
}

static void
test_onto_the_root (void **state)
{
  (void) state;
  make_text ("tree/a", "a");
  make_dir ("mine");
  make_text ("mine/b", "b");
  copy ("mine", "/");
  expect_text ("/a", "a");
  expect_text ("/b", "b");
}

/* The image's symlinks lead about inside the image; "host" beside the tree must stay as it is. */
static void
test_hostile_destinations (void **state)
{
  static const struct
  {
    const char *link, *target, *destination, *found;
  } cases[] = {
    { "tree/up", "../../../../../../../../host", "/up/file", "/host/file" },
    { "tree/abs", "/host", "/abs/file", "/host/file" },
    { "tree/deep", "/a/../../b/./c", "/deep/file", "/b/c/file" },
    { "tree/last", "/etc/target", "/last", "/etc/target" },
    { "tree/chain", "up2", "/chain/file", "/elsewhere/file" },
    { "tree/dots", "x", "/dots/../../../file", "/file" },
    { "tree/root", "/..", "/root/file", "/file" },
  };
  char path[512], cwd[256];

  (void) state;
  make_dir ("host");
  make_text ("mine", "copied");
  make_link ("/elsewhere", "tree/up2");
  assert_non_null (getcwd (cwd, sizeof cwd));
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      make_link (cases[i].target, cases[i].link);
      copy ("mine", cases[i].destination);
      expect_text (cases[i].found, "copied");
      assert_int_equal (unlink ("image"), 0);
      assert_int_equal (unlink (cases[i].link), 0);
    }
  /* An absolute path of the host is one of the image. */
  snprintf (path, sizeof path, "%s/host", cwd);
  make_link (path, "tree/out");
  copy ("mine", "/out/file");
  snprintf (path, sizeof path, "%s/host/file", cwd);
  expect_text (path, "copied");
  assert_int_equal (rmdir ("host"), 0);
}

static void
test_unusable_destinations (void **state)
{
  (void) state;
  make_link ("loop", "tree/loop");
  make_text ("tree/file", "x");
  make_text ("mine", "x");
  build_fails (options_copy (options_new (), "mine", "/loop/file"), RCVM_E_INVALID, "loop");
  build_fails (options_copy (options_new (), "mine", "/file/below"), RCVM_E_INVALID, "/file/below");
  build_fails (options_copy (options_new (), "mine", "/"), RCVM_E_INVALID, "root directory");
  build_fails (options_copy (options_new (), "absent", "/x"), RCVM_E_NOT_FOUND, "absent");
}

/* Symlinks inside of what is copied are copied; its own name may be one. */
static void
test_symlinks_in_the_source (void **state)
{
  ext2_filsys fs;

  (void) state;
  make_dir ("mine");
  make_link ("/etc/passwd", "mine/link");
  make_link ("mine", "alias");
  copy ("alias", "/d");
  fs = image_open ("image");
  assert_true (S_ISLNK (image_inode (fs, "/d/link").i_mode));
  ext2fs_close_free (&fs);
}

static void
test_later_ones_win (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  ext2_filsys fs;

  (void) state;
  make_dir ("one");
  make_text ("one/a", "one");
  make_text ("one/b", "one");
  assert_int_equal (link ("one/a", "one/hard"), 0);
  make_dir ("two");
  make_text ("two/b", "two");
  make_text ("file", "file");
  options_copy (o, "one", "/d");
  options_copy (o, "two", "/d");
  options_copy (o, "one", "/e");
  /* Takes the place of a directory whose contents are then nowhere. */
  options_copy (o, "one", "/f");
  options_copy (o, "file", "/f");
  options_copy (o, "file", "/g");
  options_copy (o, "one", "/d/../g2");
  build (o);
  fs = image_open ("image");
  image_expect_text (fs, "/d/a", "one");
  image_expect_text (fs, "/d/b", "two");
  image_expect_text (fs, "/e/b", "one");
  image_expect_text (fs, "/f", "file");
  image_expect_text (fs, "/g", "file");
  image_expect_text (fs, "/g2/hard", "one");
  /* Links hold within a copy, not between copies. */
  assert_int_equal (image_lookup (fs, "/d/a"), image_lookup (fs, "/d/hard"));
  assert_int_not_equal (image_lookup (fs, "/d/a"), image_lookup (fs, "/e/a"));
  assert_int_equal (image_inode (fs, "/d/a").i_links_count, 2);
  ext2fs_close_free (&fs);
}

/* Of two names of a file, a copy takes away the one that was read first. */
static void
test_half_hidden_links (void **state)
{
  ext2_filsys fs;

  (void) state;
  make_dir ("tree/d");
  make_text ("tree/d/a", "linked");
  assert_int_equal (link ("tree/d/a", "tree/z"), 0);
  make_text ("mine", "mine");
  copy ("mine", "/d/a");
  fs = image_open ("image");
  image_expect_text (fs, "/d/a", "mine");
  image_expect_text (fs, "/z", "linked");
  assert_int_equal (image_inode (fs, "/z").i_links_count, 1);
  ext2fs_close_free (&fs);
  assert_int_equal (unlink ("image"), 0);
  copy ("mine", "/d");
  expect_text ("/d", "mine");
  expect_text ("/z", "linked");
}

static void
test_arguments (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  rcvm_error *err = NULL;

  (void) state;
  assert_int_equal (rcvm_rootfs_options_add_copy (o, "x", "relative", &err), RCVM_E_INVALID);
  assert_non_null (strstr (rcvm_error_get_message (err), "relative"));
  rcvm_error_free (err);
  assert_int_equal (rcvm_rootfs_options_add_copy (o, "", "/x", NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_options_add_copy (o, NULL, "/x", NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_options_add_copy (o, "x", NULL, NULL), RCVM_E_INVALID);
  rcvm_rootfs_options_free (o);
  rcvm_rootfs_options_free (NULL);
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_file),
    TEST (test_parents_are_made),
    TEST (test_directories_merge),
    TEST (test_onto_the_root),
    TEST (test_hostile_destinations),
    TEST (test_unusable_destinations),
    TEST (test_symlinks_in_the_source),
    TEST (test_later_ones_win),
    TEST (test_half_hidden_links),
    TEST (test_arguments),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
