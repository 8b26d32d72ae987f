/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP; QEMU is a script at the other end of a socket.  What it will answer is written beforehand. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "vmm-qmp.h"

static const char greeting[] = "{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7}}, \"capabilities\": []}}\r\n";

struct bench
{
  struct rcvmi_ev *ev;
  struct rcvmi_qmp *qmp;
  int peer;
  int ready, broken;
};

static void
on_ready (void *user)
{
  struct bench *b = user;

  b->ready++;
}

static void
on_broken (void *user, rcvm_error *err)
{
  struct bench *b = user;

  b->broken++;
  check_error (&err, RCVM_E_VMM, "vmm", "does not speak QMP");
}

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);
  int pair[2];

  *state = b;
  if (!(b->ev = rcvmi_ev_new (NULL)) || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  b->peer = pair[1];
  b->qmp = rcvmi_qmp_new (b->ev, pair[0], on_ready, on_broken, b, NULL);
  return b->qmp ? 0 : -1;
}

static int
tear_down (void **state)
{
  struct bench *b = *state;

  rcvmi_qmp_free (b->qmp);
  rcvmi_ev_free (b->ev);
  cleanup_close (&b->peer);
  free (b);
  return 0;
}

#define QMP_TEST(name) static void name (void **state)

static void
say (struct bench *b, const char *text)
{
  write_full (b->peer, text, strlen (text));
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

static void
hears (struct bench *b, const char *wanted)
{
  char buf[256];

  read_full (b->peer, buf, strlen (wanted));
  buf[strlen (wanted)] = 0;
  assert_string_equal (buf, wanted);
}

static void
negotiate (struct bench *b)
{
  say (b, greeting);
  run_once (b);
  hears (b, "{\"execute\":\"qmp_capabilities\"}\n");
  assert_int_equal (b->ready, 0);
  say (b, "{\"return\": {}}\r\n");
  run_once (b);
  assert_int_equal (b->ready, 1);
}

static void
check_gone (struct bench *b)
{
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_qmp_command (b->qmp, "stop", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "gone");
}

QMP_TEST (test_negotiation)
{
  negotiate (*state);
}

/* Byte by byte, and all at once. */
QMP_TEST (test_split)
{
  struct bench *b = *state;

  for (const char *p = greeting; *p; p++)
    {
      write_full (b->peer, p, 1);
      run_once (b);
    }
  hears (b, "{\"execute\":\"qmp_capabilities\"}\n");
  for (const char *p = "{\"return\": {\"nested\": [1, {\"a\": \"}\"}]}}\r\n"; *p; p++)
    {
      assert_int_equal (b->ready, *p == '\r' || *p == '\n');
      write_full (b->peer, p, 1);
      run_once (b);
    }
  assert_int_equal (b->ready, 1);
}

QMP_TEST (test_all_at_once)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  say (b, greeting);
  say (b, "{\"timestamp\": {}, \"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n");
  run_once (b);
  assert_int_equal (b->ready, 1);
  say (b, "{\"event\": \"STOP\"}\n\n{\"return\": {}}");
  check_ok (rcvmi_qmp_command (b->qmp, "stop", &e), e);
  hears (b, "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"stop\"}\n");
}

