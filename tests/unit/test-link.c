/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "link.h"

enum
{
  LIMIT = 1024 * 1024
};

/* A link, and the bare socket at its other end. */
struct ends
{
  struct rcvmi_link link;
  int peer;
};

static int
set_up (void **state)
{
  struct ends *x = calloc (1, sizeof *x);
  int pair[2];

  *state = x;
  if (!x || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  x->peer = pair[1];
  return rcvmi_link_init (&x->link, pair[0], "the peer", LIMIT, NULL);
}

static int
tear_down (void **state)
{
  struct ends *x = *state;

  rcvmi_link_clear (&x->link);
  cleanup_close (&x->peer);
  free (x);
  return 0;
}

#define LINK_TEST(name) static void name (void **state)

static size_t
make_frame (unsigned char *to, uint16_t type, uint32_t process, const void *data, size_t len)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = process };

  agent_header_pack (to, &h);
  if (len)
    memcpy (to + AGENT_HEADER, data, len);
  return AGENT_HEADER + len;
}

static void
peer_sends (struct ends *x, const void *data, size_t len)
{
  write_full (x->peer, data, len);
}

static void
fill (struct rcvmi_link *link)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_fill (link, &e), e);
}

static bool
next (struct rcvmi_link *link, struct agent_header *h, const unsigned char **payload)
{
  rcvm_error *e = NULL;
  int r = rcvmi_link_next (link, h, payload, &e);

  check_ok (r, e);
  return r;
}

LINK_TEST (test_takes_the_fd)
{
  struct ends *x = *state;

  assert_true (fcntl (x->link.fd, F_GETFL) & O_NONBLOCK);
  assert_false (fcntl (x->peer, F_GETFL) & O_NONBLOCK);
  fill (&x->link);
  assert_false (x->link.eof);
}

TEST (test_bad_fd)
{
  struct rcvmi_link link;
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_link_init (&link, 9999, "the peer", LIMIT, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "agent", "the peer");
  assert_int_equal (link.fd, -1);
  rcvmi_link_clear (&link);
}

/* Three frames, cut in two at every byte. */
LINK_TEST (test_split_at_every_byte)
{
  struct ends *x = *state;
  unsigned char bytes[256];
  size_t len = make_frame (bytes, 1, 10, "first", 5);

  len += make_frame (bytes + len, 2, 20, NULL, 0);
  len += make_frame (bytes + len, 3, 30, "the third one", 13);
  for (size_t cut = 0; cut <= len; cut++)
    {
      const unsigned char *payload;
      struct agent_header h;
      int n = 0;

      for (int part = 0; part < 2; part++)
        {
          peer_sends (x, part ? bytes + cut : bytes, part ? len - cut : cut);
          fill (&x->link);
          while (next (&x->link, &h, &payload))
            {
              n++;
              assert_int_equal (h.type, n);
              assert_int_equal (h.process, 10 * n);
              assert_int_equal (h.len, n == 1 ? 5 : n == 2 ? 0 : 13);
              assert_memory_equal (payload, n == 1 ? "first" : "the third one", h.len);
            }
        }
      assert_int_equal (n, 3);
    }
}

LINK_TEST (test_byte_by_byte)
{
  struct ends *x = *state;
  unsigned char bytes[64];
  const unsigned char *payload;
  struct agent_header h;
  size_t len = make_frame (bytes, 7, 8, "payload", 7);

  for (size_t i = 0; i < len; i++)
    {
      assert_false (next (&x->link, &h, &payload));
      peer_sends (x, bytes + i, 1);
      fill (&x->link);
    }
  assert_true (next (&x->link, &h, &payload));
  assert_memory_equal (payload, "payload", 7);
  assert_false (next (&x->link, &h, &payload));
}

