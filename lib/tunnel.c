/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  /* What is passed on before the guest is told. */
  TELL = AGENT_TUNNEL_CREDIT / 4
};

struct tunnel
{
  struct rcvmi_tunnels *all;
  struct tunnel *next;
  uint32_t number;
  int fd; /* -1: closed here, the guest's CLOSE is waited for */
  struct rcvmi_ev_source *source;
  unsigned char *queue; /* ring of AGENT_TUNNEL_CREDIT bytes for the socket, made when first needed */
  size_t head, len;
  uint32_t owed;   /* passed on, and not yet given back as credit */
  uint32_t credit; /* what the guest takes */
};

struct rcvmi_tunnels
{
  struct rcvmi_ev *ev;
  struct rcvmi_link link;
  struct rcvmi_ev_source *source; /* of the link */
  const struct rcvmi_tunnels_ops *ops;
  void *user;
  struct tunnel *first;
  unsigned n;
};

static struct tunnel *
find (struct rcvmi_tunnels *all, uint32_t number)
{
  struct tunnel *t = all->first;

  while (t && t->number != number)
    t = t->next;
  return t;
}

static void
close_socket (struct tunnel *t)
{
  rcvmi_ev_remove (steal_ptr (t->source));
  if (t->fd >= 0)
    close (steal_fd (&t->fd));
  free (steal_ptr (t->queue));
  t->len = 0;
}

static void
drop (struct tunnel *t)
{
  struct tunnel **at = &t->all->first;

  while (*at != t)
    at = &(*at)->next;
  *at = t->next;
  t->all->n--;
  close_socket (t);
  free (t);
}

/* Our end is closed: the guest is told once. */
static int
end (struct tunnel *t, rcvm_error **err)
{
  if (t->fd < 0)
    return 0;
  close_socket (t);
  return rcvmi_link_send (&t->all->link, AGENT_TUNNEL_CLOSE, t->number, NULL, 0, err);
}

static void
watch_for (struct tunnel *t)
{
  if (t->source)
    rcvmi_ev_set_events (t->source, (t->credit ? EPOLLIN : 0) | (t->len ? EPOLLOUT : 0));
}

static int
give_credit (struct tunnel *t, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (t->owed < TELL)
    return 0;
  tlv_put_u32 (&w, A_BYTES, t->owed);
  t->owed = 0;
  return rcvmi_link_send_record (&t->all->link, AGENT_TUNNEL_WINDOW, t->number, &w, err);
}

static int
write_queue (struct tunnel *t, rcvm_error **err)
{
  while (t->len)
    {
      size_t piece = AGENT_TUNNEL_CREDIT - t->head < t->len ? AGENT_TUNNEL_CREDIT - t->head : t->len;
      ssize_t n = send (t->fd, t->queue + t->head, piece, MSG_NOSIGNAL | MSG_DONTWAIT);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        break;
      if (n < 0)
        return end (t, err);
      t->head = (t->head + (size_t) n) % AGENT_TUNNEL_CREDIT;
      t->len -= (size_t) n;
      t->owed += (uint32_t) n;
    }
  watch_for (t);
  return give_credit (t, err);
}

static int
read_some (struct tunnel *t, rcvm_error **err)
{
  static unsigned char buf[AGENT_DATA_MAX]; /* the monitor has one thread */
  size_t want = t->credit < sizeof buf ? t->credit : sizeof buf;
  ssize_t n;

  if (want == 0)
    {
      watch_for (t);
      return 0;
    }
  n = recv (t->fd, buf, want, MSG_DONTWAIT);
  if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
    return 0;
  if (n <= 0)
    return end (t, err);
  t->credit -= (uint32_t) n;
  if (t->credit == 0)
    watch_for (t);
  return rcvmi_link_send (&t->all->link, AGENT_TUNNEL_DATA, t->number, buf, (size_t) n, err);
}

static void
break_link (struct rcvmi_tunnels *all, rcvm_error *err)
{
  rcvmi_ev_remove (steal_ptr (all->source));
  while (all->first)
    drop (all->first);
  all->ops->broken (all->user, err);
}

