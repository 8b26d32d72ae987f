/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that is told to be quiet, loses its connection, and goes on: by another one, or with another host. */
#include "config.h"

#include "agent-testing.h"

/* The guest's connection is reset, and it makes another. */
static void
connect_again (struct bench *b)
{
  rcvm_error *e = NULL;
  int pair[2];

  rcvmi_link_clear (&b->guest);
  run_once (b);
  assert_string_equal (b->heard, "");
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  check_ok (rcvmi_agent_reconnect (b->agent, pair[0], &e), e);
  check_ok (rcvmi_link_init (&b->guest, pair[1], "the host", AGENT_REQUEST_MAX, &e), e);
}

static void
quiesce (struct bench *b)
{
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  check_ok (rcvmi_agent_quiesce (b->agent, 5, &e), e);
  hears (b, AGENT_QUIESCE, 5, &h, &payload);
  assert_int_equal (h.len, 0);
}

static void
go_on (struct bench *b)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  tlv_put_u64 (&w, S_CLOCK_NSEC, 99);
  check_ok (rcvmi_agent_go_on_from (b->agent, 6, &w, &e), e);
  hears (b, AGENT_GO_ON, 6, &h, &payload);
}

/* By another connection. */
static void
come_back (struct bench *b)
{
  connect_again (b);
  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  go_on (b);
  say (b, AGENT_GONE_ON, 6, NULL, 0);
  expect (b, "gone on;");
}

static void
check_fails (int code, int wanted, rcvm_error **err, const char *part)
{
  rcvm_error *e = *err;

  assert_int_equal (code, wanted);
  if (!strstr (rcvm_error_get_message (e), part))
    fail_msg ("wanted '%s', got: %s", part, rcvm_error_get_message (e));
  rcvm_error_free (e);
  *err = NULL;
}

AGENT_TEST (test_round)
{
  struct bench *b = *state;
  int in[2], out[2];
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;
  char buf[64];

  boot (b);
  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  run_process (b, in[0], out[1], -1);
  quiesce (b);
  /* What was under way is taken, and nothing is said. */
  assert_int_equal (write (in[1], "typed", 5), 5);
  say (b, AGENT_STDOUT, 0, "before", 6);
  run_once (b);
  assert_int_equal (read (out[0], buf, sizeof buf), 6);
  hears_nothing (b);
  check_fails (rcvmi_agent_signal (b->agent, 0, SIGTERM, false, &e), RCVM_E_STATE, &e, "is being saved");
  check_fails (rcvmi_agent_sync (b->agent, 3, &e), RCVM_E_STATE, &e, "is being saved");
  say (b, AGENT_QUIESCED, 5, NULL, 0);
  expect (b, "quiesced;");
  assert_true (rcvmi_agent_is_asleep (b->agent));
  connect_again (b);
  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  hears_nothing (b);
  go_on (b);
  /* What it had in store comes before its answer. */
  say (b, AGENT_STDOUT, 0, "after", 5);
  say (b, AGENT_GONE_ON, 6, NULL, 0);
  expect (b, "gone on;");
  assert_int_equal (read (out[0], buf, sizeof buf), 5);
  assert_memory_equal (buf, "after", 5);
  /* Windows: what was read is given back as soon as nothing is in store; input flows again. */
  hears (b, AGENT_FRAME_WINDOW, 0, &h, &payload);
  run_once (b);
  hears (b, AGENT_STDIN, 0, &h, &payload);
  assert_int_equal (h.len, 5);
  say_number (b, AGENT_EXIT, 0, A_EXIT_CODE, 3);
  expect (b, "exited 3 0;");
  close (in[1]);
  close (out[0]);
}

AGENT_TEST (test_again)
{
  struct bench *b = *state;

  boot (b);
  run_process (b, -1, -1, -1);
  for (int i = 0; i < 3; i++)
    {
      quiesce (b);
      say (b, AGENT_QUIESCED, 5, NULL, 0);
      expect (b, "quiesced;");
      come_back (b);
    }
  say_number (b, AGENT_EXIT, 0, A_EXIT_CODE, 0);
  expect (b, "exited 0 0;");
}

AGENT_TEST (test_guest_cannot)
{
  struct bench *b = *state;
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  boot (b);
  run_process (b, -1, -1, -1);
  quiesce (b);
  tlv_put_str (&w, A_STAGE, "snapshot");
  tlv_put_str (&w, A_MESSAGE, "it does not stand still");
  say_record (b, AGENT_QUIESCED, 5, &w);
  expect (b, "not quiesced RCVM_E_GUEST snapshot 0 125 it does not stand still;");
  /* All is as before. */
  assert_false (rcvmi_agent_is_asleep (b->agent));
  check_ok (rcvmi_agent_signal (b->agent, 0, SIGTERM, false, &e), e);
}

/* The reader goes away meanwhile: the guest hears of it afterwards. */
AGENT_TEST (test_reader_goes)
{
  struct bench *b = *state;
  struct agent_header h;
  const unsigned char *payload;
  int out[2];

  boot (b);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  run_process (b, -1, out[1], -1);
  quiesce (b);
  close (out[0]);
  say (b, AGENT_STDOUT, 0, "lost", 4);
  say (b, AGENT_QUIESCED, 5, NULL, 0);
  expect (b, "quiesced;");
  hears_nothing (b);
  come_back (b);
  hears (b, AGENT_CLOSE, 0, &h, &payload);
}

