/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: what comes in comes out, each kind of metadata on its own. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "rootfs-image.h"

static void
test_empty (void **state)
{
  ext2_filsys fs;

  (void) state;
  assert_int_equal (chmod ("tree", 01751), 0);
  build (NULL);
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/").i_mode, S_IFDIR | 01751);
  assert_int_equal (image_inode (fs, "/").i_links_count, 2);
  assert_int_equal (image_lookup (fs, "/lost+found"), 0);
  assert_true (ext2fs_has_feature_journal (fs->super));
  assert_true (ext2fs_has_feature_metadata_csum (fs->super));
  ext2fs_close_free (&fs);
}

static void
test_contents (void **state)
{
  static const size_t sizes[] = { 0,      1,      4095,   4096,   4097,    131071,
                                  131072, 262143, 262145, 524288, 1048577, 3000001 };
  unsigned char *data = malloc (4000000);
  ext2_filsys fs;
  char path[64];

  (void) state;
  assert_non_null (data);
  for (size_t i = 0; i < 4000000; i++)
    data[i] = (unsigned char) (i * 31 + (i >> 8) * 7 + (i >> 16));
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    {
      snprintf (path, sizeof path, "tree/%zu", sizes[i]);
      make_file (path, data + i, sizes[i]);
    }
  build (NULL);
  fs = image_open ("image");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    {
      snprintf (path, sizeof path, "/%zu", sizes[i]);
      image_expect (fs, path, data + i, sizes[i]);
    }
  ext2fs_close_free (&fs);
  free (data);
}

static void
test_owner_and_mode (void **state)
{
  struct ext2_inode_large inode;
  ext2_filsys fs;

  (void) state;
  if (geteuid () != 0)
    skip ();
  make_text ("tree/f", "x");
  assert_int_equal (chown ("tree/f", 100001, 4294967294u), 0);
  assert_int_equal (chmod ("tree/f", 06755), 0);
  make_link ("f", "tree/l");
  assert_int_equal (lchown ("tree/l", 7, 70000), 0);
  build (NULL);
  fs = image_open ("image");
  inode = image_inode (fs, "/f");
  assert_int_equal (inode.i_mode, S_IFREG | 06755);
  assert_int_equal (inode_uid (inode), 100001);
  assert_int_equal (inode_gid (inode), 4294967294u);
  ext2fs_close_free (&fs);
}

static void
test_times (void **state)
{
  struct timespec times[] = {
    { -(INT64_C (1) << 31), 123456789 }, { -1, 999999999 },           { 0, 0 },
    { (INT64_C (1) << 31) - 1, 1 },      { INT64_C (1) << 31, 2 },    { (INT64_C (1) << 32) - 1, 3 },
    { INT64_C (1) << 32, 4 },            { INT64_C (4102444800), 5 }, { INT64_C (15032385535), 999999999 },
  };
  ext2_filsys fs;
  char path[32];

  (void) state;
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    {
      struct timespec set[2] = { times[(i + 4) % 9], times[i] };
      struct stat st;

      snprintf (path, sizeof path, "tree/%zu", i);
      make_text (path, "x");
      assert_int_equal (utimensat (AT_FDCWD, path, set, 0), 0);
      assert_int_equal (stat (path, &st), 0);
      if (st.st_mtim.tv_sec != times[i].tv_sec)
        skip (); /* A file system of fewer years. */
      /* The kernel leaves no nanoseconds to the first and the last second. */
      times[i].tv_nsec = st.st_mtim.tv_nsec;
    }
  build (NULL);
  fs = image_open ("image");
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    {
      struct ext2_inode_large inode;
      uint32_t nsec;

      snprintf (path, sizeof path, "/%zu", i);
      inode = image_inode (fs, path);
      assert_true (image_time (inode.i_mtime, inode.i_mtime_extra, &nsec) == times[i].tv_sec);
      assert_int_equal (nsec, times[i].tv_nsec);
      assert_true (image_time (inode.i_ctime, inode.i_ctime_extra, &nsec) == times[i].tv_sec);
      assert_true (image_time (inode.i_crtime, inode.i_crtime_extra, &nsec) == times[i].tv_sec);
      assert_true (image_time (inode.i_atime, inode.i_atime_extra, &nsec)
                   == times[(i + 4) % 9].tv_sec);
      assert_int_equal (nsec, times[(i + 4) % 9].tv_nsec);
    }
  ext2fs_close_free (&fs);
}

