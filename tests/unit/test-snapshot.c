/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A snapshot's directory: begun, published, read, and damaged in every way. */
#include "config.h"

#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "snapshot.h"

struct bench
{
  char top[64], place[96];
};

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);

  *state = b;
  if (!b)
    return -1;
  snprintf (b->top, sizeof b->top, "/tmp/runcvm-snapshot.XXXXXX");
  if (!mkdtemp (b->top))
    return -1;
  snprintf (b->place, sizeof b->place, "%s/place", b->top);
  return 0;
}

/* All that is in it, to be sure. */
static void
empty (const char *place)
{
  DIR *dir = opendir (place);
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    if (entry->d_name[0] != '.')
      assert_int_equal (unlinkat (dirfd (dir), entry->d_name, 0), 0);
  if (dir)
    closedir (dir);
  rmdir (place);
}

static void
place_of (const struct bench *b, unsigned n, char out[128])
{
  snprintf (out, 128, "%s/place%u", b->top, n);
}

static int
tear_down (void **state)
{
  struct bench *b = *state;
  char place[128];

  empty (b->place);
  for (unsigned n = 0; n < 20; n++)
    {
      place_of (b, n, place);
      empty (place);
    }
  assert_int_equal (rmdir (b->top), 0); /* nothing else was left */
  free (b);
  return 0;
}

static void
put (const char *dir, const char *name, const void *data, size_t len, off_t size)
{
  autofree char *path = rcvmi_snapshot_path (dir, name);
  autoclose int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  assert_true (fd >= 0);
  assert_int_equal (write (fd, data, len), len);
  assert_int_equal (ftruncate (fd, size), 0);
}

static struct rcvmi_snapshot
make (struct bench *b)
{
  struct rcvmi_snapshot s = { .vmm = "firecracker", .version = 1016, .hotplug = true, .guest_pid = 77, .n_nics = 1, .n_disks = 1, .has_key = true };
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  autofree char *temp = NULL;
  rcvm_error *e = NULL;

  memset (s.cpu, 'c', sizeof s.cpu - 1);
  memset (s.shape, '5', sizeof s.shape - 1);
  snprintf (s.base, sizeof s.base, "tree-abc");
  s.streams = (struct rcvmi_streams_saved){ .in_credit = 17, .in_ended = true, .owed = { 5, 6 }, .broken = { false, true } };
  s.nics[0].number = 3;
  memcpy (s.nics[0].mac, "\x02\x00\x5e\x10\xff\x01", 6);
  snprintf (s.disks[0].serial, sizeof s.disks[0].serial, "upper");
  s.disks[0].size = 4096;
  s.disks[0].stored = 4096;
  memcpy (s.key, "0123456789abcdef", sizeof s.key);
  options.id = strdup ("one");
  options.hostname = strdup ("box");
  rcvmi_snapshot_draw_id (s.id);
  rcvmi_snapshot_draw_id (s.machine);
  check_ok (rcvmi_snapshot_name (b->place, &temp, &e), e);
  check_ok (rcvmi_snapshot_begin (temp, &e), e);
  put (temp, "memory", "mem", 3, 65536);
  put (temp, "state", "state", 5, 5);
  put (temp, "disk-upper", "d", 1, 4096);
  check_ok (rcvmi_snapshot_publish (&s, temp, b->place, NULL, &options, &e), e);
  rcvmi_options_clear (&options);
  return s;
}

static void
test_round (void **state)
{
  struct rcvmi_snapshot made = make (*state), got;
  struct bench *b = *state;
  struct rcvmi_options options;
  rcvm_error *e = NULL;
  struct stat st;

  check_ok (rcvmi_snapshot_read (&got, b->place, &options, &e), e);
  assert_string_equal (options.hostname, "box");
  assert_memory_equal (&got, &made, sizeof got);
  assert_int_equal (got.memory, 65536);
  rcvmi_options_clear (&options);
  assert_int_equal (stat (b->place, &st), 0);
  assert_int_equal (st.st_mode & 0777, 0700);
}

