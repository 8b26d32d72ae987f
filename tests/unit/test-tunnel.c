/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "tunnel.h"

/* Tunnels between a guest, which the tests are, and whoever is reached, which they are as well. */
struct fixture
{
  uint32_t share;
  struct rcvmi_ev *ev;
  struct rcvmi_tunnels *tunnels;
  int guest;                  /* blocking */
  int far[AGENT_TUNNELS_MAX]; /* in the order of the connections */
  unsigned n_far;
  bool refuse;
  rcvm_error *broken;
};

static int
on_connect (void *user, uint32_t share)
{
  struct fixture *x = user;
  int pair[2];

  if (x->refuse)
    return -1;
  x->share = share;
  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  x->far[x->n_far++] = pair[1];
  return pair[0];
}

static void
on_progress (void *user)
{
  rcvmi_ev_stop (((struct fixture *) user)->ev);
}

static void
on_broken (void *user, rcvm_error *err)
{
  struct fixture *x = user;

  assert_null (x->broken);
  x->broken = err;
  rcvmi_ev_stop (x->ev);
}

static const struct rcvmi_tunnels_ops ops = { .connect = on_connect, .progress = on_progress, .broken = on_broken };

static int
set_up (void **state)
{
  struct fixture *x = calloc (1, sizeof *x);
  int pair[2];

  *state = x;
  if (!x || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  x->guest = pair[1];
  x->ev = rcvmi_ev_new (NULL);
  x->tunnels = rcvmi_tunnels_new (x->ev, pair[0], &ops, x, NULL);
  return x->tunnels ? 0 : -1;
}

static int
tear_down (void **state)
{
  struct fixture *x = *state;

  rcvmi_tunnels_free (x->tunnels);
  rcvmi_ev_free (x->ev);
  close (x->guest);
  for (unsigned i = 0; i < x->n_far; i++)
    close (x->far[i]);
  rcvm_error_free (x->broken);
  free (x);
  return 0;
}

#define TUNNEL_TEST(name) static void name (void **state)

static void
send_frame (struct fixture *x, uint16_t type, uint32_t number, const void *data, size_t len)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = number };
  unsigned char bytes[AGENT_HEADER];

  agent_header_pack (bytes, &h);
  write_full (x->guest, bytes, sizeof bytes);
  if (len)
    write_full (x->guest, data, len);
}

static void
send_window (struct fixture *x, uint32_t number, uint32_t bytes)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_BYTES, bytes);
  send_frame (x, AGENT_TUNNEL_WINDOW, number, w.data, w.len);
  tlv_writer_free (&w);
}

/* Until a frame was taken, or the stream broke. */
static void
run (struct fixture *x)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_ev_run (x->ev, &e), e);
}

static void
stop (void *user, uint32_t events)
{
  (void) events;
  rcvmi_ev_stop (user);
}

static void
run_until (struct fixture *x, int fd, uint32_t events)
{
  rcvm_error *e = NULL;
  struct rcvmi_ev_source *s = rcvmi_ev_add (x->ev, fd, events, stop, x->ev, &e);

  check_ok (s ? 0 : -1, e);
  run (x);
  rcvmi_ev_remove (s);
}

/* What does not fit into the socket is sent meanwhile. */
static void
read_running (struct fixture *x, void *to, size_t len)
{
  unsigned char *p = to;

  while (len)
    {
      ssize_t n;

      run_until (x, x->guest, EPOLLIN);
      n = recv (x->guest, p, len, MSG_DONTWAIT);
      if (n < 0)
        continue;
      assert_true (n > 0);
      p += n;
      len -= (size_t) n;
    }
}

/* The next frame to the guest; returns the length of its payload. */
static size_t
receive (struct fixture *x, uint16_t type, uint32_t number, unsigned char *payload)
{
  unsigned char bytes[AGENT_HEADER];
  struct agent_header h;

  read_running (x, bytes, sizeof bytes);
  assert_true (agent_header_unpack (&h, bytes));
  assert_int_equal (h.type, type);
  assert_int_equal (h.process, number);
  assert_true (h.len <= AGENT_DATA_MAX);
  read_running (x, payload, h.len);
  return h.len;
}

static void
open_tunnel (struct fixture *x, uint32_t number)
{
  send_frame (x, AGENT_CONNECT, number, NULL, 0);
  run (x);
  assert_null (x->broken);
}

static void
breaks (struct fixture *x, const char *why)
{
  while (!x->broken)
    run (x);
  assert_int_equal (rcvm_error_get_code (x->broken), RCVM_E_PROTOCOL);
  assert_non_null (strstr (rcvm_error_get_message (x->broken), why));
}

