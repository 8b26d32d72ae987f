/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks from layers that are damaged, or meant to do harm: a clear error or a correct
   image, and nothing left. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>

#include "layer-tar.h"
#include "rootfs-image.h"

static void
expect_failure (rcvm_rootfs_options *options, int code, const char *part, const char *more)
{
  const char *layers[] = { "one", access ("two", F_OK) == 0 ? "two" : NULL, NULL };
  rcvm_rootfs_options *o = options ? options : options_new ();
  rcvm_error *err = NULL;
  int before = count_entries ("."), r = rcvm_rootfs_build_layers (layers, "image", o, &err);

  if (r == 0)
    fail_msg ("no error, but '%s' was expected", part);
  if (r != code || rcvm_error_get_code (err) != code || !strstr (rcvm_error_get_message (err), part)
      || !strstr (rcvm_error_get_message (err), more))
    fail_msg ("'%s' and '%s' (%s) are not in: %s (%s)", part, more, rcvm_code_name (code),
              rcvm_error_get_message (err), rcvm_code_name (r));
  assert_string_equal (rcvm_error_get_stage (err), "rootfs");
  rcvm_error_free (err);
  rcvm_rootfs_options_free (o);
  assert_int_equal (count_entries ("."), before);
}

static void
fails (int code, const char *part, const char *more)
{
  expect_failure (NULL, code, part, more);
}

/* Makes the tar the one layer. */
static void
only (struct tar *t)
{
  tar_end (t);
  tar_write (t, "one");
}

static void
succeeds (void)
{
  const char *layers[] = { "one", access ("two", F_OK) == 0 ? "two" : NULL, NULL };
  rcvm_rootfs_options *o = options_new ();
  rcvm_error *err = NULL;

  if (rcvm_rootfs_build_layers (layers, "image", o, &err) < 0)
    fail_msg ("%s", rcvm_error_get_message (err));
  rcvm_rootfs_options_free (o);
  check_clean ("image");
}

