/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of the agent protocol, with a guest that keeps to it. */
#include "config.h"

#include "agent-testing.h"

AGENT_TEST (test_boot)
{
  boot (*state);
}

AGENT_TEST (test_other_version)
{
  struct bench *b = *state;

  say_hello (b, AGENT_VERSION + 1);
  expect_broken (b, RCVM_E_GUEST, "version 2 of the protocol");
}

AGENT_TEST (test_setup_fails)
{
  struct bench *b = *state;
  struct tlv_writer setup = TLV_WRITER_INIT;

  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  rcvmi_agent_setup (b->agent, &setup, NULL);
  say_failed (b, 0, "cannot mount it", 125);
  expect (b, "setup failed RCVM_E_GUEST agent 2 125 cannot mount it;");
  /* That was the end of the setup: neither again, nor READY after all. */
  say (b, AGENT_READY, 0, NULL, 0);
  expect_broken (b, RCVM_E_PROTOCOL, "READY out of turn");
}

AGENT_TEST (test_setup_fails_twice)
{
  struct bench *b = *state;

  say_hello (b, AGENT_VERSION);
  say_failed (b, 0, "a", 125);
  say_failed (b, 0, "b", 125);
  expect (b, "hello 6.1.0 1234567;setup failed RCVM_E_GUEST agent 2 125 a;"
             "broken RCVM_E_PROTOCOL agent 0 125 the guest's agent sent FAILED out of turn;");
}

AGENT_TEST (test_exit_code)
{
  struct bench *b = *state;
  uint32_t number;

  boot (b);
  number = run_process (b, -1, -1, -1);
  assert_int_equal (number, RCVMI_AGENT_INIT);
  say_number (b, AGENT_EXIT, number, A_EXIT_CODE, 42);
  expect (b, "exited 42 0;");
}

AGENT_TEST (test_exit_signal)
{
  struct bench *b = *state;
  struct tlv_writer w = TLV_WRITER_INIT;
  uint32_t number;

  boot (b);
  number = run_process (b, -1, -1, -1);
  tlv_put_u32 (&w, A_SIGNAL, SIGSEGV);
  tlv_put_u32 (&w, A_CORE, 1);
  say_record (b, AGENT_EXIT, number, &w);
  expect (b, "exited 139 11;");
}

AGENT_TEST (test_process_fails)
{
  struct bench *b = *state;
  int fds[2];
  uint32_t number;
  char c;

  boot (b);
  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  number = exec (b, -1, fds[1], -1);
  say_failed (b, number, "there is no program 'x'", 127);
  expect (b, "failed RCVM_E_PROCESS process 2 127 there is no program 'x';");
  /* Its fds are gone. */
  assert_int_equal (read (fds[0], &c, 1), 0);
  close (fds[0]);
  /* And so is its number. */
  say_number (b, AGENT_STARTED, number, A_PID, 5);
  expect_broken (b, RCVM_E_PROTOCOL, "which does not run");
}

AGENT_TEST (test_no_reason)
{
  struct bench *b = *state;
  uint32_t number;

  boot (b);
  number = exec (b, -1, -1, -1);
  say (b, AGENT_FAILED, number, NULL, 0);
  expect (b, "failed RCVM_E_PROCESS process 0 125 the guest gave no reason;");
}

AGENT_TEST (test_output_then_exit)
{
  struct bench *b = *state;
  int out[2], err_pipe[2];
  uint32_t number;
  char buf[8];

  boot (b);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (err_pipe, O_CLOEXEC), 0);
  number = run_process (b, -1, out[1], err_pipe[1]);
  say (b, AGENT_STDOUT, number, "one", 3);
  say (b, AGENT_STDERR, number, "two", 3);
  say (b, AGENT_STDOUT, number, NULL, 0);
  say_number (b, AGENT_EXIT, number, A_EXIT_CODE, 0);
  expect (b, "exited 0 0;");
  /* All is there when it is told. */
  assert_int_equal (read (out[0], buf, 8), 3);
  assert_memory_equal (buf, "one", 3);
  assert_int_equal (read (out[0], buf, 8), 0);
  assert_int_equal (read (err_pipe[0], buf, 8), 3);
  assert_memory_equal (buf, "two", 3);
  assert_int_equal (read (err_pipe[0], buf, 8), 0);
  close (out[0]);
  close (err_pipe[0]);
}

