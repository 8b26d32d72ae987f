/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tunnel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent-wire.h"
#include "channel.h"
#include "cleanup.h"
#include "handoff.h"
#include "log.h"
#include "loop.h"
#include "transport.h"

enum
{
  TELL = AGENT_TUNNEL_CREDIT / 4 /* how much is passed on before the host is told */
};

struct tunnel
{
  struct watch w;
  uint32_t number;
  bool used;
  bool over;              /* closed here: the host's CLOSE is all that is waited for */
  uint32_t credit;        /* what the host will take */
  unsigned char *queue;   /* ring of AGENT_TUNNEL_CREDIT bytes for the socket, once it is needed */
  size_t head, len;
  uint32_t taken;   /* passed on and not told to the host */
  uint32_t unacked; /* what the host has under way */
};

static void accept_one (struct watch *w, uint32_t events);

static void take_share (struct watch *w, uint32_t events);

static struct watch listener = { .fd = -1, .ready = accept_one };
static struct watch shares = { .fd = -1, .ready = take_share };
/* A number is its place. */
static struct tunnel tunnels[AGENT_TUNNELS_MAX];

static struct tunnel *
find (uint32_t number)
{
  return number < AGENT_TUNNELS_MAX && tunnels[number].used ? &tunnels[number] : NULL;
}

static bool
any_is_free (void)
{
  for (unsigned i = 0; i < AGENT_TUNNELS_MAX; i++)
    if (!tunnels[i].used)
      return true;
  return false;
}

static void
watch_for (struct tunnel *t)
{
  loop_modify (&t->w, (t->credit ? EPOLLIN : 0) | (t->len ? EPOLLOUT : 0));
}

static void
end (struct tunnel *t)
{
  if (t->over)
    return;
  t->over = true;
  loop_close (&t->w);
  free (steal_ptr (t->queue));
  t->len = 0;
  channel_send (AGENT_TUNNEL_CLOSE, t->number, NULL, 0);
}

static void
tell (struct tunnel *t, size_t bytes)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  t->taken += (uint32_t) bytes;
  t->unacked -= (uint32_t) bytes;
  if (t->taken < TELL)
    return;
  tlv_put_u32 (&w, A_BYTES, t->taken);
  channel_send_record (AGENT_TUNNEL_WINDOW, t->number, &w);
  t->taken = 0;
}

static void
read_some (struct tunnel *t)
{
  size_t room;
  unsigned char *to;
  ssize_t n;

  if (!t->credit)
    {
      watch_for (t);
      return;
    }
  to = channel_reserve (&room);
  if (room > t->credit)
    room = t->credit;
  n = read (t->w.fd, to, room);
  if (n > 0)
    {
      channel_commit (AGENT_TUNNEL_DATA, t->number, (size_t) n);
      t->credit -= (uint32_t) n;
      if (!t->credit)
        watch_for (t);
    }
  else if (n == 0 || (errno != EAGAIN && errno != EINTR))
    end (t);
}

static void
write_queue (struct tunnel *t)
{
  while (t->len)
    {
      size_t first = AGENT_TUNNEL_CREDIT - t->head;
      struct iovec iov[2] = { { t->queue + t->head, first < t->len ? first : t->len },
                              { t->queue, first < t->len ? t->len - first : 0 } };
      ssize_t n = writev (t->w.fd, iov, iov[1].iov_len ? 2 : 1);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n < 0)
        {
          end (t);
          return;
        }
      t->head = (t->head + (size_t) n) % AGENT_TUNNEL_CREDIT;
      t->len -= (size_t) n;
      tell (t, (size_t) n);
    }
  watch_for (t);
}

static void
ready (struct watch *w, uint32_t events)
{
  struct tunnel *t = owner_of (w, struct tunnel, w);

  if (events & EPOLLOUT)
    write_queue (t);
  if (!t->over && (events & EPOLLIN))
    read_some (t);
  else if (!t->over && (events & (EPOLLERR | EPOLLHUP)))
    end (t);
}

/* Takes the fd, for which there is room. */
static void
begin (int fd, const uint32_t *share)
{
  struct tlv_writer record = TLV_WRITER_INIT;
  uint32_t number = 0;
  struct tunnel *t;

  while (tunnels[number].used)
    number++;
  t = &tunnels[number];
  *t = (struct tunnel){ .w = { .fd = -1, .ready = ready, .output = true },
                        .number = number,
                        .used = true,
                        .credit = AGENT_TUNNEL_CREDIT };
  if (share)
    tlv_put_u32 (&record, A_SHARE, *share + 1);
  channel_send_record (AGENT_CONNECT, number, &record);
  if (loop_add (&t->w, fd, EPOLLIN) < 0)
    {
      close (fd);
      end (t);
    }
}