static void
test_links (void **state)
{
  struct ext2_inode_large inode;
  char target[200];
  ext2_filsys fs;

  (void) state;
  make_text ("tree/a", "shared");
  make_dir ("tree/d");
  assert_int_equal (link ("tree/a", "tree/d/b"), 0);
  assert_int_equal (link ("tree/a", "tree/z"), 0);
  make_link ("/etc/passwd", "tree/fast");
  memset (target, 's', 60);
  target[60] = 0;
  make_link (target, "tree/slow");
  target[59] = 0;
  make_link (target, "tree/fastest");
  build (NULL);
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/a").i_links_count, 3);
  assert_int_equal (image_lookup (fs, "/a"), image_lookup (fs, "/d/b"));
  assert_int_equal (image_lookup (fs, "/a"), image_lookup (fs, "/z"));
  image_expect_text (fs, "/d/b", "shared");
  assert_int_equal (image_inode (fs, "/").i_links_count, 3);
  inode = image_inode (fs, "/fast");
  assert_int_equal (inode.i_size, 11);
  assert_memory_equal (inode.i_block, "/etc/passwd", 11);
  assert_int_equal (image_inode (fs, "/fastest").i_blocks, 0);
  assert_int_equal (image_inode (fs, "/slow").i_blocks, 8);
  assert_int_equal (image_inode (fs, "/slow").i_size, 60);
  ext2fs_close_free (&fs);
}

static void
test_special (void **state)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "tree/socket" };
  int s = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ext2_filsys fs;

  (void) state;
  assert_true (s >= 0);
  assert_int_equal (bind (s, (struct sockaddr *) &address, sizeof address), 0);
  close (s);
  /* Opening it would wait forever. */
  assert_int_equal (mkfifo ("tree/fifo", 0622), 0);
  if (geteuid () == 0)
    {
      assert_int_equal (mknod ("tree/null", S_IFCHR | 0666, makedev (1, 3)), 0);
      assert_int_equal (mknod ("tree/large", S_IFBLK | 0600, makedev (300, 70000)), 0);
    }
  build (NULL);
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/fifo").i_mode, S_IFIFO | 0622);
  assert_true (S_ISSOCK (image_inode (fs, "/socket").i_mode));
  if (geteuid () == 0)
    {
      assert_int_equal (image_inode (fs, "/null").i_mode, S_IFCHR | 0666);
      assert_int_equal (image_inode (fs, "/null").i_block[0], 0x103);
      assert_int_equal (image_inode (fs, "/large").i_block[0], 0);
      assert_int_equal (image_inode (fs, "/large").i_block[1],
                        (70000 & 0xff) | 300 << 8 | (70000 & ~0xff) << 12);
    }
  ext2fs_close_free (&fs);
}

