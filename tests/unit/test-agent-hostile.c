/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of the agent protocol: frames that make no sense, and text that nobody should see as it is. */
#include "config.h"

#include "agent-testing.h"

AGENT_TEST (test_ready_before_hello)
{
  check_refused (state, AGENT_READY, 0, NULL, 0, "READY out of turn");
}

AGENT_TEST (test_failed_before_hello)
{
  check_refused (state, AGENT_FAILED, 0, NULL, 0, "FAILED out of turn");
}

AGENT_TEST (test_hello_twice)
{
  struct bench *b = *state;

  boot (b);
  say_hello (b, AGENT_VERSION);
  expect_broken (b, RCVM_E_PROTOCOL, "HELLO out of turn");
}

AGENT_TEST (test_ready_twice)
{
  boot (*state);
  check_refused (state, AGENT_READY, 0, NULL, 0, "READY out of turn");
}

/* Nobody asked it to shut down: the run would end without an exit code and without an error. */
AGENT_TEST (test_goodbye_unasked)
{
  boot (*state);
  check_refused (state, AGENT_GOODBYE, 0, NULL, 0, "GOODBYE out of turn");
}

AGENT_TEST (test_goodbye_twice)
{
  struct bench *b = *state;

  boot (b);
  rcvmi_agent_shutdown (b->agent, NULL);
  say (b, AGENT_GOODBYE, 0, NULL, 0);
  expect (b, "goodbye;");
  check_refused (state, AGENT_GOODBYE, 0, NULL, 0, "GOODBYE out of turn");
}

AGENT_TEST (test_names)
{
  struct bench *b = *state;
  unsigned char message[AGENT_NAME_QUERY_MAX + 1] = { 0xab };
  const unsigned char *payload;
  struct agent_header h;

  boot (b);
  say (b, AGENT_NAME_QUERY, 7, message, AGENT_NAME_QUERY_MIN);
  say (b, AGENT_NAME_QUERY, 8, message, AGENT_NAME_QUERY_MAX);
  expect (b, "asked 7 12 ab;asked 8 4096 ab;");
  rcvmi_agent_name_answer (b->agent, 8, "answer", 6);
  hears (b, AGENT_NAME_ANSWER, 8, &h, &payload);
  assert_int_equal (h.len, 6);
  assert_memory_equal (payload, "answer", 6);
  check_refused (state, AGENT_NAME_QUERY, 9, message, sizeof message, "a question for a name out of turn");
}

AGENT_TEST (test_a_name_that_is_too_short)
{
  boot (*state);
  check_refused (state, AGENT_NAME_QUERY, 0, "short", 5, "a question for a name out of turn");
}

AGENT_TEST (test_a_name_before_ready)
{
  check_refused (state, AGENT_NAME_QUERY, 0, "0123456789ab", 12, "a question for a name out of turn");
}

AGENT_TEST (test_frozen)
{
  struct tlv_writer ok = TLV_WRITER_INIT, bad = TLV_WRITER_INIT;
  struct bench *b = *state;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  tlv_put_u64 (&ok, A_CLOCK_NSEC, 123456789012);
  tlv_put_str (&bad, A_STAGE, "mount");
  tlv_put_u32 (&bad, A_ERRNO, EBUSY);
  tlv_put_str (&bad, A_MESSAGE, "it is\nfrozen");
  boot (b);
  say (b, AGENT_CHANGED, 0, NULL, 0);
  expect (b, "changed;");
  check_ok (rcvmi_agent_freeze (b->agent, 5, &e), e);
  hears (b, AGENT_FREEZE, 5, &h, &payload);
  say (b, AGENT_FROZEN, 5, ok.data, ok.len);
  expect (b, "frozen 5 123456789012;");
  rcvmi_agent_thaw (b->agent, 5);
  hears (b, AGENT_THAW, 5, &h, &payload);
  say (b, AGENT_THAWED, 5, NULL, 0);
  expect (b, "thawed 5;");
  check_ok (rcvmi_agent_freeze (b->agent, 6, &e), e);
  hears (b, AGENT_FREEZE, 6, &h, &payload);
  say (b, AGENT_FROZEN, 6, bad.data, bad.len);
  expect (b, "not frozen RCVM_E_GUEST volumes 16 125 it is?frozen;");
  /* What was not frozen does not thaw. */
  tlv_writer_free (&bad);
  tlv_writer_free (&ok);
  check_refused (state, AGENT_THAWED, 6, NULL, 0, "THAWED out of turn");
}