static void
on_socket (void *user, uint32_t events)
{
  struct tunnel *t = user;
  struct rcvmi_tunnels *all = t->all;
  rcvm_error *e = NULL;
  int code = 0;

  if (events & EPOLLOUT)
    code = write_queue (t, &e);
  /* What a server said before it hung up is read first; then reading says that it is gone. */
  if (code == 0 && t->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
    {
      if (t->credit)
        code = read_some (t, &e);
      else if (!(events & EPOLLIN))
        code = end (t, &e);
    }
  if (code < 0)
    break_link (all, e);
}

static int
take_connect (struct rcvmi_tunnels *all, uint32_t number, const unsigned char *data, size_t len, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;
  uint32_t share = 0;
  struct tunnel *t;

  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    if (f.tag == A_SHARE)
      share = tlv_get_u32 (&r, &f);
  if (r.bad)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest opened tunnel %u with a malformed record", number);

  if (find (all, number))
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest opened tunnel %u twice", number);
  if (all->n >= AGENT_TUNNELS_MAX)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest opened more than %d tunnels", AGENT_TUNNELS_MAX);
  t = calloc (1, sizeof *t);
  if (!t)
    return rcvmi_fail_nomem (err);
  *t = (struct tunnel){ .all = all, .next = all->first, .number = number, .credit = AGENT_TUNNEL_CREDIT };
  t->fd = all->ops->connect (all->user, share);
  all->first = t;
  all->n++;
  if (t->fd < 0)
    return rcvmi_link_send (&all->link, AGENT_TUNNEL_CLOSE, number, NULL, 0, err);
  t->source = rcvmi_ev_add (all->ev, t->fd, EPOLLIN, on_socket, t, err);
  return t->source ? 0 : RCVM_E_SYSTEM;
}

static int
take_data (struct tunnel *t, const unsigned char *data, size_t len, rcvm_error **err)
{
  if (len == 0)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest sent an empty frame through a tunnel");
  if (t->fd < 0)
    return 0; /* it does not know yet */
  if (len > AGENT_TUNNEL_CREDIT - t->len - t->owed)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest sent more through a tunnel than it may");
  while (t->len == 0 && len > 0)
    {
      ssize_t n = send (t->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        break;
      if (n < 0)
        return end (t, err);
      data += n;
      len -= (size_t) n;
      t->owed += (uint32_t) n;
    }
  if (len > 0)
    {
      size_t at, piece;

      if (!t->queue && !(t->queue = malloc (AGENT_TUNNEL_CREDIT)))
        return rcvmi_fail_nomem (err);
      at = (t->head + t->len) % AGENT_TUNNEL_CREDIT;
      piece = AGENT_TUNNEL_CREDIT - at < len ? AGENT_TUNNEL_CREDIT - at : len;
      memcpy (t->queue + at, data, piece);
      memcpy (t->queue, data + piece, len - piece);
      t->len += len;
      watch_for (t);
    }
  return give_credit (t, err);
}

static int
take_window (struct tunnel *t, const unsigned char *data, size_t len, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;
  uint32_t bytes = 0;

  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    if (f.tag == A_BYTES)
      bytes = tlv_get_u32 (&r, &f);
  if (r.bad || bytes == 0 || bytes > AGENT_TUNNEL_CREDIT - t->credit)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest sent a wrong window for a tunnel");
  t->credit += bytes;
  watch_for (t);
  return 0;
}

static int
take_frame (struct rcvmi_tunnels *all, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  struct tunnel *t;
  int code;

  if (h->type == AGENT_CONNECT)
    return take_connect (all, h->process, payload, h->len, err);
  t = find (all, h->process);
  if (!t)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest sent a frame (%u) of tunnel %u, which is not open", h->type,
                       h->process);
  switch (h->type)
    {
    case AGENT_TUNNEL_DATA:
      return take_data (t, payload, h->len, err);
    case AGENT_TUNNEL_WINDOW:
      return take_window (t, payload, h->len, err);
    case AGENT_TUNNEL_CLOSE: /* ours has been sent, or goes now */
      code = end (t, err);
      drop (t);
      return code;
    default:
      return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest sent a frame of type %u through its tunnels' port", h->type);
    }
}

static void
watch_link (struct rcvmi_tunnels *all)
{
  if (all->source)
    rcvmi_ev_set_events (all->source, EPOLLIN | (rcvmi_link_pending (&all->link) ? EPOLLOUT : 0));
}

static void
on_link_pending (void *user)
{
  watch_link (user);
}

static void
on_link (void *user, uint32_t events)
{
  struct rcvmi_tunnels *all = user;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int code = 0;

  if (events & EPOLLOUT)
    code = rcvmi_link_flush (&all->link, &e);
  if (code >= 0 && (events & ~(uint32_t) EPOLLOUT))
    {
      code = rcvmi_link_fill (&all->link, &e);
      while (code >= 0 && (code = rcvmi_link_next (&all->link, &h, &payload, &e)) > 0)
        code = take_frame (all, &h, payload, &e);
      all->ops->progress (all->user);
      /* The VMM has ended, which others deal with. */
      if (code >= 0 && all->link.eof)
        rcvmi_ev_remove (steal_ptr (all->source));
    }
  if (code < 0)
    break_link (all, e);
  else
    watch_link (all);
}

struct rcvmi_tunnels *
rcvmi_tunnels_new (struct rcvmi_ev *ev, int fd, const struct rcvmi_tunnels_ops *ops, void *user, rcvm_error **err)
{
  struct rcvmi_tunnels *all = calloc (1, sizeof *all);

  if (!all)
    {
      close (fd);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  *all = (struct rcvmi_tunnels){ .ev = ev, .ops = ops, .user = user };
  if (rcvmi_link_init (&all->link, fd, "the guest's volumes", AGENT_DATA_MAX, err) < 0
      || !(all->source = rcvmi_ev_add (ev, fd, EPOLLIN, on_link, all, err)))
    {
      rcvmi_link_clear (&all->link);
      free (all);
      return NULL;
    }
  all->link.on_pending = on_link_pending;
  all->link.user = all;
  return all;
}

void
rcvmi_tunnels_free (struct rcvmi_tunnels *all)
{
  if (!all)
    return;
  while (all->first)
    drop (all->first);
  rcvmi_ev_remove (all->source);
  rcvmi_link_clear (&all->link);
  free (all);
}
