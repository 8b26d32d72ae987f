/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at images: good ones pass, and a change in any block of metadata is found. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rootfs-image.h"

static void
make_tree (void)
{
  char path[64];
  int fd;

  make_dir ("tree/wide");
  for (int i = 0; i < 1000; i++)
    {
      snprintf (path, sizeof path, "tree/wide/%04d", i);
      make_text (path, path);
    }
  fd = open ("tree/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  for (int i = 0; i < 10; i++)
    assert_int_equal (pwrite (fd, "x", 1, i * 65536), 1);
  close (fd);
  make_link ("0123456789012345678901234567890123456789012345678901234567890123456789", "tree/slow");
}

static void
damage (off_t offset)
{
  int fd = open ("image", O_RDWR | O_CLOEXEC);
  unsigned char byte;

  assert_int_equal (pread (fd, &byte, 1, offset), 1);
  byte ^= 0x10;
  assert_int_equal (pwrite (fd, &byte, 1, offset), 1);
  close (fd);
}

static void
expect_damage (off_t offset, const char *where)
{
  rcvm_error *err = NULL;

  damage (offset);
  if (rcvm_rootfs_verify ("image", &err) != RCVM_E_IMAGE)
    fail_msg ("a change in the %s is not found", where);
  assert_non_null (strstr (rcvm_error_get_message (err), "image"));
  rcvm_error_free (err);
  damage (offset);
}

static void
test_verify (void **state)
{
  struct ext2_inode_large wide, sparse;
  off_t superblock = 1024, groups, bitmap, inodes, table, leaf, extents;
  rcvm_error *err = NULL;
  ext2_filsys fs;
  blk64_t block;
  ext2_ino_t ino;
  uint32_t low;

  (void) state;
  make_tree ();
  build (NULL);
  if (rcvm_rootfs_verify ("image", &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));

  fs = image_open ("image");
  groups = 4096;
  bitmap = (off_t) ext2fs_block_bitmap_loc (fs, 0) * 4096;
  inodes = (off_t) ext2fs_inode_bitmap_loc (fs, 0) * 4096;
  table = (off_t) ext2fs_inode_table_loc (fs, 0) * 4096;
  ino = image_lookup (fs, "/wide");
  wide = image_inode (fs, "/wide");
  assert_int_equal (ext2fs_bmap2 (fs, ino, (struct ext2_inode *) &wide, NULL, 0, 1, NULL, &block), 0);
  leaf = (off_t) block * 4096;
  sparse = image_inode (fs, "/sparse");
  /* The first entry of the extents' root is an index: the block that it leads to. */
  memcpy (&low, (char *) sparse.i_block + 16, sizeof low);
  extents = (off_t) low * 4096;
  ext2fs_close_free (&fs);

  expect_damage (superblock + 0x10, "superblock");
  expect_damage (groups + 8, "group table");
  expect_damage (bitmap + 1, "block bitmap");
  expect_damage (inodes + 3, "inode bitmap");
  expect_damage (table + (ino - 1) * 256 + 4, "inode");
  expect_damage (leaf + 40, "directory");
  expect_damage (extents + 20, "extent tree");
  assert_int_equal (rcvm_rootfs_verify ("image", NULL), 0);
}

static void
test_other_files (void **state)
{
  char *zeros = calloc (1, 1 << 20);
  rcvm_error *err = NULL;

  (void) state;
  assert_non_null (zeros);
  make_file ("zeros", zeros, 1 << 20);
  free (zeros);
  make_text ("short", "x");
  assert_int_equal (rcvm_rootfs_verify ("zeros", &err), RCVM_E_IMAGE);
  assert_non_null (strstr (rcvm_error_get_message (err), "no ext4 image"));
  rcvm_error_free (err);
  assert_int_equal (rcvm_rootfs_verify ("short", NULL), RCVM_E_IMAGE);
  assert_int_equal (rcvm_rootfs_verify ("absent", NULL), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvm_rootfs_verify ("", NULL), RCVM_E_INVALID);
  assert_null (rcvm_rootfs_inspect_json ("zeros", NULL));
  assert_null (rcvm_rootfs_inspect_json (NULL, NULL));
}

static void
test_cut_short (void **state)
{
  rcvm_error *err = NULL;

  (void) state;
  make_tree ();
  build (NULL);
  assert_int_equal (truncate ("image", 3 << 20), 0);
  assert_int_equal (rcvm_rootfs_verify ("image", &err), RCVM_E_IMAGE);
  assert_non_null (strstr (rcvm_error_get_message (err), "cut short"));
  rcvm_error_free (err);
}

static void
test_inspect (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  char *json;

  (void) state;
  make_tree ();
  rcvm_rootfs_options_set_size (o, 64 << 20, NULL);
  rcvm_rootfs_options_set_journal (o, 0, NULL);
  build (o);
  json = rcvm_rootfs_inspect_json ("image", NULL);
  assert_non_null (json);
  assert_non_null (strstr (json, "\"type\":\"ext4\""));
  assert_non_null (strstr (json, "\"size\":67108864"));
  assert_non_null (strstr (json, "\"journal\":false"));
  assert_non_null (strstr (json, "\"checksums\":true"));
  assert_non_null (strstr (json, "\"clean\":true"));
  rcvm_free (json);
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_verify),
    TEST (test_other_files),
    TEST (test_cut_short),
    TEST (test_inspect),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
