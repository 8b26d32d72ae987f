/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's end of the control protocol. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "client.h"
#include "fake-monitor.h"
#include "proc.h"

static int
set_up (void **state)
{
  *state = make_dir ();
  return 0;
}

static int
tear_down (void **state)
{
  unsetenv ("RUNCVM_LIBEXEC");
  remove_tree (*state);
  return 0;
}

#define CLIENT_TEST(name) static void name (void **state)

struct news
{
  int count;
  uint16_t last;
  size_t bytes;
};

static void
on_news (void *user, const struct agent_header *h, const unsigned char *payload)
{
  struct news *n = user;

  (void) payload;
  n->count++;
  n->last = h->type;
  n->bytes += h->len;
}

/* A link, and a forked peer that does what `play` does with its end. */
static pid_t
fork_peer (struct rcvmi_link *link, void (*play) (struct rcvmi_link *link))
{
  int pair[2];
  pid_t pid;

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  pid = fork ();
  if (pid == 0)
    {
      struct rcvmi_link own;

      close (pair[0]);
      if (rcvmi_link_init (&own, pair[1], "the client", AGENT_REQUEST_MAX, NULL) < 0)
        _exit (1);
      own.pass_fds = true;
      play (&own);
      rcvmi_link_clear (&own);
      _exit (0);
    }
  close (pair[1]);
  assert_int_equal (rcvmi_link_init (link, pair[0], "the monitor", AGENT_REQUEST_MAX, NULL), 0);
  return pid;
}

static int
request (struct rcvmi_link *link, int timeout_ms, struct news *news, int *pid, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_SIGNAL, 9);
  return rcvmi_client_request (link, CONTROL_KILL, &w, NULL, timeout_ms, on_news, news, pid, err);
}

static void
end_peer (struct rcvmi_link *link, pid_t pid)
{
  rcvmi_link_clear (link);
  assert_int_equal (waitpid (pid, NULL, 0), pid);
}

static void
take_one (struct rcvmi_link *link)
{
  const unsigned char *payload;
  struct agent_header h;

  if (rcvmi_link_wait (link, -1, &h, &payload, NULL) != 1 || h.type != CONTROL_KILL)
    _exit (2);
}

static void
send_number (struct rcvmi_link *link, uint16_t type, uint16_t tag, uint32_t value)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, tag, value);
  rcvmi_link_send_record (link, type, 0, &w, NULL);
}

static void
play_ok (struct rcvmi_link *link)
{
  take_one (link);
  /* News come between. */
  send_number (link, CONTROL_LOG, A_LEVEL, 1);
  send_number (link, CONTROL_STATUS, A_BYTES, 3);
  send_number (link, CONTROL_OK, A_PID, 4711);
  send_number (link, CONTROL_EXITED, A_EXIT_CODE, 0);
}

TEST (test_ok)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_ok);
  int pid = 0;

  check_ok (request (&link, -1, &news, &pid, &e), e);
  assert_int_equal (pid, 4711);
  assert_int_equal (news.count, 2);
  assert_int_equal (news.last, CONTROL_STATUS);
  /* What came with the answer is still to be told. */
  while (news.last != CONTROL_EXITED)
    {
      await (link.fd, POLLIN);
      check_ok (rcvmi_client_dispatch (&link, on_news, &news, &e), e);
    }
  assert_int_equal (news.count, 3);
  while (!link.eof)
    {
      await (link.fd, POLLIN);
      check_ok (rcvmi_client_dispatch (&link, on_news, &news, &e), e);
    }
  check_ok (rcvmi_client_dispatch (&link, on_news, &news, &e), e);
  assert_int_equal (news.count, 3);
  end_peer (&link, peer);
}

static void
play_error (struct rcvmi_link *link)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  take_one (link);
  tlv_put_u32 (&w, CE_CODE, (uint32_t) -RCVM_E_STATE);
  tlv_put_str (&w, CE_STAGE, "agent");
  tlv_put_str (&w, CE_MESSAGE, "it does not run");
  rcvmi_link_send_record (link, CONTROL_ERROR, 0, &w, NULL);
  /* An error without a code, a malformed one, no frame at all. */
  take_one (link);
  rcvmi_link_send (link, CONTROL_ERROR, 0, NULL, 0, NULL);
  take_one (link);
  rcvmi_link_send (link, CONTROL_ERROR, 0, "abc", 3, NULL);
  take_one (link);
  send (link->fd, "\0\0\0\0\0\0\1\1\0\0\0\0", 12, 0);
}

TEST (test_error)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_error);

  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_STATE);
  check_error (&e, RCVM_E_STATE, "agent", "it does not run");
  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "monitor", "without a code");
  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "monitor", "malformed record");
  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "malformed frame");
  assert_int_equal (news.count, 0);
  end_peer (&link, peer);
}

static void
play_leave (struct rcvmi_link *link)
{
  take_one (link);
  send_number (link, CONTROL_LOG, A_LEVEL, 1);
}

TEST (test_monitor_leaves)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_leave);

  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "ended before it answered");
  assert_int_equal (news.count, 1);
  /* It has gone: so says the next one. */
  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "ended before it answered");
  end_peer (&link, peer);
}