static void
test_place_is_taken (void **state)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;
  char *temp;

  make (b);
  assert_int_equal (rcvmi_snapshot_name (b->place, &temp, &e), RCVM_E_EXISTS);
  assert_null (temp);
  rcvm_error_free (e);
}

static void
test_nothing_was_written (void **state)
{
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  struct rcvmi_snapshot s = { 0 };
  struct bench *b = *state;
  autofree char *temp = NULL;
  rcvm_error *e = NULL;

  check_ok (rcvmi_snapshot_name (b->place, &temp, &e), e);
  check_ok (rcvmi_snapshot_begin (temp, &e), e);
  assert_int_equal (rcvmi_snapshot_publish (&s, temp, b->place, NULL, &options, &e), RCVM_E_VMM);
  rcvm_error_free (e);
  rcvmi_snapshot_discard (temp);
}

/* What was written to comes back where it was, holes are holes, and the file has no more than that. */
static void
test_disk (void **state)
{
  static const struct
  {
    off_t at;
    const char *text;
  } parts[] = { { 0, "begin" }, { 4 << 20, "middle" }, { (16 << 20) - 3, "end" } };
  struct bench *b = *state;
  autofree char *from = NULL, *packed = NULL, *to = NULL;
  struct rcvmi_snapshot_disk d = { .serial = "upper" }, other;
  rcvm_error *e = NULL;
  struct stat st;
  char buf[8] = "", c;
  int fd;

  make (b);
  put (b->place, "a", "", 0, 16 << 20);
  from = rcvmi_snapshot_path (b->place, "a");
  packed = rcvmi_snapshot_path (b->place, "b");
  to = rcvmi_snapshot_path (b->place, "c");
  fd = open (from, O_WRONLY | O_CLOEXEC);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    assert_int_equal (pwrite (fd, parts[i].text, strlen (parts[i].text), parts[i].at), strlen (parts[i].text));
  close (fd);
  check_ok (rcvmi_snapshot_disk_pack (from, packed, &d, &e), e);
  assert_int_equal (d.size, 16 << 20);
  assert_int_equal (stat (packed, &st), 0);
  assert_int_equal (st.st_size, d.stored);
  assert_true (d.stored < 1 << 20);
  assert_true (rcvmi_snapshot_disk_pack (from, packed, &d, &e) < 0); /* nothing is written over */
  rcvm_error_free (steal_ptr (e));
  check_ok (rcvmi_snapshot_disk_unpack (packed, to, &d, &e), e);
  assert_int_equal (stat (to, &st), 0);
  assert_int_equal (st.st_size, 16 << 20);
  assert_true (st.st_blocks < 2048);
  fd = open (to, O_RDONLY | O_CLOEXEC);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    {
      assert_int_equal (pread (fd, buf, strlen (parts[i].text), parts[i].at), strlen (parts[i].text));
      assert_memory_equal (buf, parts[i].text, strlen (parts[i].text));
    }
  assert_int_equal (pread (fd, buf, 1, 8 << 20), 1);
  assert_int_equal (buf[0], 0);
  close (fd);
  assert_true (rcvmi_snapshot_disk_unpack (packed, to, &d, &e) < 0);
  rcvm_error_free (steal_ptr (e));

  /* A list that is another one, places that the index does not know, a file that is cut. */
  assert_int_equal (unlink (to), 0);
  fd = open (packed, O_RDWR | O_CLOEXEC);
  assert_int_equal (pread (fd, &c, 1, (off_t) d.stored - 16), 1);
  c ^= 1;
  assert_int_equal (pwrite (fd, &c, 1, (off_t) d.stored - 16), 1);
  assert_int_equal (rcvmi_snapshot_disk_unpack (packed, to, &d, &e), RCVM_E_INVALID);
  rcvm_error_free (steal_ptr (e));
  c ^= 1;
  assert_int_equal (pwrite (fd, &c, 1, (off_t) d.stored - 16), 1);
  other = d;
  other.n_places = RCVMI_SNAPSHOT_PLACES;
  assert_int_equal (rcvmi_snapshot_disk_unpack (packed, to, &other, &e), RCVM_E_INVALID);
  rcvm_error_free (steal_ptr (e));
  other = d;
  other.size = 4 << 20; /* places beyond its end */
  assert_int_equal (rcvmi_snapshot_disk_unpack (packed, to, &other, &e), RCVM_E_INVALID);
  rcvm_error_free (steal_ptr (e));
  assert_int_equal (ftruncate (fd, (off_t) d.stored - 1), 0);
  assert_int_equal (rcvmi_snapshot_disk_unpack (packed, to, &d, &e), RCVM_E_INVALID);
  rcvm_error_free (e);
  close (fd);
  assert_int_equal (access (to, F_OK), -1);
}

