/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Write-back as a caller sees it, and what it does with records that no correct reader sends.  What needs overlayfs is in
   tests/rootfs/write-back.sh. */
#include "config.h"

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <runcvm/rootfs.h>

#include "writeback-apply.h"
#include "writeback-parser.h"
#include "writeback.h"

/* A directory of the test's own, where it stands; "tree" is what the image is built of. */
static int
setup (void **state)
{
  *state = make_dir ();
  umask (0);
  return chdir (*state) < 0 || mkdir ("tree", 0755) < 0 ? -1 : 0;
}

static int
teardown (void **state)
{
  int code = chdir ("/");

  remove_tree (*state);
  return code;
}

static void
make_dir_at (const char *path)
{
  assert_int_equal (mkdir (path, 0755), 0);
}

static void
make_text (const char *path, const char *text)
{
  write_file (path, text, strlen (text));
}

static void
make_link (const char *target, const char *path)
{
  assert_int_equal (symlink (target, path), 0);
}

static int
count_entries (const char *path)
{
  DIR *dir = opendir (path);
  int n = 0;

  assert_non_null (dir);
  while (readdir (dir))
    n++;
  closedir (dir);
  return n - 2;
}

static void
build (void)
{
  rcvm_error *err = NULL;

  check_ok (rcvm_rootfs_build ("tree", "image", NULL, &err), err);
}

static void
make_layer (void)
{
  make_dir_at ("tree/upper");
  make_dir_at ("tree/work");
  make_dir_at ("host");
}

static int
write_back (rcvm_error **err)
{
  int fds = count_fds (), code = rcvm_rootfs_write_back ("image", "host", err);

  assert_int_equal (count_fds (), fds);
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  return code;
}

static void
write_back_ok (void)
{
  rcvm_error *err = NULL;

  check_ok (write_back (&err), err);
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 0);
}

static void
expect_file (const char *path, const char *text)
{
  char *found = read_text (path);

  assert_string_equal (found, text);
  free (found);
}