AGENT_TEST (test_frozen_unasked)
{
  boot (*state);
  check_refused (state, AGENT_FROZEN, 0, NULL, 0, "FROZEN out of turn");
}

AGENT_TEST (test_disks)
{
  struct tlv_writer add = TLV_WRITER_INIT, bad = TLV_WRITER_INIT;
  struct bench *b = *state;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  tlv_put_u32 (&add, B_SLOT, 3);
  tlv_put_str (&bad, A_STAGE, "mount");
  tlv_put_u32 (&bad, A_ERRNO, EBUSY);
  tlv_put_str (&bad, A_MESSAGE, "it is\nin use");
  boot (b);
  check_ok (rcvmi_agent_disk (b->agent, AGENT_DISK_ADD, 7, &add, &e), e);
  hears (b, AGENT_DISK_ADD, 7, &h, &payload);
  say (b, AGENT_DISK_ANSWER, 7, NULL, 0);
  expect (b, "disk 7;");
  tlv_put_u32 (&add, B_SLOT, 3);
  check_ok (rcvmi_agent_disk (b->agent, AGENT_DISK_DEL, 8, &add, &e), e);
  hears (b, AGENT_DISK_DEL, 8, &h, &payload);
  say (b, AGENT_DISK_ANSWER, 8, bad.data, bad.len);
  expect (b, "no disk RCVM_E_GUEST volumes 16 125 it is?in use;");
  tlv_writer_free (&bad);
  /* One answer for each. */
  check_refused (state, AGENT_DISK_ANSWER, 8, NULL, 0, "an answer about disks out of turn");
}

AGENT_TEST (test_disks_unasked)
{
  boot (*state);
  check_refused (state, AGENT_DISK_ANSWER, 0, NULL, 0, "an answer about disks out of turn");
}

AGENT_TEST (test_changed_before_hello)
{
  check_refused (state, AGENT_CHANGED, 0, NULL, 0, "CHANGED out of turn");
}

AGENT_TEST (test_unknown_process)
{
  boot (*state);
  check_refused (state, AGENT_STDOUT, 9, "x", 1, "which does not run");
}

AGENT_TEST (test_started_unknown)
{
  check_refused (state, AGENT_STARTED, 0, NULL, 0, "which does not run");
}

AGENT_TEST (test_started_twice)
{
  boot (*state);
  run_process (*state, -1, -1, -1);
  check_refused (state, AGENT_STARTED, 0, NULL, 0, "STARTED out of turn");
}

AGENT_TEST (test_exit_before_started)
{
  boot (*state);
  exec (*state, -1, -1, -1);
  check_refused (state, AGENT_EXIT, 0, NULL, 0, "EXIT out of turn");
}

AGENT_TEST (test_output_before_started)
{
  boot (*state);
  exec (*state, -1, -1, -1);
  check_refused (state, AGENT_STDOUT, 0, "x", 1, "stream out of turn");
}

AGENT_TEST (test_failed_after_started)
{
  boot (*state);
  run_process (*state, -1, -1, -1);
  check_refused (state, AGENT_FAILED, 0, NULL, 0, "FAILED out of turn");
}

AGENT_TEST (test_exit_without_reason)
{
  boot (*state);
  run_process (*state, -1, -1, -1);
  check_refused (state, AGENT_EXIT, 0, NULL, 0, "EXIT out of turn");
}

