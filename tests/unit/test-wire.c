/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include "agent-wire.h"

TEST (test_layout)
{
  static const unsigned char wanted[AGENT_HEADER] = { 4, 3, 2, 1, 6, 5, 0, 0, 10, 9, 8, 7 };
  struct agent_header h = { .len = 0x01020304, .type = 0x0506, .process = 0x0708090a }, back;
  unsigned char bytes[AGENT_HEADER];

  agent_header_pack (bytes, &h);
  assert_memory_equal (bytes, wanted, sizeof wanted);
  assert_true (agent_header_unpack (&back, bytes));
  assert_int_equal (back.len, h.len);
  assert_int_equal (back.type, h.type);
  assert_int_equal (back.process, h.process);
}

TEST (test_extremes)
{
  struct agent_header h = { .len = UINT32_MAX, .type = UINT16_MAX, .process = UINT32_MAX }, back;
  unsigned char bytes[AGENT_HEADER];

  agent_header_pack (bytes, &h);
  assert_true (agent_header_unpack (&back, bytes));
  assert_int_equal (back.len, UINT32_MAX);
  assert_int_equal (back.type, UINT16_MAX);
  assert_int_equal (back.process, UINT32_MAX);
}

TEST (test_reserved)
{
  struct agent_header h = { .len = 1, .type = 2, .process = 3 }, back;
  unsigned char bytes[AGENT_HEADER];

  for (int bit = 0; bit < 16; bit++)
    {
      agent_header_pack (bytes, &h);
      bytes[6 + bit / 8] |= (unsigned char) (1U << bit % 8);
      assert_false (agent_header_unpack (&back, bytes));
    }
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_layout),
    cmocka_unit_test (test_extremes),
    cmocka_unit_test (test_reserved),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
