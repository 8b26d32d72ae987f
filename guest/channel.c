/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "loop.h"

enum
{
  CHUNK = 64 * 1024, /* a virtio port takes 32 KiB at a time */
  SMALL = 8 * 1024,  /* less room than this is not worth a read */
  SPARES = 8,
  CONGESTED = 512 * 1024,
  RELIEVED = 128 * 1024,
  PORT_BUFFER = 4096,
  INPUT = 128 * 1024
};

struct chunk
{
  struct chunk *next;
  size_t start, end;
  unsigned char data[CHUNK];
};

static struct
{
  struct watch w;
  const struct channel_user *user;
  bool connected;
  struct chunk *first, *last, *spare;
  unsigned n_spare;
  size_t queued;
  bool congested;
  bool held;      /* nothing is written beyond ... */
  size_t allowed; /* ... so many bytes */

  size_t input_len;
  /* A request that is larger than the input buffer. */
  struct agent_header big_header;
  unsigned char *big;
  size_t big_len;
} ch = { .w = { .fd = -1 } };

static unsigned char input[INPUT];

/* Output */

static struct chunk *
chunk_with_room (size_t room)
{
  struct chunk *c = ch.last;

  if (c && CHUNK - c->end >= room)
    return c;
  c = ch.spare;
  if (c)
    {
      ch.spare = c->next;
      ch.n_spare--;
    }
  else if (!(c = malloc (sizeof *c)))
    fatal ("out of memory");
  c->next = NULL;
  c->start = c->end = 0;
  if (ch.last)
    ch.last->next = c;
  else
    ch.first = c;
  ch.last = c;
  return c;
}

static void
drop_first (void)
{
  struct chunk *c = ch.first;

  ch.first = c->next;
  if (!ch.first)
    ch.last = NULL;
  if (ch.n_spare >= SPARES)
    {
      free (c);
      return;
    }
  c->next = ch.spare;
  ch.spare = c;
  ch.n_spare++;
}

bool
channel_congested (void)
{
  return ch.congested;
}

static void
judge_load (void)
{
  if (!ch.congested && ch.queued > CONGESTED)
    {
      ch.congested = true;
      loop_pause_output (true);
    }
  else if (ch.congested && ch.queued < RELIEVED)
    {
      ch.congested = false;
      loop_pause_output (false);
      ch.user->relieved ();
    }
}