/* One that nobody has written to. */
static void
test_empty_disk (void **state)
{
  struct bench *b = *state;
  autofree char *from = NULL, *packed = NULL, *to = NULL;
  struct rcvmi_snapshot_disk d = { .serial = "upper" };
  rcvm_error *e = NULL;
  struct stat st;

  make (b);
  put (b->place, "a", "", 0, 1 << 20);
  from = rcvmi_snapshot_path (b->place, "a");
  packed = rcvmi_snapshot_path (b->place, "b");
  to = rcvmi_snapshot_path (b->place, "c");
  check_ok (rcvmi_snapshot_disk_pack (from, packed, &d, &e), e);
  assert_int_equal (d.stored, 0);
  check_ok (rcvmi_snapshot_disk_unpack (packed, to, &d, &e), e);
  assert_int_equal (stat (to, &st), 0);
  assert_int_equal (st.st_size, 1 << 20);
}

static int
read_it (const char *dir)
{
  struct rcvmi_options options;
  struct rcvmi_snapshot s;
  rcvm_error *e = NULL;
  int code = rcvmi_snapshot_read (&s, dir, &options, &e);

  rcvmi_options_clear (&options);
  assert_true (code == 0 || (e && rcvm_error_get_message (e)[0]));
  rcvm_error_free (e);
  return code;
}

/* Whatever byte of the small files is another, and wherever a file is cut, it is seen. */
static void
test_damage (void **state)
{
  static const char *const files[] = { "index", "state", "options", "memory", "disk-upper" };
  struct bench *b = *state;

  make (b);
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
    {
      autofree char *path = rcvmi_snapshot_path (b->place, files[i]);
      autoclose int fd = open (path, O_RDWR | O_CLOEXEC);
      struct stat st;
      unsigned char c;

      assert_int_equal (fstat (fd, &st), 0);
      for (off_t at = 0; i < 3 && at < st.st_size; at++)
        {
          assert_int_equal (pread (fd, &c, 1, at), 1);
          c ^= 0x20;
          assert_int_equal (pwrite (fd, &c, 1, at), 1);
          assert_int_equal (read_it (b->place), RCVM_E_INVALID);
          c ^= 0x20;
          assert_int_equal (pwrite (fd, &c, 1, at), 1);
        }
      assert_int_equal (read_it (b->place), 0);
      c = 0;
      assert_int_equal (pread (fd, &c, 1, st.st_size - 1), 1);
      assert_int_equal (ftruncate (fd, st.st_size - 1), 0);
      assert_int_equal (read_it (b->place), RCVM_E_INVALID);
      assert_int_equal (pwrite (fd, &c, 1, st.st_size - 1), 1);
      assert_int_equal (read_it (b->place), 0);
      assert_int_equal (unlink (path), 0);
      assert_int_equal (read_it (b->place), RCVM_E_NOT_FOUND);
      assert_int_equal (symlink ("/etc/passwd", path), 0);
      assert_true (read_it (b->place) < 0);
      assert_int_equal (unlink (path), 0);
      {
        autofree char *fd_path = NULL;
        char buf[65536];
        ssize_t n = pread (fd, buf, sizeof buf, 0);

        put (b->place, files[i], buf, (size_t) n, st.st_size);
      }
    }
  assert_int_equal (read_it (b->place), 0);
}