/* The end of a process whose reader stalls is told when its output has been read, and not before; other
   processes go on meanwhile. */
AGENT_TEST (test_exit_waits_for_output)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX], buf[AGENT_DATA_MAX];
  struct agent_header h;
  uint32_t slow, quick;
  size_t total = 0;
  rcvm_error *e = NULL;
  int out[2];
  ssize_t n;

  boot (b);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  slow = run_process (b, -1, out[1], -1);
  for (size_t given = 0; given < AGENT_WINDOW; given += sizeof data)
    say (b, AGENT_STDOUT, slow, data, sizeof data);
  say_number (b, AGENT_EXIT, slow, A_EXIT_CODE, 3);
  while (rcvmi_link_pending (&b->guest) > 0)
    {
      run_once (b);
      check_ok (rcvmi_link_flush (&b->guest, &e), e);
    }
  run_once (b);
  while (hears_maybe (b, &h))
    assert_int_equal (h.type, AGENT_FRAME_WINDOW);
  quick = run_process (b, -1, -1, -1);
  say_number (b, AGENT_EXIT, quick, A_EXIT_CODE, 4);
  expect (b, "exited 4 0;");
  while (!b->heard[0])
    {
      if (is_ready (out[0], POLLIN) && (n = read (out[0], buf, sizeof buf)) > 0)
        total += (size_t) n;
      run_once (b);
    }
  expect (b, "exited 3 0;");
  while ((n = read (out[0], buf, sizeof buf)) > 0)
    total += (size_t) n;
  assert_int_equal (total, AGENT_WINDOW);
  close (out[0]);
}

AGENT_TEST (test_input)
{
  struct bench *b = *state;
  struct agent_header h;
  const unsigned char *payload;
  uint32_t number;
  int in[2];

  boot (b);
  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  number = run_process (b, in[0], -1, -1);
  write_full (in[1], "typed", 5);
  while (!is_ready (b->guest.fd, POLLIN))
    {
      run_once (b);
    }
  hears (b, AGENT_STDIN, number, &h, &payload);
  assert_int_equal (h.len, 5);
  assert_memory_equal (payload, "typed", 5);
  close (in[1]);
}

