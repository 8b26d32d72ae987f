/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "agent"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

/* One direction to the caller: bytes wait here for the fd to take them. */
struct output
{
  struct rcvmi_streams *streams;
  uint16_t frame; /* AGENT_STDOUT or AGENT_STDERR */
  struct rcvmi_userfd io;
  struct rcvmi_ev_source *source; /* made when the fd first refuses bytes */
  unsigned char *buf;             /* AGENT_WINDOW bytes, made when first needed */
  size_t start, used;
  uint32_t owed; /* bytes passed on and not yet given back as credit */
  bool close_owed; /* the guest has to be told that the fd refused */
  bool ended;    /* the guest said so */
  bool broken;   /* the fd refused for good */
};

struct rcvmi_streams
{
  struct rcvmi_ev *ev;
  struct rcvmi_link *link;
  uint32_t process;
  rcvmi_streams_broken_fn broken;
  rcvmi_streams_done_fn done;
  void *user;

  struct rcvmi_userfd in;
  struct rcvmi_ev_source *in_source;
  uint32_t in_credit;
  bool in_ended;

  struct output out[2];
  bool finished;
  bool held; /* nothing may be sent now */
};

static void
link_broke (struct rcvmi_streams *s, rcvm_error *e)
{
  if (s->broken)
    s->broken (s->user, e);
  else
    rcvm_error_free (e);
}

static int
send_stream_record (struct rcvmi_streams *s, uint16_t type, uint16_t stream, uint32_t bytes,
                    rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_STREAM, stream);
  if (bytes)
    tlv_put_u32 (&w, A_BYTES, bytes);
  return rcvmi_link_send_record (s->link, type, s->process, &w, err);
}

/* Output. */

static bool
is_done (const struct rcvmi_streams *s)
{
  return s->finished && s->out[0].used == 0 && s->out[1].used == 0;
}

static void
end_output (struct output *o)
{
  rcvmi_ev_remove (steal_ptr (o->source));
  rcvmi_userfd_close (&o->io);
  free (steal_ptr (o->buf));
  o->used = 0;
}

static int
give_credit (struct output *o, bool all, rcvm_error **err)
{
  uint32_t owed = o->owed;

  if (owed == 0 || o->ended || o->streams->held || (!all && owed < AGENT_WINDOW / 4))
    return 0;
  o->owed = 0;
  return send_stream_record (o->streams, AGENT_FRAME_WINDOW, o->frame, owed, err);
}

/* The reader went away: so does the guest's end of the pipe, and the process sees EPIPE. */
static int
break_output (struct output *o, rcvm_error **err)
{
  o->broken = true;
  end_output (o);
  if (o->streams->held)
    {
      o->close_owed = true;
      return 0;
    }
  return o->ended ? 0 : send_stream_record (o->streams, AGENT_CLOSE, o->frame, 0, err);
}

static int
drain_output (struct output *o, rcvm_error **err)
{
  while (o->used > 0)
    {
      size_t piece = AGENT_WINDOW - o->start < o->used ? AGENT_WINDOW - o->start : o->used;
      ssize_t n = rcvmi_userfd_write (&o->io, o->buf + o->start, piece);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n < 0)
        return break_output (o, err);
      o->start = (o->start + (size_t) n) % AGENT_WINDOW;
      o->used -= (size_t) n;
      o->owed += (uint32_t) n;
    }
  if (o->source)
    rcvmi_ev_set_events (o->source, o->used > 0 ? EPOLLOUT : 0);
  if (o->used == 0 && (o->ended || o->streams->finished))
    end_output (o);
  return give_credit (o, o->used == 0, err);
}

static void
on_output_ready (void *user, uint32_t events)
{
  struct output *o = user;
  struct rcvmi_streams *s = o->streams;
  rcvm_error *e = NULL;

  (void) events;
  if (drain_output (o, &e) < 0)
    link_broke (s, e);
  else if (is_done (s) && s->done)
    s->done (s->user);
}

static int
store_output (struct output *o, const unsigned char *data, size_t len, rcvm_error **err)
{
  size_t at, piece;

  if (!o->buf && !(o->buf = malloc (AGENT_WINDOW)))
    return rcvmi_fail_nomem (err);
  if (!o->source
      && !(o->source = rcvmi_ev_add (o->streams->ev, o->io.fd, EPOLLOUT, on_output_ready, o, err)))
    return RCVM_E_SYSTEM;
  at = (o->start + o->used) % AGENT_WINDOW;
  piece = AGENT_WINDOW - at < len ? AGENT_WINDOW - at : len;
  memcpy (o->buf + at, data, piece);
  memcpy (o->buf, data + piece, len - piece);
  o->used += len;
  rcvmi_ev_set_events (o->source, EPOLLOUT);
  return 0;
}