TUNNEL_TEST (test_both_ways)
{
  struct fixture *x = *state;
  unsigned char payload[AGENT_DATA_MAX];

  open_tunnel (x, 3);
  open_tunnel (x, 0);
  assert_int_equal (x->n_far, 2);
  send_frame (x, AGENT_TUNNEL_DATA, 0, "zero", 4);
  send_frame (x, AGENT_TUNNEL_DATA, 3, "three", 5);
  run_until (x, x->far[0], EPOLLIN);
  run_until (x, x->far[1], EPOLLIN);
  read_full (x->far[0], payload, 5);
  assert_memory_equal (payload, "three", 5);
  read_full (x->far[1], payload, 4);
  assert_memory_equal (payload, "zero", 4);
  write_full (x->far[0], "back", 4);
  assert_int_equal (receive (x, AGENT_TUNNEL_DATA, 3, payload), 4);
  assert_memory_equal (payload, "back", 4);
}

/* What the far end has said before it closes arrives before the CLOSE; the number is free when the guest has said it. */
TUNNEL_TEST (test_far_closes)
{
  struct fixture *x = *state;
  unsigned char payload[AGENT_DATA_MAX];

  open_tunnel (x, 1);
  write_full (x->far[0], "last", 4);
  close (x->far[0]);
  x->far[0] = -1;
  assert_int_equal (receive (x, AGENT_TUNNEL_DATA, 1, payload), 4);
  assert_int_equal (receive (x, AGENT_TUNNEL_CLOSE, 1, payload), 0);
  /* It was under way. */
  send_frame (x, AGENT_TUNNEL_DATA, 1, "late", 4);
  send_frame (x, AGENT_TUNNEL_CLOSE, 1, NULL, 0);
  open_tunnel (x, 1);
  run_until (x, x->guest, EPOLLOUT);
  assert_null (x->broken);
  assert_int_equal (x->n_far, 2);
}

TUNNEL_TEST (test_guest_closes)
{
  struct fixture *x = *state;
  unsigned char payload[AGENT_DATA_MAX];
  char c;

  open_tunnel (x, 5);
  send_frame (x, AGENT_TUNNEL_DATA, 5, "x", 1);
  send_frame (x, AGENT_TUNNEL_CLOSE, 5, NULL, 0);
  assert_int_equal (receive (x, AGENT_TUNNEL_CLOSE, 5, payload), 0);
  read_full (x->far[0], &c, 1);
  assert_int_equal (read (x->far[0], &c, 1), 0);
}

TUNNEL_TEST (test_refused)
{
  struct fixture *x = *state;
  unsigned char payload[AGENT_DATA_MAX];

  x->refuse = true;
  send_frame (x, AGENT_CONNECT, 2, NULL, 0);
  assert_int_equal (receive (x, AGENT_TUNNEL_CLOSE, 2, payload), 0);
  assert_null (x->broken);
}

/* The far end takes nothing: what the guest may send is kept, in order, and credit comes with what is passed on. */
TUNNEL_TEST (test_slow_far)
{
  struct fixture *x = *state;
  static unsigned char block[AGENT_DATA_MAX];
  unsigned char payload[AGENT_DATA_MAX];
  size_t total = 0, given = 0;

  open_tunnel (x, 0);
  for (size_t sent = 0; sent < AGENT_TUNNEL_CREDIT; sent += sizeof block)
    {
      memset (block, (int) (sent / sizeof block), sizeof block);
      send_frame (x, AGENT_TUNNEL_DATA, 0, block, sizeof block);
      run (x);
    }
  assert_null (x->broken);
  while (total < AGENT_TUNNEL_CREDIT)
    {
      run_until (x, x->far[0], EPOLLIN);
      read_full (x->far[0], payload, 4096);
      for (size_t i = 0; i < 4096; i++)
        assert_int_equal (payload[i], (total + i) / sizeof block);
      total += 4096;
    }
  while (given < AGENT_TUNNEL_CREDIT)
    {
      size_t len = receive (x, AGENT_TUNNEL_WINDOW, 0, payload);
      struct tlv_reader r;
      struct tlv_field f;

      tlv_reader_init (&r, payload, len);
      assert_true (tlv_next (&r, &f));
      given += tlv_get_u32 (&r, &f);
    }
  assert_int_equal (given, AGENT_TUNNEL_CREDIT);
}