/* With a digest that is right, what it says is still looked at. */
static void
test_parse (void **state)
{
  static const char *const bad[] = {
    "", "{", "[]", "null", "{}", "{\"format\":1}", "{\"format\":\"1\",\"library\":1}", "{\"format\":3,\"library\":\"0.1.0\"}",
    "{\"format\":1,\"library\":\"0.1.0\"}",
  };

  (void) state;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      uint8_t digest[RCVMI_SHA256_BYTES];
      char text[512], hex[RCVMI_SHA256_HEX + 1];
      struct rcvmi_snapshot s;
      const char *why;

      rcvmi_sha256 (bad[i], strlen (bad[i]), digest);
      rcvmi_sha256_hex (digest, hex);
      snprintf (text, sizeof text, "%s\n%s", hex, bad[i]);
      assert_int_equal (rcvmi_snapshot_parse (&s, text, strlen (text), &why), 1);
      assert_non_null (why);
    }
}

/* Differences. */

enum
{
  PAGE = RCVMI_SNAPSHOT_PAGE,
  PAGES = 200, /* more than are compared at once, and not a multiple of 8 */
  LAST = 150
};

/* A machine whose memory is what is written in `image`. */
static int
save (const char *place, const char *parent, const char *machine, const uint8_t *image, size_t pages, rcvm_error **err)
{
  struct rcvmi_snapshot s = { .vmm = "firecracker", .version = 1016 };
  struct rcvmi_options options = RCVMI_OPTIONS_INIT;
  autofree char *temp = NULL;
  int code;

  snprintf (s.machine, sizeof s.machine, "%s", machine);
  rcvmi_snapshot_draw_id (s.id);
  code = parent ? rcvmi_snapshot_descend (&s, place, parent, err) : 0;
  if (code < 0)
    return code;
  check_ok (rcvmi_snapshot_name (place, &temp, err), *err);
  check_ok (rcvmi_snapshot_begin (temp, err), *err);
  put (temp, "memory", image, pages * PAGE, (off_t) (pages * PAGE));
  put (temp, "state", "state", 5, 5);
  code = rcvmi_snapshot_publish (&s, temp, place, parent, &options, err);
  if (code < 0)
    rcvmi_snapshot_discard (temp);
  return code;
}