static bool
exists (const char *path)
{
  return faccessat (AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

TEST (test_changes)
{
  const struct timespec times[2] = { { -77, 5 }, { 4102444800, 999999999 } };
  struct stat st, other;

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_text ("tree/upper/new", "new");
  make_text ("tree/upper/changed", "changed");
  make_text ("tree/upper/wasdir", "now a file");
  make_dir_at ("tree/upper/wasfile");
  make_text ("tree/upper/wasfile/in", "in");
  make_link ("to/nowhere", "tree/upper/link");
  assert_int_equal (link ("tree/upper/new", "tree/upper/wasfile/hard"), 0);
  assert_int_equal (utimensat (AT_FDCWD, "tree/upper/changed", times, 0), 0);
  assert_int_equal (chmod ("tree/upper/changed", 04711), 0);
  make_text ("host/changed", "a longer text that was here before");
  make_text ("host/kept", "kept");
  make_dir_at ("host/wasdir");
  make_text ("host/wasdir/below", "x");
  make_text ("host/wasfile", "x");
  build ();
  write_back_ok ();
  for (int i = 0; i < 2; i++)
    {
      assert_int_equal (stat ("host/changed", &st), 0);
      assert_int_equal (st.st_atim.tv_sec, -77);
      expect_file ("host/new", "new");
      expect_file ("host/changed", "changed");
      expect_file ("host/kept", "kept");
      expect_file ("host/wasdir", "now a file");
      expect_file ("host/wasfile/in", "in");
      assert_int_equal (stat ("host/changed", &st), 0);
      assert_int_equal (st.st_mode, S_IFREG | 04711);
      assert_int_equal (st.st_mtim.tv_sec, 4102444800);
      assert_int_equal (st.st_mtim.tv_nsec, 999999999);
      assert_int_equal (stat ("host/new", &st), 0);
      assert_int_equal (stat ("host/wasfile/hard", &other), 0);
      assert_int_equal (st.st_ino, other.st_ino);
      assert_int_equal (st.st_nlink, 2);
      assert_int_equal (count_entries ("host"), 6);
      /* Once more: nothing changes. */
      write_back_ok ();
    }
}

TEST (test_removals)
{
  SKIP_UNDER_VALGRIND ();
  if (geteuid () != 0)
    skip ();
  make_layer ();
  make_dir_at ("tree/upper/opaque");
  make_dir_at ("tree/upper/opaque/sub");
  make_text ("tree/upper/opaque/sub/new", "new");
  assert_int_equal (setxattr ("tree/upper/opaque", "trusted.overlay.opaque", "y", 1, 0), 0);
  assert_int_equal (mknod ("tree/upper/gone", S_IFCHR, 0), 0);
  assert_int_equal (mknod ("tree/upper/gonedir", S_IFCHR, 0), 0);
  assert_int_equal (mknod ("tree/upper/never", S_IFCHR, 0), 0);
  make_text ("host/gone", "x");
  make_dir_at ("host/gonedir");
  make_dir_at ("host/gonedir/a");
  make_text ("host/gonedir/a/b", "x");
  make_dir_at ("host/opaque");
  make_dir_at ("host/opaque/sub");
  make_text ("host/opaque/sub/old", "x");
  make_text ("host/opaque/old", "x");
  make_dir_at ("outside");
  make_text ("outside/kept", "kept");
  make_link ("../../outside", "host/gonedir/a/link");
  build ();
  write_back_ok ();
  assert_int_equal (count_entries ("host"), 1);
  assert_int_equal (count_entries ("host/opaque"), 1);
  assert_int_equal (count_entries ("host/opaque/sub"), 1);
  expect_file ("host/opaque/sub/new", "new");
  expect_file ("outside/kept", "kept");
  assert_true (getxattr ("host/opaque", "trusted.overlay.opaque", NULL, 0) < 0);
}

TEST (test_unsupported)
{
  rcvm_error *err = NULL;

  SKIP_UNDER_VALGRIND ();
  if (geteuid () != 0)
    skip ();
  make_layer ();
  make_dir_at ("tree/upper/moved");
  assert_int_equal (setxattr ("tree/upper/moved", "trusted.overlay.redirect", "/x", 2, 0), 0);
  build ();
  assert_int_equal (write_back (&err), RCVM_E_UNSUPPORTED);
  check_error (&err, RCVM_E_UNSUPPORTED, "rootfs", "redirect");
}

TEST (test_arguments)
{
  rcvm_error *err = NULL;

  make_layer ();
  assert_int_equal (rcvm_rootfs_write_back (NULL, "host", &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "rootfs", "no image");
  assert_int_equal (rcvm_rootfs_write_back ("image", "", &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "rootfs", "no rootfs");
  assert_int_equal (rcvm_rootfs_write_back ("image", "host", &err), RCVM_E_NOT_FOUND);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", "'image'");
  assert_int_equal (rcvm_rootfs_write_back ("tree", "host", &err), RCVM_E_INVALID);
  check_error (&err, RCVM_E_INVALID, "rootfs", "no regular file");
  build ();
  assert_int_equal (rcvm_rootfs_write_back ("image", "none", &err), RCVM_E_NOT_FOUND);
  check_error (&err, RCVM_E_NOT_FOUND, "rootfs", "'none'");
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 0);
}

TEST (test_no_layer)
{
  rcvm_error *err = NULL;

  SKIP_UNDER_VALGRIND ();
  make_dir_at ("host");
  build ();
  assert_int_equal (write_back (&err), RCVM_E_IMAGE);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "no directory \"upper\"");
  /* Nothing was begun. */
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 0);
  assert_int_equal (truncate ("image", 5000), 0);
  assert_int_equal (write_back (&err), RCVM_E_IMAGE);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "image 'image'");
  write_file ("image", "nothing", 7);
  assert_int_equal (write_back (&err), RCVM_E_IMAGE);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "no ext4 image");
  assert_int_equal (count_entries ("host"), 0);
}

TEST (test_interrupted)
{
  struct rlimit limit, small;
  rcvm_error *err = NULL;
  int fd;

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_text ("tree/upper/a", "first");
  fd = open ("tree/upper/b", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  assert_int_equal (ftruncate (fd, 100000), 0);
  close (fd);
  make_dir_at ("other");
  build ();
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = 50000;
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &small), 0);
  assert_int_equal (write_back (&err), RCVM_E_SYSTEM);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &limit), 0);
  assert_non_null (strstr (rcvm_error_get_message (err), "host/b"));
  check_error (&err, RCVM_E_SYSTEM, "rootfs", "can be repeated");
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 1);
  assert_false (exists ("host/b"));
  /* Not to another place. */
  assert_int_equal (rcvm_rootfs_write_back ("image", "other", &err), RCVM_E_STATE);
  check_error (&err, RCVM_E_STATE, "rootfs", "image.write-back");
  assert_int_equal (count_entries ("other"), 0);
  /* The same by another name will do. */
  assert_int_equal (rename ("host", "moved"), 0);
  make_link ("moved", "host");
  write_back_ok ();
  assert_true (exists ("moved/b"));
  expect_file ("moved/a", "first");
  assert_int_equal (count_entries ("moved"), 2);
}