AGENT_TEST (test_exit_with_both)
{
  struct bench *b = *state;
  struct tlv_writer w = TLV_WRITER_INIT;

  boot (b);
  run_process (b, -1, -1, -1);
  tlv_put_u32 (&w, A_SIGNAL, 9);
  tlv_put_u32 (&w, A_EXIT_CODE, 0);
  say_record (b, AGENT_EXIT, 0, &w);
  expect_broken (b, RCVM_E_PROTOCOL, "EXIT out of turn");
}

/* Its output waits to be read: it has exited for all that. */
static void
check_after_exit (void **state, uint16_t type, const void *data, size_t len, const char *part)
{
  struct bench *b = *state;
  static unsigned char block[AGENT_DATA_MAX];
  int out[2];

  boot (b);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  run_process (b, -1, out[1], -1);
  for (int i = 0; i < 2; i++)
    say (b, AGENT_STDOUT, 0, block, sizeof block);
  say_number (b, AGENT_EXIT, 0, A_EXIT_CODE, 0);
  check_refused (state, type, 0, data, len, part);
  close (out[0]);
}

AGENT_TEST (test_output_after_exit)
{
  check_after_exit (state, AGENT_STDERR, "x", 1, "stream out of turn");
}

AGENT_TEST (test_exit_twice)
{
  check_after_exit (state, AGENT_EXIT, "\11\0\4\0\0\0\0\0\0\0", 10, "EXIT out of turn");
}

AGENT_TEST (test_started_after_exit)
{
  check_after_exit (state, AGENT_STARTED, NULL, 0, "STARTED out of turn");
}

AGENT_TEST (test_unknown_frame)
{
  check_refused (state, 99, 0, NULL, 0, "unknown type 99");
}

AGENT_TEST (test_hosts_frame)
{
  check_refused (state, AGENT_SETUP, 0, NULL, 0, "unknown type 16");
}

AGENT_TEST (test_stdin_from_guest)
{
  boot (*state);
  run_process (*state, -1, -1, -1);
  check_refused (state, AGENT_STDIN, 0, "x", 1, "unknown type 32");
}

AGENT_TEST (test_cut_record)
{
  check_refused (state, AGENT_HELLO, 0, "\1\0\4\0\0\0\1", 7, "malformed record");
}

AGENT_TEST (test_string_without_end)
{
  check_refused (state, AGENT_LOG, 0, "\10\0\3\0\0\0abc", 9, "malformed record");
}

AGENT_TEST (test_over_long_frame)
{
  struct bench *b = *state;
  struct agent_header h = { .len = AGENT_DATA_MAX + 1, .type = AGENT_LOG };
  unsigned char bytes[AGENT_HEADER];

  agent_header_pack (bytes, &h);
  write_full (b->guest.fd, bytes, sizeof bytes);
  expect_broken (b, RCVM_E_PROTOCOL, "malformed frame");
}

static void
check_number (void **state, uint16_t tag, uint32_t value)
{
  struct bench *b = *state;

  boot (b);
  run_process (b, -1, -1, -1);
  say_number (b, AGENT_EXIT, 0, tag, value);
  expect_broken (b, RCVM_E_PROTOCOL, "malformed record");
}

AGENT_TEST (test_exit_code_256)
{
  check_number (state, A_EXIT_CODE, 256);
}

AGENT_TEST (test_exit_code_huge)
{
  check_number (state, A_EXIT_CODE, UINT32_MAX);
}

AGENT_TEST (test_signal_128)
{
  check_number (state, A_SIGNAL, 128);
}

/* 128+0 would be an exit code that no process had. */
AGENT_TEST (test_signal_0)
{
  check_number (state, A_SIGNAL, 0);
}

/* After the end nothing is heard, whatever the guest goes on to say. */
AGENT_TEST (test_nothing_after_the_end)
{
  struct bench *b = *state;

  boot (b);
  run_process (b, -1, -1, -1);
  say (b, 99, 0, NULL, 0);
  say_number (b, AGENT_EXIT, 0, A_EXIT_CODE, 0);
  say (b, AGENT_LOG, 0, NULL, 0);
  expect_broken (b, RCVM_E_PROTOCOL, "unknown type 99");
  run_once (b);
  assert_string_equal (b->heard, "");
}