static void
test_arguments (void **state)
{
  const char *none[] = { NULL }, *empty[] = { "", NULL }, *absent[] = { "absent", NULL };

  (void) state;
  assert_int_equal (rcvm_rootfs_build_layers (NULL, "image", NULL, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_build_layers (none, "image", NULL, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_build_layers (empty, "image", NULL, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_build_layers (absent, NULL, NULL, NULL), RCVM_E_INVALID);
  assert_int_equal (rcvm_rootfs_build_layers (absent, "image", NULL, NULL), RCVM_E_NOT_FOUND);
}

static void
test_names_that_lead_out (void **state)
{
  static const char *const bad[] = { "..", "../x", "/../x", "a/../../x", "./../x" };
  struct tar t = { 0 };
  char before[512], after[512];

  (void) state;
  assert_non_null (getcwd (before, sizeof before));
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      tar_file (&t, bad[i], "out");
      only (&t);
      fails (RCVM_E_IMAGE, "leads out of the tree", "'one' is damaged");
      tar_file (&t, "f", "x");
      tar_hard (&t, "l", bad[i]);
      only (&t);
      fails (RCVM_E_IMAGE, "leads out of the tree", "at 'l'");
    }
  assert_non_null (getcwd (after, sizeof after));
  assert_string_equal (before, after);
}

/* Through a symlink, the entry lands inside of the image, wherever the symlink points. */
static void
test_symlinks_that_lead_out (void **state)
{
  char path[600], cwd[512];
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  assert_non_null (getcwd (cwd, sizeof cwd));
  make_dir ("host");
  snprintf (path, sizeof path, "%s/host", cwd);
  tar_pax (&t, "linkpath", path, strlen (path));
  tar_link (&t, "abs", "short");
  tar_file (&t, "abs/file", "inside");
  tar_link (&t, "rel", "../../../../../../../../host");
  tar_file (&t, "rel/file", "inside");
  tar_hard (&t, "stolen", "abs/file");
  only (&t);
  succeeds ();
  fs = image_open ("image");
  snprintf (path, sizeof path, "%s/host/file", cwd);
  image_expect_text (fs, path, "inside");
  image_expect_text (fs, "/host/file", "inside");
  ext2fs_close_free (&fs);
  assert_int_equal (rmdir ("host"), 0);
  unlink ("image");
  /* Nothing of the host is to be had that way. */
  tar_link (&t, "out", "/etc");
  tar_hard (&t, "stolen", "out/passwd");
  only (&t);
  fails (RCVM_E_IMAGE, "hard link to 'out/passwd', which is not there", "at 'stolen'");
  tar_link (&t, "loop", "loop2");
  tar_link (&t, "loop2", "loop");
  tar_file (&t, "loop/f", "x");
  only (&t);
  fails (RCVM_E_IMAGE, "symlinks on the way lead nowhere", "at 'loop/f'");
}

static void
test_entries_that_make_no_sense (void **state)
{
  static const struct
  {
    struct tar_entry entry;
    int code;
    const char *part;
  } cases[] = {
    { { .name = "l", .type = '1', .target = "absent" }, RCVM_E_IMAGE, "hard link to 'absent', which is not there" },
    { { .name = "l", .type = '1', .target = "d" }, RCVM_E_IMAGE, "hard link to 'd', which is a directory" },
    { { .name = "l", .type = '1', .target = "/" }, RCVM_E_IMAGE, "which is a directory" },
    { { .name = "f/below", .text = "x" }, RCVM_E_IMAGE, "below 'f', which is no directory" },
    { { .name = ".wh.", .text = "x" }, RCVM_E_IMAGE, "a whiteout of nothing" },
    { { .name = "d/.wh...", .text = "x" }, RCVM_E_IMAGE, "a whiteout of nothing" },
    { { .name = ".wh.d/x", .text = "x" }, RCVM_E_IMAGE, "below a whiteout" },
    { { .name = "s", .type = '2', .target = "" }, RCVM_E_IMAGE, "symlink with a target of an impossible length" },
    { { .name = "./", .type = '2', .target = "x" }, RCVM_E_IMAGE, "a root that is no directory" },
    { { .name = "c", .type = '3', .major = 5000 }, RCVM_E_IMAGE, "device number that is out of range" },
    { { .name = "u", .uid = 0xffffffff }, RCVM_E_IMAGE, "owner that no file can have" },
    { { .name = "big", .size = UINT64_C (1) << 50 }, RCVM_E_UNSUPPORTED, "16 TiB" },
  };

  (void) state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct tar t = { 0 };

      tar_dir (&t, "d");
      tar_file (&t, "f", "x");
      tar_entry (&t, cases[i].entry);
      only (&t);
      fails (cases[i].code, cases[i].part, "the layer 'one' ");
    }
}

static void
test_long_names (void **state)
{
  static char name[70000];
  struct tar t = { 0 };
  ext2_filsys fs;

  (void) state;
  memset (name, 'n', sizeof name - 1);
  tar_pax (&t, "path", name, 255);
  tar_file (&t, "short", "as long as can be");
  only (&t);
  succeeds ();
  fs = image_open ("image");
  name[255] = 0;
  image_expect_text (fs, name, "as long as can be");
  name[255] = 'n';
  ext2fs_close_free (&fs);
  unlink ("image");
  tar_pax (&t, "path", name, 256);
  tar_file (&t, "short", "x");
  only (&t);
  fails (RCVM_E_IMAGE, "a name of more than 255 bytes", "'one'");
  tar_link (&t, "way", "x");
  tar_pax (&t, "linkpath", name, 300);
  tar_link (&t, "way", "x");
  tar_file (&t, "way/f", "x");
  only (&t);
  fails (RCVM_E_IMAGE, "leads to a name of more than 255 bytes", "'way/f'");
  tar_pax (&t, "linkpath", name, 4096);
  tar_link (&t, "s", "x");
  only (&t);
  fails (RCVM_E_IMAGE, "target of an impossible length", "'s'");
  /* Deeper than any path of the host can be. */
  for (size_t i = 1; i < sizeof name - 1; i += 2)
    name[i] = '/';
  tar_pax (&t, "path", name, 60001);
  tar_file (&t, "short", "deep");
  only (&t);
  succeeds ();
}

static void
test_truncated (void **state)
{
  static char text[5000];
  struct tar t = { 0 };
  size_t len;

  (void) state;
  memset (text, 'x', sizeof text - 1);
  tar_file (&t, "first", "x");
  tar_file (&t, "second", text);
  tar_file (&t, "third", text);
  tar_end (&t);
  len = t.len;
  tar_write (&t, "whole");
  /* Inside of headers, of data, and between entries. */
  for (size_t cut = 1; cut < len - 512; cut += 509)
    {
      assert_int_equal (system ("cp whole one"), 0);
      assert_int_equal (truncate ("one", (off_t) cut), 0);
            fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
    }
  for (size_t cut = 512; cut < len - 1024; cut += 512)
    {
      assert_int_equal (system ("cp whole one"), 0);
      assert_int_equal (truncate ("one", (off_t) cut), 0);
            fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
    }
  for (int i = 0; i < 2; i++)
    {
      struct stat st;

      assert_int_equal (system (i ? "zstd -qf whole -o packed" : "gzip -c whole > packed"), 0);
      assert_int_equal (stat ("packed", &st), 0);
      for (off_t cut = 1; cut < st.st_size; cut += 7)
        {
          assert_int_equal (system ("cp packed one"), 0);
          assert_int_equal (truncate ("one", cut), 0);
                fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
        }
    }
}

static void
flip (const char *path, off_t at)
{
  int fd = open (path, O_RDWR | O_CLOEXEC);
  unsigned char c;

  assert_int_equal (pread (fd, &c, 1, at), 1);
  c ^= 0x10;
  assert_int_equal (pwrite (fd, &c, 1, at), 1);
  close (fd);
}

/* Some bits of a packed file mean nothing. */
static void
fails_unless_same (const char *unpack)
{
  char command[100];

  snprintf (command, sizeof command, "%s < one 2> /dev/null | cmp -s - whole", unpack);
  if (system (command) != 0)
    fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
}

/* What a checksum covers cannot go wrong unnoticed: the header of each entry, and all that is packed. */
static void
test_corrupt (void **state)
{
  static const char *const pack[] = { "gzip -n < whole > packed", "zstd -q --check < whole > packed" };
  static const char *const unpack[] = { "gzip -dc", "zstd -dc" };
  struct tar t = { 0 };
  struct stat st;

  (void) state;
  tar_file (&t, "first", "some text that is not packed too well, 0123456789 abcdefghij");
  tar_file (&t, "second", "x");
  tar_end (&t);
  tar_write (&t, "whole");
  for (off_t at = 0; at < 148; at += 13)
    {
      assert_int_equal (system ("cp whole one"), 0);
      flip ("one", 1024 + at);
      fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
    }
  for (int i = 0; i < 2; i++)
    {
      assert_int_equal (system (pack[i]), 0);
      assert_int_equal (stat ("packed", &st), 0);
      for (off_t at = 0; at < st.st_size; at++)
        {
          assert_int_equal (system ("cp packed one"), 0);
          flip ("one", at);
          fails_unless_same (unpack[i]);
        }
    }
}

static void
test_no_tar (void **state)
{
  static char noise[4096];

  (void) state;
  make_text ("one", "");
  fails (RCVM_E_IMAGE, "it is empty", "'one'");
  unlink ("one");
  for (size_t i = 0; i < sizeof noise; i++)
    noise[i] = (char) (i * 31 + i / 7);
  make_file ("one", noise, sizeof noise);
  fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
  unlink ("one");
  /* As a disk image starts. */
  memset (noise, 0, 2048);
  make_file ("one", noise, sizeof noise);
  fails (RCVM_E_IMAGE, "the layer 'one' is damaged: it is no tar", "");
  unlink ("one");
  make_text ("one", "\xfd" "7zXZ");
  fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "");
  unlink ("one");
  make_text ("one", "BZh9");
  fails (RCVM_E_UNSUPPORTED, "another way than gzip or zstd", "'one'");
  unlink ("one");
  assert_int_equal (mkfifo ("one", 0600), 0);
  fails (RCVM_E_INVALID, "neither a directory nor a file that can be read twice", "'one'");
  unlink ("one");
  make_link ("/dev/null", "one");
  fails (RCVM_E_INVALID, "neither a directory nor a file that can be read twice", "'one'");
}