AGENT_TEST (test_signal_and_resize)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;
  uint32_t number;

  boot (b);
  number = exec (b, -1, -1, -1);
  /* Not before it runs. */
  assert_int_equal (rcvmi_agent_signal (b->agent, number, SIGTERM, false, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "agent", "does not run");
  hears_nothing (b);
  say_number (b, AGENT_STARTED, number, A_PID, 1);
  expect (b, "started 1;");
  check_ok (rcvmi_agent_signal (b->agent, number, SIGTERM, true, &e), e);
  hears_numbers (b, AGENT_SIGNAL, number, A_SIGNAL, SIGTERM, A_ALL, 1);
  check_ok (rcvmi_agent_resize (b->agent, number, 24, 80, &e), e);
  hears_numbers (b, AGENT_RESIZE, number, A_ROWS, 24, A_COLS, 80);
  assert_int_equal (rcvmi_agent_signal (b->agent, 999, SIGTERM, true, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "agent", "does not run");
  say_number (b, AGENT_EXIT, number, A_EXIT_CODE, 0);
  expect (b, "exited 0 0;");
  assert_int_equal (rcvmi_agent_resize (b->agent, number, 1, 1, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "agent", "does not run");
}

AGENT_TEST (test_shutdown)
{
  struct bench *b = *state;
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;

  boot (b);
  check_ok (rcvmi_agent_shutdown (b->agent, &e), e);
  hears (b, AGENT_SHUTDOWN, 0, &h, &payload);
  say (b, AGENT_GOODBYE, 0, NULL, 0);
  expect (b, "goodbye;");
  rcvmi_link_clear (&b->guest);
  expect_broken (b, RCVM_E_GUEST, "ended");
  assert_int_equal (rcvmi_agent_shutdown (b->agent, &e), RCVM_E_GUEST);
  check_error (&e, RCVM_E_GUEST, "agent", "gone");
}

/* Whoever asked for a process has gone: it goes on, and nobody is told. */
AGENT_TEST (test_forget)
{
  struct bench *b = *state;
  uint32_t first, second, third;

  boot (b);
  first = run_process (b, -1, -1, -1);
  second = exec (b, -1, -1, -1);
  third = exec (b, -1, -1, -1);
  rcvmi_agent_forget (b->agent, first, false);
  rcvmi_agent_forget (b->agent, second, false);
  rcvmi_agent_forget (b->agent, third, false);
  rcvmi_agent_forget (b->agent, 999, false);
  say_number (b, AGENT_EXIT, first, A_EXIT_CODE, 0);
  say_number (b, AGENT_STARTED, second, A_PID, 1);
  say_number (b, AGENT_EXIT, second, A_EXIT_CODE, 0);
  say_failed (b, third, "x", 1);
  run_process (b, -1, -1, -1);
}

static void
hears_kill (struct bench *b, uint32_t process)
{
  const unsigned char *payload;
  struct agent_header h;
  struct tlv_reader r;
  struct tlv_field f;
  uint32_t signum = 0;

  hears (b, AGENT_SIGNAL, process, &h, &payload);
  tlv_reader_init (&r, payload, h.len);
  while (tlv_next (&r, &f))
    if (f.tag == A_SIGNAL)
      signum = tlv_get_u32 (&r, &f);
  assert_int_equal (signum, SIGKILL);
}

/* Or it is killed, at once or when it has started. */
AGENT_TEST (test_forget_and_kill)
{
  struct bench *b = *state;
  uint32_t first, second;

  boot (b);
  first = run_process (b, -1, -1, -1);
  second = exec (b, -1, -1, -1);
  rcvmi_agent_forget (b->agent, first, true);
  hears_kill (b, first);
  rcvmi_agent_forget (b->agent, second, true);
  say_number (b, AGENT_STARTED, second, A_PID, 1);
  run_process (b, -1, -1, -1);
  hears_kill (b, second);
  say_number (b, AGENT_EXIT, first, A_SIGNAL, SIGKILL);
  say_number (b, AGENT_EXIT, second, A_SIGNAL, SIGKILL);
  run_process (b, -1, -1, -1);
}

/* The guest goes away in the middle: what it said before counts. */
AGENT_TEST (test_guest_dies)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  rcvm_error *e = NULL;
  uint32_t number;
  int in[2], out[2], fds[3], before;
  char buf[8];

  boot (b);
  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  number = run_process (b, in[0], out[1], -1);
  say (b, AGENT_STDOUT, number, "last", 4);
  rcvmi_link_clear (&b->guest);
  /* The host sends at the same time. */
  write_full (in[1], data, 65536);
  expect_broken (b, RCVM_E_GUEST, "ended");
  assert_int_equal (read (out[0], buf, sizeof buf), 4);
  assert_memory_equal (buf, "last", 4);
  assert_int_equal (read (out[0], buf, sizeof buf), 0);
  before = count_fds ();
  fds[0] = fcntl (out[0], F_DUPFD_CLOEXEC, 3);
  fds[1] = fcntl (out[0], F_DUPFD_CLOEXEC, 3);
  fds[2] = -1;
  assert_int_equal (rcvmi_agent_exec (b->agent, "x", 1, fds, &process_ops, b, &e), RCVM_E_GUEST);
  check_error (&e, RCVM_E_GUEST, "agent", "gone");
  assert_int_equal (count_fds (), before);
  assert_int_equal (rcvmi_agent_signal (b->agent, number, 1, false, &e), RCVM_E_GUEST);
  check_error (&e, RCVM_E_GUEST, "agent", "gone");
  close (in[1]);
  close (out[0]);
}

/* Every cut of a frame. */
AGENT_TEST (test_end_in_the_middle)
{
  struct bench *b = *state;

  say (b, AGENT_LOG, 0, NULL, 0);
  expect (b, "log 0 agent ;");
  write_full (b->guest.fd, "\5\0\0\0\1", 5);
  rcvmi_link_clear (&b->guest);
  expect_broken (b, RCVM_E_GUEST, "ended");
}

/* Requests. */

AGENT_TEST (test_request_too_big)
{
  struct bench *b = *state;
  autofree char *data = calloc (1, AGENT_REQUEST_MAX + 1);
  rcvm_error *e = NULL;
  int fds[3], pipes[2];
  char c;

  boot (b);
  assert_int_equal (pipe2 (pipes, O_CLOEXEC), 0);
  fds[0] = fds[1] = -1;
  fds[2] = pipes[1];
  assert_int_equal (rcvmi_agent_exec (b->agent, data, AGENT_REQUEST_MAX + 1, fds, &process_ops, b, &e),
                    RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "agent", "over the limit");
  assert_int_equal (read (pipes[0], &c, 1), 0);
  close (pipes[0]);
  hears_nothing (b);
  run_process (b, -1, -1, -1);
}

AGENT_TEST (test_too_many_processes)
{
  struct bench *b = *state;
  const int none[3] = { -1, -1, -1 };
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;

  boot (b);
  for (int i = 0; i < RCVMI_AGENT_PROCESS_MAX; i++)
    {
      int64_t number = rcvmi_agent_exec (b->agent, "x", 1, none, &process_ops, b, &e);

      assert_int_equal (number, i);
      hears (b, AGENT_EXEC, (uint32_t) i, &h, &payload);
    }
  assert_int_equal (rcvmi_agent_exec (b->agent, "x", 1, none, &process_ops, b, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "agent", "wait for one to end");
  say_failed (b, 17, "x", 1);
  expect (b, "failed RCVM_E_PROCESS process 2 1 x;");
  assert_int_equal (exec (b, -1, -1, -1), RCVMI_AGENT_PROCESS_MAX);
}

/* A request of megabytes goes out as the guest takes it. */
AGENT_TEST (test_big_setup)
{
  struct bench *b = *state;
  struct tlv_writer setup = TLV_WRITER_INIT;
  autofree char *data = calloc (1, AGENT_REQUEST_MAX - 6);
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int n;

  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  tlv_put (&setup, 1, data, AGENT_REQUEST_MAX - 6);
  check_ok (rcvmi_agent_setup (b->agent, &setup, &e), e);
  while ((n = rcvmi_link_next (&b->guest, &h, &payload, &e)) == 0)
    {
      run_once (b);
      check_ok (rcvmi_link_fill (&b->guest, &e), e);
    }
  assert_int_equal (n, 1);
  assert_int_equal (h.len, AGENT_REQUEST_MAX);
}

TEST (test_fd_is_taken)
{
  struct rcvmi_ev *ev = rcvmi_ev_new (NULL);
  int before = count_fds (), fd = open ("/dev/null", O_RDWR | O_CLOEXEC), pair[2];
  struct rcvmi_agent *agent;

  assert_non_null (ev);
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  agent = rcvmi_agent_new (ev, pair[0], NULL, &ops, NULL, NULL);
  assert_non_null (agent);
  rcvmi_agent_free (agent);
  rcvmi_agent_free (NULL);
  close (pair[1]);
  close (fd);
  rcvmi_ev_free (ev);
  assert_int_equal (count_fds (), before - 1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = {
    agent_test (test_boot),
    agent_test (test_other_version),
    agent_test (test_setup_fails),
    agent_test (test_setup_fails_twice),
    agent_test (test_exit_code),
    agent_test (test_exit_signal),
    agent_test (test_process_fails),
    agent_test (test_no_reason),
    agent_test (test_output_then_exit),
    agent_test (test_exit_waits_for_output),
    agent_test (test_input),
    agent_test (test_signal_and_resize),
    agent_test (test_shutdown),
    agent_test (test_forget),
    agent_test (test_forget_and_kill),
    agent_test (test_guest_dies),
    agent_test (test_end_in_the_middle),
    agent_test (test_request_too_big),
    agent_test (test_too_many_processes),
    agent_test (test_big_setup),
    cmocka_unit_test (test_fd_is_taken),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