LINK_TEST (test_over_long)
{
  struct ends *x = *state;
  unsigned char bytes[AGENT_HEADER];
  struct agent_header h = { .len = LIMIT + 1, .type = 1 };
  const unsigned char *payload;
  rcvm_error *e = NULL;

  agent_header_pack (bytes, &h);
  peer_sends (x, bytes, sizeof bytes);
  fill (&x->link);
  /* Refused by its header, before any of its payload is waited for or room is made for it. */
  assert_int_equal (rcvmi_link_next (&x->link, &h, &payload, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "the peer sent a malformed frame");
  assert_true (x->link.in_cap < LIMIT);
}

LINK_TEST (test_largest)
{
  struct ends *x = *state;
  autofree unsigned char *bytes = malloc (AGENT_HEADER + LIMIT);
  struct agent_header h = { .len = LIMIT, .type = 1 };
  const unsigned char *payload;
  size_t sent = 0, len = AGENT_HEADER + LIMIT;

  assert_non_null (bytes);
  agent_header_pack (bytes, &h);
  for (size_t i = 0; i < LIMIT; i++)
    bytes[AGENT_HEADER + i] = (unsigned char) (i * 31 >> 3);
  while (!next (&x->link, &h, &payload))
    {
      ssize_t n = send (x->peer, bytes + sent, len - sent, MSG_DONTWAIT);

      if (n > 0)
        sent += (size_t) n;
      fill (&x->link);
    }
  assert_int_equal (h.len, LIMIT);
  assert_memory_equal (payload, bytes + AGENT_HEADER, LIMIT);
}

LINK_TEST (test_reserved_bytes)
{
  struct ends *x = *state;
  unsigned char bytes[AGENT_HEADER];
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;

  make_frame (bytes, 1, 1, NULL, 0);
  bytes[6] = 1;
  peer_sends (x, bytes, sizeof bytes);
  fill (&x->link);
  assert_int_equal (rcvmi_link_next (&x->link, &h, &payload, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "malformed");
}

LINK_TEST (test_end_in_the_middle)
{
  struct ends *x = *state;
  unsigned char bytes[64];
  struct agent_header h;
  const unsigned char *payload;
  rcvm_error *e = NULL;

  make_frame (bytes, 1, 1, "12345678", 8);
  peer_sends (x, bytes, AGENT_HEADER + 4);
  close (steal_fd (&x->peer));
  fill (&x->link);
  assert_false (next (&x->link, &h, &payload));
  fill (&x->link);
  assert_true (x->link.eof);
  assert_false (next (&x->link, &h, &payload));
  assert_int_equal (rcvmi_link_wait (&x->link, -1, &h, &payload, &e), 0);
  assert_null (e);
}

/* More than the socket takes: the rest waits, and goes out in order when there is room. */
static void
note_pending (void *user)
{
  ++*(int *) user;
}

LINK_TEST (test_full_socket)
{
  struct ends *x = *state;
  autofree unsigned char *data = malloc (2 * LIMIT), *back = malloc (2 * LIMIT);
  int told = 0;
  size_t total = 0;
  rcvm_error *e = NULL;

  for (size_t i = 0; i < 2 * LIMIT; i++)
    data[i] = (unsigned char) (i >> 10 ^ i);
  x->link.on_pending = note_pending;
  x->link.user = &told;
  check_ok (rcvmi_link_send (&x->link, 1, 1, data, 10, &e), e);
  assert_int_equal (told, 0);
  check_ok (rcvmi_link_send (&x->link, 2, 2, data, 2 * LIMIT, &e), e);
  assert_int_equal (told, 1);
  assert_true (rcvmi_link_pending (&x->link) > LIMIT);
  check_ok (rcvmi_link_send (&x->link, 3, 3, "end", 3, &e), e);
  while (rcvmi_link_pending (&x->link) > 0)
    {
      ssize_t n = recv (x->peer, back, 65536, MSG_DONTWAIT);

      assert_true (n > 0);
      for (ssize_t i = 0; i < n; i++, total++)
        if (total >= 22 + AGENT_HEADER && total < 22 + AGENT_HEADER + 2 * LIMIT)
          assert_int_equal (back[i], data[total - 22 - AGENT_HEADER]);
      check_ok (rcvmi_link_flush (&x->link, &e), e);
    }
  /* The memory went with the bytes. */
  assert_int_equal (x->link.out_cap, 0);
  while (total < 22 + AGENT_HEADER + 2 * LIMIT + AGENT_HEADER + 3)
    {
      ssize_t n = recv (x->peer, back, 65536, 0);

      assert_true (n > 0);
      total += (size_t) n;
      if (total == 22 + AGENT_HEADER + 2 * LIMIT + AGENT_HEADER + 3)
        assert_memory_equal (back + n - 3, "end", 3);
    }
  assert_false (is_ready (x->peer, POLLIN));
}

/* The socket takes a part of the header only. */
LINK_TEST (test_cut_header)
{
  struct ends *x = *state;
  unsigned char bytes[AGENT_HEADER + 4], junk[4096] = { 0 };
  rcvm_error *e = NULL;
  size_t room = 0;
  ssize_t n;

  check_ok (rcvmi_link_send (&x->link, 5, 6, "data", 4, &e), e);
  read_full (x->peer, bytes, sizeof bytes);
  assert_memory_equal (bytes + AGENT_HEADER, "data", 4);
  while ((n = send (x->link.fd, junk, sizeof junk, MSG_DONTWAIT)) > 0)
    room += (size_t) n;
  /* Nothing fits: the whole frame waits. */
  check_ok (rcvmi_link_send (&x->link, 5, 6, "data", 4, &e), e);
  assert_int_equal (rcvmi_link_pending (&x->link), AGENT_HEADER + 4);
  for (; room > 0; room -= (size_t) n)
    {
      n = recv (x->peer, junk, room < sizeof junk ? room : sizeof junk, 0);
      assert_true (n > 0);
    }
  check_ok (rcvmi_link_flush (&x->link, &e), e);
  assert_int_equal (rcvmi_link_pending (&x->link), 0);
  read_full (x->peer, junk, sizeof bytes);
  assert_memory_equal (junk, bytes, sizeof bytes);
}

LINK_TEST (test_request_over_limit)
{
  struct ends *x = *state;
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_link_send (&x->link, 1, 1, "", AGENT_REQUEST_MAX + 1, &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "agent", "the peer");
  assert_false (is_ready (x->peer, POLLIN));
}

LINK_TEST (test_failed_record)
{
  struct ends *x = *state;
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;

  tlv_put_u32 (&w, 1, 1);
  w.failed = true;
  assert_int_equal (rcvmi_link_send_record (&x->link, 1, 1, &w, &e), RCVM_E_NOMEM);
  check_error (&e, RCVM_E_NOMEM, "agent", NULL);
  assert_null (w.data);
  assert_false (is_ready (x->peer, POLLIN));
}

/* What the peer said before it left is read, although nothing can be sent to it any more. */
LINK_TEST (test_last_words)
{
  struct ends *x = *state;
  unsigned char bytes[64];
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  peer_sends (x, bytes, make_frame (bytes, 9, 1, "farewell", 8));
  close (steal_fd (&x->peer));
  check_ok (rcvmi_link_send (&x->link, 1, 1, "x", 1, &e), e);
  check_ok (rcvmi_link_send (&x->link, 1, 1, "y", 1, &e), e);
  check_ok (rcvmi_link_flush (&x->link, &e), e);
  assert_int_equal (rcvmi_link_pending (&x->link), 0);
  assert_int_equal (rcvmi_link_wait (&x->link, -1, &h, &payload, &e), 1);
  assert_int_equal (h.type, 9);
  assert_memory_equal (payload, "farewell", 8);
  assert_int_equal (rcvmi_link_wait (&x->link, -1, &h, &payload, &e), 0);
  assert_true (x->link.eof);
  assert_null (e);
}

/* The same where bytes waited to be sent when it left. */
LINK_TEST (test_last_words_with_pending)
{
  struct ends *x = *state;
  autofree unsigned char *data = calloc (1, LIMIT);
  unsigned char bytes[64];
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  check_ok (rcvmi_link_send (&x->link, 1, 1, data, LIMIT, &e), e);
  assert_true (rcvmi_link_pending (&x->link) > 0);
  peer_sends (x, bytes, make_frame (bytes, 9, 1, NULL, 0));
  close (steal_fd (&x->peer));
  assert_int_equal (rcvmi_link_wait (&x->link, -1, &h, &payload, &e), 1);
  assert_int_equal (h.type, 9);
  assert_int_equal (rcvmi_link_wait (&x->link, -1, &h, &payload, &e), 0);
  assert_null (e);
}

LINK_TEST (test_wait_time_out)
{
  struct ends *x = *state;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_link_wait (&x->link, 0, &h, &payload, &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "agent", "the peer did not answer");
  assert_int_equal (rcvmi_link_wait (&x->link, 5, &h, &payload, &e), RCVM_E_TIMEOUT);
  check_error (&e, RCVM_E_TIMEOUT, "agent", "5 ms");
}

LINK_TEST (test_wait_sends_meanwhile)
{
  struct ends *x = *state;
  autofree unsigned char *data = calloc (1, LIMIT), *back = malloc (LIMIT);
  unsigned char bytes[AGENT_HEADER];
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  pid_t pid;

  check_ok (rcvmi_link_send (&x->link, 1, 1, data, LIMIT, &e), e);
  assert_true (rcvmi_link_pending (&x->link) > 0);
  pid = fork ();
  if (pid == 0)
    {
      /* Answers when it has the whole request. */
      size_t left = AGENT_HEADER + LIMIT;

      while (left > 0)
        {
          ssize_t n = read (x->peer, back, left < LIMIT ? left : LIMIT);

          if (n <= 0)
            _exit (1);
          left -= (size_t) n;
        }
      make_frame (bytes, 4, 4, NULL, 0);
      _exit (write (x->peer, bytes, sizeof bytes) != sizeof bytes);
    }
  assert_int_equal (rcvmi_link_wait (&x->link, 60000, &h, &payload, &e), 1);
  assert_int_equal (h.type, 4);
  assert_int_equal (rcvmi_link_pending (&x->link), 0);
}

/* Fds. */

static bool
same_file (int a, int b)
{
  struct stat x, y;

  return fstat (a, &x) == 0 && fstat (b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static void
open_receiver (struct ends *x, struct rcvmi_link *receiver)
{
  assert_int_equal (rcvmi_link_init (receiver, steal_fd (&x->peer), "the sender", LIMIT, NULL), 0);
  receiver->pass_fds = true;
}

LINK_TEST (test_fds)
{
  struct ends *x = *state;
  struct rcvmi_link receiver;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int fds[4], before;

  for (int i = 0; i < 4; i += 2)
    assert_int_equal (pipe2 (fds + i, O_CLOEXEC), 0);
  open_receiver (x, &receiver);
  before = count_fds ();
  check_ok (rcvmi_link_send_fds (&x->link, 1, 2, "hello", 5, fds, 4, &e), e);
  while (!next (&receiver, &h, &payload))
    fill (&receiver);
  assert_int_equal (h.process, 2);
  assert_memory_equal (payload, "hello", 5);
  assert_int_equal (receiver.n_fds, 4);
  for (int i = 0; i < 4; i++)
    {
      assert_true (same_file (receiver.fds[i], fds[i]));
      assert_int_equal (fcntl (receiver.fds[i], F_GETFD), FD_CLOEXEC);
    }
  /* One is taken, the rest go with the link. */
  close (steal_fd (&receiver.fds[1]));
  assert_int_equal (count_fds (), before + 3);
  rcvmi_link_clear (&receiver);
  assert_int_equal (count_fds (), before - 1);
  for (int i = 0; i < 4; i++)
    close (fds[i]);
}

LINK_TEST (test_fds_with_big_payload)
{
  struct ends *x = *state;
  struct rcvmi_link receiver;
  autofree unsigned char *data = malloc (LIMIT);
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int fd = 1;

  memset (data, 'z', LIMIT);
  open_receiver (x, &receiver);
  check_ok (rcvmi_link_send_fds (&x->link, 1, 2, data, LIMIT, &fd, 1, &e), e);
  while (!next (&receiver, &h, &payload))
    {
      fill (&receiver);
      check_ok (rcvmi_link_flush (&x->link, &e), e);
    }
  assert_int_equal (h.len, LIMIT);
  assert_memory_equal (payload, data, LIMIT);
  assert_int_equal (receiver.n_fds, 1);
  rcvmi_link_clear (&receiver);
}

/* Whoever sends fds without end gets no further than four. */
LINK_TEST (test_surplus_fds)
{
  struct ends *x = *state;
  struct rcvmi_link receiver;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int fds[4] = { 0, 0, 0, 0 }, before;

  open_receiver (x, &receiver);
  before = count_fds ();
  for (int i = 0; i < 8; i++)
    {
      check_ok (rcvmi_link_send_fds (&x->link, 1, 2, "x", 1, fds, 4, &e), e);
      while (!next (&receiver, &h, &payload))
        fill (&receiver);
      assert_in_range (count_fds (), before, before + RCVMI_LINK_FDS);
    }
  rcvmi_link_clear (&receiver);
  assert_int_equal (count_fds (), before - 1);
}

/* A peer that passes fds where none are wanted. */
LINK_TEST (test_unwanted_fds)
{
  struct ends *x = *state;
  struct rcvmi_link receiver;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int fd = 0, before;

  open_receiver (x, &receiver);
  receiver.pass_fds = false;
  before = count_fds ();
  check_ok (rcvmi_link_send_fds (&x->link, 1, 2, "x", 1, &fd, 1, &e), e);
  while (!next (&receiver, &h, &payload))
    fill (&receiver);
  assert_int_equal (receiver.n_fds, 0);
  assert_int_equal (count_fds (), before);
  rcvmi_link_clear (&receiver);
}

LINK_TEST (test_fds_over_limit)
{
  struct ends *x = *state;
  rcvm_error *e = NULL;
  int fds[5] = { 0 };

  assert_int_equal (rcvmi_link_send_fds (&x->link, 1, 2, "x", 1, fds, 5, &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "agent", NULL);
  assert_int_equal (rcvmi_link_send_fds (&x->link, 1, 2, "x", 1, fds, 0, &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "agent", NULL);
  assert_int_equal (rcvmi_link_send_fds (&x->link, 1, 2, "x", 1, (int[]){ 9999 }, 1, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "broke while sending");
}

#define link_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    link_test (test_takes_the_fd),
    cmocka_unit_test (test_bad_fd),
    link_test (test_split_at_every_byte),
    link_test (test_byte_by_byte),
    link_test (test_over_long),
    link_test (test_largest),
    link_test (test_reserved_bytes),
    link_test (test_end_in_the_middle),
    link_test (test_full_socket),
    link_test (test_cut_header),
    link_test (test_request_over_limit),
    link_test (test_failed_record),
    link_test (test_last_words),
    link_test (test_last_words_with_pending),
    link_test (test_wait_time_out),
    link_test (test_wait_sends_meanwhile),
    link_test (test_fds),
    link_test (test_fds_with_big_payload),
    link_test (test_surplus_fds),
    link_test (test_unwanted_fds),
    link_test (test_fds_over_limit),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