TEST (test_bad_note)
{
  rcvm_error *err = NULL;

  make_layer ();
  build ();
  write_file ("image.write-back", "runcvm write-back 1\nstaging .runcvm-../x\n", 40);
  assert_int_equal (write_back (&err), RCVM_E_STATE);
  check_error (&err, RCVM_E_STATE, "rootfs", "no note");
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 1);
}

TEST (test_staging_left)
{
  struct stat st;
  char note[512];
  int n;

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_text ("tree/upper/a", "a");
  build ();
  /* As a run leaves it that was killed. */
  make_dir_at ("host/.runcvm-0123");
  make_text ("host/.runcvm-0123/t1", "half a file");
  make_dir_at ("host/.runcvm-0123/t2");
  make_text ("host/.runcvm-0123/t2/old", "on its way out");
  assert_int_equal (stat ("host", &st), 0);
  n = snprintf (note, sizeof note,
                "runcvm write-back 1\nstaging .runcvm-0123\nrootfs-dev %llu\nrootfs-ino %llu\nrootfs /elsewhere\n",
                (unsigned long long) st.st_dev, (unsigned long long) st.st_ino);
  write_file ("image.write-back", note, (size_t) n);
  write_back_ok ();
  assert_int_equal (count_entries ("host"), 1);
  expect_file ("host/a", "a");
}

TEST (test_locked)
{
  rcvm_error *err = NULL;
  int fd;

  make_layer ();
  build ();
  fd = open ("image", O_RDONLY | O_CLOEXEC);
  assert_int_equal (flock (fd, LOCK_EX), 0);
  assert_int_equal (write_back (&err), RCVM_E_STATE);
  check_error (&err, RCVM_E_STATE, "rootfs", "already");
  close (fd);
}

TEST (test_excluded)
{
  static const char *const paths[] = { "/etc/resolv.conf", "/skipped", "/etc/deep/x" };
  const struct rcvmi_writeback_options options = { .exclude = paths, .n_exclude = 3 };
  rcvm_error *err = NULL;

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_dir_at ("tree/upper/etc");
  make_dir_at ("tree/upper/etc/deep");
  make_dir_at ("tree/upper/etc/deep/x");
  make_text ("tree/upper/etc/deep/x/y", "no");
  make_text ("tree/upper/etc/deep/xy", "yes");
  make_text ("tree/upper/etc/resolv.conf", "no");
  make_text ("tree/upper/etc/resolv.conf.d", "yes");
  make_text ("tree/upper/resolv.conf", "yes");
  make_dir_at ("tree/upper/skipped");
  make_dir_at ("tree/upper/skipped/below");
  make_text ("tree/upper/skipped/below/linked", "linked");
  assert_int_equal (link ("tree/upper/skipped/below/linked", "tree/upper/zlink"), 0);
  build ();
  make_dir_at ("host/etc");
  make_text ("host/etc/resolv.conf", "the host's");
  check_ok (rcvmi_writeback ("image", "host", &options, &err), err);
  expect_file ("host/etc/resolv.conf", "the host's");
  expect_file ("host/etc/resolv.conf.d", "yes");
  expect_file ("host/resolv.conf", "yes");
  expect_file ("host/etc/deep/xy", "yes");
  expect_file ("host/zlink", "linked");
  assert_int_equal (count_entries ("host/etc/deep"), 1);
  assert_false (exists ("host/skipped"));
}

static int
write_back_again (rcvm_error **err)
{
  const struct rcvmi_writeback_options options = { .repeated = true, .frozen = { .tv_sec = INT64_MAX } };
  int fds = count_fds (), code = rcvmi_writeback ("image", "host", &options, err);

  assert_int_equal (count_fds (), fds);
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  return code;
}