static void
test_attributes (void **state)
{
  static char value[70000];
  struct tar t = { 0 };

  (void) state;
  tar_pax (&t, "SCHILY.xattr.user.a", value, 5000);
  tar_file (&t, "f", "x");
  only (&t);
  fails (RCVM_E_UNSUPPORTED, "'/f' cannot be kept: more extended attributes", "4 KiB");
  tar_pax (&t, "SCHILY.xattr.user.a", value, 66000);
  tar_file (&t, "f", "x");
  only (&t);
  fails (RCVM_E_UNSUPPORTED, "more extended attributes than a file can have", "'f'");
  tar_pax (&t, "SCHILY.xattr.system.posix_acl_access", "nonsense", 8);
  tar_file (&t, "f", "x");
  only (&t);
  fails (RCVM_E_IMAGE, "an ACL that makes no sense", "'f'");
  tar_pax (&t, "SCHILY.acl.access", "user::rwx,user:nobody-here:r-x,group::r--,mask::rwx,other::---", 62);
  tar_file (&t, "f", "x");
  only (&t);
  fails (RCVM_E_UNSUPPORTED, "without their numbers", "'f'");
}

static void
test_overlay_that_refers (void **state)
{
  (void) state;
  if (geteuid () != 0)
    skip ();
  make_dir ("one");
  make_dir ("one/d");
  assert_int_equal (setxattr ("one/d", "trusted.overlay.redirect", "/x", 2, 0), 0);
  fails (RCVM_E_UNSUPPORTED, "'one/d' refers to other layers", "redirect_dir");
  assert_int_equal (removexattr ("one/d", "trusted.overlay.redirect"), 0);
  make_text ("one/f", "");
  assert_int_equal (setxattr ("one/f", "trusted.overlay.metacopy", "", 0, 0), 0);
  fails (RCVM_E_UNSUPPORTED, "'one/f' refers to other layers", "metacopy");
}