/* The answer was said before it left, and the request came too late to be read. */
static void
play_answer_unasked (struct rcvmi_link *link)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, CE_CODE, (uint32_t) -RCVM_E_SPEC);
  rcvmi_link_send_record (link, CONTROL_ERROR, 0, &w, NULL);
}

TEST (test_last_words)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_answer_unasked);

  assert_int_equal (waitpid (peer, NULL, 0), peer);
  assert_int_equal (request (&link, -1, &news, NULL, &e), RCVM_E_SPEC);
  check_error (&e, RCVM_E_SPEC, "monitor", NULL);
  rcvmi_link_clear (&link);
}

static void
play_silence (struct rcvmi_link *link)
{
  const unsigned char *payload;
  struct agent_header h;

  while (rcvmi_link_wait (link, -1, &h, &payload, NULL) > 0)
    ;
}

TEST (test_time_out)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_silence);

  assert_int_equal (request (&link, 10, &news, NULL, &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "monitor", "did not answer within 10 ms");
  end_peer (&link, peer);
}

/* A monitor whose guest logs without end still has to answer in time. */
static void
play_chatter (struct rcvmi_link *link)
{
  struct pollfd p = { .fd = link->fd, .events = POLLOUT };
  rcvm_error *e = NULL;

  while (!link->deaf && poll (&p, 1, -1) > 0)
    {
      send_number (link, CONTROL_LOG, A_LEVEL, 1);
      if (rcvmi_link_flush (link, &e) < 0)
        break;
    }
}

TEST (test_time_out_with_news)
{
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_chatter);

  await (link.fd, POLLIN);
  assert_int_equal (request (&link, 50, &news, NULL, &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "monitor", "did not answer within 50 ms");
  assert_true (news.count > 0);
  end_peer (&link, peer);
}

static void
play_fds (struct rcvmi_link *link)
{
  const unsigned char *payload;
  struct agent_header h;

  if (rcvmi_link_wait (link, -1, &h, &payload, NULL) != 1 || h.process != 5 || link->n_fds != 2
      || write (link->fds[0], "in", 2) != 2 || write (link->fds[1], "err", 3) != 3)
    _exit (2);
  send_number (link, CONTROL_OK, A_PID, 1);
}

TEST (test_stdio)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_link link;
  struct news news = { 0 };
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_fds);
  int a[2], b[2], stdio[3];
  char buf[8];

  assert_int_equal (pipe2 (a, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (b, O_CLOEXEC), 0);
  stdio[0] = a[1];
  stdio[1] = -1;
  stdio[2] = b[1];
  check_ok (rcvmi_client_request (&link, CONTROL_EXEC, &w, stdio, -1, on_news, &news, NULL, &e), e);
  read_full (a[0], buf, 2);
  assert_memory_equal (buf, "in", 2);
  read_full (b[0], buf, 3);
  assert_memory_equal (buf, "err", 3);
  for (int i = 0; i < 2; i++)
    {
      close (a[i]);
      close (b[i]);
    }
  end_peer (&link, peer);
}

TEST (test_no_memory)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_link link;
  rcvm_error *e = NULL;
  pid_t peer = fork_peer (&link, play_silence);

  tlv_put_u32 (&w, 1, 1);
  w.failed = true;
  assert_int_equal (rcvmi_client_request (&link, CONTROL_KILL, &w, NULL, -1, on_news, NULL, NULL, &e),
                    RCVM_E_NOMEM);
  check_error (&e, RCVM_E_NOMEM, "monitor", NULL);
  assert_null (w.data);
  end_peer (&link, peer);
}

/* Connecting. */

static void
play_nothing (struct fake *fake)
{
  while (fake_next (fake, 0, NULL))
    ;
}

