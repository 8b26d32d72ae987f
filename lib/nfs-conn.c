/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections: record marking (RFC 5531, section 11), calls in, replies out in whatever order they get
 * ready.
 *
 * What is received goes to one buffer first, and whole records are worked on where they lie.  A record of
 * which a part is still to come gets a buffer of its own, and the rest is received into that: data of a
 * WRITE is moved once at most.  A client that does not take its replies is not read from until it does.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs-conn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"

static void
finish (struct nfs_conn *n, struct nfs_call *c, struct nfs_drc_entry *remembered)
{
  struct nfs_daemon *d = n->daemon;

  if (!c->answered)
    rcvmi_nfs_stats_add (&d->stats, c, rcvmi_clock_usec ());
  else if (c->prog != NFSACL_PROGRAM)
    d->stats.garbage++;
  if (remembered)
    rcvmi_nfs_drc_answer (remembered, c->reply);
  rcvmi_nfs_conn_queue (n, c->reply);
}

/* The answer of before; if it is still being worked on, nothing now: it goes out here when it is there. */
static bool
answer_again (struct nfs_conn *n, struct nfs_call *c, struct nfs_drc_entry *e)
{
  struct nfs_daemon *d = n->daemon;
  struct nfs_buf *b;

  d->stats.repeated++;
  if (e->job)
    {
      if (e->job->conn != n)
        {
          struct nfs_conn *old = e->job->conn;

          old->in_flight--;
          rcvmi_nfs_conn_watch (old);
          rcvmi_nfs_conn_drop (old);
          e->job->conn = n;
          n->in_flight++;
        }
      rcvmi_nfs_buf_free (&d->core->bufs, c->reply);
      return true;
    }
  b = rcvmi_nfs_buf_new (&d->core->bufs, e->len);
  rcvmi_nfs_buf_free (&d->core->bufs, c->reply);
  if (!b)
    return true;
  memcpy (b->data, e->reply, e->len);
  b->len = e->len;
  return rcvmi_nfs_conn_queue (n, b);
}

/* To the workers.  The record goes along: `record` if it has a buffer of its own, else a copy. */
static bool
detach (struct nfs_conn *n, struct nfs_call *c, struct nfs_buf **record, struct nfs_drc_entry *remembered)
{
  struct nfs_daemon *d = n->daemon;
  struct nfs_job *job = calloc (1, sizeof *job);
  struct nfs_buf *copy = NULL;

  if (job && !*record)
    copy = rcvmi_nfs_buf_new (&d->core->bufs, c->len);
  if (!job || (!*record && !copy))
    {
      free (job);
      return false;
    }
  job->call = *c;
  job->conn = n;
  job->remembered = remembered;
  job->record = *record ? *record : copy;
  *record = NULL;
  if (copy)
    {
      memcpy (copy->data, c->record, c->len);
      job->call.body = copy->data + (c->body - c->record);
      job->call.record = copy->data;
    }
  if (remembered)
    remembered->job = job;
  n->in_flight++;
  d->in_flight++;
  rcvmi_nfs_pool_submit (d->pool, job);
  return true;
}

void
rcvmi_nfs_conn_done (struct nfs_daemon *d, struct nfs_job *job)
{
  struct nfs_conn *n = job->conn;

  n->in_flight--;
  d->in_flight--;
  finish (n, &job->call, job->remembered);
  rcvmi_nfs_buf_free (&d->core->bufs, job->record);
  free (job);
  if (!n->gone && rcvmi_nfs_conn_flush (n))
    rcvmi_nfs_conn_watch (n);
  rcvmi_nfs_conn_drop (n);
  rcvmi_nfs_daemon_progress (d);
}

/* A whole record.  `own`: its buffer, taken over where it is needed longer.  False: the connection is
   closed. */
static bool
take_record (struct nfs_conn *n, const uint8_t *data, size_t len, struct nfs_buf **own, int64_t now)
{
  struct nfs_daemon *d = n->daemon;
  struct nfs_call c;
  struct nfs_drc_entry *remembered = NULL;
  enum nfs_outcome outcome;
  bool is_new = true;

  c.server = d->core;
  c.thread = d->thread;
  c.record = data;
  c.len = len;
  c.arrived = now;
  c.may_send_file = true;
  if (rcvmi_nfs_rpc_decode (&c) == NFS_DROP)
    {
      /* Not even a call: whoever that is, there is nothing to answer. */
      d->stats.garbage++;
      rcvmi_nfs_conn_close (n);
      return false;
    }
  if (rcvmi_nfs_rpc_is_unrepeatable (&c))
    {
      remembered = rcvmi_nfs_drc_find (&d->drc, &c, &is_new);
      if (!is_new)
        return answer_again (n, &c, remembered);
    }
  if (!c.answered)
    {
      outcome = rcvmi_nfs_rpc_run (d->thread, &c);
      c.may_send_file = false;
      if (outcome == NFS_DETACH && detach (n, &c, own, remembered))
        return true;
      if (outcome == NFS_DETACH)
        {
          /* No memory: it is done here, whatever it waits for. */
          d->thread->worker = true;
          rcvmi_nfs_rpc_run (d->thread, &c);
          d->thread->worker = false;
        }
    }
  finish (n, &c, remembered);
  return !n->gone;
}

/* Makes room in the record's buffer for the fragment that is coming. */
static bool
grow_record (struct nfs_conn *n)
{
  struct nfs_bufs *bufs = &n->daemon->core->bufs;
  size_t have = n->record ? n->record->len : 0, need = have + n->frag_left;
  struct nfs_buf *b;

  if (need > NFS_RECORD_MAX)
    return false;
  if (n->record && n->record->cap >= need)
    return true;
  b = rcvmi_nfs_buf_new (bufs, need ? need : 1);
  if (!b)
    return false;
  if (have)
    memcpy (b->data, n->record->data, have);
  b->len = have;
  rcvmi_nfs_buf_free (bufs, n->record);
  n->record = b;
  return true;
}

