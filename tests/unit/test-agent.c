/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of the agent protocol; the guest is a script at the other end of a socket. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "agent.h"
#include "cleanup.h"
#include "link.h"

struct bench
{
  struct rcvmi_ev *ev;
  struct rcvmi_agent *agent;
  struct rcvmi_link guest;
  struct rcvmi_log log;
  char heard[4096]; /* what the callbacks said, each ended by ';' */
  int last_code;    /* of the last error */
};

static void __attribute__ ((format (printf, 2, 3)))
hear (struct bench *b, const char *fmt, ...)
{
  size_t len = strlen (b->heard);
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (b->heard + len, sizeof b->heard - len, fmt, ap);
  va_end (ap);
  rcvmi_ev_stop (b->ev);
}

static void
hear_error (struct bench *b, const char *what, rcvm_error *err)
{
  assert_non_null (err);
  b->last_code = rcvm_error_get_code (err);
  hear (b, "%s %s %s %d %d %s;", what, rcvm_code_name (b->last_code), rcvm_error_get_stage (err),
        rcvm_error_get_errno (err), rcvm_error_get_exit_code (err), rcvm_error_get_message (err));
  rcvm_error_free (err);
}

static void
on_hello (void *user, const char *kernel, uint64_t boot_usec)
{
  hear (user, "hello %s %llu;", kernel, (unsigned long long) boot_usec);
}

static void
on_ready (void *user)
{
  hear (user, "ready;");
}

static void
on_setup_failed (void *user, rcvm_error *err)
{
  hear_error (user, "setup failed", err);
}

static void
on_goodbye (void *user)
{
  hear (user, "goodbye;");
}

static void
on_broken (void *user, rcvm_error *err)
{
  hear_error (user, "broken", err);
}

static void
on_name_query (void *user, uint32_t number, const unsigned char *message, size_t len)
{
  hear (user, "asked %u %zu %02x;", number, len, message[0]);
}

static void
on_frozen (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err)
{
  if (err)
    hear_error (user, "not frozen", err);
  else
    hear (user, "frozen %u %llu;", number, (unsigned long long) clock_nsec);
}

static void
on_thawed (void *user, uint32_t number, rcvm_error *err)
{
  if (err)
    hear_error (user, "not thawed", err);
  else
    hear (user, "thawed %u;", number);
}

static void
on_changed (void *user)
{
  hear (user, "changed;");
}

static const struct rcvmi_agent_ops ops = { .hello = on_hello,
                                            .ready = on_ready,
                                            .setup_failed = on_setup_failed,
                                            .goodbye = on_goodbye,
                                            .name_query = on_name_query,
                                            .frozen = on_frozen,
                                            .thawed = on_thawed,
                                            .changed = on_changed,
                                            .broken = on_broken };

static void
on_started (void *user, uint32_t pid)
{
  hear (user, "started %u;", pid);
}

static void
on_failed (void *user, rcvm_error *err)
{
  hear_error (user, "failed", err);
}

static void
on_exited (void *user, int code, int signum)
{
  hear (user, "exited %d %d;", code, signum);
}

static const struct rcvmi_agent_process_ops process_ops
    = { .started = on_started, .failed = on_failed, .exited = on_exited };

static void
on_log (void *user, int level, const char *stage, const char *message)
{
  hear (user, "log %d %s %s;", level, stage, message);
}

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);
  int pair[2];

  *state = b;
  if (!b || !(b->ev = rcvmi_ev_new (NULL)) || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  b->log = (struct rcvmi_log){ .level = RCVM_LOG_DEBUG, .fn = on_log, .user = b };
  b->agent = rcvmi_agent_new (b->ev, pair[0], &b->log, &ops, b, NULL);
  return b->agent ? rcvmi_link_init (&b->guest, pair[1], "the host", AGENT_REQUEST_MAX, NULL) : -1;
}

static int
tear_down (void **state)
{
  struct bench *b = *state;

  rcvmi_agent_free (b->agent);
  rcvmi_link_clear (&b->guest);
  rcvmi_ev_free (b->ev);
  free (b);
  return 0;
}

#define AGENT_TEST(name) static void name (void **state)

/* Callbacks until they have said this, and nothing else. */
static void
expect (struct bench *b, const char *wanted)
{
  rcvm_error *e = NULL;

  while (strlen (b->heard) < strlen (wanted))
    check_ok (rcvmi_ev_run (b->ev, &e), e);
  assert_string_equal (b->heard, wanted);
  b->heard[0] = 0;
}

static void
stop (void *user, uint32_t events)
{
  (void) events;
  rcvmi_ev_stop (user);
}

/* The callbacks that are due. */
static void
run_once (struct bench *b)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_ev_add_timer (b->ev, 0, stop, b->ev, &e) ? 0 : -1, e);
  check_ok (rcvmi_ev_run (b->ev, &e), e);
}