/* Of an image that has changed in between; tests/rootfs/write-back.sh does it with overlayfs, at random. */
TEST (test_repeated)
{
  struct rlimit limit, small;
  rcvm_error *err = NULL;

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_text ("tree/upper/a", "a");
  make_dir_at ("tree/upper/dir");
  make_text ("tree/upper/dir/b", "b");
  make_text ("tree/upper/dir/c", "c");
  build ();
  check_ok (write_back_again (&err), err);
  expect_file ("host/dir/b", "b");
  assert_true (exists ("image.known"));
  assert_false (exists ("image.known.begun"));
  /* What has not changed is the host's. */
  make_text ("host/a", "the host's");
  assert_int_equal (unlink ("host/dir/b"), 0);
  check_ok (write_back_again (&err), err);
  expect_file ("host/a", "the host's");
  assert_false (exists ("host/dir/b"));
  /* What is not there any more goes, though no whiteout says so; and comes back from a write-back that fails. */
  assert_int_equal (unlink ("tree/upper/dir/c"), 0);
  make_text ("tree/upper/dir/large", "0123456789");
  assert_int_equal (remove ("image"), 0);
  build ();
  assert_int_equal (getrlimit (RLIMIT_FSIZE, &limit), 0);
  small = limit;
  small.rlim_cur = 9;
  /* Of the notes, too: so this fails before anything is changed. */
  signal (SIGXFSZ, SIG_IGN);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &small), 0);
  assert_int_equal (write_back_again (&err), RCVM_E_SYSTEM);
  assert_int_equal (setrlimit (RLIMIT_FSIZE, &limit), 0);
  signal (SIGXFSZ, SIG_DFL);
  check_error (&err, RCVM_E_SYSTEM, "rootfs", "image.known.new");
  expect_file ("host/dir/c", "c");
  check_ok (write_back_again (&err), err);
  expect_file ("host/dir/large", "0123456789");
  assert_false (exists ("host/dir/c"));
  assert_int_equal (rcvmi_writeback_pending ("image", NULL), 0);
  /* A file in the place of a directory that was ours. */
  assert_int_equal (unlink ("tree/upper/dir/b") + unlink ("tree/upper/dir/large") + rmdir ("tree/upper/dir"), 0);
  make_text ("tree/upper/dir", "file");
  assert_int_equal (remove ("image"), 0);
  build ();
  check_ok (write_back_again (&err), err);
  expect_file ("host/dir", "file");
  assert_int_equal (count_entries ("host"), 2);
  write_file ("image.known", "nonsense", 8);
  assert_int_equal (write_back_again (&err), RCVM_E_STATE);
  check_error (&err, RCVM_E_STATE, "rootfs", "remove the files with '.known'");
}