/* The fragment is complete. */
static bool
end_fragment (struct nfs_conn *n, int64_t now)
{
  struct nfs_buf *own;
  bool ok;

  n->mark_len = 0;
  if (!n->last)
    return true;
  own = n->record;
  n->record = NULL;
  ok = take_record (n, own->data, own->len, &own, now);
  rcvmi_nfs_buf_free (&n->daemon->core->bufs, own);
  return ok;
}

/* False: the connection is closed. */
static bool
take_bytes (struct nfs_conn *n, const uint8_t *data, size_t len, int64_t now)
{
  while (len > 0)
    {
      size_t part;

      if (n->mark_len < 4)
        {
          n->mark[n->mark_len++] = *data++;
          len--;
          if (n->mark_len < 4)
            continue;
          n->frag_left = be32_load (n->mark) & ~RPC_LAST_FRAGMENT;
          n->last = be32_load (n->mark) & RPC_LAST_FRAGMENT;
          if (n->last && !n->record && n->frag_left <= len && n->frag_left > 0)
            {
              struct nfs_buf *none = NULL;

              n->mark_len = 0;
              if (!take_record (n, data, n->frag_left, &none, now))
                return false;
              data += n->frag_left;
              len -= n->frag_left;
              continue;
            }
          if (!grow_record (n))
            {
              n->daemon->stats.garbage++;
              rcvmi_nfs_conn_close (n);
              return false;
            }
        }
      part = len < n->frag_left ? len : n->frag_left;
      memcpy (n->record->data + n->record->len, data, part);
      n->record->len += part;
      n->frag_left -= (uint32_t) part;
      data += part;
      len -= part;
      if (n->frag_left == 0 && !end_fragment (n, now))
        return false;
    }
  return true;
}

/* The rest of a fragment goes to its place, and what follows to the common buffer. */
static bool
receive (struct nfs_conn *n, bool *more)
{
  struct nfs_daemon *d = n->daemon;
  uint32_t direct = n->mark_len == 4 ? n->frag_left : 0;
  struct iovec iov[2] = { { NULL, direct }, { d->scratch, SCRATCH } };
  ssize_t got;
  int64_t now;

  *more = false;
  if (direct)
    iov[0].iov_base = n->record->data + n->record->len;
  got = direct ? readv (n->fd, iov, 2) : recv (n->fd, d->scratch, SCRATCH, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (got <= 0)
    {
      rcvmi_nfs_conn_close (n);
      return false;
    }
  *more = (size_t) got >= direct + SCRATCH / 2;
  now = n->active = rcvmi_clock_usec ();
  if (direct)
    {
      uint32_t part = (size_t) got < direct ? (uint32_t) got : direct;

      n->record->len += part;
      n->frag_left -= part;
      got -= part;
      if (n->frag_left > 0)
        return true;
      if (!end_fragment (n, now))
        return false;
    }
  return take_bytes (n, d->scratch, (size_t) got, now);
}

static void
on_conn (void *user, uint32_t events)
{
  struct nfs_conn *n = user;
  bool more = true;

  /* Jobs may end, and with them the connection, only in callbacks of their own: n stays as long as this
     runs. */
  n->in_flight++;
  rcvmi_nfs_daemon_touch (n->daemon);
  if (events & EPOLLOUT)
    rcvmi_nfs_conn_flush (n);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
    for (unsigned round = 0; !n->gone && more && round < 4 && n->out_bytes < OUT_MAX; round++)
      if (!receive (n, &more))
        break;
  n->in_flight--;
  if (!n->gone && n->out)
    rcvmi_nfs_conn_flush (n);
  rcvmi_nfs_conn_watch (n);
  rcvmi_nfs_daemon_progress (n->daemon);
  rcvmi_nfs_conn_drop (n);
}

int
rcvmi_nfs_conn_add (struct nfs_daemon *d, int fd, rcvm_error **err)
{
  struct nfs_conn *n;
  int one = 1;

  if (!d->scratch && !(d->scratch = malloc (SCRATCH)))
    {
      close (fd);
      return rcvmi_fail_nomem (err);
    }
  n = calloc (1, sizeof *n);
  if (!n)
    {
      close (fd);
      return rcvmi_fail_nomem (err);
    }
  if (d->n_conns >= CONNECTIONS_MAX)
    rcvmi_nfs_conn_close_laggard (d, false, NULL);
  n->daemon = d;
  n->fd = fd;
  fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) | O_NONBLOCK);
  n->out_last = &n->out;
  n->active = rcvmi_clock_usec ();
  /* Neither is needed on a socket that is no TCP. */
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  n->source = rcvmi_ev_add (d->ev, fd, EPOLLIN, on_conn, n, err);
  if (!n->source)
    {
      close (fd);
      free (n);
      return RCVM_E_SYSTEM;
    }
  n->next = d->conns;
  n->prev = &d->conns;
  if (d->conns)
    d->conns->prev = &n->next;
  d->conns = n;
  d->n_conns++;
  return 0;
}

bool
rcvmi_nfs_conns_are_idle (const struct nfs_daemon *d)
{
  return d->in_flight == 0 && d->out_bytes == 0;
}

void
rcvmi_nfs_conns_free (struct nfs_daemon *d)
{
  while (d->conns)
    {
      struct nfs_conn *n = d->conns;

      rcvmi_nfs_conn_close (n);
      rcvmi_nfs_conn_drop (n);
    }
}
