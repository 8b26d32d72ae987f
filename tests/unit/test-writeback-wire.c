/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the reader of an image tells, and all that it must not tell; and a journal's replay. */
#include "config.h"

#include "support.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "writeback-ext4.h"
#include "writeback-known.h"
#include "writeback-wire.h"

static const struct rcvmi_wb_record regular = {
  .type = WB_FILE,
  .name = "file",
  .mode = S_IFREG | 0644,
  .uid = 1,
  .gid = 2,
  .atime = { -5, 999999999 },
  .mtime = { 1, 2 },
  .ino = 12,
  .size = 10000,
  .linked = true,
  .copied = true,
};

/* Encodes it and decodes it again: what is wrong with it, or NULL. */
static const char *
through (const struct rcvmi_wb_record *in, const struct tlv_writer *xattrs,
         struct rcvmi_wb_record *out, struct tlv_writer *w)
{
  struct tlv_reader r;
  struct tlv_field f;

  *w = TLV_WRITER_INIT;
  rcvmi_wb_encode (w, in, xattrs);
  assert_false (w->failed);
  tlv_reader_init (&r, w->data, w->len);
  assert_true (tlv_next (&r, &f));
  return rcvmi_wb_decode (out, f.tag, f.data, f.len);
}

static void
expect (const struct rcvmi_wb_record *in, const char *wrong)
{
  struct rcvmi_wb_record out;
  struct tlv_writer w;
  const char *found = through (in, NULL, &out, &w);

  if (!found != !wrong || (wrong && strcmp (found, wrong) != 0))
    fail_msg ("wanted '%s', got '%s'", wrong ? wrong : "nothing", found ? found : "nothing");
  tlv_writer_free (&w);
}

TEST (test_round_trip)
{
  struct tlv_writer w, xattrs = TLV_WRITER_INIT;
  struct rcvmi_wb_record out;
  struct rcvmi_wb_xattr x;

  rcvmi_wb_put_xattr (&xattrs, "user.a", "value", 5);
  rcvmi_wb_put_xattr (&xattrs, "security.capability", "", 0);
  assert_null (through (&regular, &xattrs, &out, &w));
  assert_string_equal (out.name, "file");
  assert_int_equal (out.mode, regular.mode);
  assert_int_equal (out.uid, 1);
  assert_int_equal (out.gid, 2);
  assert_int_equal (out.atime.tv_sec, -5);
  assert_int_equal (out.atime.tv_nsec, 999999999);
  assert_int_equal (out.mtime.tv_nsec, 2);
  assert_int_equal (out.ino, 12);
  assert_int_equal (out.size, 10000);
  assert_true (out.linked && out.copied && !out.opaque);
  assert_true (rcvmi_wb_next_xattr (&out.xattrs, &x));
  assert_string_equal (x.name, "user.a");
  assert_memory_equal (x.value, "value", 5);
  assert_true (rcvmi_wb_next_xattr (&out.xattrs, &x));
  assert_int_equal (x.len, 0);
  assert_false (rcvmi_wb_next_xattr (&out.xattrs, &x));
  tlv_writer_free (&w);
  tlv_writer_free (&xattrs);
}

TEST (test_names)
{
  static const char *const bad[] = { "", ".", "..", "/", "a/b", "../a", "/a" };
  static const char *const bad_paths[] = { "", "..", "a/..", "a/../b", "/a", "a//b", "a/", "./a", "a/." };
  struct rcvmi_wb_record r = regular, also = { .type = WB_ALSO, .ino = 12 };
  char longest[258];

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      r.name = bad[i];
      expect (&r, "a name");
    }
  memset (longest, 'x', sizeof longest);
  longest[256] = 0;
  r.name = longest;
  expect (&r, "a name");
  longest[255] = 0;
  expect (&r, NULL);
  r.name = "...";
  expect (&r, NULL);
  r.name = " \n\xff";
  expect (&r, NULL);
  for (size_t i = 0; i < sizeof bad_paths / sizeof bad_paths[0]; i++)
    {
      also.name = bad_paths[i];
      expect (&also, "a name");
    }
  also.name = "a/b../...c";
  expect (&also, NULL);
}