/* A gzip that starts with the tar and goes on with zeros, up to `size` bytes. */
static void
write_bomb (struct tar *t, uint64_t size)
{
  static char zeros[1 << 20];
  gzFile f = gzopen ("one", "wb1");

  assert_non_null (f);
  assert_int_equal (gzwrite (f, t->data, (unsigned) t->len), (int) t->len);
  for (uint64_t done = t->len; done < size; done += sizeof zeros)
    assert_int_equal (gzwrite (f, zeros, sizeof zeros), (int) sizeof zeros);
  assert_int_equal (gzclose (f), Z_OK);
  tar_free (t);
}

static long
peak_memory (void)
{
  struct rusage use;

  assert_int_equal (getrusage (RUSAGE_SELF, &use), 0);
  return use.ru_maxrss / 1024;
}

static void
test_bomb_of_data (void **state)
{
  rcvm_rootfs_options *o;
  struct tar t = { 0 };
  long before = peak_memory ();

  (void) state;
  if (getenv ("UNDER_VALGRIND"))
    skip ();
  o = options_new ();
  tar_entry (&t, (struct tar_entry){ .name = "zeros", .size = UINT64_C (400) << 20 });
  write_bomb (&t, (UINT64_C (401) << 20));
  rcvm_rootfs_options_set_size (o, 100 << 20, NULL);
  expect_failure (o, RCVM_E_NO_SPACE, "too small for the tree", "it needs");
  assert_true (peak_memory () - before < 32);
}

