/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "tlv.h"

/* The bytes are the contract with guests of other versions. */
TEST (test_layout)
{
  static const unsigned char wanted[] = {
    0x34, 0x12, 4, 0, 0, 0, 0xef, 0xbe, 0xad, 0xde,             /* u32 */
    0xff, 0xff, 8, 0, 0, 0, 8,    7,    6,    5,    4, 3, 2, 1, /* u64 */
    2,    0,    3, 0, 0, 0, 'h',  'i',  0,                      /* str */
    3,    0,    0, 0, 0, 0,                                     /* empty */
  };
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, 0x1234, 0xdeadbeef);
  tlv_put_u64 (&w, 0xffff, UINT64_C (0x0102030405060708));
  tlv_put_str (&w, 2, "hi");
  tlv_put_str (&w, 9, NULL);
  tlv_put (&w, 3, NULL, 0);
  assert_false (w.failed);
  assert_int_equal (w.len, sizeof wanted);
  assert_memory_equal (w.data, wanted, sizeof wanted);
  tlv_writer_free (&w);
  assert_null (w.data);
  assert_int_equal (w.len, 0);
}

TEST (test_round_trip)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct tlv_reader r;
  struct tlv_field f;

  tlv_put_u32 (&w, 1, UINT32_MAX);
  tlv_put_u64 (&w, 2, UINT64_MAX);
  tlv_put_str (&w, 3, "");
  tlv_put (&w, 4, "\0\1\2", 3);
  tlv_reader_init (&r, w.data, w.len);

  assert_true (tlv_next (&r, &f));
  assert_int_equal (f.tag, 1);
  assert_int_equal (tlv_get_u32 (&r, &f), UINT32_MAX);
  assert_true (tlv_next (&r, &f));
  assert_int_equal (f.tag, 2);
  assert_true (tlv_get_u64 (&r, &f) == UINT64_MAX);
  assert_true (tlv_next (&r, &f));
  assert_int_equal (f.tag, 3);
  assert_string_equal (tlv_get_str (&r, &f), "");
  assert_true (tlv_next (&r, &f));
  assert_int_equal (f.tag, 4);
  assert_int_equal (f.len, 3);
  assert_memory_equal (f.data, "\0\1\2", 3);
  assert_false (tlv_next (&r, &f));
  assert_false (r.bad);
  tlv_writer_free (&w);
}

TEST (test_nested)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct tlv_reader r, inner, innermost;
  struct tlv_field f, g;
  size_t outer_mark, inner_mark;

  tlv_put_u32 (&w, 1, 11);
  outer_mark = tlv_begin (&w, 2);
  tlv_put_str (&w, 3, "in");
  inner_mark = tlv_begin (&w, 4);
  tlv_put_u32 (&w, 5, 55);
  tlv_end (&w, inner_mark);
  tlv_end (&w, outer_mark);
  tlv_put_u32 (&w, 6, 66);

  tlv_reader_init (&r, w.data, w.len);
  assert_true (tlv_next (&r, &f));
  assert_int_equal (tlv_get_u32 (&r, &f), 11);
  assert_true (tlv_next (&r, &f));
  assert_int_equal (f.tag, 2);
  inner = tlv_get_record (&f);
  assert_true (tlv_next (&inner, &g));
  assert_string_equal (tlv_get_str (&inner, &g), "in");
  assert_true (tlv_next (&inner, &g));
  assert_int_equal (g.tag, 4);
  innermost = tlv_get_record (&g);
  assert_true (tlv_next (&innermost, &g));
  assert_int_equal (tlv_get_u32 (&innermost, &g), 55);
  assert_false (tlv_next (&innermost, &g));
  assert_false (tlv_next (&inner, &g));
  assert_true (tlv_next (&r, &f));
  assert_int_equal (tlv_get_u32 (&r, &f), 66);
  assert_false (tlv_next (&r, &f));
  assert_false (r.bad || inner.bad || innermost.bad);
  tlv_writer_free (&w);
}