static void
accept_one (struct watch *w, uint32_t events)
{
  int fd, one = 1;

  (void) events;
  if (!any_is_free ())
    {
      loop_modify (w, 0); /* until one is free */
      return;
    }
  fd = accept4 (w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0)
    return;
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  begin (fd, NULL);
}

/* The agent mounts a share: one that has no tunnel left fails. */
static void
take_share (struct watch *w, uint32_t events)
{
  int fds[HANDOFF_FDS];
  uint32_t share;
  size_t len = sizeof share;
  int type = handoff_recv (w->fd, &share, &len, fds);

  (void) events;
  if (type == HANDOFF_SHARE && len == sizeof share && fds[0] >= 0 && any_is_free ())
    begin (fds[0], &share);
  else if (type == HANDOFF_SHARE && fds[0] >= 0)
    close (fds[0]);
  else
    loop_close (w); /* the agent is gone, and with it the machine */
}

static bool
take_data (uint32_t number, const unsigned char *data, size_t len)
{
  struct tunnel *t = find (number);

  if (!t || t->over)
    return true; /* the host does not know yet */
  if (len > AGENT_TUNNEL_CREDIT - t->unacked)
    return false;
  t->unacked += (uint32_t) len;
  while (t->len == 0 && len)
    {
      ssize_t n = write (t->w.fd, data, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno != EAGAIN)
        {
          end (t);
          return true;
        }
      if (n < 0)
        break;
      data += n;
      len -= (size_t) n;
      tell (t, (size_t) n);
    }
  if (len == 0)
    return true;
  if (!t->queue && !(t->queue = malloc (AGENT_TUNNEL_CREDIT)))
    fatal ("out of memory");
  for (size_t at = (t->head + t->len) % AGENT_TUNNEL_CREDIT; len;)
    {
      size_t part = AGENT_TUNNEL_CREDIT - at < len ? AGENT_TUNNEL_CREDIT - at : len;

      memcpy (t->queue + at, data, part);
      t->len += part;
      data += part;
      len -= part;
      at = (at + part) % AGENT_TUNNEL_CREDIT;
    }
  watch_for (t);
  return true;
}

static void
take_credit (uint32_t number, const unsigned char *payload, size_t len)
{
  struct tunnel *t = find (number);
  struct tlv_reader r;
  struct tlv_field f;
  uint32_t bytes = 0;

  tlv_reader_init (&r, payload, len);
  while (tlv_next (&r, &f))
    if (f.tag == A_BYTES)
      bytes = tlv_get_u32 (&r, &f);
  if (!t || t->over)
    return;
  t->credit += bytes > AGENT_TUNNEL_CREDIT - t->credit ? AGENT_TUNNEL_CREDIT - t->credit : bytes;
  watch_for (t);
}

static void
take_close (uint32_t number)
{
  struct tunnel *t = find (number);
  bool was_full = !any_is_free ();

  if (!t)
    return;
  end (t);
  t->used = false;
  if (was_full)
    loop_modify (&listener, EPOLLIN);
}

static void
take_frame (const struct agent_header *h, const unsigned char *payload)
{
  switch (h->type)
    {
    case AGENT_TUNNEL_DATA:
      if (!take_data (h->process, payload, h->len))
        fatal ("the host sends more than tunnel %u takes", h->process);
      break;
    case AGENT_TUNNEL_WINDOW:
      take_credit (h->process, payload, h->len);
      break;
    case AGENT_TUNNEL_CLOSE:
      take_close (h->process);
      break;
    default:
      fatal ("frame type %u is none of the volumes'", h->type);
    }
}

static void
relieved (void)
{
}

static void lost (void);

static const struct channel_user channel_user = { .frame = take_frame, .relieved = relieved, .reset = lost };

/* The machine goes on from a snapshot.  The kernel's NFS connects once more, and repeats what has no answer. */
static void
lost (void)
{
  for (size_t i = 0; i < AGENT_TUNNELS_MAX; i++)
    {
      struct tunnel *t = &tunnels[i];

      loop_close (&t->w);
      free (steal_ptr (t->queue));
      t->used = false;
    }
  channel_start (transport_open (TRANSPORT_VOLUMES), &channel_user);
  loop_modify (&listener, EPOLLIN);
}

void
tunnel_serve (int fd, int agent)
{
  if (loop_add (&listener, fd, EPOLLIN) < 0 || loop_add (&shares, agent, EPOLLIN) < 0)
    fatal ("cannot wait for the volumes' connections: %s", strerror (errno));
  channel_start (transport_open (TRANSPORT_VOLUMES), &channel_user);
  loop_run (channel_flush);
}