AGENT_TEST (test_not_with_others)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  boot (b);
  check_fails (rcvmi_agent_quiesce (b->agent, 5, &e), RCVM_E_STATE, &e, "the container's process does not run");
  run_process (b, -1, -1, -1);
  exec (b, -1, -1, -1);
  check_fails (rcvmi_agent_quiesce (b->agent, 5, &e), RCVM_E_STATE, &e, "(exec)");
  hears_nothing (b);
}

/* Another host, with what the first one has written down. */
AGENT_TEST (test_adopted)
{
  struct bench *b = *state;
  struct rcvmi_streams_saved saved = { .in_credit = 1000, .owed = { 70000, 0 } };
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;
  int out[2];
  char buf[8];

  rcvmi_agent_expect_sleeper (b->agent);
  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  check_ok (rcvmi_agent_adopt (b->agent, &saved, (int[]){ -1, out[1], -1 }, &process_ops, b, &e), e);
  go_on (b);
  say (b, AGENT_STDOUT, 0, "more", 4);
  say (b, AGENT_GONE_ON, 6, NULL, 0);
  expect (b, "gone on;");
  assert_int_equal (read (out[0], buf, sizeof buf), 4);
  hears (b, AGENT_STDIN, 0, &h, &payload); /* nobody gives any */
  assert_int_equal (h.len, 0);
  hears_numbers (b, AGENT_FRAME_WINDOW, 0, A_STREAM, AGENT_STDOUT, A_BYTES, 70004);
  say_number (b, AGENT_EXIT, 0, A_EXIT_CODE, 9);
  expect (b, "exited 9 0;");
  close (out[0]);
}

AGENT_TEST (test_adopted_wrongly)
{
  struct bench *b = *state;
  struct rcvmi_streams_saved saved = { .in_credit = AGENT_WINDOW + 1 };
  rcvm_error *e = NULL;

  rcvmi_agent_expect_sleeper (b->agent);
  check_fails (rcvmi_agent_adopt (b->agent, &saved, (int[]){ -1, -1, -1 }, &process_ops, b, &e), RCVM_E_INVALID, &e, "windows that cannot be");
}

/* Guests that do not keep to it. */

AGENT_TEST (test_quiesced_unasked)
{
  boot (*state);
  check_refused (state, AGENT_QUIESCED, 5, NULL, 0, "QUIESCED out of turn");
}

AGENT_TEST (test_gone_on_unasked)
{
  boot (*state);
  check_refused (state, AGENT_GONE_ON, 5, NULL, 0, "GONE_ON out of turn");
}

static void
fall_asleep (struct bench *b)
{
  boot (b);
  run_process (b, -1, -1, -1);
  quiesce (b);
  say (b, AGENT_QUIESCED, 5, NULL, 0);
  expect (b, "quiesced;");
}

AGENT_TEST (test_talks_in_its_sleep)
{
  fall_asleep (*state);
  check_refused (state, AGENT_STDOUT, 0, "x", 1, "a frame after QUIESCED out of turn");
}

AGENT_TEST (test_says_no_hello)
{
  fall_asleep (*state);
  connect_again (*state);
  check_refused (state, AGENT_READY, 0, NULL, 0, "a frame after QUIESCED out of turn");
}

AGENT_TEST (test_says_hello_twice)
{
  struct bench *b = *state;

  fall_asleep (b);
  connect_again (b);
  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  say_hello (b, AGENT_VERSION);
  expect_broken (b, RCVM_E_PROTOCOL, "a frame after QUIESCED out of turn");
}

AGENT_TEST (test_other_version_comes_back)
{
  struct bench *b = *state;

  fall_asleep (b);
  connect_again (b);
  say_hello (b, AGENT_VERSION + 1);
  expect_broken (b, RCVM_E_GUEST, "version 2 of the protocol");
}

AGENT_TEST (test_cannot_go_on)
{
  struct bench *b = *state;
  struct tlv_writer w = TLV_WRITER_INIT;

  fall_asleep (b);
  connect_again (b);
  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  go_on (b);
  tlv_put_str (&w, A_MESSAGE, "it has no such interface");
  say_record (b, AGENT_GONE_ON, 6, &w);
  expect (b, "not gone on RCVM_E_GUEST snapshot 0 125 it has no such interface;");
}

/* Before it was quiet, the end of the connection is the guest's. */
AGENT_TEST (test_gone_too_early)
{
  struct bench *b = *state;

  boot (b);
  run_process (b, -1, -1, -1);
  quiesce (b);
  rcvmi_link_clear (&b->guest);
  expect_broken (b, RCVM_E_GUEST, "the connection to the guest's agent ended");
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    agent_test (test_round),
    agent_test (test_again),
    agent_test (test_guest_cannot),
    agent_test (test_reader_goes),
    agent_test (test_not_with_others),
    agent_test (test_adopted),
    agent_test (test_adopted_wrongly),
    agent_test (test_quiesced_unasked),
    agent_test (test_gone_on_unasked),
    agent_test (test_talks_in_its_sleep),
    agent_test (test_says_no_hello),
    agent_test (test_says_hello_twice),
    agent_test (test_other_version_comes_back),
    agent_test (test_cannot_go_on),
    agent_test (test_gone_too_early),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