/* The guest takes nothing: no more than it has allowed is read of the far end. */
TUNNEL_TEST (test_credit)
{
  struct fixture *x = *state;
  unsigned char payload[AGENT_DATA_MAX];
  size_t total = 0, written = 0;

  open_tunnel (x, 0);
  fcntl (x->far[0], F_SETFL, O_NONBLOCK);
  memset (payload, 7, sizeof payload);
  while (total < AGENT_TUNNEL_CREDIT)
    {
      ssize_t n = write (x->far[0], payload, sizeof payload);

      written += n > 0 ? (size_t) n : 0;
      total += receive (x, AGENT_TUNNEL_DATA, 0, payload);
    }
  assert_int_equal (total, AGENT_TUNNEL_CREDIT);
  while (written == total)
    {
      ssize_t n = write (x->far[0], payload, sizeof payload);

      written += n > 0 ? (size_t) n : 0;
    }
  /* A frame for another tunnel overtakes what is not allowed. */
  open_tunnel (x, 1);
  write_full (x->far[1], "y", 1);
  assert_int_equal (receive (x, AGENT_TUNNEL_DATA, 1, payload), 1);
  send_window (x, 0, 10);
  assert_int_equal (receive (x, AGENT_TUNNEL_DATA, 0, payload), 10);
}

TUNNEL_TEST (test_too_much)
{
  struct fixture *x = *state;
  static unsigned char block[AGENT_DATA_MAX];

  open_tunnel (x, 0);
  for (size_t sent = 0; sent < AGENT_TUNNEL_CREDIT; sent += sizeof block)
    {
      send_frame (x, AGENT_TUNNEL_DATA, 0, block, sizeof block);
      run (x);
    }
  assert_null (x->broken);
  send_frame (x, AGENT_TUNNEL_DATA, 0, "x", 1);
  breaks (x, "sent more through a tunnel than it may");
}

TUNNEL_TEST (test_not_open)
{
  send_frame (*state, AGENT_TUNNEL_DATA, 9, "x", 1);
  breaks (*state, "of tunnel 9, which is not open");
}

TUNNEL_TEST (test_whom)
{
  struct fixture *x = *state;
  struct tlv_writer w = TLV_WRITER_INIT;

  x->share = 5;
  open_tunnel (x, 1);
  assert_int_equal (x->share, 0);
  tlv_put_u32 (&w, A_SHARE, 3);
  send_frame (x, AGENT_CONNECT, 2, w.data, w.len);
  run (x);
  assert_null (x->broken);
  assert_int_equal (x->share, 3);
  send_frame (x, AGENT_CONNECT, 3, w.data, w.len - 1);
  tlv_writer_free (&w);
  breaks (x, "tunnel 3 with a malformed record");
}

TUNNEL_TEST (test_twice)
{
  open_tunnel (*state, 9);
  send_frame (*state, AGENT_CONNECT, 9, NULL, 0);
  breaks (*state, "opened tunnel 9 twice");
}

TUNNEL_TEST (test_too_many)
{
  for (uint32_t i = 0; i < AGENT_TUNNELS_MAX; i++)
    open_tunnel (*state, i * 1000);
  send_frame (*state, AGENT_CONNECT, 7, NULL, 0);
  breaks (*state, "more than 16 tunnels");
}

TUNNEL_TEST (test_wrong_window)
{
  open_tunnel (*state, 0);
  send_window (*state, 0, 1);
  breaks (*state, "a wrong window");
}

TUNNEL_TEST (test_empty)
{
  open_tunnel (*state, 0);
  send_frame (*state, AGENT_TUNNEL_DATA, 0, NULL, 0);
  breaks (*state, "an empty frame");
}

TUNNEL_TEST (test_other_frame)
{
  open_tunnel (*state, 0);
  send_frame (*state, AGENT_STDOUT, 0, "x", 1);
  breaks (*state, "a frame of type");
}

/* The VMM has ended: that is for others to say. */
TUNNEL_TEST (test_end)
{
  struct fixture *x = *state;

  open_tunnel (x, 0);
  shutdown (x->guest, SHUT_RDWR);
  run (x);
  assert_null (x->broken);
}

#undef TUNNEL_TEST
#define TUNNEL_TEST(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    TUNNEL_TEST (test_both_ways),  TUNNEL_TEST (test_far_closes), TUNNEL_TEST (test_guest_closes),
    TUNNEL_TEST (test_refused),    TUNNEL_TEST (test_slow_far),   TUNNEL_TEST (test_credit),
    TUNNEL_TEST (test_too_much),   TUNNEL_TEST (test_not_open),   TUNNEL_TEST (test_whom),      TUNNEL_TEST (test_twice),
    TUNNEL_TEST (test_too_many),   TUNNEL_TEST (test_wrong_window), TUNNEL_TEST (test_empty),
    TUNNEL_TEST (test_other_frame), TUNNEL_TEST (test_end),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