static void
has_memory (const struct bench *b, const char *place, const uint8_t *image, size_t layers)
{
  autofree struct rcvmi_snapshot *s = malloc (sizeof *s);
  autofree uint8_t *got = malloc (PAGES * PAGE);
  struct rcvmi_snapshot_memory m;
  struct rcvmi_options options;
  rcvm_error *e = NULL;
  char path[128];
  int fd;

  check_ok (rcvmi_snapshot_read (s, place, &options, &e), e);
  rcvmi_options_clear (&options);
  check_ok (rcvmi_snapshot_memory_open (&m, place, s, &e), e);
  assert_int_equal (m.n, layers);
  snprintf (path, sizeof path, "%s/together", b->top);
  fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  assert_true (fd >= 0);
  check_ok (rcvmi_snapshot_memory_copy (&m, fd, &e), e);
  rcvmi_snapshot_memory_close (&m);
  assert_int_equal (lseek (fd, 0, SEEK_END), PAGES * PAGE);
  assert_int_equal (pread (fd, got, PAGES * PAGE, 0), PAGES * PAGE);
  assert_memory_equal (got, image, PAGES * PAGE);
  close (fd);
  unlink (path);
  /* The same in one step, of the one that is known by its digest alone. */
  check_ok (rcvmi_snapshot_memory_put (place, s->digest, path, O_CREAT | O_EXCL, &e), e);
  s->digest[0] = s->digest[0] == '0' ? '1' : '0';
  assert_int_equal (rcvmi_snapshot_memory_put (place, s->digest, path, 0, &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "snapshot", "has become another one meanwhile");
  unlink (path);
}

/* Pages that are new, that are others, that become zero, that become what they once were; and all together, from any of them. */
static void
test_differences (void **state)
{
  static uint8_t images[4][PAGES * PAGE];
  struct bench *b = *state;
  rcvm_error *e = NULL;
  char places[4][128];
  struct stat st;

  for (size_t i = 0; i < PAGES * PAGE; i++)
    images[0][i] = i / PAGE % 3 ? (uint8_t) (i / PAGE + i) : 0;
  memcpy (images[1], images[0], sizeof images[0]);
  memset (images[1] + 1 * PAGE, 0, PAGE);          /* becomes zero: a hole, and a change */
  images[1][3 * PAGE + 17] = 1;                    /* was zero */
  images[1][LAST * PAGE + PAGE - 1] ^= 1;          /* its last byte */
  images[1][PAGES * PAGE - 1] ^= 1;                /* the very last */
  memcpy (images[2], images[1], sizeof images[1]); /* nothing */
  memcpy (images[3], images[0], sizeof images[0]); /* what it was at first, but for one */
  images[3][0] = 9;
  for (unsigned n = 0; n < 4; n++)
    {
      autofree char *memory = NULL;

      place_of (b, n, places[n]);
      check_ok (save (places[n], n ? places[n - 1] : NULL, "m", images[n], PAGES, &e), e);
      memory = rcvmi_snapshot_path (places[n], "memory");
      assert_int_equal (stat (memory, &st), 0);
      assert_int_equal (st.st_size, PAGES * PAGE);
      assert_true (n == 0 || st.st_blocks * 512 <= 5 * PAGE);
      has_memory (b, places[n], images[n], n + 1);
    }
  /* A copy that has made no holes. */
  {
    autofree char *memory = rcvmi_snapshot_path (places[1], "memory");
    autofree uint8_t *all = malloc (PAGES * PAGE);
    int fd = open (memory, O_RDWR | O_CLOEXEC);

    assert_int_equal (pread (fd, all, PAGES * PAGE, 0), PAGES * PAGE);
    assert_int_equal (pwrite (fd, all, PAGES * PAGE, 0), PAGES * PAGE);
    close (fd);
    has_memory (b, places[3], images[3], 4);
  }
}

static void
refuses (int code, int wanted, rcvm_error **e, const char *text)
{
  assert_int_equal (code, wanted);
  if (!strstr (rcvm_error_get_message (*e), text))
    fail_msg ("'%s' is not in '%s'", text, rcvm_error_get_message (*e));
  rcvm_error_free (*e);
  *e = NULL;
}

static int
look (const char *place, rcvm_error **err)
{
  autofree struct rcvmi_snapshot *s = malloc (sizeof *s);
  struct rcvmi_options options;
  int code = rcvmi_snapshot_read (s, place, &options, err);

  rcvmi_options_clear (&options);
  return code;
}

static void
test_wrong_parents (void **state)
{
  static uint8_t image[PAGES * PAGE];
  struct bench *b = *state;
  rcvm_error *e = NULL;
  char p[RCVMI_SNAPSHOT_DEEP + 3][128], away[128];
  autofree char *changes = NULL;
  unsigned n;
  int fd;

  for (n = 0; n < RCVMI_SNAPSHOT_DEEP + 3; n++)
    place_of (b, n, p[n]);
  check_ok (save (p[0], NULL, "m", image, PAGES, &e), e);
  refuses (save (p[1], b->place, "m", image, PAGES, &e), RCVM_E_NOT_FOUND, &e, "there is no snapshot");
  refuses (save (p[1], b->top, "m", image, PAGES, &e), RCVM_E_NOT_FOUND, &e, "/index', which a snapshot has");
  refuses (save (p[1], p[0], "another", image, PAGES, &e), RCVM_E_INVALID, &e, "is another container's");
  refuses (save (p[1], p[0], "m", image, PAGES - 1, &e), RCVM_E_VMM, &e, "bytes of memory");
  for (n = 1; n <= RCVMI_SNAPSHOT_DEEP; n++)
    {
      image[n * PAGE] = (uint8_t) n;
      check_ok (save (p[n], p[n - 1], "m", image, PAGES, &e), e);
    }
  refuses (save (p[n], p[n - 1], "m", image, PAGES, &e), RCVM_E_INVALID, &e, "difference in a row");
  has_memory (b, p[n - 1], image, n);

  /* It was there. */
  place_of (b, n + 1, away);
  assert_int_equal (rename (p[5], away), 0);
  refuses (look (p[6], &e), RCVM_E_NOT_FOUND, &e, "which is not there any more: put it back");
  refuses (look (p[9], &e), RCVM_E_NOT_FOUND, &e, "which is not there any more: put it back");
  check_ok (look (p[4], &e), e);
  /* Another one is. */
  check_ok (save (p[5], p[4], "m", image, PAGES, &e), e);
  refuses (look (p[6], &e), RCVM_E_INVALID, &e, "another snapshot than the one");
  empty (p[5]);
  assert_int_equal (rename (away, p[5]), 0);
  check_ok (look (p[9], &e), e);
  /* And its parts. */
  changes = rcvmi_snapshot_path (p[5], "changes");
  fd = open (changes, O_RDWR | O_CLOEXEC);
  assert_int_equal (pwrite (fd, "\377", 1, 3), 1);
  refuses (look (p[9], &e), RCVM_E_INVALID, &e, "changes' is not what was written");
  assert_int_equal (pwrite (fd, "\0", 1, 3), 1);
  check_ok (look (p[9], &e), e);
  assert_int_equal (ftruncate (fd, 20), 0);
  refuses (look (p[9], &e), RCVM_E_INVALID, &e, "changes' is not what was written");
  close (fd);
  unlink (changes);
  refuses (look (p[9], &e), RCVM_E_NOT_FOUND, &e, "changes', which a snapshot has");
}

/* Above, below, and in other directories. */
static void
test_places (void **state)
{
  static const char *const parents[] = { "place1", "place0/in", "place2/a/b", "place0" }, *const children[]
      = { "place2/x", "place1/c", "place0/c", "place0/in2/deep" };
  static uint8_t image[PAGES * PAGE];
  struct bench *b = *state;
  rcvm_error *e = NULL;

  for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++)
    {
      char top[100], p[200], c[200], command[600];

      snprintf (top, sizeof top, "%s/t", b->top);
      snprintf (p, sizeof p, "%s/%s", top, parents[i]);
      snprintf (c, sizeof c, "%s/%s", top, children[i]);
      snprintf (command, sizeof command, "mkdir -p $(dirname %s)", p);
      assert_int_equal (system (command), 0);
      check_ok (save (p, NULL, "m", image, PAGES, &e), e);
      image[i * PAGE] ^= 1;
      snprintf (command, sizeof command, "mkdir -p $(dirname %s)", c);
      assert_int_equal (system (command), 0);
      check_ok (save (c, p, "m", image, PAGES, &e), e);
      has_memory (b, c, image, 2);
      /* Both, somewhere else. */
      snprintf (command, sizeof command, "mv %s %s/u && mkdir %s", top, b->top, top);
      assert_int_equal (system (command), 0);
      snprintf (c, sizeof c, "%s/u/%s", b->top, children[i]);
      has_memory (b, c, image, 2);
      snprintf (command, sizeof command, "rm -r %s %s/u", top, b->top);
      assert_int_equal (system (command), 0);
    }
}