TEST (test_metadata)
{
  struct rcvmi_wb_record r = regular;
  struct rcvmi_wb_record dir = { .type = WB_DIR, .mode = S_IFDIR | 0755 };

  r.mtime.tv_nsec = 1000000000;
  expect (&r, "a time");
  r = regular;
  r.atime.tv_sec = INT64_MAX;
  expect (&r, "a time");
  r = regular;
  r.uid = (uid_t) -1;
  expect (&r, "an owner");
  r = regular;
  r.mode = 0644;
  expect (&r, "a type");
  r.mode = S_IFDIR | 0755;
  expect (&r, "a type");
  r.mode = regular.mode | 0x10000;
  expect (&r, "a mode");
  r = regular;
  r.size = UINT64_MAX;
  expect (&r, "a size");
  r.mode = S_IFCHR | 0600;
  expect (&r, "a device number"); /* a whiteout */
  r.major = 0x1000;
  expect (&r, "a device number");
  r.major = 1;
  r.minor = 3;
  expect (&r, NULL);
  r.mode = S_IFLNK | 0777;
  r.target = "";
  expect (&r, "the target of a symlink");
  r.target = "/anything";
  expect (&r, NULL);
  dir.name = "d";
  expect (&dir, NULL);
  dir.mode = S_IFREG;
  expect (&dir, "a directory's type");
}

TEST (test_xattrs)
{
  static const char *const bad[] = { "", "user", "user.", "system.nfs4_acl", "trusted.overlay.opaque", "btrfs.x" };
  struct tlv_writer w, xattrs = TLV_WRITER_INIT;
  struct rcvmi_wb_record out;

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    {
      xattrs.len = 0;
      rcvmi_wb_put_xattr (&xattrs, bad[i], "x", 1);
      assert_string_equal (through (&regular, &xattrs, &out, &w), "an attribute");
      tlv_writer_free (&w);
    }
  /* A value without a name, a name without a value. */
  xattrs.len = 0;
  tlv_put (&xattrs, 2, "x", 1);
  assert_string_equal (through (&regular, &xattrs, &out, &w), "an attribute");
  tlv_writer_free (&w);
  xattrs.len = 0;
  tlv_put_str (&xattrs, 1, "user.a");
  assert_string_equal (through (&regular, &xattrs, &out, &w), "an attribute");
  tlv_writer_free (&w);
  tlv_writer_free (&xattrs);
}

static void
step (struct rcvmi_wb_order *o, const struct rcvmi_wb_record *r, const char *wrong)
{
  const char *found = rcvmi_wb_check_order (o, r);

  if (!found != !wrong || (wrong && strcmp (found, wrong) != 0))
    fail_msg ("wanted '%s', got '%s'", wrong ? wrong : "nothing", found ? found : "nothing");
}

static void
extent (struct rcvmi_wb_order *o, struct rcvmi_wb_extent x, const char *wrong)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_wb_record out;
  struct tlv_reader r;
  struct tlv_field f;

  rcvmi_wb_put_extents (&w, &x, 1);
  tlv_reader_init (&r, w.data, w.len);
  assert_true (tlv_next (&r, &f));
  assert_null (rcvmi_wb_decode (&out, f.tag, f.data, f.len));
  step (o, &out, wrong);
  tlv_writer_free (&w);
}

