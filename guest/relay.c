/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "relay.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <termios.h>

#include "agent-wire.h"
#include "channel.h"
#include "cleanup.h"
#include "log.h"
#include "process.h"

enum
{
  TERMINAL_LAST = 128 * 1024, /* more than a terminal can hold */
  TELL = AGENT_WINDOW / 4     /* how much is passed on before the host is told */
};

static void
send_stream_record (uint16_t type, const struct process *p, uint16_t stream, uint32_t bytes)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_STREAM, stream);
  if (type == AGENT_FRAME_WINDOW)
    tlv_put_u32 (&w, A_BYTES, bytes);
  channel_send_record (type, p->number, &w);
}

/* Output */

static void
finish (struct relay_out *o)
{
  if (o->done)
    return;
  loop_close (&o->w);
  o->done = true;
  if (!o->discard)
    channel_send (o->type, o->process->number, NULL, 0);
  process_check_end (o->process);
}

/* Reads once; false if there is nothing to go on with now. */
static bool
pump (struct relay_out *o)
{
  static unsigned char waste[AGENT_DATA_MAX];
  unsigned char *to = waste;
  size_t room = sizeof waste;
  bool last = o->process->exited;
  ssize_t n;

  if (o->done || o->w.fd < 0)
    return false;
  if (last && o->last == 0)
    {
      finish (o);
      return false;
    }
  if (!o->discard)
    {
      if (o->credit == 0)
        {
          loop_modify (&o->w, 0);
          return false;
        }
      to = channel_reserve (&room);
      if (room > o->credit)
        room = o->credit;
    }
  if (last && room > o->last)
    room = o->last;
  n = read (o->w.fd, to, room);
  if (n > 0)
    {
      if (last)
        o->last -= (size_t) n;
      if (!o->discard)
        {
          channel_commit (o->type, o->process->number, (size_t) n);
          o->credit -= (uint32_t) n;
          if (o->credit == 0)
            loop_modify (&o->w, 0);
        }
      return true;
    }
  if (n < 0 && errno == EINTR)
    return true;
  if (n < 0 && errno == EAGAIN && !last)
    return false;
  /* A terminal says EIO when its last user has closed it. */
  if (n < 0 && errno != EIO && errno != EAGAIN)
    log_write (LOG_WARNING, "cannot read the output of process %u: %s", o->process->number,
               strerror (errno));
  finish (o);
  return false;
}

static void
out_ready (struct watch *w, uint32_t events)
{
  (void) events;
  pump (owner_of (w, struct relay_out, w));
}

void
relay_out_init (struct relay_out *o, struct process *p, uint16_t type)
{
  memset (o, 0, sizeof *o);
  o->w = WATCH_INIT;
  o->w.ready = out_ready;
  o->w.output = true;
  o->process = p;
  o->type = type;
  o->credit = AGENT_WINDOW;
}

int
relay_out_start (struct relay_out *o, int fd, bool terminal)
{
  o->terminal = terminal;
  return loop_add (&o->w, fd, o->credit ? EPOLLIN : 0);
}

void
relay_out_resume (struct relay_out *o)
{
  if (o->process->exited)
    while (!channel_congested () && pump (o))
      ;
}

void
relay_out_credit (struct relay_out *o, uint32_t bytes)
{
  o->credit += bytes > AGENT_WINDOW - o->credit ? AGENT_WINDOW - o->credit : bytes;
  if (o->credit)
    loop_modify (&o->w, EPOLLIN);
  relay_out_resume (o);
}

void
relay_out_close (struct relay_out *o)
{
  if (o->done || o->discard)
    return;
  o->discard = true;
  /* Who writes to a pipe learns of it; a terminal is not hung up because no one looks. */
  if (o->terminal && !o->process->exited)
    loop_modify (&o->w, EPOLLIN);
  else
    finish (o);
}

void
relay_out_drain (struct relay_out *o)
{
  int bytes = 0;

  if (o->done)
    return;
  if (o->w.fd < 0)
    {
      finish (o);
      return;
    }
  /* A child in the background may hold the pipe, and write to it for ever. */
  if (o->terminal)
    o->last = TERMINAL_LAST;
  else if (ioctl (o->w.fd, FIONREAD, &bytes) == 0 && bytes > 0)
    o->last = (size_t) bytes;
  relay_out_resume (o);
}

void
relay_out_free (struct relay_out *o)
{
  loop_close (&o->w);
}

/* Input */