/* What a dead monitor had begun goes; nothing else does. */
static void
test_discard (void **state)
{
  struct bench *b = *state;
  autofree char *temp = NULL, *other = NULL;
  rcvm_error *e = NULL;

  check_ok (rcvmi_snapshot_name (b->place, &temp, &e), e);
  check_ok (rcvmi_snapshot_begin (temp, &e), e);
  put (temp, "disk-upper", "d", 1, 1);
  other = rcvmi_snapshot_path (temp, "somebody's");
  put (temp, "somebody's", "d", 1, 1);
  rcvmi_snapshot_discard (temp);
  assert_int_equal (access (other, F_OK), 0);
  assert_int_equal (unlink (other), 0);
  rcvmi_snapshot_discard (temp);
  assert_int_equal (access (temp, F_OK), -1);
  make (b);
  rcvmi_snapshot_discard (b->place);
  assert_int_equal (read_it (b->place), 0);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown (test_round, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_place_is_taken, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_nothing_was_written, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_disk, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_empty_disk, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_damage, set_up, tear_down),
    cmocka_unit_test (test_parse),
    cmocka_unit_test_setup_teardown (test_differences, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_wrong_parents, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_places, set_up, tear_down),
    cmocka_unit_test_setup_teardown (test_discard, set_up, tear_down),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