/* Headers that are much longer unpacked than packed. */
static void
test_bomb_of_headers (void **state)
{
  struct tar t = { 0 };
  long before = peak_memory ();

  (void) state;
  if (getenv ("UNDER_VALGRIND"))
    skip ();
  /* A map of a sparse file of hundreds of megabytes. */
  tar_entry (&t, (struct tar_entry){ .name = "pax",
                                     .type = 'x',
                                     .text = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
                                             "31 GNU.sparse.realsize=1048581\n" });
  tar_entry (&t, (struct tar_entry){ .name = "sparse", .size = UINT64_C (300) << 20 });
  tar_bytes (&t, "99999999\n", 9);
  for (int i = 0; i < 4000000; i++)
    tar_bytes (&t, "0\n0\n", 4);
  write_bomb (&t, 0);
  fails (RCVM_E_IMAGE, "the layer 'one' is damaged", "a header of more than 4 MiB");
  assert_true (peak_memory () - before < 256);
}

static void
test_bomb_of_entries (void **state)
{
  rcvm_rootfs_options *o;
  struct tar t = { 0 };
  char name[32];
  gzFile f;

  (void) state;
  if (getenv ("UNDER_VALGRIND"))
    skip ();
  o = options_new ();
  f = gzopen ("one", "wb1");
  assert_non_null (f);
  for (int i = 0; i < 700000; i++)
    {
      snprintf (name, sizeof name, "file-%d", i);
      t.len = 0;
      tar_entry (&t, (struct tar_entry){ .name = name });
      assert_int_equal (gzwrite (f, t.data, (unsigned) t.len), (int) t.len);
    }
  assert_int_equal (gzclose (f), Z_OK);
  tar_free (&t);
  rcvm_rootfs_options_set_size (o, 1 << 20, NULL);
  expect_failure (o, RCVM_E_NO_SPACE, "more files than the image can have room for", "'one'");
}

struct change
{
  const char *phase;
  int done;
};

static int
change_layer (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct change *c = user;

  (void) files;
  (void) bytes;
  if (!c->done && strcmp (phase, c->phase) == 0)
    {
      c->done = 1;
      flip ("one", 512);
    }
  return 0;
}

static int
cancel (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  (void) files;
  (void) bytes;
  return strcmp (user, phase) == 0;
}

static void
test_changes_and_cancelling (void **state)
{
  static const char *const phases[] = { "scan", "write", "finish" };
  struct change change = { .phase = "write" };
  struct tar t = { 0 };
  rcvm_rootfs_options *o = options_new ();

  (void) state;
  tar_file (&t, "a", "contents");
  tar_file (&t, "b", "contents");
  only (&t);
  rcvm_rootfs_options_set_progress (o, change_layer, &change, NULL);
  expect_failure (o, RCVM_E_STATE, "the layer 'one' changed while it was read", "");
  assert_int_equal (change.done, 1);
  flip ("one", 512);
  for (size_t i = 0; i < 3; i++)
    {
      o = options_new ();
      rcvm_rootfs_options_set_progress (o, cancel, (void *) phases[i], NULL);
      expect_failure (o, RCVM_E_CANCELLED, "cancelled", "");
    }
  /* While nothing but unpacking goes on, too. */
  tar_entry (&t, (struct tar_entry){ .name = "zeros", .size = UINT64_C (200) << 20 });
  write_bomb (&t, (UINT64_C (201) << 20));
  o = options_new ();
  rcvm_rootfs_options_set_progress (o, cancel, (void *) "scan", NULL);
  expect_failure (o, RCVM_E_CANCELLED, "cancelled", "");
}

int
main (void)
{
#define TEST(name) cmocka_unit_test_setup_teardown (name, image_setup, image_teardown)
  const struct CMUnitTest tests[] = {
    TEST (test_arguments),
    TEST (test_names_that_lead_out),
    TEST (test_symlinks_that_lead_out),
    TEST (test_entries_that_make_no_sense),
    TEST (test_long_names),
    TEST (test_truncated),
    TEST (test_corrupt),
    TEST (test_no_tar),
    TEST (test_attributes),
    TEST (test_overlay_that_refers),
    TEST (test_bomb_of_data),
    TEST (test_bomb_of_headers),
    TEST (test_bomb_of_entries),
    TEST (test_changes_and_cancelling),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
