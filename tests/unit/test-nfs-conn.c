/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volume server's connections: record marking, many and out of order, over a socket pair. */
#include "config.h"

#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nfs-server.h"

enum
{
  CALL = 40 /* bytes of a NULL call */
};

struct fixture
{
  struct nfs_daemon *d;
  pthread_t thread;
  int peer, control;
};

static void *
run (void *user)
{
  struct nfs_daemon *d = user;

  rcvmi_nfs_daemon_run (d, NULL);
  return NULL;
}

static int
set_up (void **state)
{
  static const uint8_t key[RCVMI_NFS_KEY] = { 1 };
  struct fixture *f = calloc (1, sizeof *f);
  int stream[2], control[2];

  f->d = rcvmi_nfs_daemon_new (key, 2, NULL);
  if (!f->d || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0
      || socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0
      || rcvmi_nfs_conn_add (f->d, stream[1], NULL) < 0 || rcvmi_nfs_control_start (f->d, control[1], false, NULL) < 0)
    return -1;
  f->peer = stream[0];
  f->control = control[0];
  *state = f;
  return pthread_create (&f->thread, NULL, run, f->d);
}

/* Who controls it goes: it ends. */
static int
tear_down (void **state)
{
  struct fixture *f = *state;

  close (f->peer);
  close (f->control);
  pthread_join (f->thread, NULL);
  rcvmi_nfs_daemon_free (f->d);
  free (f);
  return 0;
}

static void
put_call (uint8_t out[CALL], uint32_t xid)
{
  struct xdr_out x = { .pos = out, .end = out + CALL };

  xdr_put_u32 (&x, xid);
  xdr_put_u32 (&x, RPC_CALL);
  xdr_put_u32 (&x, RPC_VERSION);
  xdr_put_u32 (&x, NFS_PROGRAM);
  xdr_put_u32 (&x, NFS_VERSION);
  xdr_put_u32 (&x, NFS_NULL);
  xdr_put_u64 (&x, 0);
  xdr_put_u64 (&x, 0);
  assert_int_equal (x.pos - out, CALL);
}

static void
expect (int fd, uint32_t xid)
{
  uint8_t reply[28];

  read_full (fd, reply, sizeof reply);
  assert_int_equal (be32_load (reply), RPC_LAST_FRAGMENT | 24);
  assert_int_equal (be32_load (reply + 4), xid);
  assert_int_equal (be32_load (reply + 24), RPC_SUCCESS);
}

static void
send_fragment (int fd, const uint8_t *data, uint32_t len, bool last)
{
  uint8_t mark[4];

  be32_store (mark, len | (last ? RPC_LAST_FRAGMENT : 0));
  write_full (fd, mark, 4);
  if (len)
    write_full (fd, data, len);
}

#define CONN_TEST(name) static void name (void **state)

CONN_TEST (test_fragments)
{
  struct fixture *f = *state;
  uint8_t call[CALL];

  put_call (call, 5);
  for (uint32_t cut = 0; cut <= CALL; cut++)
    {
      send_fragment (f->peer, call, cut, false);
      send_fragment (f->peer, call + cut, CALL - cut, true);
      expect (f->peer, 5);
    }
  for (uint32_t i = 0; i < CALL; i++)
    send_fragment (f->peer, call + i, 1, i + 1 == CALL);
  expect (f->peer, 5);
  for (uint32_t i = 0; i < 1000; i++)
    send_fragment (f->peer, NULL, 0, false);
  send_fragment (f->peer, call, CALL, true);
  expect (f->peer, 5);
}

CONN_TEST (test_bytes)
{
  struct fixture *f = *state;
  uint8_t stream[4 + CALL];

  be32_store (stream, RPC_LAST_FRAGMENT | CALL);
  put_call (stream + 4, 6);
  for (size_t cut = 1; cut < sizeof stream; cut++)
    {
      write_full (f->peer, stream, cut);
      write_full (f->peer, stream + cut, sizeof stream - cut);
      expect (f->peer, 6);
    }
}

CONN_TEST (test_many_at_once)
{
  struct fixture *f = *state;
  uint8_t stream[100 * (4 + CALL)];

  for (uint32_t i = 0; i < 100; i++)
    {
      be32_store (stream + i * (4 + CALL), RPC_LAST_FRAGMENT | CALL);
      put_call (stream + i * (4 + CALL) + 4, i);
    }
  write_full (f->peer, stream, sizeof stream);
  for (uint32_t i = 0; i < 100; i++)
    expect (f->peer, i);
}

static void
expect_end (int fd)
{
  uint8_t byte;

  assert_int_equal (read (fd, &byte, 1), 0);
}

CONN_TEST (test_too_long)
{
  struct fixture *f = *state;
  uint8_t mark[4];

  be32_store (mark, UINT32_MAX);
  write_full (f->peer, mark, 4);
  expect_end (f->peer);
}

CONN_TEST (test_too_long_together)
{
  struct fixture *f = *state;
  uint8_t *data = calloc (1, 1 << 20), mark[4];

  send_fragment (f->peer, data, 1 << 20, false);
  be32_store (mark, 8192);
  write_full (f->peer, mark, 4);
  expect_end (f->peer);
  free (data);
}

CONN_TEST (test_no_call)
{
  struct fixture *f = *state;
  uint8_t reply[8] = { 0, 0, 0, 1, 0, 0, 0, RPC_REPLY };

  send_fragment (f->peer, reply, sizeof reply, true);
  expect_end (f->peer);
}

int
main (void)
{
#define T(name) cmocka_unit_test_setup_teardown (name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
    T (test_fragments), T (test_bytes),             T (test_many_at_once),
    T (test_too_long),  T (test_too_long_together), T (test_no_call),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
