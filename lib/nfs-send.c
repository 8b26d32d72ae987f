/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replies on their way: in as few calls as it takes, bounded by what the client has taken. */
#include "config.h"

#include "nfs-conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"

enum
{
  IOV = 32
};

void
rcvmi_nfs_conn_drop (struct nfs_conn *n)
{
  if (n->gone && n->in_flight == 0)
    free (n);
}

static void
free_reply (struct nfs_daemon *d, struct nfs_buf *b)
{
  if (b && b->file)
    rcvmi_nfs_object_put (d->core, b->file);
  rcvmi_nfs_buf_free (&d->core->bufs, b);
}

void
rcvmi_nfs_conn_close (struct nfs_conn *n)
{
  struct nfs_daemon *d = n->daemon;

  if (n->gone)
    return;
  n->gone = true;
  rcvmi_ev_remove (n->source);
  close (n->fd);
  *n->prev = n->next;
  if (n->next)
    n->next->prev = n->prev;
  d->n_conns--;
  rcvmi_nfs_buf_free (&d->core->bufs, n->record);
  n->record = NULL;
  while (n->out)
    {
      struct nfs_buf *b = n->out;

      n->out = b->next;
      free_reply (d, b);
    }
  d->out_bytes -= n->out_bytes;
  n->out_bytes = 0;
}

void
rcvmi_nfs_conn_watch (struct nfs_conn *n)
{
  uint32_t events = 0;

  if (n->gone)
    return;
  if (n->out_bytes < OUT_MAX && n->in_flight < IN_FLIGHT_MAX && !n->daemon->stopping)
    events |= EPOLLIN;
  if (n->out)
    events |= EPOLLOUT;
  rcvmi_ev_set_events (n->source, events);
}

static size_t
unsent (const struct nfs_buf *b)
{
  return b->len - b->sent + b->file_left;
}

/* One system call's worth: replies that lie in memory, or the file's part of the first.  As sendmsg. */
static ssize_t
send_some (struct nfs_conn *n)
{
  static const uint8_t zeros[4096];
  struct iovec iov[IOV];
  struct msghdr msg = { .msg_iov = iov };
  struct nfs_buf *b = n->out;
  off_t at = b->file_at;
  bool more = false;
  ssize_t sent;

  if (b->sent == b->len)
    {
      sent = sendfile (n->fd, b->file_fd, &at, b->file_left);
      if (sent != 0)
        return sent;
      /* The file was cut short since the reply was begun. */
      return send (n->fd, zeros, b->file_left < sizeof zeros ? b->file_left : sizeof zeros,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    }
  for (; b && !more && msg.msg_iovlen < IOV; b = b->next)
    {
      iov[msg.msg_iovlen++] = (struct iovec){ b->data + b->sent, b->len - b->sent };
      more = b->file_left > 0;
    }
  return sendmsg (n->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
}

bool
rcvmi_nfs_conn_flush (struct nfs_conn *n)
{
  struct nfs_daemon *d = n->daemon;

  while (n->out)
    {
      ssize_t sent = send_some (n);

      if (sent < 0 && errno == EINTR)
        continue;
      if (sent < 0 && errno == EAGAIN)
        return true;
      if (sent < 0)
        {
          rcvmi_nfs_conn_close (n);
          return false;
        }
      n->out_bytes -= (size_t) sent;
      d->out_bytes -= (size_t) sent;
      n->active = rcvmi_clock_usec ();
      while (sent > 0)
        {
          struct nfs_buf *b = n->out;
          size_t part = b->len - b->sent;

          part = (size_t) sent < part ? (size_t) sent : part;
          b->sent += part;
          sent -= (ssize_t) part;
          if (b->sent == b->len && sent > 0 && b->file_left > 0)
            {
              part = (size_t) sent < b->file_left ? (size_t) sent : b->file_left;
              b->file_at += (int64_t) part;
              b->file_left -= part;
              sent -= (ssize_t) part;
            }
          if (unsent (b) > 0)
            continue;
          n->out = b->next;
          free_reply (d, b);
        }
      if (!n->out)
        n->out_last = &n->out;
    }
  return true;
}

void
rcvmi_nfs_conn_close_laggard (struct nfs_daemon *d, bool with_output, const struct nfs_conn *spare)
{
  struct nfs_conn *oldest = NULL;

  for (struct nfs_conn *n = d->conns; n; n = n->next)
    if (n != spare && (!with_output || n->out) && (!oldest || n->active < oldest->active))
      oldest = n;
  if (oldest)
    {
      rcvmi_nfs_conn_close (oldest);
      rcvmi_nfs_conn_drop (oldest);
    }
}

bool
rcvmi_nfs_conn_queue (struct nfs_conn *n, struct nfs_buf *b)
{
  struct nfs_daemon *d = n->daemon;

  if (n->gone)
    {
      free_reply (d, b);
      return false;
    }
  b->next = NULL;
  b->sent = 0;
  *n->out_last = b;
  n->out_last = &b->next;
  n->out_bytes += b->len + b->file_left;
  d->out_bytes += b->len + b->file_left;
  if (d->out_bytes > OUT_ALL_MAX)
    rcvmi_nfs_conn_close_laggard (d, true, n);
  return n->out_bytes < OUT_FLUSH || rcvmi_nfs_conn_flush (n);
}