QMP_TEST (test_command_errors)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_qmp_command (b->qmp, "stop", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "not ready");
  negotiate (b);
  say (b, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"it cannot\"}}\r\n");
  assert_int_equal (rcvmi_qmp_command (b->qmp, "cont", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "QEMU refused the command 'cont': it cannot");
  say (b, "{\"error\": 1}\r\n");
  assert_int_equal (rcvmi_qmp_command (b->qmp, "cont", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "no reason given");
  /* A description that is none. */
  say (b, "{\"error\": {\"desc\": null}}\r\n");
  assert_int_equal (rcvmi_qmp_command (b->qmp, "cont", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "no reason given");
  say (b, "{\"return\": {}}\r\n");
  check_ok (rcvmi_qmp_command (b->qmp, "cont", &e), e);
}

/* An answer that nobody asked for is not the next command's. */
QMP_TEST (test_unasked_answer)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  negotiate (b);
  say (b, "{\"return\": {}}\r\n");
  run_once (b);
  say (b, "{\"error\": {\"desc\": \"the real one\"}}\r\n");
  assert_int_equal (rcvmi_qmp_command (b->qmp, "stop", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "the real one");
  assert_int_equal (b->ready, 1);
}

/* An answer before the greeting is none. */
QMP_TEST (test_answer_without_greeting)
{
  struct bench *b = *state;

  say (b, "{\"return\": {}}\r\n");
  run_once (b);
  assert_int_equal (b->ready, 0);
  negotiate (b);
}

QMP_TEST (test_refused_negotiation)
{
  struct bench *b = *state;

  say (b, greeting);
  say (b, "{\"error\": {\"desc\": \"no\"}}\r\n");
  run_once (b);
  assert_int_equal (b->ready, 0);
  assert_int_equal (b->broken, 1);
  check_gone (b);
}

QMP_TEST (test_second_greeting)
{
  struct bench *b = *state;

  negotiate (b);
  say (b, greeting);
  run_once (b);
  assert_false (is_ready (b->peer, POLLIN));
  assert_int_equal (b->ready, 1);
}

QMP_TEST (test_end)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  negotiate (b);
  /* In the middle of an answer. */
  say (b, "{\"retu");
  shutdown (b->peer, SHUT_WR);
  assert_int_equal (rcvmi_qmp_command (b->qmp, "stop", &e), RCVM_E_VMM);
  check_error (&e, RCVM_E_VMM, "vmm", "did not answer");
  assert_int_equal (b->broken, 0);
  check_gone (b);
}

QMP_TEST (test_end_before_greeting)
{
  struct bench *b = *state;

  close (steal_fd (&b->peer));
  run_once (b);
  assert_int_equal (b->broken, 0);
  check_gone (b);
}

QMP_TEST (test_garbage)
{
  static const char *const texts[] = { "hello\r\n", "}", "{\"a\" 1}", "\x01\x02", "{\"return\": tru3}" };
  struct bench *b = *state;

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    {
      tear_down (state);
      assert_int_equal (set_up (state), 0);
      b = *state;
      say (b, texts[i]);
      run_once (b);
      assert_int_equal (b->ready, 0);
      assert_int_equal (b->broken, 1);
      check_gone (b);
    }
}

/* The end of a device is told once, whenever: before the answer to a command, or after it; of devices without an id, nothing. */
QMP_TEST (test_deleted)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  negotiate (b);
  say (b, "{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/machine/x\"}}\r\n"
          "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": 5}}\r\n{\"event\": \"DEVICE_DELETED\"}\r\n"
          "{\"event\": \"STOP\", \"data\": {\"device\": \"disk-hot2\"}}\r\n"
          "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"disk-hot1\", \"path\": \"/machine/peripheral/disk-hot1\"}}\r\n"
          "{\"return\": {}}\r\n");
  check_ok (rcvmi_qmp_command (b->qmp, "stop", &e), e);
  check_ok (rcvmi_qmp_await_deleted (b->qmp, "disk-hot1", &e), e);
  rcvmi_qmp_expect_deleted (b->qmp, "disk-hot1");
  say (b, "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"disk-hot2\"}}\r\n");
  check_ok (rcvmi_qmp_await_deleted (b->qmp, "disk-hot2", &e), e);
  /* It has been forgotten, and QEMU is gone. */
  close (steal_fd (&b->peer));
  assert_int_equal (rcvmi_qmp_await_deleted (b->qmp, "disk-hot1", &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "vmm", "the guest holds on to it");
}

/* JSON, but nothing that QMP knows. */
QMP_TEST (test_odd_values)
{
  struct bench *b = *state;

  say (b, "null\n[1, 2]\n\"text\"\n{}\n{\"x\": {}}\n");
  run_once (b);
  negotiate (b);
}

/* Text without end does not take memory without end. */
QMP_TEST (test_endless)
{
  struct bench *b = *state;
  char block[4096];
  size_t total = 0;
  ssize_t n;

  memset (block, 'x', sizeof block);
  say (b, "{\"");
  for (;;)
    {
      n = send (b->peer, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0)
        total += (size_t) n;
      run_once (b);
      if (total > 64 * 1024 * 1024)
        fail_msg ("%zu bytes were taken in", total);
      /* It listens no more: the socket stays full. */
      if (n < 0 && errno == EAGAIN && (run_once (b), run_once (b), !is_ready (b->peer, POLLOUT)))
        break;
    }
  assert_int_equal (b->broken, 1);
  check_gone (b);
}

QMP_TEST (test_deep)
{
  struct bench *b = *state;
  char block[4096];

  memset (block, '[', sizeof block);
  write_full (b->peer, block, sizeof block);
  run_once (b);
  assert_int_equal (b->broken, 1);
  check_gone (b);
}

TEST (test_fd_is_taken)
{
  struct rcvmi_ev *ev = rcvmi_ev_new (NULL);
  int before = count_fds (), pair[2];

  assert_non_null (ev);
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  rcvmi_qmp_free (rcvmi_qmp_new (ev, pair[0], on_ready, on_broken, NULL, NULL));
  rcvmi_qmp_free (NULL);
  close (pair[1]);
  assert_int_equal (count_fds (), before);
  rcvmi_ev_free (ev);
}

#define qmp_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    qmp_test (test_negotiation),
    qmp_test (test_split),
    qmp_test (test_all_at_once),
    qmp_test (test_command_errors),
    qmp_test (test_unasked_answer),
    qmp_test (test_answer_without_greeting),
    qmp_test (test_refused_negotiation),
    qmp_test (test_second_greeting),
    qmp_test (test_end),
    qmp_test (test_end_before_greeting),
    qmp_test (test_garbage),
    qmp_test (test_deleted),
    qmp_test (test_odd_values),
    qmp_test (test_endless),
    qmp_test (test_deep),
    cmocka_unit_test (test_fd_is_taken),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
