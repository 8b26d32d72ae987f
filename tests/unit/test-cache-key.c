/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys: the same for what is the same, another for everything else. */
#include "config.h"

#include "cache-testing.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static char *
key_of (const char *tree)
{
  rcvm_error *err = NULL;
  char *key = NULL;

  check_ok (rcvmi_cache_key_tree (tree, NULL, &key, NULL, &err), err);
  assert_true (rcvmi_cache_key_valid (key, strlen (key)));
  return key;
}

/* Takes what the key was, and gives what it is: another. */
static void
expect_change (const char *tree, char **key)
{
  char *next = key_of (tree);

  assert_string_not_equal (next, *key);
  free (*key);
  *key = next;
}

static void
expect_same (const char *tree, const char *key)
{
  char *next = key_of (tree);

  assert_string_equal (next, key);
  free (next);
}

static void
set_mtime (const char *path, const struct stat *st)
{
  struct timespec times[2] = { st->st_atim, st->st_mtim };

  assert_int_equal (utimensat (AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

TEST (test_changes)
{
  struct fixture *f = *state;
  char *file = path_in (f->tree, "file"), *dir = path_in (f->tree, "dir"), *in = path_in (f->tree, "dir/in"),
       *link = path_in (f->tree, "link"), *other = path_in (f->tree, "other"), *key;
  struct stat st;

  assert_int_equal (mkdir (dir, 0755), 0);
  write_file (in, "in", 2);
  assert_int_equal (symlink ("file", link), 0);
  key = key_of (f->tree);
  expect_same (f->tree, key);
  /* As large as before, and as old, if one believes its time. */
  assert_int_equal (stat (file, &st), 0);
  write_file (file, "CONTENTS", 8);
  set_mtime (file, &st);
  expect_change (f->tree, &key);
  /* Read, looked at. */
  free (read_text (file));
  assert_int_equal (stat (in, &st), 0);
  expect_same (f->tree, key);
  /* Down below. */
  write_file (in, "IN", 2);
  set_mtime (in, &st);
  expect_change (f->tree, &key);
  assert_int_equal (chmod (file, 0640), 0);
  expect_change (f->tree, &key);
  assert_int_equal (chmod (f->tree, 0700), 0);
  expect_change (f->tree, &key);
  if (setxattr (file, "user.a", "1", 1, 0) == 0)
    {
      expect_change (f->tree, &key);
      assert_int_equal (setxattr (file, "user.a", "2", 1, 0), 0);
      expect_change (f->tree, &key);
    }
  assert_int_equal (rename (in, other), 0);
  expect_change (f->tree, &key);
  assert_int_equal (rename (other, in), 0);
  expect_change (f->tree, &key);
  assert_int_equal (unlink (link), 0);
  expect_change (f->tree, &key);
  assert_int_equal (symlink ("eilf", link), 0);
  expect_change (f->tree, &key);
  assert_int_equal (mkfifo (other, 0600), 0);
  expect_change (f->tree, &key);
  assert_int_equal (unlink (other), 0);
  expect_change (f->tree, &key);
  /* Another file in its place. */
  assert_int_equal (stat (file, &st), 0);
  write_file (other, "CONTENTS", 8);
  assert_int_equal (chmod (other, 0640), 0);
  set_mtime (other, &st);
  assert_int_equal (rename (other, file), 0);
  expect_change (f->tree, &key);
  if (geteuid () == 0)
    {
      assert_int_equal (chown (file, 1, 1), 0);
      expect_change (f->tree, &key);
      assert_int_equal (mknod (other, S_IFCHR | 0600, makedev (1, 3)), 0);
      expect_change (f->tree, &key);
    }
  free (key);
  free (file);
  free (dir);
  free (in);
  free (link);
  free (other);
}

/* One change right after the other: the clock that the kernel stamps them with does not get on in between. */
TEST (test_quick_changes)
{
  struct fixture *f = *state;
  char *file = path_in (f->tree, "file"), *key = key_of (f->tree);

  for (int i = 0; i < 40; i++)
    {
      char data = (char) ('a' + i % 26);

      write_file (file, &data, 1);
      expect_change (f->tree, &key);
    }
  free (file);
  free (key);
}

TEST (test_names)
{
  static const char *const names[] = { "new\nline", "\377\376", " ", "a", "b", "\"", "-" };
  struct fixture *f = *state;
  char *key = key_of (f->tree), *long_name = malloc (256), *path;

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    {
      path = path_in (f->tree, names[i]);
      write_file (path, "", 0);
      free (path);
      expect_change (f->tree, &key);
    }
  memset (long_name, 'n', 255);
  long_name[255] = 0;
  path = path_in (f->tree, long_name);
  write_file (path, "", 0);
  expect_change (f->tree, &key);
  expect_same (f->tree, key);
  free (path);
  free (long_name);
  free (key);
}

/* Deeper than the walk keeps directories open, and than any path can be. */
TEST (test_deep)
{
  struct fixture *f = *state;
  int top = open (f->tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = dup (top), fds;
  struct rlimit old, low;
  char *key, *after;

  for (int i = 0; i < 1000; i++)
    {
      int next;

      assert_int_equal (mkdirat (fd, "deep", 0755), 0);
      /* With brothers on both sides, which are read after the way back up. */
      assert_int_equal (mkdirat (fd, "aunt", 0755), 0);
      assert_int_equal (mkdirat (fd, "uncle", 0755), 0);
      next = openat (fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      assert_true (next >= 0);
      close (fd);
      fd = next;
    }
  fds = count_fds ();
  assert_int_equal (getrlimit (RLIMIT_NOFILE, &old), 0);
  low = old;
  low.rlim_cur = 100;
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &low), 0);
  key = key_of (f->tree);
  expect_same (f->tree, key);
  assert_int_equal (mkdirat (fd, "last", 0755), 0);
  after = key_of (f->tree);
  assert_string_not_equal (key, after);
  assert_int_equal (count_fds (), fds);
  assert_int_equal (setrlimit (RLIMIT_NOFILE, &old), 0);
  assert_int_equal (unlinkat (fd, "last", AT_REMOVEDIR), 0);
  free (key);
  free (after);
  /* nftw of the teardown is not made for that. */
  for (int i = 0; i < 1000; i++)
    {
      int parent = openat (fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

      assert_true (parent >= 0);
      assert_int_equal (unlinkat (parent, "deep", AT_REMOVEDIR), 0);
      assert_int_equal (unlinkat (parent, "aunt", AT_REMOVEDIR), 0);
      assert_int_equal (unlinkat (parent, "uncle", AT_REMOVEDIR), 0);
      close (fd);
      fd = parent;
    }
  close (fd);
  close (top);
}

/* What the kernel shows there changes all the time, and is not part of the image. */
TEST (test_virtual)
{
  struct fixture *f = *state;
  char *proc = path_in (f->tree, "proc"), *key, *mounted;

  if (geteuid () != 0)
    skip ();
  assert_int_equal (mkdir (proc, 0755), 0);
  key = key_of (f->tree);
  if (mount ("proc", proc, "proc", 0, NULL) < 0)
    {
      free (proc);
      free (key);
      skip ();
    }
  mounted = key_of (f->tree);
  assert_string_not_equal (mounted, key);
  expect_same (f->tree, mounted);
  assert_int_equal (umount (proc), 0);
  expect_same (f->tree, key);
  free (key);
  free (mounted);
  free (proc);
}

/* Other file systems below belong to the tree. */
TEST (test_mounts)
{
  struct fixture *f = *state;
  char *dir = path_in (f->tree, "dir"), *in = path_in (f->tree, "dir/in"), *key;

  if (geteuid () != 0)
    skip ();
  assert_int_equal (mkdir (dir, 0755), 0);
  if (mount ("none", dir, "tmpfs", 0, "size=1M") < 0)
    {
      free (dir);
      free (in);
      skip ();
    }
  key = key_of (f->tree);
  expect_same (f->tree, key);
  write_file (in, "1", 1);
  expect_change (f->tree, &key);
  assert_int_equal (umount (dir), 0);
  expect_change (f->tree, &key);
  assert_int_equal (mount ("none", dir, "tmpfs", 0, "size=1M"), 0);
  expect_change (f->tree, &key);
  assert_int_equal (umount (dir), 0);
  free (key);
  free (dir);
  free (in);
}

TEST (test_params)
{
  struct fixture *f = *state;
  struct rcvmi_rootfs_params p = RCVMI_CACHE_ROOTFS_PARAMS;
  struct rcvmi_rootfs_copy copy = { .source = (char *) "/etc", .destination = (char *) "/etc" };
  char *key = key_of (f->tree), *other = NULL;
  uint64_t bytes = 0;
  rcvm_error *err = NULL;

  check_ok (rcvmi_cache_key_tree (f->tree, &p, &other, &bytes, &err), err);
  assert_string_equal (other, key);
  assert_in_range (bytes, 4096, 65536);
  free (other);
  /* When it is on disk does not change what it is. */
  p.sync = !p.sync;
  check_ok (rcvmi_cache_key_tree (f->tree, &p, &other, NULL, &err), err);
  assert_string_equal (other, key);
  free (other);
  p.size = 64 << 20;
  check_ok (rcvmi_cache_key_tree (f->tree, &p, &other, NULL, &err), err);
  assert_string_not_equal (other, key);
  free (other);
  p = RCVMI_CACHE_ROOTFS_PARAMS;
  p.journal = true;
  check_ok (rcvmi_cache_key_tree (f->tree, &p, &other, NULL, &err), err);
  assert_string_not_equal (other, key);
  free (other);
  p = RCVMI_CACHE_ROOTFS_PARAMS;
  p.headroom = 1;
  check_ok (rcvmi_cache_key_tree (f->tree, &p, &other, NULL, &err), err);
  assert_string_not_equal (other, key);
  free (other);
  p.copies = &copy;
  p.n_copies = 1;
  assert_int_equal (rcvmi_cache_key_tree (f->tree, &p, &other, NULL, &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "rootfs", "cannot have copies");
  free (key);
}

TEST (test_bad_trees)
{
  struct fixture *f = *state;
  char *file = path_in (f->tree, "file"), *none = path_in (f->tree, "none"), *key = NULL;
  rcvm_error *err = NULL;
  int fds = count_fds ();

  rcvmi_cache_key_tree (none, NULL, &key, NULL, &err);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", none);
  rcvmi_cache_key_tree (file, NULL, &key, NULL, &err);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", file);
  rcvmi_cache_key_tree ("/proc/self", NULL, &key, NULL, &err);
  check_error (&err, RCVM_E_UNSUPPORTED, "rootfs", "/proc/self");
  if (geteuid () == 0)
    {
      assert_int_equal (chmod (f->top, 0755), 0);
      assert_int_equal (chmod (f->tree, 0700), 0);
      assert_int_equal (seteuid (65534), 0);
      rcvmi_cache_key_tree (f->tree, NULL, &key, NULL, &err);
      assert_int_equal (seteuid (0), 0);
      check_error (&err, RCVM_E_PERMISSION, "rootfs", f->tree);
    }
  assert_null (key);
  assert_int_equal (count_fds (), fds);
  free (file);
  free (none);
}

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char *
key_digests (const char *a, const char *b)
{
  const char *const list[] = { a, b, NULL };
  rcvm_error *err = NULL;
  char *key = NULL;

  check_ok (rcvmi_cache_key_digests (list, NULL, &key, &err), err);
  assert_true (rcvmi_cache_key_valid (key, strlen (key)));
  return key;
}

TEST (test_digests)
{
  static const char *const bad[] = { "", "latest", "sha256:", "sha256:12", A "/..", "SHA256:" B,
                                     "sha256:\n" B };
  char *ab = key_digests (A, B), *ba = key_digests (B, A), *a = key_digests (A, NULL),
       *again = key_digests (A, B);
  const char *const none[] = { NULL };
  char *key = NULL;
  rcvm_error *err = NULL;

  assert_string_equal (ab, again);
  assert_string_not_equal (ab, ba);
  assert_string_not_equal (ab, a);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      const char *const list[] = { A, bad[i], NULL };

      rcvmi_cache_key_digests (list, NULL, &key, &err);
      check_error (&err, RCVM_E_INVALID, "rootfs", "is no digest");
    }
  rcvmi_cache_key_digests (none, NULL, &key, &err);
  check_error (&err, RCVM_E_INVALID, "rootfs", "needs the digest");
  rcvmi_cache_key_digests (NULL, NULL, &key, &err);
  check_error (&err, RCVM_E_INVALID, "rootfs", "needs the digest");
  assert_null (key);
  free (ab);
  free (ba);
  free (a);
  free (again);
}

static char *
key_layers (const char *a, const char *b)
{
  const char *const list[] = { a, b, NULL };
  rcvm_error *err = NULL;
  char *key = NULL;

  check_ok (rcvmi_cache_key_layers (list, NULL, &key, &err), err);
  assert_true (rcvmi_cache_key_valid (key, strlen (key)));
  return key;
}

TEST (test_layers)
{
  struct fixture *f = *state;
  char *one = path_in (f->top, "one"), *two = path_in (f->top, "two"), *link = path_in (f->top, "link"),
       *a, *b;
  const char *const none[] = { one, NULL };
  char *key = NULL;
  rcvm_error *err = NULL;

  assert_int_equal (mkdir (one, 0755), 0);
  assert_int_equal (mkdir (two, 0755), 0);
  a = key_layers (one, two);
  b = key_layers (two, one);
  assert_string_not_equal (a, b);
  free (b);
  /* Docker's names for layers are links. */
  assert_int_equal (symlink ("one", link), 0);
  b = key_layers (link, two);
  assert_string_equal (a, b);
  free (b);
  /* The number of an inode comes again, the moment does not. */
  assert_int_equal (rmdir (two), 0);
  assert_int_equal (mkdir (two, 0755), 0);
  b = key_layers (one, two);
  assert_string_not_equal (a, b);
  free (b);
  assert_int_equal (rmdir (one), 0);
  rcvmi_cache_key_layers (none, NULL, &key, &err);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", one);
  write_file (one, "", 0);
  rcvmi_cache_key_layers (none, NULL, &key, &err);
  check_error (&err, RCVM_E_INVALID, "rootfs", one);
  rcvmi_cache_key_layers (NULL, NULL, &key, &err);
  check_error (&err, RCVM_E_INVALID, "rootfs", "needs the directory");
  assert_null (key);
  free (a);
  free (one);
  free (two);
  free (link);
}

/* Both together: a change is built, and what it was before it is not taken for what it is. */
TEST (test_acquire_tree)
{
  static const char *const digests[] = { A, NULL };
  struct fixture *f = *state;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  char *file = path_in (f->tree, "file"), *key = NULL, *other = NULL;
  rcvm_error *err = NULL;

  check_ok (rcvmi_cache_acquire_tree (&f->cache, f->tree, NULL, NULL, &key, &e, &err), err);
  assert_false (e.hit);
  rcvmi_cache_entry_clear (&e);
  check_ok (rcvmi_cache_acquire_tree (&f->cache, f->tree, NULL, NULL, NULL, &e, &err), err);
  assert_true (e.hit);
  rcvmi_cache_entry_clear (&e);
  write_file (file, "CONTENTS", 8);
  check_ok (rcvmi_cache_acquire_tree (&f->cache, f->tree, NULL, NULL, &other, &e, &err), err);
  assert_false (e.hit);
  assert_string_not_equal (key, other);
  rcvmi_cache_entry_clear (&e);
  free (key);
  free (other);
  /* A name for the contents, and no look at them where it is known. */
  check_ok (rcvmi_cache_acquire_tree (&f->cache, f->tree, digests, NULL, NULL, &e, &err), err);
  assert_false (e.hit);
  rcvmi_cache_entry_clear (&e);
  check_ok (rcvmi_cache_acquire_tree (&f->cache, "/nonexistent", digests, NULL, NULL, &e, &err), err);
  assert_true (e.hit);
  rcvmi_cache_entry_clear (&e);
  free (file);
}

#define T(name) cmocka_unit_test_setup_teardown (name, fixture_setup, fixture_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    T (test_changes), T (test_quick_changes), T (test_names),  T (test_deep),   T (test_virtual),
    T (test_mounts),  T (test_params),        T (test_bad_trees), T (test_digests), T (test_layers),
    T (test_acquire_tree),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