static void
tell (struct relay_in *i, size_t bytes)
{
  i->taken += (uint32_t) bytes;
  i->unacked -= (uint32_t) bytes;
  if (i->taken < TELL || i->ended)
    return;
  send_stream_record (AGENT_FRAME_WINDOW, i->process, AGENT_STDIN, i->taken);
  i->taken = 0;
}

static void
drop_queue (struct relay_in *i)
{
  free (i->queue);
  i->queue = NULL;
  i->head = i->len = 0;
}

/* The reader is gone. */
static void
reader_closed (struct relay_in *i)
{
  if (i->closed)
    return;
  i->closed = true;
  loop_close (&i->w);
  drop_queue (i);
  if (!i->ended)
    send_stream_record (AGENT_CLOSE, i->process, AGENT_STDIN, 0);
}

/* The host's end of stdin, when all before it has been written. */
static void
pass_end (struct relay_in *i)
{
  struct termios t;

  /* Hanging up would kill the process; a terminal's user says ^D, and says it twice where a line
     has begun. */
  if (i->terminal && tcgetattr (i->w.fd, &t) == 0 && (t.c_lflag & ICANON) && t.c_cc[VEOF])
    {
      unsigned char eof[2] = { t.c_cc[VEOF], t.c_cc[VEOF] };

      if (write (i->w.fd, eof, i->last_byte == '\n' ? 1 : 2) < 0)
        log_write (LOG_DEBUG, "the terminal does not take an end of file: %s", strerror (errno));
    }
  i->closed = true;
  loop_close (&i->w);
  drop_queue (i);
}

static void
write_queue (struct relay_in *i)
{
  while (i->len && !i->closed)
    {
      size_t first = AGENT_WINDOW - i->head;
      struct iovec iov[2] = { { i->queue + i->head, first < i->len ? first : i->len },
                              { i->queue, first < i->len ? i->len - first : 0 } };
      ssize_t n = writev (i->w.fd, iov, iov[1].iov_len ? 2 : 1);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        {
          loop_modify (&i->w, EPOLLOUT);
          return;
        }
      if (n < 0)
        {
          reader_closed (i);
          return;
        }
      i->head = (i->head + (size_t) n) % AGENT_WINDOW;
      i->len -= (size_t) n;
      tell (i, (size_t) n);
    }
  if (i->closed)
    return;
  loop_modify (&i->w, 0);
  if (i->ended)
    pass_end (i);
}

static void
in_ready (struct watch *w, uint32_t events)
{
  struct relay_in *i = owner_of (w, struct relay_in, w);

  if (events & (EPOLLERR | EPOLLHUP))
    reader_closed (i);
  else
    write_queue (i);
}

void
relay_in_init (struct relay_in *i, struct process *p)
{
  memset (i, 0, sizeof *i);
  i->w = WATCH_INIT;
  i->w.ready = in_ready;
  i->process = p;
  i->last_byte = '\n';
}

int
relay_in_start (struct relay_in *i, int fd, bool terminal)
{
  i->terminal = terminal;
  if (loop_add (&i->w, fd, 0) < 0)
    return -1;
  write_queue (i);
  return 0;
}

bool
relay_in_data (struct relay_in *i, const unsigned char *data, size_t len)
{
  if (i->closed || i->ended)
    return true; /* the host does not know yet */
  if (len == 0)
    {
      i->ended = true;
      if (i->len == 0 && i->w.fd >= 0)
        pass_end (i);
      return true;
    }
  if (len > AGENT_WINDOW - i->unacked)
    return false;
  i->unacked += (uint32_t) len;
  i->last_byte = data[len - 1];
  while (i->len == 0 && len && i->w.fd >= 0)
    {
      ssize_t n = write (i->w.fd, data, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno != EAGAIN)
        {
          reader_closed (i);
          return true;
        }
      if (n < 0)
        break;
      data += n;
      len -= (size_t) n;
      tell (i, (size_t) n);
    }
  if (len == 0)
    return true;
  if (!i->queue)
    i->queue = malloc (AGENT_WINDOW);
  if (!i->queue)
    fatal ("out of memory");
  for (size_t at = (i->head + i->len) % AGENT_WINDOW; len;)
    {
      size_t part = AGENT_WINDOW - at < len ? AGENT_WINDOW - at : len;

      memcpy (i->queue + at, data, part);
      i->len += part;
      data += part;
      len -= part;
      at = (at + part) % AGENT_WINDOW;
    }
  loop_modify (&i->w, EPOLLOUT);
  return true;
}

void
relay_in_free (struct relay_in *i)
{
  loop_close (&i->w);
  drop_queue (i);
}