/* As expect, for a link that breaks: the message has `part`. */
static void
expect_broken (struct bench *b, int code, const char *part)
{
  rcvm_error *e = NULL;

  while (!b->heard[0])
    check_ok (rcvmi_ev_run (b->ev, &e), e);
  assert_int_equal (strncmp (b->heard, "broken ", 7), 0);
  if (!strstr (b->heard, part))
    fail_msg ("wanted '%s', got: %s", part, b->heard);
  assert_int_equal (b->last_code, code);
  b->heard[0] = 0;
}

/* The guest speaks. */

static void
say (struct bench *b, uint16_t type, uint32_t process, const void *data, size_t len)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_send (&b->guest, type, process, data, len, &e), e);
}

static void
say_record (struct bench *b, uint16_t type, uint32_t process, struct tlv_writer *w)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_send_record (&b->guest, type, process, w, &e), e);
}

static void
say_number (struct bench *b, uint16_t type, uint32_t process, uint16_t tag, uint32_t value)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, tag, value);
  say_record (b, type, process, &w);
}

static void
say_hello (struct bench *b, uint32_t version)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_VERSION, version);
  tlv_put_str (&w, A_KERNEL, "6.1.0");
  tlv_put_u64 (&w, A_BOOT_USEC, 1234567);
  say_record (b, AGENT_HELLO, 0, &w);
}

static void
say_failed (struct bench *b, uint32_t process, const char *message, uint32_t exit_code)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_str (&w, A_STAGE, "exec");
  tlv_put_u32 (&w, A_ERRNO, ENOENT);
  tlv_put_str (&w, A_MESSAGE, message);
  tlv_put_u32 (&w, A_EXIT_CODE, exit_code);
  say_record (b, AGENT_FAILED, process, &w);
}

/* What the host says. */
static void
hears (struct bench *b, uint16_t type, uint32_t process, struct agent_header *h, const unsigned char **payload)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_fill (&b->guest, &e), e);
  assert_int_equal (rcvmi_link_next (&b->guest, h, payload, &e), 1);
  assert_int_equal (h->type, type);
  assert_int_equal (h->process, process);
}

static bool
hears_maybe (struct bench *b, struct agent_header *h)
{
  const unsigned char *payload;

  assert_int_equal (rcvmi_link_fill (&b->guest, NULL), 0);
  return rcvmi_link_next (&b->guest, h, &payload, NULL);
}

static void
hears_nothing (struct bench *b)
{
  struct agent_header h;

  assert_false (hears_maybe (b, &h));
}

static void
hears_numbers (struct bench *b, uint16_t type, uint32_t process, uint16_t tag1, uint32_t value1, uint16_t tag2,
               uint32_t value2)
{
  const unsigned char *payload;
  struct agent_header h;
  struct tlv_reader r;
  struct tlv_field f;
  int seen = 0;

  hears (b, type, process, &h, &payload);
  tlv_reader_init (&r, payload, h.len);
  while (tlv_next (&r, &f))
    if (f.tag == tag1 || f.tag == tag2)
      {
        assert_int_equal (tlv_get_u32 (&r, &f), f.tag == tag1 ? value1 : value2);
        seen++;
      }
  assert_int_equal (seen, 2);
}

/* HELLO, SETUP, READY. */
static void
boot (struct bench *b)
{
  struct tlv_writer setup = TLV_WRITER_INIT;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  say_hello (b, AGENT_VERSION);
  expect (b, "hello 6.1.0 1234567;");
  tlv_put_str (&setup, S_HOSTNAME, "box");
  check_ok (rcvmi_agent_setup (b->agent, &setup, &e), e);
  assert_null (setup.data);
  hears (b, AGENT_SETUP, 0, &h, &payload);
  assert_int_equal (h.len, 6 + 4);
  assert_string_equal ((const char *) payload + 6, "box");
  say (b, AGENT_READY, 0, NULL, 0);
  expect (b, "ready;");
}

static uint32_t
exec (struct bench *b, int in, int out, int err_fd)
{
  const int fds[3] = { in, out, err_fd };
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int64_t number = rcvmi_agent_exec (b->agent, "record", 6, fds, &process_ops, b, &e);

  check_ok (number, e);
  hears (b, AGENT_EXEC, (uint32_t) number, &h, &payload);
  assert_int_equal (h.len, 6);
  assert_memory_equal (payload, "record", 6);
  return (uint32_t) number;
}

static uint32_t
run_process (struct bench *b, int in, int out, int err_fd)
{
  uint32_t number = exec (b, in, out, err_fd);

  say_number (b, AGENT_STARTED, number, A_PID, 77);
  expect (b, "started 77;");
  return number;
}

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

/* Frames that make no sense. */

static void
check_refused (void **state, uint16_t type, uint32_t process, const void *data, size_t len, const char *part)
{
  struct bench *b = *state;

  say (b, type, process, data, len);
  expect_broken (b, RCVM_E_PROTOCOL, part);
}

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

#define agent_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

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
    agent_test (test_request_too_big),
    agent_test (test_too_many_processes),
    agent_test (test_big_setup),
    cmocka_unit_test (test_fd_is_taken),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