/* 1: all written, 0: the host is slow, -1: it is gone. */
static int
write_queue (void)
{
  while (ch.first && !(ch.held && !ch.allowed))
    {
      struct chunk *c = ch.first;
      size_t len = c->end - c->start;
      ssize_t n = write (ch.w.fd, c->data + c->start, ch.held && len > ch.allowed ? ch.allowed : len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        return 0;
      if (n <= 0)
        return -1;
      c->start += (size_t) n;
      ch.queued -= (size_t) n;
      if (ch.held)
        ch.allowed -= (size_t) n;
      if (c->start == c->end)
        drop_first ();
    }
  return 1;
}

static void lose (const char *what);

void
channel_flush (void)
{
  int r;

  if (ch.w.fd < 0 || !ch.connected)
    return;
  do
    {
      r = write_queue ();
      if (r < 0)
        {
          lose ("write to");
          return;
        }
      judge_load (); /* may queue more */
    }
  while (r > 0 && ch.first && !ch.held);
  loop_modify (&ch.w, r ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void
channel_commit (uint16_t type, uint32_t process, size_t len)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = process };
  struct chunk *c = ch.last;

  agent_header_pack (c->data + c->end, &h);
  c->end += AGENT_HEADER + len;
  ch.queued += AGENT_HEADER + len;
  judge_load ();
}

unsigned char *
channel_reserve (size_t *room)
{
  struct chunk *c = chunk_with_room (AGENT_HEADER + SMALL);

  *room = CHUNK - c->end - AGENT_HEADER;
  return c->data + c->end + AGENT_HEADER;
}

void
channel_send (uint16_t type, uint32_t process, const void *payload, size_t len)
{
  struct chunk *c;

  if (len > CHUNK - AGENT_HEADER)
    fatal ("a frame of %zu bytes does not fit", len);
  c = chunk_with_room (AGENT_HEADER + len);
  if (len)
    memcpy (c->data + c->end + AGENT_HEADER, payload, len);
  channel_commit (type, process, len);
}

void
channel_send_record (uint16_t type, uint32_t process, struct tlv_writer *w)
{
  if (w->failed)
    fatal ("out of memory");
  channel_send (type, process, w->data, w->len);
  tlv_writer_free (w);
}

void
channel_hold (void)
{
  ch.held = true;
  ch.allowed = ch.queued;
}

void
channel_release (void)
{
  ch.held = false;
}

/* What was allowed before has been written, so that this is between frames. */
void
channel_send_first (uint16_t type, struct tlv_writer *w)
{
  struct agent_header h = { .len = (uint32_t) w->len, .type = type };
  struct chunk *c = malloc (sizeof *c);

  if (w->failed || !c)
    fatal ("out of memory");
  agent_header_pack (c->data, &h);
  memcpy (c->data + AGENT_HEADER, w->data, w->len);
  c->start = 0;
  c->end = AGENT_HEADER + w->len;
  c->next = ch.first;
  ch.first = c;
  if (!ch.last)
    ch.last = c;
  ch.queued += c->end;
  ch.allowed += c->end;
  tlv_writer_free (w);
}

void
channel_finish (int timeout_ms)
{
  struct pollfd p = { .fd = ch.w.fd, .events = POLLOUT };

  while (write_queue () == 0)
    if (poll (&p, 1, -1) < 0 && errno != EINTR)
      break;
  p.events = 0; /* POLLHUP */
  while (poll (&p, 1, timeout_ms) < 0 && errno == EINTR)
    ;
}

void
channel_forget (void)
{
  while (ch.first)
    {
      struct chunk *c = ch.first;

      ch.first = c->next;
      free (c);
    }
  free (ch.big);
  ch.last = NULL;
  ch.big = NULL;
  ch.queued = ch.input_len = 0;
  ch.connected = ch.congested = ch.held = false;
  ch.w = WATCH_INIT;
}

/* Something is wrong with the connection, as errno says. */
static void
lose (const char *what)
{
  const struct channel_user *user = ch.user;
  /* As the kernel says it depends on who has been told of it before. */
  bool reset = errno == ECONNRESET || errno == ENOTCONN || errno == EPIPE;
  int fd;

  if (!reset || !user->reset)
    fatal ("cannot %s the agent channel: %s", what, strerror (errno));
  fd = loop_remove (&ch.w);
  close (fd);
  if (ch.held)
    {
      /* The host has had all that it was to have. */
      if (ch.allowed || ch.input_len || ch.big)
        fatal ("the agent channel was reset too early");
      ch.connected = false;
      user->reset ();
      return;
    }
  if (ch.congested)
    loop_pause_output (false);
  channel_forget ();
  user->reset ();
}

/* Input */

static size_t
limit_of (uint16_t type)
{
  return type == AGENT_SETUP || type == AGENT_EXEC ? AGENT_REQUEST_MAX : AGENT_DATA_MAX;
}

static void
take_frames (void)
{
  size_t at = 0;

  while (ch.input_len - at >= AGENT_HEADER)
    {
      struct agent_header h;
      size_t have;

      if (!agent_header_unpack (&h, input + at) || h.len > limit_of (h.type))
        fatal ("the agent channel is corrupt (frame type %u, %u bytes)", h.type, h.len);
      have = ch.input_len - at - AGENT_HEADER;
      if (have < h.len)
        {
          if (h.len <= INPUT - AGENT_HEADER)
            break;
          ch.big = malloc (h.len);
          if (!ch.big)
            fatal ("out of memory for a request of %u bytes", h.len);
          ch.big_header = h;
          ch.big_len = have;
          memcpy (ch.big, input + at + AGENT_HEADER, have);
          at = ch.input_len;
          break;
        }
      ch.user->frame (&h, input + at + AGENT_HEADER);
      at += AGENT_HEADER + h.len;
    }
  ch.input_len -= at;
  memmove (input, input + at, ch.input_len);
}

static void
read_some (void)
{
  unsigned char *to = ch.big ? ch.big + ch.big_len : input + ch.input_len;
  size_t room = ch.big ? ch.big_header.len - ch.big_len : INPUT - ch.input_len, got = 0;
  ssize_t n;

  /* A virtio port gives one of its buffers at a time: after a full one there may be more, which need no wait. */
  do
    {
      n = read (ch.w.fd, to + got, room - got);
      if (n > 0)
        got += (size_t) n;
    }
  while (n == PORT_BUFFER && got < room && got < CHUNK);
  if (got)
    n = (ssize_t) got;

  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n < 0)
    {
      lose ("read from");
      return;
    }
  if (n == 0)
    fatal ("the host has closed the agent channel");
  if (!ch.big)
    {
      ch.input_len += (size_t) n;
      take_frames ();
      return;
    }
  ch.big_len += (size_t) n;
  if (ch.big_len == ch.big_header.len)
    {
      unsigned char *request = steal_ptr (ch.big);

      ch.user->frame (&ch.big_header, request);
      free (request);
    }
}

static void
ready (struct watch *w, uint32_t events)
{
  if (!ch.connected)
    {
      /* A virtio port that no one has opened on the host hangs up and takes nothing. */
      if (!(events & EPOLLOUT))
        return;
      ch.connected = true;
      loop_modify (w, EPOLLIN | EPOLLOUT);
    }
  /* Reading tells an error from an end. */
  if (events & (EPOLLIN | EPOLLERR))
    read_some ();
  else if (events & EPOLLHUP)
    fatal ("the host has closed the agent channel");
}

void
channel_start (int fd, const struct channel_user *user)
{
  ch.user = user;
  ch.w.ready = ready;
  /* Edge-triggered until the host is there, so that the hang-up does not wake us for ever. */
  if (loop_add (&ch.w, fd, EPOLLIN | EPOLLOUT | EPOLLET) < 0)
    fatal ("cannot wait for the agent channel: %s", strerror (errno));
}