TEST (test_big)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct tlv_reader r;
  struct tlv_field f;
  size_t size = 3 * 1024 * 1024 + 1;
  unsigned char *data = malloc (size);

  assert_non_null (data);
  for (size_t i = 0; i < size; i++)
    data[i] = (unsigned char) (i * 7);
  for (uint16_t tag = 0; tag < 4; tag++)
    tlv_put (&w, tag, data, size);
  tlv_reader_init (&r, w.data, w.len);
  for (uint16_t tag = 0; tag < 4; tag++)
    {
      assert_true (tlv_next (&r, &f));
      assert_int_equal (f.tag, tag);
      assert_int_equal (f.len, size);
      assert_memory_equal (f.data, data, size);
    }
  assert_false (tlv_next (&r, &f));
  tlv_writer_free (&w);
  free (data);
}

/* Every cut of a record is either a shorter record or a violation, never a read beyond the end: the
   copy is exactly as long as what the reader is told, for valgrind and AddressSanitizer to see. */
TEST (test_cut_short)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  size_t whole = 0;

  tlv_put_u32 (&w, 1, 1);
  tlv_put_str (&w, 2, "some text");
  tlv_put (&w, 3, NULL, 0);
  for (size_t len = 0; len < w.len; len++)
    {
      unsigned char *copy = malloc (len ? len : 1);
      bool at_end = len == 0 || len == 10 || len == 26;
      struct tlv_reader r;
      struct tlv_field f;

      assert_non_null (copy);
      memcpy (copy, w.data, len);
      tlv_reader_init (&r, copy, len);
      while (tlv_next (&r, &f))
        if (f.tag == 2)
          tlv_get_str (&r, &f);
      assert_int_equal (r.bad, !at_end);
      whole += at_end;
      free (copy);
    }
  assert_int_equal (whole, 3);
  tlv_writer_free (&w);
}

static void
check_bad (const void *data, size_t len)
{
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, data, len);
  assert_false (tlv_next (&r, &f));
  assert_true (r.bad);
  /* It sticks. */
  assert_false (tlv_next (&r, &f));
}

TEST (test_hostile_lengths)
{
  check_bad ("\1\0\xff\xff\xff\xff", 6);
  check_bad ("\1\0\xff\xff\xff\xff rest", 11);
  check_bad ("\1\0\1\0\0\0", 6);
  check_bad ("\1", 1);
}

TEST (test_wrong_form)
{
  static const struct
  {
    const char *data;
    uint32_t len;
    bool is_str;
  } cases[] = {
    { "", 0, false },  { "abc", 3, false },   { "abcd", 4, false }, { "abc\0", 4, true },
    { "a\0b\0", 4, false }, { "\0\0", 2, false }, { "\0", 1, true },   { "12345678", 8, false },
  };

  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    {
      struct tlv_field f = { .tag = 1, .len = cases[i].len, .data = (const unsigned char *) cases[i].data };
      struct tlv_reader r;

      tlv_reader_init (&r, "", 0);
      assert_string_equal (tlv_get_str (&r, &f), cases[i].is_str ? cases[i].data : "");
      assert_int_equal (r.bad, !cases[i].is_str);
      r.bad = false;
      tlv_get_u32 (&r, &f);
      assert_int_equal (r.bad, cases[i].len != 4);
      r.bad = false;
      tlv_get_u64 (&r, &f);
      assert_int_equal (r.bad, cases[i].len != 8);
    }
}

/* An accessor's violation ends the run through the record. */
TEST (test_violation_sticks)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct tlv_reader r;
  struct tlv_field f;

  tlv_put_u32 (&w, 1, 1);
  tlv_put_u32 (&w, 2, 2);
  tlv_reader_init (&r, w.data, w.len);
  assert_true (tlv_next (&r, &f));
  assert_true (tlv_get_u64 (&r, &f) == 0);
  assert_true (r.bad);
  assert_false (tlv_next (&r, &f));
  tlv_writer_free (&w);
}

TEST (test_oversized_field)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put (&w, 1, "", (size_t) UINT32_MAX + 1);
  assert_true (w.failed);
  /* And what follows adds nothing. */
  tlv_put_u32 (&w, 2, 2);
  tlv_end (&w, tlv_begin (&w, 3));
  assert_int_equal (w.len, 0);
  tlv_writer_free (&w);
  assert_false (w.failed);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_layout),
    cmocka_unit_test (test_round_trip),
    cmocka_unit_test (test_nested),
    cmocka_unit_test (test_big),
    cmocka_unit_test (test_cut_short),
    cmocka_unit_test (test_hostile_lengths),
    cmocka_unit_test (test_wrong_form),
    cmocka_unit_test (test_violation_sticks),
    cmocka_unit_test (test_oversized_field),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