TEST (test_order)
{
  static const char order[] = "the order of records";
  struct rcvmi_wb_order o = { .image_size = 20000 };
  const struct rcvmi_wb_record root = { .type = WB_DIR }, dir = { .type = WB_DIR, .name = "d" },
                               leave = { .type = WB_LEAVE }, end = { .type = WB_END },
                               file_end = { .type = WB_FILE_END }, link = { .type = WB_LINK, .name = "l" },
                               also = { .type = WB_ALSO, .name = "a" }, gone = { .type = WB_WHITEOUT, .name = "g" };
  struct rcvmi_wb_record nameless = regular;

  nameless.name = NULL;
  step (&o, &dir, order);
  step (&o, &regular, order);
  step (&o, &leave, order);
  step (&o, &end, order);
  step (&o, &root, NULL);
  step (&o, &root, order);
  step (&o, &nameless, order);
  step (&o, &also, order);
  step (&o, &end, order);
  step (&o, &file_end, order);
  extent (&o, (struct rcvmi_wb_extent){ 0, 0, 1 }, order);
  step (&o, &dir, NULL);
  step (&o, &regular, NULL);
  step (&o, &dir, order);
  step (&o, &leave, order);
  step (&o, &link, order);
  step (&o, &gone, order);
  step (&o, &regular, order);
  extent (&o, (struct rcvmi_wb_extent){ 4096, 1000, 4096 }, NULL);
  extent (&o, (struct rcvmi_wb_extent){ 4096, 1000, 1 }, "where data belongs");
  extent (&o, (struct rcvmi_wb_extent){ 8192, 1000, 0 }, "where data belongs");
  extent (&o, (struct rcvmi_wb_extent){ 8192, 1000, 1809 }, "where data belongs");
  extent (&o, (struct rcvmi_wb_extent){ UINT64_MAX, 1000, 2 }, "where data belongs");
  extent (&o, (struct rcvmi_wb_extent){ 9000, 19999, 2 }, "a place in the image");
  extent (&o, (struct rcvmi_wb_extent){ 9500, UINT64_MAX, 2 }, "a place in the image");
  step (&o, &file_end, NULL);
  step (&o, &file_end, order);
  step (&o, &link, NULL);
  step (&o, &gone, NULL);
  /* Twice what the image can hold. */
  step (&o, &regular, NULL);
  extent (&o, (struct rcvmi_wb_extent){ 0, 0, 10000 }, NULL);
  step (&o, &file_end, NULL);
  step (&o, &regular, NULL);
  extent (&o, (struct rcvmi_wb_extent){ 0, 0, 10000 }, "the amount of data");
  step (&o, &file_end, NULL);
  step (&o, &leave, NULL);
  step (&o, &leave, NULL);
  step (&o, &leave, order);
  step (&o, &dir, order);
  step (&o, &regular, order);
  step (&o, &nameless, NULL);
  step (&o, &also, order);
  step (&o, &file_end, NULL);
  step (&o, &also, NULL);
  step (&o, &end, NULL);
  step (&o, &end, "a record after the last");
}

/* A journal of 1024-byte blocks. */
enum
{
  BLOCK = 1024,
  BLOCKS = 24
};

struct log
{
  unsigned char data[BLOCKS][BLOCK];
  unsigned next;
};

static void
put32 (unsigned char *p, uint32_t v)
{
  for (int i = 0; i < 4; i++)
    p[i] = (unsigned char) (v >> (24 - 8 * i));
}

static unsigned char *
header (struct log *l, uint32_t type, uint32_t sequence)
{
  unsigned char *b = l->data[l->next++];

  put32 (b, 0xc03b3998);
  put32 (b + 4, type);
  put32 (b + 8, sequence);
  return b;
}

/* A descriptor of `n` blocks, whose contents are the letter. */
static void
put_blocks (struct log *l, uint32_t sequence, const uint32_t *blocks, unsigned n, char letter, uint32_t flags)
{
  unsigned char *b = header (l, 1, sequence);

  for (unsigned i = 0; i < n; i++)
    {
      unsigned char *tag = b + 12 + (i ? 16 : 0) + 8 * i;

      put32 (tag, blocks[i]);
      put32 (tag + 4, flags | (i ? 2 : 0) | (i + 1 == n ? 8 : 0));
      memset (l->data[l->next++], letter, BLOCK);
    }
}

static int
replay (const struct log *l, struct rcvmi_wb_source *source, uint32_t start, rcvm_error **err)
{
  uint64_t map[BLOCKS];
  struct log copy = *l;
  unsigned char *sb = copy.data[0];

  put32 (sb, 0xc03b3998);
  put32 (sb + 4, 4);
  put32 (sb + 12, BLOCK);
  put32 (sb + 16, BLOCKS);
  put32 (sb + 20, 1);
  put32 (sb + 24, 100);
  put32 (sb + 28, start);
  *source = (struct rcvmi_wb_source){ .fd = memfd_create ("journal", MFD_CLOEXEC),
                                      .size = sizeof copy.data,
                                      .block_size = BLOCK };
  assert_true (source->fd >= 0);
  write_full (source->fd, copy.data, sizeof copy.data);
  for (unsigned i = 0; i < BLOCKS; i++)
    map[i] = i;
  return rcvmi_wb_journal_read (source, map, BLOCKS, "image", err);
}

static void
close_source (struct rcvmi_wb_source *source)
{
  free (source->replay.blocks);
  close (source->fd);
}