static int
take_output (struct output *o, const unsigned char *data, size_t len, rcvm_error **err)
{
  if (o->ended)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent output after its end");
  if (len == 0)
    {
      o->ended = true;
      if (o->used == 0)
        end_output (o);
      return 0;
    }
  if (o->broken)
    return 0;
  if (len > AGENT_WINDOW - o->used - o->owed)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent more output than it may");
  while (o->used == 0 && len > 0)
    {
      ssize_t n = rcvmi_userfd_write (&o->io, data, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n < 0)
        return break_output (o, err);
      data += n;
      len -= (size_t) n;
      o->owed += (uint32_t) n;
    }
  if (len > 0)
    return store_output (o, data, len, err);
  return give_credit (o, false, err);
}

/* Input. */

static int
end_input (struct rcvmi_streams *s, bool tell, rcvm_error **err)
{
  rcvmi_ev_remove (steal_ptr (s->in_source));
  rcvmi_userfd_close (&s->in);
  if (s->in_ended)
    return 0;
  s->in_ended = true;
  return tell ? rcvmi_link_send (s->link, AGENT_STDIN, s->process, NULL, 0, err) : 0;
}

static int
pump_input (struct rcvmi_streams *s, rcvm_error **err)
{
  static unsigned char buf[AGENT_DATA_MAX]; /* the monitor has one thread */
  size_t want = s->in_credit < sizeof buf ? s->in_credit : sizeof buf;
  ssize_t n;

  if (want == 0)
    {
      rcvmi_ev_set_events (s->in_source, 0);
      return 0;
    }
  n = rcvmi_userfd_read (&s->in, buf, want);
  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return 0;
  if (n <= 0) /* a terminal that has hung up reads EIO: an end like any other */
    return end_input (s, true, err);
  s->in_credit -= (uint32_t) n;
  if (s->in_credit == 0)
    rcvmi_ev_set_events (s->in_source, 0);
  return rcvmi_link_send (s->link, AGENT_STDIN, s->process, buf, (size_t) n, err);
}

static void
on_input_ready (void *user, uint32_t events)
{
  struct rcvmi_streams *s = user;
  rcvm_error *e = NULL;

  (void) events;
  if (pump_input (s, &e) < 0)
    link_broke (s, e);
}

static int
take_window (struct rcvmi_streams *s, uint32_t stream, uint32_t bytes, rcvm_error **err)
{
  if (stream != AGENT_STDIN || bytes > AGENT_WINDOW - s->in_credit)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent a wrong window");
  s->in_credit += bytes;
  if (s->in_source)
    rcvmi_ev_set_events (s->in_source, EPOLLIN);
  return 0;
}

/* Both. */

