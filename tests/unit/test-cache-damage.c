/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache: images that are not what they were made as, and hosts that lose their power. */
#include "config.h"

#include "cache-testing.h"

#include <runcvm/rootfs.h>

static void
write_at (const char *path, off_t offset, const void *data, size_t len)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);

  assert_true (fd >= 0);
  if (offset < 0)
    offset += lseek (fd, 0, SEEK_END);
  assert_int_equal (pwrite (fd, data, len, offset), (ssize_t) len);
  close (fd);
}

static void
cut (const char *path)
{
  assert_int_equal (truncate (path, 8192), 0);
}

static void
cut_record (const char *path)
{
  struct stat st;

  assert_int_equal (stat (path, &st), 0);
  assert_int_equal (truncate (path, st.st_size - RCVMI_CACHE_RECORD_SIZE), 0);
}

static void
empty (const char *path)
{
  assert_int_equal (truncate (path, 0), 0);
}

static void
lengthen (const char *path)
{
  struct stat st;

  assert_int_equal (stat (path, &st), 0);
  assert_int_equal (truncate (path, st.st_size + 4096), 0);
}

static void
scratch_superblock (const char *path)
{
  write_at (path, 1024 + 4, "\377", 1);
}

static void
scratch_groups (const char *path)
{
  write_at (path, 4096 + 20, "\377", 1);
}

static void
scratch_record (const char *path)
{
  write_at (path, -RCVMI_CACHE_RECORD_SIZE + 200, "\377", 1);
}

static void
zero_record (const char *path)
{
  static const char zeroes[RCVMI_CACHE_RECORD_SIZE];

  write_at (path, -RCVMI_CACHE_RECORD_SIZE, zeroes, sizeof zeroes);
}

static void
open_to_all (const char *path)
{
  assert_int_equal (chmod (path, 0666), 0);
}

static void
replace_by_fifo (const char *path)
{
  assert_int_equal (unlink (path), 0);
  assert_int_equal (mkfifo (path, 0600), 0);
}

static void
replace_by_other (const char *path)
{
  char *other = strdup (path);

  other[strlen (other) - strlen ("k.ext4")] = 'o';
  assert_int_equal (rename (other, path), 0);
  free (other);
}

static const struct damage
{
  void (*cause) (const char *path);
  const char *seen_as;
} damages[] = {
  { cut, "its record is missing" },
  { cut_record, "its record is missing" },
  { empty, "cut short" },
  { lengthen, "its record is missing" },
  { scratch_superblock, "superblock or group descriptors" },
  { scratch_groups, "superblock or group descriptors" },
  { scratch_record, "its record is missing or damaged" },
  { zero_record, "its record is missing" },
  { open_to_all, "others can write" },
  { replace_by_fifo, "no file" },
  { replace_by_other, "another key" },
};

/* Damaged by a disk, not by somebody who writes: the times are as they were. */
TEST (test_damage)
{
  struct fixture *f = *state;
  char *path = image_path (f, "k");

  for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++)
    {
      struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
      struct timespec times[2];
      rcvm_error *err = NULL;
      struct stat st;
      char *list;

      have (f, "k");
      have (f, "o");
      assert_int_equal (stat (path, &st), 0);
      times[0] = st.st_atim;
      times[1] = st.st_mtim;
      damages[i].cause (path);
      assert_int_equal (utimensat (AT_FDCWD, path, times, 0), 0);
      list = rcvmi_cache_list_json (&f->cache, &err);
      assert_non_null (list);
      if (damages[i].cause != replace_by_fifo)
        assert_non_null (strstr (list, damages[i].seen_as));
      free (list);
      check_ok (acquire (f, "k", &e, &err), err);
      assert_false (e.hit);
      assert_non_null (e.note);
      assert_non_null (strstr (e.note, damages[i].seen_as));
      check_ok (rcvm_rootfs_verify (e.path, &err), err);
      rcvmi_cache_entry_clear (&e);
      assert_false (have (f, "k"));
    }
  free (path);
}

TEST (test_written_to)
{
  struct fixture *f = *state;
  char *path = image_path (f, "k");
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT, old = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;
  struct stat st;

  check_ok (acquire (f, "k", &old, &err), err);
  /* A byte that nothing has a checksum of. */
  write_at (path, -RCVMI_CACHE_RECORD_SIZE - 1, "x", 1);
  check_ok (acquire (f, "k", &e, &err), err);
  assert_false (e.hit);
  assert_non_null (strstr (e.note, "was changed after it had been made"));
  /* Who uses the damaged one keeps it. */
  assert_int_equal (fstat (old.fd, &st), 0);
  assert_int_equal (st.st_nlink, 0);
  rcvmi_cache_entry_clear (&e);
  rcvmi_cache_entry_clear (&old);
  free (path);
}