static void
expect_block (const struct rcvmi_wb_source *source, uint64_t block, const char *start)
{
  size_t i = rcvmi_wb_replay_find (&source->replay, block);
  unsigned char data[BLOCK];

  assert_true (i < source->replay.n && source->replay.blocks[i].block == block);
  assert_int_equal (rcvmi_wb_replay_read (source, &source->replay.blocks[i], data), 0);
  assert_memory_equal (data, start, strlen (start));
}

TEST (test_replay)
{
  static const uint32_t first[] = { 7, 5, 9 }, second[] = { 5, 6 }, escaped[] = { 11 }, lost[] = { 7, 13 };
  struct rcvmi_wb_source source;
  struct log l = { .next = 20 };
  rcvm_error *err = NULL;
  unsigned char *b;

  /* It begins near the end of the ring, and goes round. */
  put_blocks (&l, 100, first, 3, 'a', 0);
  l.next = 1;
  header (&l, 2, 100);
  put_blocks (&l, 101, second, 2, 'b', 0);
  put_blocks (&l, 101, escaped, 1, 0, 1);
  b = header (&l, 5, 101);
  put32 (b + 12, 16 + 2 * 4);
  put32 (b + 16, 9);
  put32 (b + 20, 77);
  header (&l, 2, 101);
  /* Never committed. */
  put_blocks (&l, 102, lost, 2, 'c', 0);
  check_ok (replay (&l, &source, 20, &err), err);
  assert_int_equal (source.replay.n, 4);
  expect_block (&source, 5, "bbbbbb");
  expect_block (&source, 6, "b");
  expect_block (&source, 7, "aaaa");
  expect_block (&source, 11, "\xc0\x3b\x39\x98");
  assert_int_equal (rcvmi_wb_replay_find (&source.replay, 12), 4);
  close_source (&source);

  /* Revoked later than written, and written again after that. */
  l = (struct log){ .next = 1 };
  put_blocks (&l, 100, escaped, 1, 'a', 0);
  b = header (&l, 5, 100);
  put32 (b + 12, 16 + 4);
  put32 (b + 16, 11);
  header (&l, 2, 100);
  put_blocks (&l, 101, escaped, 1, 'n', 0);
  header (&l, 2, 101);
  check_ok (replay (&l, &source, 1, &err), err);
  assert_int_equal (source.replay.n, 1);
  expect_block (&source, 11, "nnnn");
  close_source (&source);

  /* Empty. */
  check_ok (replay (&l, &source, 0, &err), err);
  assert_int_equal (source.replay.n, 0);
  close_source (&source);
}

TEST (test_bad_journals)
{
  struct rcvmi_wb_source source;
  struct log l = { .next = 1 };
  rcvm_error *err = NULL;
  unsigned char *b;

  assert_true (replay (&l, &source, BLOCKS, &err) < 0);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "superblock makes no sense");
  close_source (&source);

  b = header (&l, 5, 100);
  put32 (b + 12, BLOCK + 1);
  header (&l, 2, 100);
  assert_true (replay (&l, &source, 1, &err) < 0);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "e2fsck");
  close_source (&source);

  /* Features from the future. */
  l = (struct log){ .next = 1 };
  put32 (l.data[0] + 40, 0x20);
  assert_true (replay (&l, &source, 1, &err) < 0);
  check_error (&err, RCVM_E_UNSUPPORTED, "rootfs", "0x20");
  close_source (&source);

  /* Checksums, and none of them right. */
  put32 (l.data[0] + 40, 0x10);
  assert_true (replay (&l, &source, 1, &err) < 0);
  check_error (&err, RCVM_E_IMAGE, "rootfs", "superblock has a wrong checksum");
  close_source (&source);
}

static void
put_entry (struct tlv_writer *w, const char *name, uint8_t kind)
{
  const struct rcvmi_wb_known_entry e
      = { .ino = 12, .generation = 34, .sec = -5, .nsec = 6, .kind = kind, .flags = WB_KNOWN_DIRTY, .len = (uint8_t) strlen (name), .name = name };

  rcvmi_wb_known_put_entry (w, &e);
}