/* Deeper than any path that a system call takes. */
TEST (test_depth)
{
  int depth = 0, dir, next;
  char name[200];

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  memset (name, 'd', sizeof name - 1);
  name[sizeof name - 1] = 0;
  for (const char *const *top = (const char *const[]){ "tree/upper", "host", NULL }; *top; top++)
    {
      dir = open (*top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      for (depth = 0; depth < 150; depth++)
        {
          assert_int_equal (mkdirat (dir, name, 0700), 0);
          next = openat (dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
          close (dir);
          dir = next;
        }
      if (strcmp (*top, "tree/upper") == 0)
        assert_int_equal (close (openat (dir, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
      close (dir);
    }
  build ();
  write_back_ok ();
  dir = open ("host", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (depth = 0; depth < 150; depth++)
    {
      next = openat (dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      assert_true (next >= 0);
      close (dir);
      dir = next;
    }
  assert_int_equal (faccessat (dir, "file", F_OK, 0), 0);
  close (dir);
  /* nftw cannot remove such paths. */
  dir = open (".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const char *const *top = (const char *const[]){ "tree", "host", NULL }; *top; top++)
    assert_int_equal (rcvmi_wb_remove_in_place (dir, *top, ".", NULL), 0);
  close (dir);
}

/* Records that come from nowhere, into "host". */
struct forged
{
  struct rcvmi_wb_apply a;
  int root, image;
  rcvm_error *err;
};

static void
forge_begin (struct forged *f)
{
  const struct rcvmi_wb_record root = { .type = WB_DIR, .mode = S_IFDIR | 0755 };
  struct tlv_writer w = TLV_WRITER_INIT;

  f->err = NULL;
  f->root = open ("host", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  f->image = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  rcvmi_wb_apply_init (&f->a, f->image, "image", f->root, "host", ".runcvm-forged", NULL, 1 << 20);
  rcvmi_wb_encode (&w, &root, NULL);
  check_ok (rcvmi_wb_apply_record (&f->a, WB_DIR, w.data + 6, w.len - 6, &f->err), f->err);
  tlv_writer_free (&w);
}

static void
forge (struct forged *f, const struct rcvmi_wb_record *r, int code, const char *part)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int found;

  rcvmi_wb_encode (&w, r, NULL);
  found = rcvmi_wb_apply_record (&f->a, (uint16_t) r->type, w.data + 6, w.len - 6, &f->err);
  tlv_writer_free (&w);
  if (code)
    {
      assert_true (found < 0);
      check_error (&f->err, code, "rootfs", part);
    }
  else
    check_ok (found, f->err);
}

static void
forge_end (struct forged *f)
{
  rcvmi_wb_staging_clean (&f->a.staging, NULL);
  rcvmi_wb_apply_clear (&f->a);
  close (f->root);
  close (f->image);
}

TEST (test_forged)
{
  const struct rcvmi_wb_record up = { .type = WB_DIR, .name = "..", .mode = S_IFDIR | 0700 },
                               escape = { .type = WB_WHITEOUT, .name = "../outside" },
                               stranger = { .type = WB_LINK, .name = "l", .ino = 99 },
                               leave = { .type = WB_LEAVE }, end = { .type = WB_END },
                               also = { .type = WB_ALSO, .name = "out/kept", .ino = 12 };
  struct rcvmi_wb_record file
      = { .type = WB_FILE, .name = "f", .mode = S_IFLNK | 0777, .uid = geteuid (), .gid = getegid (), .ino = 12,
          .target = "x", .linked = true };
  struct rcvmi_wb_record dir = { .type = WB_DIR, .name = "out", .mode = S_IFDIR | 0700, .uid = geteuid (),
                                 .gid = getegid () };
  struct forged f;
  int fds = count_fds ();

  SKIP_UNDER_VALGRIND ();
  make_layer ();
  make_dir_at ("outside");
  make_text ("outside/kept", "kept");
  make_link ("../outside", "host/out");
  forge_begin (&f);
  forge (&f, &up, RCVM_E_PROTOCOL, "a name");
  forge (&f, &escape, RCVM_E_PROTOCOL, "a name");
  forge (&f, &stranger, RCVM_E_PROTOCOL, "did not tell of");
  forge (&f, &end, RCVM_E_PROTOCOL, "order");
  forge (&f, &file, 0, NULL);
  forge (&f, &file, RCVM_E_PROTOCOL, "repeats itself");
  forge (&f, &leave, 0, NULL);
  /* A symlink of the host on the way: that name is left alone. */
  forge (&f, &also, 0, NULL);
  expect_file ("outside/kept", "kept");
  forge (&f, &end, 0, NULL);
  forge (&f, &end, RCVM_E_PROTOCOL, "after the last");
  forge_end (&f);

  /* The symlink gives way to the directory; what it led to stays. */
  forge_begin (&f);
  forge (&f, &dir, 0, NULL);
  file.name = "kept";
  file.linked = false;
  forge (&f, &file, 0, NULL);
  forge_end (&f);
  expect_file ("outside/kept", "kept");
  assert_int_equal (count_entries ("outside"), 1);
  assert_false (exists ("host/.runcvm-forged"));
  assert_int_equal (count_fds (), fds);
}

/* The reader cannot do what it is not for. */
TEST (test_sandbox)
{
  int status;
  pid_t pid;

  SKIP_UNDER_VALGRIND ();
  pid = fork ();
  assert_true (pid >= 0);
  if (pid == 0)
    {
      char c = 0;
      int zero = open ("/dev/zero", O_RDONLY | O_CLOEXEC);

      if (rcvmi_wb_sandbox (NULL) < 0)
        _exit (1);
      if (read (zero, &c, 1) != 1 || !malloc (100000))
        _exit (2);
      if (open ("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 || fork () >= 0 || mkdir ("x", 0700) == 0
          || kill (getppid (), 0) == 0 || setresuid (0, 0, 0) == 0 || unlink ("tree") == 0)
        _exit (3);
      _exit (0);
    }
  assert_int_equal (waitpid (pid, &status, 0), pid);
  assert_int_equal (status, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown (name, setup, teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    CASE (test_changes),     CASE (test_removals), CASE (test_unsupported), CASE (test_arguments),
    CASE (test_no_layer),    CASE (test_interrupted), CASE (test_bad_note), CASE (test_staging_left),
    CASE (test_locked),      CASE (test_excluded), CASE (test_depth),       CASE (test_forged),
    CASE (test_repeated),    CASE (test_sandbox),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