CLIENT_TEST (test_connect)
{
  pid_t monitor = fake_monitor_start (*state, "vm", RCVM_STATUS_RUNNING, play_nothing);
  int before = count_fds (), inheritable = count_inheritable_fds ();
  struct rcvmi_state_dir dir;
  struct rcvmi_link link;
  rcvm_error *e = NULL;

  check_ok (rcvmi_state_dir_open (&dir, *state, "vm", &e), e);
  check_ok (rcvmi_client_connect (&link, &dir, &e), e);
  assert_int_equal (count_inheritable_fds (), inheritable);
  rcvmi_link_clear (&link);
  fake_monitor_kill (monitor);
  /* Its socket is still there; nobody listens. */
  assert_int_equal (rcvmi_client_connect (&link, &dir, &e), RCVM_E_MONITOR);
  assert_int_equal (rcvm_error_get_errno (e), ECONNREFUSED);
  check_error (&e, RCVM_E_MONITOR, "monitor", "does not answer");
  assert_int_equal (link.fd, -1);
  assert_int_equal (unlinkat (dir.fd, RCVMI_CONTROL_SOCKET, 0), 0);
  assert_int_equal (rcvmi_client_connect (&link, &dir, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "does not answer");
  /* Something else of that name. */
  close (openat (dir.fd, RCVMI_CONTROL_SOCKET, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  assert_int_equal (rcvmi_client_connect (&link, &dir, &e), RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "does not answer");
  rcvmi_state_dir_close (&dir);
  assert_int_equal (count_fds (), before);
}

/* Starting. */

static void
check_no_child (void)
{
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  assert_int_equal (errno, ECHILD);
}

CLIENT_TEST (test_no_monitor)
{
  struct rcvmi_link link;
  int before = count_fds ();
  rcvm_error *e = NULL;

  SKIP_UNDER_VALGRIND ();
  setenv ("RUNCVM_LIBEXEC", *state, 1);
  assert_int_equal (rcvmi_client_spawn (&link, *state, "vm", &e), RCVM_E_MONITOR);
  assert_int_equal (rcvm_error_get_errno (e), ENOENT);
  check_error (&e, RCVM_E_MONITOR, "monitor", "/runcvm-monitor'");
  assert_int_equal (link.fd, -1);
  assert_int_equal (count_fds (), before);
  check_no_child ();
}

/* One that ends at once, and one that says what it was given. */
CLIENT_TEST (test_odd_monitors)
{
  static const char script[] = "#!/bin/sh\n"
                               "in=$(readlink /proc/$$/fd/0) out=$(readlink /proc/$$/fd/1) err=$(readlink /proc/$$/fd/2)\n"
                               "echo \"$@ $in $out $err\" >\"$1/said\"\nexit 1\n";
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_link link;
  autofree char *path = NULL;
  autofree char *said = NULL;
  autofree char *wanted = NULL;
  autofree char *text = NULL;
  int before = count_fds ();
  rcvm_error *e = NULL;

  setenv ("RUNCVM_LIBEXEC", *state, 1);
  assert_true (asprintf (&path, "%s/runcvm-monitor", (char *) *state) > 0);
  write_file (path, script, sizeof script - 1);
  assert_int_equal (chmod (path, 0700), 0);
  check_ok (rcvmi_client_spawn (&link, *state, "vm", &e), e);
  assert_int_equal (rcvmi_client_request (&link, CONTROL_START, &w, NULL, -1, on_news, NULL, NULL, &e),
                    RCVM_E_MONITOR);
  check_error (&e, RCVM_E_MONITOR, "monitor", "ended before it answered");
  rcvmi_link_clear (&link);
  check_no_child ();
  assert_int_equal (count_fds (), before);
  assert_true (asprintf (&said, "%s/said", (char *) *state) > 0);
  assert_true (asprintf (&wanted, "%s vm /dev/null /dev/null /dev/null\n", (char *) *state) > 0);
  text = read_text (said);
  assert_string_equal (text, wanted);
}

/* The real one refuses what makes no sense, and leaves nothing. */
CLIENT_TEST (test_real_monitor)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct rcvmi_link link;
  rcvm_error *e = NULL;

  setenv ("RUNCVM_LIBEXEC", TOP_BUILDDIR "/lib", 1);
  check_ok (rcvmi_client_spawn (&link, *state, "vm", &e), e);
  rcvmi_client_request (&link, CONTROL_START, &w, NULL, -1, on_news, NULL, NULL, &e);
  check_error (&e, RCVM_E_STATE, "monitor", "there is no VM yet");
  tlv_put_u32 (&w, 1, 1);
  assert_int_equal (rcvmi_client_request (&link, CONTROL_CREATE, &w, NULL, -1, on_news, NULL, NULL, &e),
                    RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "api", "malformed");
  rcvmi_link_clear (&link);
  check_no_child ();
}

TEST (test_wait_gone)
{
  char *argv[] = { (char *) "sleep", (char *) "1000", NULL };
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  unsigned long long start;

  SKIP_UNDER_VALGRIND ();
  check_ok (rcvmi_proc_spawn (&proc, "/bin/sleep", argv, -1, NULL, 0, NULL), NULL);
  start = rcvmi_proc_start_time (proc.pid);
  assert_false (rcvmi_client_wait_gone (proc.pid, start, 0));
  assert_false (rcvmi_client_wait_gone (proc.pid, start, 1));
  assert_true (rcvmi_client_wait_gone (proc.pid, start + 1, 0));
  assert_true (rcvmi_client_wait_gone (0, start, 0));
  kill (proc.pid, SIGKILL);
  assert_true (rcvmi_client_wait_gone (proc.pid, start, 60000));
  rcvmi_proc_reap (&proc);
  assert_true (rcvmi_client_wait_gone (proc.pid, start, 0));
}

#define client_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_ok),
    cmocka_unit_test (test_error),
    cmocka_unit_test (test_monitor_leaves),
    cmocka_unit_test (test_last_words),
    cmocka_unit_test (test_time_out),
    cmocka_unit_test (test_time_out_with_news),
    cmocka_unit_test (test_stdio),
    cmocka_unit_test (test_no_memory),
    client_test (test_connect),
    client_test (test_no_monitor),
    client_test (test_odd_monitors),
    client_test (test_real_monitor),
    cmocka_unit_test (test_wait_gone),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