static void
test_sparse (void **state)
{
  struct ext2_inode_large inode;
  ext2_filsys fs;
  int fd = open ("tree/f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

  (void) state;
  assert_int_equal (ftruncate (fd, INT64_C (5) << 30), 0);
  assert_int_equal (pwrite (fd, "start", 5, 0), 5);
  assert_int_equal (pwrite (fd, "high", 4, (INT64_C (4) << 30) + 4094), 4);
  close (fd);
  fd = open ("tree/hole", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  assert_int_equal (ftruncate (fd, 1000000), 0);
  close (fd);
  build (NULL);
  fs = image_open ("image");
  inode = image_inode (fs, "/f");
  assert_true (EXT2_I_SIZE (&inode) == UINT64_C (5) << 30);
  assert_int_equal (inode.i_blocks, 3 * 8);
  assert_int_equal (image_inode (fs, "/hole").i_size, 1000000);
  assert_int_equal (image_inode (fs, "/hole").i_blocks, 0);
  ext2fs_close_free (&fs);
}

static void
test_extent_tree (void **state)
{
  char *data = calloc (1000, 8192);
  ext2_filsys fs;
  int fd = open ("tree/f", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

  (void) state;
  assert_non_null (data);
  /* 1,000 extents need three leaves; the first of them is left out, so that the file starts with a hole. */
  for (int i = 1; i < 1000; i++)
    {
      snprintf (data + i * 8192, 32, "block %d", i);
      assert_int_equal (pwrite (fd, data + i * 8192, 16, i * 8192), 16);
    }
  assert_int_equal (ftruncate (fd, 1000 * 8192), 0);
  close (fd);
  build (NULL);
  fs = image_open ("image");
  image_expect (fs, "/f", data, 1000 * 8192);
  ext2fs_close_free (&fs);
  free (data);
}

static void
test_xattrs (void **state)
{
  static const unsigned char acl[]
      = { 2, 0, 0, 0, 1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 4, 0, 0xe8, 3, 0, 0,
          4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, 16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
          32, 0, 4, 0, 0xff, 0xff, 0xff, 0xff };
  static const unsigned char stored[] = { 1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xe8, 3,
                                          0, 0, 4, 0, 4, 0, 16, 0, 4, 0, 32, 0, 4, 0 };
  char big[3000], value[4096];
  ext2_filsys fs;

  (void) state;
  memset (big, 'b', sizeof big);
  make_text ("tree/f", "x");
  if (setxattr ("tree/f", "user.small", "1", 1, 0) < 0)
    skip (); /* A file system without. */
  make_text ("tree/block", "x");
  assert_int_equal (setxattr ("tree/block", "user.big", big, sizeof big, 0), 0);
  assert_int_equal (setxattr ("tree/block", "user.\xff\xfe", "bytes", 5, 0), 0);
  assert_int_equal (setxattr ("tree/block", "user.empty", "", 0, 0), 0);
  make_text ("tree/acl", "x");
  assert_int_equal (setxattr ("tree/acl", "system.posix_acl_access", acl, sizeof acl, 0), 0);
  make_dir ("tree/d");
  assert_int_equal (setxattr ("tree/d", "system.posix_acl_default", acl, sizeof acl, 0), 0);
  build (NULL);
  fs = image_open ("image");
  assert_int_equal (image_xattr (fs, "/f", "user.small", value, sizeof value), 1);
  assert_int_equal (value[0], '1');
  assert_int_equal (image_inode (fs, "/f").i_file_acl, 0);
  assert_int_equal (image_xattr (fs, "/f", "user.other", value, sizeof value), -1);
  assert_int_equal (image_xattr (fs, "/block", "user.big", value, sizeof value), sizeof big);
  assert_memory_equal (value, big, sizeof big);
  assert_int_equal (image_xattr (fs, "/block", "user.\xff\xfe", value, sizeof value), 5);
  assert_int_equal (image_xattr (fs, "/block", "user.empty", value, sizeof value), 0);
  assert_int_not_equal (image_inode (fs, "/block").i_file_acl, 0);
  assert_int_equal (image_xattr (fs, "/acl", "system.posix_acl_access", value, sizeof value),
                    sizeof stored);
  assert_memory_equal (value, stored, sizeof stored);
  assert_int_equal (image_xattr (fs, "/d", "system.posix_acl_default", value, sizeof value),
                    sizeof stored);
  ext2fs_close_free (&fs);
}

static void
test_names (void **state)
{
  char longest[256], path[512];
  ext2_filsys fs;

  (void) state;
  memset (longest, 'n', 255);
  longest[255] = 0;
  snprintf (path, sizeof path, "tree/%s", longest);
  make_text (path, "long");
  make_text ("tree/\xff\xfe\x80", "bytes");
  make_text ("tree/new\nline", "newline");
  build (NULL);
  fs = image_open ("image");
  image_expect_text (fs, longest, "long");
  image_expect_text (fs, "/\xff\xfe\x80", "bytes");
  image_expect_text (fs, "/new\nline", "newline");
  ext2fs_close_free (&fs);
}

static int
count_entry (struct ext2_dir_entry *entry, int offset, int blocksize, char *buf, void *user)
{
  (void) entry;
  (void) offset;
  (void) blocksize;
  (void) buf;
  ++*(unsigned *) user;
  return 0;
}

/* One block of entries, just more than that, and enough for an index of two levels. */
static void
test_directories (void **state)
{
  static const unsigned sizes[] = { 337, 338, 339, 3000, 20000 };
  ext2_filsys fs;
  char path[300];

  (void) state;
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    {
      snprintf (path, sizeof path, "tree/%u", sizes[i]);
      make_dir (path);
      for (unsigned n = 0; n < sizes[i]; n++)
        {
          snprintf (path, sizeof path, sizes[i] == 20000 ? "tree/%u/%0200u" : "tree/%u/%04u", sizes[i], n);
          assert_int_equal (mkfifo (path, 0600), 0);
        }
    }
  build (NULL);
  fs = image_open ("image");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    {
      unsigned n = 0, flags;

      snprintf (path, sizeof path, "/%u", sizes[i]);
      flags = image_inode (fs, path).i_flags;
      assert_int_equal (!!(flags & EXT2_INDEX_FL), sizes[i] > 338);
      assert_int_equal (ext2fs_dir_iterate (fs, image_lookup (fs, path), 0, NULL, count_entry, &n), 0);
      assert_int_equal (n, sizes[i] + 2);
    }
  ext2fs_close_free (&fs);
}

/* Deeper than the descriptors that a process may have, and than PATH_MAX. */
static void
test_deep (void **state)
{
  char name[128];
  ext2_filsys fs;
  ext2_ino_t ino = EXT2_ROOT_INO;
  int top = open (".", O_RDONLY | O_CLOEXEC), at = open ("tree", O_RDONLY | O_CLOEXEC), next;

  (void) state;
  memset (name, 'd', 100);
  name[100] = 0;
  for (int i = 0; i < 1500; i++)
    {
      assert_int_equal (mkdirat (at, name, 0755), 0);
      next = openat (at, name, O_RDONLY | O_CLOEXEC);
      close (at);
      at = next;
      next = openat (at, "z", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
      assert_int_equal (write (next, "deep", 4), 4);
      close (next);
    }
  build (NULL);
  fs = image_open ("image");
  for (int i = 0; i < 1500; i++)
    assert_int_equal (ext2fs_lookup (fs, ino, name, 100, NULL, &ino), 0);
  assert_int_equal (ext2fs_lookup (fs, ino, "z", 1, NULL, &ino), 0);
  ext2fs_close_free (&fs);
  /* From below, as nftw would not get there. */
  for (int i = 0; i < 1500; i++)
    {
      assert_int_equal (unlinkat (at, "z", 0), 0);
      next = openat (at, "..", O_RDONLY | O_CLOEXEC);
      assert_int_equal (unlinkat (next, name, AT_REMOVEDIR), 0);
      close (at);
      at = next;
    }
  close (at);
  close (top);
}

static char *
read_image (size_t *len)
{
  int fd = open ("image", O_RDONLY | O_CLOEXEC);
  char *data;

  *len = (size_t) lseek (fd, 0, SEEK_END);
  data = malloc (*len);
  assert_non_null (data);
  assert_int_equal (pread (fd, data, *len, 0), (ssize_t) *len);
  close (fd);
  return data;
}

static void
test_deterministic (void **state)
{
  char *first, *second, path[64];
  size_t first_len, second_len;
  ext2_filsys fs;
  uint8_t uuid[16];

  (void) state;
  for (int i = 0; i < 400; i++)
    {
      snprintf (path, sizeof path, "tree/%d", i * 7919 % 400);
      make_text (path, path);
      snprintf (path, sizeof path, "tree/l%d", i);
      make_link ("target", path);
    }
  build (NULL);
  first = read_image (&first_len);
  fs = image_open ("image");
  memcpy (uuid, fs->super->s_uuid, 16);
  ext2fs_close_free (&fs);
  assert_int_equal (unlink ("image"), 0);
  /* The clock must not matter. */
  usleep (1100000);
  build (NULL);
  second = read_image (&second_len);
  assert_int_equal (first_len, second_len);
  assert_memory_equal (first, second, first_len);
  assert_int_equal (unlink ("image"), 0);
  make_text ("tree/one more", "");
  build (NULL);
  fs = image_open ("image");
  assert_memory_not_equal (uuid, fs->super->s_uuid, 16);
  ext2fs_close_free (&fs);
  free (first);
  free (second);
}

static void
test_no_journal (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  struct stat st;
  ext2_filsys fs;

  (void) state;
  make_text ("tree/f", "x");
  assert_int_equal (rcvm_rootfs_options_set_journal (o, 0, NULL), 0);
  build (o);
  fs = image_open ("image");
  assert_false (ext2fs_has_feature_journal (fs->super));
  ext2fs_close_free (&fs);
  assert_int_equal (stat ("image", &st), 0);
  assert_true (st.st_size < 1 << 20);
  assert_int_equal (st.st_mode & 07777, 0600);
}

static void
test_sizes (void **state)
{
  static char data[300000];
  rcvm_rootfs_options *o;
  struct stat st;
  ext2_filsys fs;

  (void) state;
  make_file ("tree/f", data, sizeof data);
  /* By default: room, 128 MiB at least. */
  o = options_new ();
  assert_int_equal (rcvm_rootfs_options_set_headroom (o, 30, NULL), 0);
  build (o);
  assert_int_equal (stat ("image", &st), 0);
  assert_int_equal (st.st_size, 128 << 20);
  assert_int_equal (unlink ("image"), 0);

  o = options_new ();
  assert_int_equal (rcvm_rootfs_options_set_size (o, (UINT64_C (3) << 30) + 12345, NULL), 0);
  build (o);
  assert_int_equal (stat ("image", &st), 0);
  assert_int_equal (st.st_size, (INT64_C (3) << 30) + 12345);
  /* Sparse. */
  assert_true (st.st_blocks < 4096);
  fs = image_open ("image");
  assert_true (ext2fs_free_blocks_count (fs->super) > 700000);
  ext2fs_close_free (&fs);
}

/* As small as can be, whatever there is more of: tables or data. */
static void
test_smallest (void **state)
{
  char path[32];
  int n = 0;

  (void) state;
  for (int until = 0; until < 1600; until = until * 2 + 25)
    {
      rcvm_rootfs_options *o = options_new ();

      for (; n < until; n++)
        {
          snprintf (path, sizeof path, "tree/%d", n);
          make_text (path, "");
        }
      assert_int_equal (rcvm_rootfs_options_set_headroom (o, 0, NULL), 0);
      assert_int_equal (rcvm_rootfs_options_set_journal (o, 0, NULL), 0);
      build (o);
      check_clean ("image");
      assert_int_equal (unlink ("image"), 0);
    }
}

/* The size that the error names is enough, and one block less is not. */
static void
test_too_small (void **state)
{
  static char data[3000000];
  rcvm_rootfs_options *o = options_new ();
  rcvm_error *err = NULL;
  unsigned long long need = 0;
  char path[32];

  (void) state;
  make_file ("tree/f", data, sizeof data);
  for (int i = 0; i < 500; i++)
    {
      snprintf (path, sizeof path, "tree/%d", i);
      make_text (path, "x");
    }
  assert_int_equal (rcvm_rootfs_options_set_size (o, 1 << 20, NULL), 0);
  assert_int_equal (rcvm_rootfs_build ("tree", "image", o, &err), RCVM_E_NO_SPACE);
  assert_int_equal (sscanf (strstr (rcvm_error_get_message (err), "needs "), "needs %llu", &need), 1);
  rcvm_error_free (err);
  rcvm_rootfs_options_set_size (o, need - 4096, NULL);
  build_fails (o, RCVM_E_NO_SPACE, "too small");
  o = options_new ();
  rcvm_rootfs_options_set_size (o, need, NULL);
  build (o);
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_empty),       TEST (test_contents), TEST (test_owner_and_mode), TEST (test_times),
    TEST (test_links),       TEST (test_special),  TEST (test_sparse),         TEST (test_extent_tree),
    TEST (test_xattrs),      TEST (test_names),    TEST (test_directories),    TEST (test_deep),
    TEST (test_deterministic), TEST (test_no_journal), TEST (test_sizes),      TEST (test_smallest),
    TEST (test_deterministic), TEST (test_no_journal), TEST (test_sizes),      TEST (test_too_small),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