TEST (test_known)
{
  struct timespec since = { 1700000000, 999999999 };
  const struct rcvmi_wb_known_entry *e;
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_wb_known k;

  rcvmi_wb_known_put_head (&w, since);
  rcvmi_wb_known_put_dir (&w, 20, 3);
  put_entry (&w, "a", WB_KNOWN_FILE);
  put_entry (&w, "aa", WB_KNOWN_DIR);
  put_entry (&w, "\xff", WB_KNOWN_WHITEOUT);
  rcvmi_wb_known_put_dir (&w, 0, 1);
  put_entry (&w, ".", WB_KNOWN_DIR);
  rcvmi_wb_known_put_dir (&w, 30, 0);
  assert_int_equal (rcvmi_wb_known_parse (&k, w.data, w.len), 0);
  assert_int_equal (k.since.tv_sec, since.tv_sec);
  assert_int_equal (k.since.tv_nsec, since.tv_nsec);
  e = rcvmi_wb_known_find (&k, rcvmi_wb_known_dir (&k, 20), "aa", 2);
  assert_non_null (e);
  assert_int_equal (e->ino, 12);
  assert_int_equal (e->generation, 34);
  assert_int_equal (e->sec, -5);
  assert_int_equal (e->nsec, 6);
  assert_int_equal (e->kind, WB_KNOWN_DIR);
  assert_int_equal (e->flags, WB_KNOWN_DIRTY);
  assert_non_null (rcvmi_wb_known_find (&k, rcvmi_wb_known_dir (&k, 20), "\xff", 1));
  assert_null (rcvmi_wb_known_find (&k, rcvmi_wb_known_dir (&k, 20), "aaa", 3));
  assert_null (rcvmi_wb_known_find (&k, rcvmi_wb_known_dir (&k, 30), "a", 1));
  assert_null (rcvmi_wb_known_dir (&k, 21));
  rcvmi_wb_known_clear (&k);
  /* Nor is any part of it known. */
  for (size_t len = 0; len < w.len; len++)
    if (rcvmi_wb_known_parse (&k, w.data, len) == 0)
      {
        assert_true (k.n_dirs < 3);
        rcvmi_wb_known_clear (&k);
      }
  tlv_writer_free (&w);
}

TEST (test_known_bad)
{
  static const struct
  {
    const char *names[2];
    uint32_t n;
    uint8_t kind;
  } cases[] = { { { "b", "a" }, 2, 0 }, { { "a", "a" }, 2, 0 }, { { "a/b", NULL }, 1, 0 }, { { "a", NULL }, 2, 0 }, { { "a", "b" }, 1, 0 }, { { "a", NULL }, 1, 3 } };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct tlv_writer w = TLV_WRITER_INIT;
      struct rcvmi_wb_known k;

      rcvmi_wb_known_put_head (&w, (struct timespec){ 1, 2 });
      rcvmi_wb_known_put_dir (&w, 5, cases[i].n);
      for (size_t j = 0; j < 2 && cases[i].names[j]; j++)
        put_entry (&w, cases[i].names[j], cases[i].kind);
      assert_true (rcvmi_wb_known_parse (&k, w.data, w.len) < 0);
      tlv_writer_free (&w);
    }
}

/* Only where it was asked for, and before anything else. */
TEST (test_known_order)
{
  const struct rcvmi_wb_record known = { .type = WB_KNOWN, .data = (const unsigned char *) "x", .len = 1 }, end = { .type = WB_END },
                               root = { .type = WB_DIR, .mode = S_IFDIR | 0755 };
  struct rcvmi_wb_order o = { .image_size = 100 };

  expect (&known, NULL);
  assert_non_null (rcvmi_wb_check_order (&o, &known));
  assert_non_null (rcvmi_wb_check_order (&o, &end));
  o.repeated = true;
  assert_null (rcvmi_wb_check_order (&o, &known));
  /* Something is known, but nothing told. */
  assert_non_null (rcvmi_wb_check_order (&o, &end));
  assert_null (rcvmi_wb_check_order (&o, &root));
  assert_non_null (rcvmi_wb_check_order (&o, &known));
  o = (struct rcvmi_wb_order){ .image_size = 100, .repeated = true };
  assert_null (rcvmi_wb_check_order (&o, &end));
  o = (struct rcvmi_wb_order){ .image_size = 100, .repeated = true, .known = WB_KNOWN_MAX };
  assert_non_null (rcvmi_wb_check_order (&o, &known));
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_round_trip), cmocka_unit_test (test_names),
    cmocka_unit_test (test_metadata),   cmocka_unit_test (test_xattrs),
    cmocka_unit_test (test_order),      cmocka_unit_test (test_replay),
    cmocka_unit_test (test_bad_journals), cmocka_unit_test (test_known),
    cmocka_unit_test (test_known_bad),  cmocka_unit_test (test_known_order),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