TEST (test_verify)
{
  struct fixture *f = *state;
  char *path = image_path (f, "bad"), *text;
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  struct timespec times[2];
  rcvm_error *err = NULL;
  struct stat st;

  for (int i = 0; i < 400; i++)
    {
      char name[16], *file;

      snprintf (name, sizeof name, "%d", i);
      file = path_in (f->tree, name);
      write_file (file, "", 0);
      free (file);
    }
  have (f, "good");
  have (f, "bad");
  text = rcvmi_cache_verify_json (&f->cache, false, &err);
  assert_null (strstr (text, "problem"));
  free (text);
  assert_int_equal (stat (path, &st), 0);
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  /* Beyond what is looked at on each open, inodes among it. */
  for (off_t at = 65536 + 16; at < 65536 + 32768; at += 256)
    write_at (path, at, "\125\252\125", 3);
  assert_int_equal (utimensat (AT_FDCWD, path, times, 0), 0);
  text = rcvmi_cache_verify_json (&f->cache, false, &err);
  assert_non_null (text);
  assert_non_null (strstr (text, "problem"));
  assert_non_null (strstr (text, "bad.ext4' is damaged"));
  free (text);
  assert_true (is_there (f, "bad"));
  /* In use: it stays. */
  check_ok (acquire (f, "bad", &e, &err), err);
  text = rcvmi_cache_verify_json (&f->cache, true, &err);
  assert_non_null (text);
  assert_non_null (strstr (text, "\"removed\":false"));
  free (text);
  assert_true (is_there (f, "bad"));
  rcvmi_cache_entry_clear (&e);
  text = rcvmi_cache_verify_json (&f->cache, true, &err);
  assert_non_null (text);
  assert_non_null (strstr (text, "\"removed\":true"));
  free (text);
  assert_false (is_there (f, "bad"));
  assert_true (is_there (f, "good"));
  free (path);
}

/* An image of another boot, as far as its record says. */
static void
set_other_boot (const char *path)
{
  uint8_t record[RCVMI_CACHE_RECORD_SIZE], digest[RCVMI_SHA256_BYTES];
  struct timespec times[2];
  struct stat st;
  int fd = open (path, O_RDWR | O_CLOEXEC);

  assert_true (fd >= 0);
  assert_int_equal (fstat (fd, &st), 0);
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  assert_int_equal (pread (fd, record, sizeof record, st.st_size - (off_t) sizeof record), sizeof record);
  record[176] ^= 1;
  rcvmi_sha256 (record, sizeof record - sizeof digest, digest);
  memcpy (record + sizeof record - sizeof digest, digest, sizeof digest);
  assert_int_equal (pwrite (fd, record, sizeof record, st.st_size - (off_t) sizeof record), sizeof record);
  assert_int_equal (futimens (fd, times), 0);
  close (fd);
}

TEST (test_power_failure)
{
  struct fixture *f = *state;
  char *path = image_path (f, "k");
  struct rcvmi_cache_entry e = RCVMI_CACHE_ENTRY_INIT;
  rcvm_error *err = NULL;

  /* One that nobody waited for until it was on disk. */
  assert_true (have (f, "k"));
  set_other_boot (path);
  check_ok (acquire (f, "k", &e, &err), err);
  assert_false (e.hit);
  assert_false (e.durable);
  assert_non_null (strstr (e.note, "the host was started anew"));
  /* And one that somebody did. */
  check_ok (rcvmi_cache_settle (&e, &err), err);
  assert_true (e.durable);
  check_ok (rcvmi_cache_settle (&e, &err), err);
  rcvmi_cache_entry_clear (&e);
  set_other_boot (path);
  check_ok (acquire (f, "k", &e, &err), err);
  assert_true (e.hit);
  assert_true (e.durable);
  rcvmi_cache_entry_clear (&e);
  /* From the beginning. */
  f->cache.sync = true;
  check_ok (acquire (f, "synced", &e, &err), err);
  assert_true (e.durable);
  rcvmi_cache_entry_clear (&e);
  free (path);
}

#define T(name) cmocka_unit_test_setup_teardown (name, fixture_setup, fixture_teardown)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    T (test_damage),
    T (test_written_to),
    T (test_verify),
    T (test_power_failure),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
