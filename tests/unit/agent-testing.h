/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest, for tests of the host's side of the agent protocol: a script at the other end of a socket. */
#ifndef AGENT_TESTING_H
#define AGENT_TESTING_H

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

static inline void __attribute__ ((format (printf, 2, 3)))
hear (struct bench *b, const char *fmt, ...)
{
  size_t len = strlen (b->heard);
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (b->heard + len, sizeof b->heard - len, fmt, ap);
  va_end (ap);
  rcvmi_ev_stop (b->ev);
}

static inline void
hear_error (struct bench *b, const char *what, rcvm_error *err)
{
  assert_non_null (err);
  b->last_code = rcvm_error_get_code (err);
  hear (b, "%s %s %s %d %d %s;", what, rcvm_code_name (b->last_code), rcvm_error_get_stage (err),
        rcvm_error_get_errno (err), rcvm_error_get_exit_code (err), rcvm_error_get_message (err));
  rcvm_error_free (err);
}

static inline void
on_hello (void *user, const char *kernel, uint64_t boot_usec)
{
  hear (user, "hello %s %llu;", kernel, (unsigned long long) boot_usec);
}

static inline void
on_ready (void *user)
{
  hear (user, "ready;");
}

static inline void
on_setup_failed (void *user, rcvm_error *err)
{
  hear_error (user, "setup failed", err);
}

static inline void
on_goodbye (void *user)
{
  hear (user, "goodbye;");
}

static inline void
on_broken (void *user, rcvm_error *err)
{
  hear_error (user, "broken", err);
}

static inline void
on_name_query (void *user, uint32_t number, const unsigned char *message, size_t len)
{
  hear (user, "asked %u %zu %02x;", number, len, message[0]);
}

static inline void
on_frozen (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err)
{
  if (err)
    hear_error (user, "not frozen", err);
  else
    hear (user, "frozen %u %llu;", number, (unsigned long long) clock_nsec);
}

static inline void
on_thawed (void *user, uint32_t number, rcvm_error *err)
{
  if (err)
    hear_error (user, "not thawed", err);
  else
    hear (user, "thawed %u;", number);
}

static inline void
on_changed (void *user)
{
  hear (user, "changed;");
}

static inline void
on_disk_answer (void *user, uint32_t number, rcvm_error *err)
{
  if (err)
    hear_error (user, "no disk", err);
  else
    hear (user, "disk %u;", number);
}

static inline void
on_quiesced (void *user, rcvm_error *err)
{
  if (err)
    hear_error (user, "not quiesced", err);
  else
    hear (user, "quiesced;");
}

static inline void
on_gone_on (void *user, rcvm_error *err)
{
  if (err)
    hear_error (user, "not gone on", err);
  else
    hear (user, "gone on;");
}

static const struct rcvmi_agent_ops ops = { .hello = on_hello,
                                            .ready = on_ready,
                                            .setup_failed = on_setup_failed,
                                            .goodbye = on_goodbye,
                                            .name_query = on_name_query,
                                            .frozen = on_frozen,
                                            .thawed = on_thawed,
                                            .changed = on_changed,
                                            .disk_answer = on_disk_answer,
                                            .quiesced = on_quiesced,
                                            .gone_on = on_gone_on,
                                            .broken = on_broken };

static inline void
on_started (void *user, uint32_t pid)
{
  hear (user, "started %u;", pid);
}

static inline void
on_failed (void *user, rcvm_error *err)
{
  hear_error (user, "failed", err);
}

static inline void
on_exited (void *user, int code, int signum)
{
  hear (user, "exited %d %d;", code, signum);
}

static const struct rcvmi_agent_process_ops process_ops
    = { .started = on_started, .failed = on_failed, .exited = on_exited };

static inline void
on_log (void *user, int level, const char *stage, const char *message)
{
  hear (user, "log %d %s %s;", level, stage, message);
}

static inline int
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

static inline int
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
static inline void
expect (struct bench *b, const char *wanted)
{
  rcvm_error *e = NULL;

  while (strlen (b->heard) < strlen (wanted))
    check_ok (rcvmi_ev_run (b->ev, &e), e);
  assert_string_equal (b->heard, wanted);
  b->heard[0] = 0;
}

static inline void
stop (void *user, uint32_t events)
{
  (void) events;
  rcvmi_ev_stop (user);
}

/* The callbacks that are due. */
static inline void
run_once (struct bench *b)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_ev_add_timer (b->ev, 0, stop, b->ev, &e) ? 0 : -1, e);
  check_ok (rcvmi_ev_run (b->ev, &e), e);
}

/* As expect, for a link that breaks: the message has `part`. */
static inline void
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

static inline void
say (struct bench *b, uint16_t type, uint32_t process, const void *data, size_t len)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_send (&b->guest, type, process, data, len, &e), e);
}

static inline void
say_record (struct bench *b, uint16_t type, uint32_t process, struct tlv_writer *w)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_send_record (&b->guest, type, process, w, &e), e);
}

static inline void
say_number (struct bench *b, uint16_t type, uint32_t process, uint16_t tag, uint32_t value)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, tag, value);
  say_record (b, type, process, &w);
}

static inline void
say_hello (struct bench *b, uint32_t version)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_VERSION, version);
  tlv_put_str (&w, A_KERNEL, "6.1.0");
  tlv_put_u64 (&w, A_BOOT_USEC, 1234567);
  say_record (b, AGENT_HELLO, 0, &w);
}

static inline void
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
static inline void
hears (struct bench *b, uint16_t type, uint32_t process, struct agent_header *h, const unsigned char **payload)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_fill (&b->guest, &e), e);
  assert_int_equal (rcvmi_link_next (&b->guest, h, payload, &e), 1);
  assert_int_equal (h->type, type);
  assert_int_equal (h->process, process);
}

static inline bool
hears_maybe (struct bench *b, struct agent_header *h)
{
  const unsigned char *payload;

  assert_int_equal (rcvmi_link_fill (&b->guest, NULL), 0);
  return rcvmi_link_next (&b->guest, h, &payload, NULL);
}

static inline void
hears_nothing (struct bench *b)
{
  struct agent_header h;

  assert_false (hears_maybe (b, &h));
}

static inline void
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
static inline void
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

static inline uint32_t
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

static inline uint32_t
run_process (struct bench *b, int in, int out, int err_fd)
{
  uint32_t number = exec (b, in, out, err_fd);

  say_number (b, AGENT_STARTED, number, A_PID, 77);
  expect (b, "started 77;");
  return number;
}

/* What the guest says breaks the link. */
static inline void
check_refused (void **state, uint16_t type, uint32_t process, const void *data, size_t len, const char *part)
{
  struct bench *b = *state;

  say (b, type, process, data, len);
  expect_broken (b, RCVM_E_PROTOCOL, part);
}

#define agent_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

#endif
