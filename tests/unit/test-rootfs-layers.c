/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks from layers: what a good tar or directory gives, and what hides what. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer-tar.h"
#include "rootfs-image.h"

/* Of "one", "two" and so on, as many as are there. */
static const char *const names[] = { "one", "two", "three", NULL };

static void
build_with (rcvm_rootfs_options *o)
{
  const char *layers[4] = { NULL };
  rcvm_error *err = NULL;

  for (int i = 0; names[i] && access (names[i], F_OK) == 0; i++)
    layers[i] = names[i];
  unlink ("image");
  if (rcvm_rootfs_build_layers (layers, "image", o, &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  rcvm_rootfs_options_free (o);
  check_clean ("image");
}

static void
build_layers (void)
{
  build_with (options_new ());
}

/* Ends the tar and makes it layer `name`. */
static void
layer (struct tar *t, const char *name)
{
  tar_end (t);
  tar_write (t, name);
}

static void
test_metadata (void **state)
{
  static const char capability[20] = { 1, 0, 0, 2, 0, 32 };
  struct ext2_inode_large inode;
  struct tar t = { 0 };
  ext2_filsys fs;
  char value[64];
  uint32_t nsec;

  (void) state;
  tar_entry (&t, (struct tar_entry){ .name = "./", .type = '5', .mode = 0711, .uid = 7 });
  tar_entry (&t, (struct tar_entry){ .name = "./d/", .type = '5', .mode = 01777, .gid = 70000 });
  tar_pax (&t, "mtime", "-2147483000.25", 14);
  tar_entry (&t, (struct tar_entry){ .name = "d/old", .text = "1901", .mode = 04755 });
  tar_pax (&t, "SCHILY.xattr.security.capability", capability, sizeof capability);
  tar_entry (&t, (struct tar_entry){ .name = "d/ping", .text = "#!" });
  tar_pax (&t, "LIBARCHIVE.xattr.user.encoded%20name", "aGVsbG8", 7);
  tar_entry (&t, (struct tar_entry){ .name = "d/attr", .text = "x" });
  tar_pax (&t, "SCHILY.acl.access", "user::rwx,user:1000:r-x,group::r--,mask::rwx,other::---", 55);
  tar_entry (&t, (struct tar_entry){ .name = "d/acl", .text = "x", .mode = 0770 });
  tar_entry (&t, (struct tar_entry){ .name = "d/dev", .type = '3', .major = 300, .minor = 70000 });
  tar_entry (&t, (struct tar_entry){ .name = "d/block", .type = '4', .major = 7, .minor = 1 });
  tar_entry (&t, (struct tar_entry){ .name = "d/fifo", .type = '6', .mode = 0600 });
  tar_link (&t, "d/link", "../../out");
  tar_hard (&t, "hard", "d/old");
  tar_entry (&t, (struct tar_entry){ .name = "far", .text = "x", .uid = 4000000000u, .mtime = 4102444800 });
  layer (&t, "one");
  build_layers ();
  fs = image_open ("image");
  inode = image_inode (fs, "/");
  assert_int_equal (inode.i_mode, S_IFDIR | 0711);
  assert_int_equal (inode_uid (inode), 7);
  inode = image_inode (fs, "/d");
  assert_int_equal (inode.i_mode, S_IFDIR | 01777);
  assert_int_equal (inode_gid (inode), 70000);
  inode = image_inode (fs, "/d/old");
  assert_int_equal (inode.i_mode, S_IFREG | 04755);
  assert_int_equal (inode.i_links_count, 2);
  assert_true (image_time (inode.i_mtime, inode.i_mtime_extra, &nsec) == -2147483001);
  assert_int_equal (nsec, 750000000);
  assert_int_equal (image_lookup (fs, "/hard"), image_lookup (fs, "/d/old"));
  assert_int_equal (image_xattr (fs, "/d/ping", "security.capability", value, sizeof value), 20);
  assert_memory_equal (value, capability, 20);
  assert_int_equal (image_xattr (fs, "/d/attr", "user.encoded name", value, sizeof value), 5);
  assert_memory_equal (value, "hello", 5);
  assert_int_equal (image_xattr (fs, "/d/acl", "system.posix_acl_access", value, sizeof value), 4 + 4 * 4 + 8);
  assert_true (S_ISCHR (image_inode (fs, "/d/dev").i_mode));
  assert_true (S_ISBLK (image_inode (fs, "/d/block").i_mode));
  assert_int_equal (image_inode (fs, "/d/fifo").i_mode, S_IFIFO | 0600);
  assert_true (S_ISLNK (image_inode (fs, "/d/link").i_mode));
  inode = image_inode (fs, "/far");
  assert_true (inode_uid (inode) == 4000000000u);
  assert_true (image_time (inode.i_mtime, inode.i_mtime_extra, &nsec) == 4102444800);
  ext2fs_close_free (&fs);
}

/* Names are bytes, whatever the locale: not converted, not composed, not refused. */
static void
test_names (void **state)
{
  static const char *const odd[] = {
    "e\xcc\x81-two", "\xc3\xa9-one", "bad-\xff\xfe", "new\nline", " x", "-", "\xe6\x97\xa5",
  };
  static const char *const locales[] = { "C", "C.UTF-8" };
  char text[64], path[80];

  (void) state;
  for (size_t k = 0; k < 2; k++)
    {
      struct tar t = { 0 };

      setlocale (LC_ALL, locales[k]);
      for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        {
          snprintf (text, sizeof text, "%zu", i);
          snprintf (path, sizeof path, "p-%s", odd[i]);
          tar_pax (&t, "path", path, strlen (path));
          tar_file (&t, "short", text);
          snprintf (path, sizeof path, "u-%s", odd[i]);
          tar_file (&t, path, text);
          snprintf (path, sizeof path, "h-%s", odd[i]);
          tar_pax (&t, "linkpath", path + 2, strlen (path) - 2);
          tar_link (&t, path, "short");
        }
      layer (&t, "one");
      build_layers ();
      for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        {
          ext2_filsys fs = image_open ("image");

          snprintf (text, sizeof text, "%zu", i);
          snprintf (path, sizeof path, "/p-%s", odd[i]);
          image_expect_text (fs, path, text);
          path[1] = 'u';
          image_expect_text (fs, path, text);
          path[1] = 'h';
          assert_int_equal (image_inode (fs, path).i_size, strlen (odd[i]));
          ext2fs_close_free (&fs);
        }
      assert_string_equal (setlocale (LC_ALL, NULL), locales[k]);
      setlocale (LC_ALL, "C");
    }
}

static void
test_layers_merge (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  tar_dir (&t, "d");
  tar_file (&t, "d/kept", "one");
  tar_file (&t, "d/replaced", "one");
  tar_file (&t, "d/file-to-dir", "one");
  tar_dir (&t, "d/dir-to-file");
  tar_file (&t, "d/dir-to-file/gone", "one");
  tar_file (&t, "d/hidden", "one");
  layer (&t, "one");
  /* The directory is not named: it stays as it was. */
  tar_file (&t, "d/replaced", "two");
  tar_dir (&t, "d/file-to-dir");
  tar_file (&t, "d/file-to-dir/in", "two");
  tar_file (&t, "d/dir-to-file", "two");
  tar_file (&t, "d/.wh.hidden", "");
  tar_file (&t, "not/named/before", "two");
  layer (&t, "two");
  tar_entry (&t, (struct tar_entry){ .name = "d/", .type = '5', .mode = 0700, .uid = 3 });
  tar_file (&t, "d/hidden", "three");
  layer (&t, "three");
  build_layers ();
  fs = image_open ("image");
  image_expect_text (fs, "/d/kept", "one");
  image_expect_text (fs, "/d/replaced", "two");
  image_expect_text (fs, "/d/file-to-dir/in", "two");
  image_expect_text (fs, "/d/dir-to-file", "two");
  image_expect_text (fs, "/d/hidden", "three");
  image_expect_text (fs, "/not/named/before", "two");
  assert_int_equal (image_inode (fs, "/not/named").i_mode, S_IFDIR | 0755);
  assert_int_equal (image_inode (fs, "/d").i_mode, S_IFDIR | 0700);
  assert_int_equal (image_inode (fs, "/d").i_uid, 3);
  assert_int_equal (image_lookup (fs, "/d/.wh.hidden"), 0);
  ext2fs_close_free (&fs);
}

/* What a whiteout does must not depend on where it stands. */
static void
test_whiteouts_spare_their_layer (void **state)
{
  (void) state;
  for (int first = 0; first < 2; first++)
    {
      struct tar t = { 0 };
      ext2_filsys fs;

      tar_dir (&t, "w");
      tar_file (&t, "w/lower", "one");
      tar_file (&t, "w/both", "one");
      tar_dir (&t, "w/sub");
      tar_file (&t, "w/sub/lower", "one");
      tar_dir (&t, "w/gone");
      tar_file (&t, "w/gone/deep", "one");
      tar_dir (&t, "o");
      tar_file (&t, "o/lower", "one");
      tar_entry (&t, (struct tar_entry){ .name = "o/sub", .type = '5', .mode = 0700, .uid = 9 });
      tar_file (&t, "o/sub/lower", "one");
      tar_entry (&t, (struct tar_entry){ .name = "o/named", .type = '5', .mode = 0700, .uid = 9 });
      tar_file (&t, "o/named/lower", "one");
      tar_file (&t, "f", "one");
      layer (&t, "one");
      if (first)
        {
          tar_file (&t, ".wh.w", "");
          tar_file (&t, "o/.wh..wh..opq", "");
          tar_file (&t, ".wh.f", "");
        }
      tar_dir (&t, "w");
      tar_file (&t, "w/both", "two");
      tar_file (&t, "w/sub/upper", "two");
      tar_file (&t, "o/sub/upper", "two");
      tar_entry (&t, (struct tar_entry){ .name = "o/named", .type = '5', .mode = 0711, .uid = 8 });
      tar_file (&t, "f", "two");
      if (!first)
        {
          tar_file (&t, ".wh.w", "");
          tar_file (&t, "o/.wh..wh..opq", "");
          tar_file (&t, ".wh.f", "");
        }
      /* And no harm by those for what is not there, or was there for AUFS. */
      tar_file (&t, ".wh.nothing", "");
      tar_file (&t, "nowhere/.wh.x", "");
      tar_file (&t, "nowhere/.wh..wh..opq", "");
      tar_file (&t, ".wh..wh.plnk", "");
      layer (&t, "two");
      build_layers ();
      fs = image_open ("image");
      assert_int_equal (image_lookup (fs, "/w/lower"), 0);
      assert_int_equal (image_lookup (fs, "/w/sub/lower"), 0);
      assert_int_equal (image_lookup (fs, "/w/gone"), 0);
      image_expect_text (fs, "/w/both", "two");
      image_expect_text (fs, "/w/sub/upper", "two");
      assert_int_equal (image_lookup (fs, "/o/lower"), 0);
      assert_int_equal (image_lookup (fs, "/o/sub/lower"), 0);
      assert_int_equal (image_lookup (fs, "/o/named/lower"), 0);
      image_expect_text (fs, "/o/sub/upper", "two");
      /* Not the lower one's: that is hidden. */
      assert_int_equal (image_inode (fs, "/o/sub").i_mode, S_IFDIR | 0755);
      assert_int_equal (image_inode (fs, "/o/sub").i_uid, 0);
      assert_int_equal (image_inode (fs, "/o/named").i_mode, S_IFDIR | 0711);
      image_expect_text (fs, "/f", "two");
      assert_int_equal (image_lookup (fs, "/nowhere"), 0);
      assert_int_equal (image_lookup (fs, "/.wh..wh.plnk"), 0);
      ext2fs_close_free (&fs);
    }
}

static void
test_hard_links (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  tar_file (&t, "a", "one");
  tar_hard (&t, "b", "a");
  tar_file (&t, "c", "lower");
  layer (&t, "one");
  /* To a file of the lower layer, which then loses its first name. */
  tar_hard (&t, "d", "./c");
  tar_hard (&t, "a", "a");
  tar_file (&t, ".wh.c", "");
  tar_file (&t, "b", "two");
  tar_link (&t, "s", "nowhere");
  tar_hard (&t, "s2", "s");
  layer (&t, "two");
  build_layers ();
  fs = image_open ("image");
  image_expect_text (fs, "/a", "one");
  image_expect_text (fs, "/b", "two");
  image_expect_text (fs, "/d", "lower");
  assert_int_equal (image_inode (fs, "/a").i_links_count, 1);
  assert_int_equal (image_inode (fs, "/d").i_links_count, 1);
  assert_int_equal (image_lookup (fs, "/c"), 0);
  assert_int_equal (image_lookup (fs, "/s"), image_lookup (fs, "/s2"));
  ext2fs_close_free (&fs);
}

/* A directory's files are read by their names in it, which an archive above may have taken away. */
static void
test_hard_links_to_a_directory_layer (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  make_dir ("one");
  make_dir ("one/sub");
  make_text ("one/sub/file", "of a directory");
  make_text ("one/zz", "two names");
  tar_hard (&t, "again", "sub/file");
  tar_hard (&t, "aa", "zz");
  tar_hard (&t, "aaa", "aa");
  tar_file (&t, ".wh.sub", "");
  layer (&t, "two");
  build_layers ();
  fs = image_open ("image");
  image_expect_text (fs, "/again", "of a directory");
  image_expect_text (fs, "/zz", "two names");
  assert_int_equal (image_lookup (fs, "/zz"), image_lookup (fs, "/aa"));
  assert_int_equal (image_lookup (fs, "/zz"), image_lookup (fs, "/aaa"));
  assert_int_equal (image_inode (fs, "/zz").i_links_count, 3);
  assert_int_equal (image_inode (fs, "/again").i_links_count, 1);
  assert_int_equal (image_lookup (fs, "/sub"), 0);
  ext2fs_close_free (&fs);
}

/* As the merged /usr of distributions has it. */
static void
test_through_symlinks (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  tar_dir (&t, "usr");
  tar_dir (&t, "usr/lib");
  tar_link (&t, "lib", "usr/lib");
  tar_link (&t, "abs", "/usr/./lib");
  tar_link (&t, "up", "../../../usr");
  tar_link (&t, "chain", "up/lib");
  layer (&t, "one");
  tar_file (&t, "lib/a", "a");
  tar_file (&t, "abs/b", "b");
  tar_file (&t, "up/c", "c");
  tar_file (&t, "chain/d", "d");
  tar_hard (&t, "e", "chain/a");
  /* The last component is what is replaced, not what it points to. */
  tar_file (&t, "abs", "file");
  layer (&t, "two");
  build_layers ();
  fs = image_open ("image");
  image_expect_text (fs, "/usr/lib/a", "a");
  image_expect_text (fs, "/usr/lib/b", "b");
  image_expect_text (fs, "/usr/c", "c");
  image_expect_text (fs, "/usr/lib/d", "d");
  assert_int_equal (image_lookup (fs, "/e"), image_lookup (fs, "/usr/lib/a"));
  image_expect_text (fs, "/abs", "file");
  assert_true (S_ISLNK (image_inode (fs, "/lib").i_mode));
  ext2fs_close_free (&fs);
}

static void
test_duplicates (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  tar_file (&t, "x", "first");
  tar_file (&t, "y", "first");
  tar_file (&t, "./x", "second, and longer");
  tar_entry (&t, (struct tar_entry){ .name = "d", .type = '5', .mode = 0700 });
  tar_file (&t, "d/f", "f");
  tar_entry (&t, (struct tar_entry){ .name = "d", .type = '5', .mode = 0711 });
  tar_dir (&t, "y");
  tar_file (&t, "/y/z", "z");
  tar_file (&t, "a/../b//./c", "c");
  layer (&t, "one");
  build_layers ();
  fs = image_open ("image");
  image_expect_text (fs, "/x", "second, and longer");
  image_expect_text (fs, "/d/f", "f");
  image_expect_text (fs, "/y/z", "z");
  image_expect_text (fs, "/b/c", "c");
  assert_int_equal (image_lookup (fs, "/a"), 0);
  assert_int_equal (image_inode (fs, "/d").i_mode, S_IFDIR | 0711);
  ext2fs_close_free (&fs);
}

static void
set_opaque (const char *path, const char *name, const char *value)
{
  assert_int_equal (setxattr (path, name, value, strlen (value), 0), 0);
}

static void
test_overlay_directories (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;
  char value[16];

  (void) state;
  if (geteuid () != 0)
    skip ();
  tar_dir (&t, "d");
  tar_file (&t, "d/hidden", "one");
  tar_file (&t, "d/kept", "one");
  tar_dir (&t, "opaque");
  tar_file (&t, "opaque/lower", "one");
  tar_dir (&t, "opaque/sub");
  tar_file (&t, "opaque/sub/lower", "one");
  tar_dir (&t, "user");
  tar_file (&t, "user/lower", "one");
  tar_dir (&t, "marked");
  tar_file (&t, "marked/lower", "one");
  tar_file (&t, "marked/other", "one");
  tar_dir (&t, "tree");
  tar_file (&t, "tree/lower", "one");
  layer (&t, "one");
  make_dir ("two");
  make_dir ("two/d");
  assert_int_equal (mknod ("two/d/hidden", S_IFCHR | 0600, makedev (0, 0)), 0);
  assert_int_equal (mknod ("two/d/never-there", S_IFCHR | 0600, makedev (0, 0)), 0);
  assert_int_equal (mknod ("two/d/null", S_IFCHR | 0600, makedev (1, 3)), 0);
  make_text ("two/d/new", "two");
  set_opaque ("two/d", "trusted.overlay.impure", "y");
  set_opaque ("two/d", "trusted.mine", "kept");
  make_dir ("two/opaque");
  set_opaque ("two/opaque", "trusted.overlay.opaque", "y");
  make_dir ("two/opaque/sub");
  make_text ("two/opaque/sub/upper", "two");
  make_dir ("two/user");
  set_opaque ("two/user", "user.overlay.opaque", "y");
  make_dir ("two/marked");
  set_opaque ("two/marked", "trusted.overlay.opaque", "x");
  make_text ("two/marked/lower", "");
  set_opaque ("two/marked/lower", "trusted.overlay.whiteout", "");
  assert_int_equal (mknod ("two/tree", S_IFCHR | 0600, makedev (0, 0)), 0);
  tar_file (&t, "d/last", "three");
  layer (&t, "three");
  build_layers ();
  fs = image_open ("image");
  assert_int_equal (image_lookup (fs, "/d/hidden"), 0);
  assert_int_equal (image_lookup (fs, "/d/never-there"), 0);
  assert_true (S_ISCHR (image_inode (fs, "/d/null").i_mode));
  image_expect_text (fs, "/d/kept", "one");
  image_expect_text (fs, "/d/new", "two");
  image_expect_text (fs, "/d/last", "three");
  assert_int_equal (image_lookup (fs, "/opaque/lower"), 0);
  assert_int_equal (image_lookup (fs, "/opaque/sub/lower"), 0);
  image_expect_text (fs, "/opaque/sub/upper", "two");
  assert_int_equal (image_lookup (fs, "/user/lower"), 0);
  assert_int_equal (image_lookup (fs, "/marked/lower"), 0);
  image_expect_text (fs, "/marked/other", "one");
  assert_int_equal (image_lookup (fs, "/tree"), 0);
  assert_int_equal (image_xattr (fs, "/d", "trusted.overlay.impure", value, sizeof value), -1);
  assert_int_equal (image_xattr (fs, "/d", "trusted.mine", value, sizeof value), 4);
  assert_int_equal (image_xattr (fs, "/opaque", "trusted.overlay.opaque", value, sizeof value), -1);
  ext2fs_close_free (&fs);
}

/* Only data takes up room, and comes back at its place. */
static void
test_sparse (void **state)
{
  static const char pax[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
                            "31 GNU.sparse.realsize=1048581\n26 GNU.sparse.name=sparse\n";
  static const char map[] = "3\n0\n5\n6000\n5\n1048576\n5\n";
  char *expected = calloc (1, (1 << 20) + 5), block[512] = { 0 };
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  assert_non_null (expected);
  memcpy (expected, "first", 5);
  memcpy (expected + 6000, "inner", 5);
  memcpy (expected + (1 << 20), "final", 5);
  tar_entry (&t, (struct tar_entry){ .name = "pax", .type = 'x', .text = pax });
  tar_entry (&t, (struct tar_entry){ .name = "GNUSparseFile.0/sparse", .size = 512 + 15 });
  memcpy (block, map, sizeof map - 1);
  tar_bytes (&t, block, sizeof block);
  memset (block, 0, sizeof block);
  memcpy (block, "firstinnerfinal", 15);
  tar_bytes (&t, block, sizeof block);
  tar_file (&t, "after", "after");
  layer (&t, "one");
  build_layers ();
  fs = image_open ("image");
  image_expect (fs, "/sparse", expected, (1 << 20) + 5);
  assert_int_equal (image_inode (fs, "/sparse").i_blocks, 3 * 8);
  image_expect_text (fs, "/after", "after");
  ext2fs_close_free (&fs);
  free (expected);
}

static void
sample (struct tar *t)
{
  static char text[100000];

  for (size_t i = 0; i + 1 < sizeof text; i++)
    text[i] = (char) ('a' + i * i % 23);
  tar_dir (t, "z");
  tar_file (t, "z/large", text);
  tar_file (t, "a", "small");
  tar_file (t, "z/b", text + 50000);
  tar_hard (t, "c", "z/b");
  tar_end (t);
}

/* The same image, whatever the tar is packed with. */
static void
test_packing (void **state)
{
  const char *layers[] = { "plain", NULL };
  struct tar t = { 0 };

  (void) state;
  sample (&t);
  tar_write (&t, "plain");
  sample (&t);
  tar_write_gzip (&t, "gzip");
  sample (&t);
  tar_write_zstd (&t, "zstd");
  for (int i = 0; i < 3; i++)
    {
      static const char *const packings[] = { "plain", "gzip", "zstd" };
      static const char *const images[] = { "image0", "image1", "image2" };
      rcvm_rootfs_options *o = options_new ();
      rcvm_error *err = NULL;

      layers[0] = packings[i];
      if (rcvm_rootfs_build_layers (layers, images[i], o, &err) < 0)
        fail_msg ("%s", rcvm_error_get_message (err));
      rcvm_rootfs_options_free (o);
      check_clean (images[i]);
    }
  assert_int_equal (system ("cmp image0 image1 && cmp image0 image2"), 0);
  /* Members and frames may follow one another, and zeros. */
  assert_int_equal (system ("cat gzip > two; gzip -n < /dev/null >> two; head -c 700 /dev/zero >> two"), 0);
  layers[0] = "two";
  assert_int_equal (rcvm_rootfs_build_layers (layers, "image3", NULL, NULL), 0);
  assert_int_equal (unlink ("two"), 0);
}

static void
test_options (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  sample (&t);
  tar_write (&t, "one");
  make_text ("mine", "of the host");
  options_copy (o, "mine", "/z/b");
  rcvm_rootfs_options_set_size (o, 8 << 20, NULL);
  build_with (o);
  fs = image_open ("image");
  image_expect_text (fs, "/z/b", "of the host");
  assert_int_equal (image_inode (fs, "/c").i_links_count, 1);
  assert_int_equal (ext2fs_blocks_count (fs->super), (8 << 20) / 4096);
  ext2fs_close_free (&fs);
}

static void
test_an_empty_layer (void **state)
{
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  layer (&t, "one");
  build_layers ();
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/").i_mode, S_IFDIR | 0755);
  ext2fs_close_free (&fs);
}

static void
test_missing_sources (void **state)
{
  rcvm_rootfs_options *o = options_new ();
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  tar_entry (&t, (struct tar_entry){ .name = "there", .type = '5', .mode = 0700 });
  tar_file (&t, "there/file", "kept");
  tar_file (&t, "old", "replaced");
  layer (&t, "one");
  assert_int_equal (rcvm_rootfs_options_set_missing_source (o, RCVM_ROOTFS_MISSING_DIRECTORY, NULL), 0);
  options_copy (o, "absent", "/a/b/dir");
  options_copy (o, "absent/below", "/there");
  assert_int_equal (rcvm_rootfs_options_set_missing_source (o, RCVM_ROOTFS_MISSING_FILE, NULL), 0);
  options_copy (o, "absent", "/a/file");
  options_copy (o, "absent", "/old");
  assert_int_equal (rcvm_rootfs_options_set_missing_source (o, 3, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_options_set_missing_source (NULL, 0, NULL), RCVM_E_INVALID);
  build_with (o);
  fs = image_open ("image");
  assert_int_equal (image_inode (fs, "/a/b/dir").i_mode, S_IFDIR | 0755);
  assert_int_equal (image_inode (fs, "/there").i_mode, S_IFDIR | 0700);
  image_expect_text (fs, "/there/file", "kept");
  assert_int_equal (image_inode (fs, "/a/file").i_mode, S_IFREG | 0644);
  image_expect_text (fs, "/a/file", "");
  image_expect_text (fs, "/old", "");
  ext2fs_close_free (&fs);
  o = options_new ();
  rcvm_rootfs_options_set_missing_source (o, RCVM_ROOTFS_MISSING_FILE, NULL);
  rcvm_rootfs_options_set_missing_source (o, RCVM_ROOTFS_MISSING_FAILS, NULL);
  assert_int_equal (unlink ("image"), 0);
  build_fails (options_copy (o, "absent", "/x"), RCVM_E_NOT_FOUND, "absent");
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_metadata),
    TEST (test_names),
    TEST (test_layers_merge),
    TEST (test_whiteouts_spare_their_layer),
    TEST (test_hard_links),
    TEST (test_hard_links_to_a_directory_layer),
    TEST (test_through_symlinks),
    TEST (test_duplicates),
    TEST (test_overlay_directories),
    TEST (test_sparse),
    TEST (test_packing),
    TEST (test_options),
    TEST (test_an_empty_layer),
    TEST (test_missing_sources),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