/* Text. */

static void
check_text (struct bench *b, const char *said, const char *wanted)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *line = NULL;

  tlv_put_u32 (&w, A_LEVEL, RCVM_LOG_WARNING);
  tlv_put_str (&w, A_MESSAGE, said);
  say_record (b, AGENT_LOG, 0, &w);
  assert_true (asprintf (&line, "log 1 agent %s;", wanted) > 0);
  expect (b, line);
}

/* What a guest says may reach a terminal, a log line or a JSON document: no control characters, not the
   eight-bit ones either, and UTF-8 only. */
AGENT_TEST (test_text)
{
  struct bench *b = *state;

  check_text (b, "plain text", "plain text");
  check_text (b, "\x1b[2J\n\r\t\x7f", "?[2J????");
  check_text (b, "Gr\xc3\xbc\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x90\xb3", "Gr\xc3\xbc\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x90\xb3");
  check_text (b, "a\xff" "b\xc3" "c\xe2\x82", "a?b?c??");
  check_text (b, "\x9b" "2J \xc2\x9b" "2J", "?2J ??2J");
  check_text (b, "\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80", "?? ??? ???? ?????");
}

/* A cut keeps whole characters. */
AGENT_TEST (test_long_text)
{
  struct bench *b = *state;
  char said[4001];

  for (size_t i = 1; i < 4001; i += 2)
    memcpy (said + i, "\xc3\xbc", 2);
  for (int shift = 0; shift < 2; shift++)
    {
      struct tlv_writer w = TLV_WRITER_INIT;

      said[0] = 'x';
      said[3999] = 0;
      tlv_put_str (&w, A_MESSAGE, said + shift);
      say_record (b, AGENT_LOG, 0, &w);
      while (!b->heard[0])
        run_once (b);
      assert_in_range (strlen (b->heard), 500, 3000);
      assert_string_equal (b->heard + strlen (b->heard) - 3, "\xc3\xbc;");
      b->heard[0] = 0;
    }
}

AGENT_TEST (test_log_level)
{
  struct bench *b = *state;

  say_number (b, AGENT_LOG, 0, A_LEVEL, 4000000000U);
  expect (b, "log 3 agent ;");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    agent_test (test_ready_before_hello),
    agent_test (test_failed_before_hello),
    agent_test (test_hello_twice),
    agent_test (test_ready_twice),
    agent_test (test_goodbye_unasked),
    agent_test (test_goodbye_twice),
    agent_test (test_names),
    agent_test (test_a_name_that_is_too_short),
    agent_test (test_a_name_before_ready),
    agent_test (test_frozen),
    agent_test (test_frozen_unasked),
    agent_test (test_disks),
    agent_test (test_disks_unasked),
    agent_test (test_changed_before_hello),
    agent_test (test_unknown_process),
    agent_test (test_started_unknown),
    agent_test (test_started_twice),
    agent_test (test_exit_before_started),
    agent_test (test_output_before_started),
    agent_test (test_failed_after_started),
    agent_test (test_exit_without_reason),
    agent_test (test_exit_with_both),
    agent_test (test_output_after_exit),
    agent_test (test_exit_twice),
    agent_test (test_started_after_exit),
    agent_test (test_unknown_frame),
    agent_test (test_hosts_frame),
    agent_test (test_stdin_from_guest),
    agent_test (test_cut_record),
    agent_test (test_string_without_end),
    agent_test (test_over_long_frame),
    agent_test (test_exit_code_256),
    agent_test (test_exit_code_huge),
    agent_test (test_signal_128),
    agent_test (test_signal_0),
    agent_test (test_nothing_after_the_end),
    agent_test (test_text),
    agent_test (test_long_text),
    agent_test (test_log_level),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