struct rcvmi_streams *
rcvmi_streams_new (struct rcvmi_ev *ev, struct rcvmi_link *link, uint32_t process, const int fds[3],
                   rcvm_error **err)
{
  struct rcvmi_streams *s = calloc (1, sizeof *s);

  if (!s)
    {
      for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
          close (fds[i]);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  s->ev = ev;
  s->link = link;
  s->process = process;
  s->in_credit = AGENT_WINDOW;
  rcvmi_userfd_open (&s->in, fds[0], false);
  for (int i = 0; i < 2; i++)
    {
      s->out[i].streams = s;
      s->out[i].frame = i ? AGENT_STDERR : AGENT_STDOUT;
      rcvmi_userfd_open (&s->out[i].io, fds[1 + i], true);
    }
  return s;
}

void
rcvmi_streams_set_handlers (struct rcvmi_streams *s, rcvmi_streams_broken_fn broken,
                            rcvmi_streams_done_fn done, void *user)
{
  s->broken = broken;
  s->done = done;
  s->user = user;
}

void
rcvmi_streams_free (struct rcvmi_streams *s)
{
  if (!s)
    return;
  rcvmi_ev_remove (s->in_source);
  rcvmi_userfd_close (&s->in);
  end_output (&s->out[0]);
  end_output (&s->out[1]);
  free (s);
}

int
rcvmi_streams_start (struct rcvmi_streams *s, rcvm_error **err)
{
  if (s->in.kind == RCVMI_USERFD_NONE)
    {
      s->in_ended = true;
      return 0;
    }
  s->in_source = rcvmi_ev_add (s->ev, s->in.fd, EPOLLIN, on_input_ready, s, err);
  return s->in_source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_streams_frame (struct rcvmi_streams *s, const struct agent_header *header,
                     const unsigned char *payload, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;
  uint32_t stream = 0, bytes = 0;

  if (header->type == AGENT_STDOUT)
    return take_output (&s->out[0], payload, header->len, err);
  if (header->type == AGENT_STDERR)
    return take_output (&s->out[1], payload, header->len, err);
  tlv_reader_init (&r, payload, header->len);
  while (tlv_next (&r, &f))
    {
      if (f.tag == A_STREAM)
        stream = tlv_get_u32 (&r, &f);
      else if (f.tag == A_BYTES)
        bytes = tlv_get_u32 (&r, &f);
    }
  if (r.bad)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent a malformed record");
  if (header->type == AGENT_FRAME_WINDOW)
    return take_window (s, stream, bytes, err);
  /* CLOSE: the process has closed its stdin. */
  if (stream != AGENT_STDIN)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent closed a stream that is its own");
  return end_input (s, false, err);
}

void
rcvmi_streams_hold (struct rcvmi_streams *s)
{
  s->held = true;
  /* Not only without events: a writer that hangs up would be reported for ever. */
  rcvmi_ev_remove (steal_ptr (s->in_source));
}

int
rcvmi_streams_go_on (struct rcvmi_streams *s, rcvm_error **err)
{
  int code = 0;

  s->held = false;
  /* Who gives no input ends it. */
  if (!s->in_ended && s->in.kind == RCVMI_USERFD_NONE)
    code = end_input (s, true, err);
  else if (!s->in_ended
           && !(s->in_source = rcvmi_ev_add (s->ev, s->in.fd, s->in_credit ? EPOLLIN : 0, on_input_ready, s, err)))
    code = RCVM_E_SYSTEM;
  for (int i = 0; code == 0 && i < 2; i++)
    {
      struct output *o = &s->out[i];

      if (o->close_owed && !o->ended)
        code = send_stream_record (s, AGENT_CLOSE, o->frame, 0, err);
      else
        code = give_credit (o, o->used == 0, err);
      o->close_owed = false;
    }
  return code;
}

void
rcvmi_streams_save (const struct rcvmi_streams *s, struct rcvmi_streams_saved *saved)
{
  *saved = (struct rcvmi_streams_saved){ .in_credit = s->in_credit, .in_ended = s->in_ended };
  for (int i = 0; i < 2; i++)
    {
      /* What is still here is the old reader's. */
      saved->owed[i] = s->out[i].owed + (uint32_t) s->out[i].used;
      saved->ended[i] = s->out[i].ended;
      saved->broken[i] = s->out[i].broken && !s->out[i].close_owed;
    }
}

int
rcvmi_streams_adopt (struct rcvmi_streams *s, const struct rcvmi_streams_saved *saved, rcvm_error **err)
{
  if (saved->in_credit > AGENT_WINDOW || saved->owed[0] > AGENT_WINDOW || saved->owed[1] > AGENT_WINDOW)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's streams have windows that cannot be");
  s->held = true;
  s->in_credit = saved->in_credit;
  for (int i = 0; i < 2; i++)
    {
      s->out[i].owed = saved->owed[i];
      s->out[i].ended = saved->ended[i];
      s->out[i].broken = saved->broken[i];
      if (saved->ended[i] || saved->broken[i])
        end_output (&s->out[i]);
    }
  s->in_ended = saved->in_ended;
  return s->in_ended ? end_input (s, false, err) : 0;
}

void
rcvmi_streams_finish (struct rcvmi_streams *s)
{
  s->finished = true;
  end_input (s, false, NULL);
  for (int i = 0; i < 2; i++)
    {
      s->out[i].ended = true;
      if (s->out[i].used == 0)
        end_output (&s->out[i]);
    }
  if (is_done (s) && s->done)
    s->done (s->user);
}

void
rcvmi_streams_abandon (struct rcvmi_streams *s)
{
  for (int i = 0; i < 2; i++)
    {
      s->out[i].ended = true;
      drain_output (&s->out[i], NULL);
      end_output (&s->out[i]);
    }
  end_input (s, false, NULL);
}
