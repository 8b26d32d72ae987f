/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams of a process whose guest is the test: it reads and writes the other end of the link. */
#include "config.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "stream.h"

enum
{
  PROCESS = 5
};

struct bench
{
  struct rcvmi_ev *ev;
  struct rcvmi_link link;  /* the host's end */
  struct rcvmi_link guest; /* the guest's */
  struct rcvmi_streams *streams;
  int done, broken;
};

static int
set_up (void **state)
{
  struct bench *b = calloc (1, sizeof *b);
  int pair[2];

  *state = b;
  if (!b || !(b->ev = rcvmi_ev_new (NULL)) || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  return rcvmi_link_init (&b->link, pair[0], "the guest", AGENT_DATA_MAX, NULL) < 0
                 || rcvmi_link_init (&b->guest, pair[1], "the host", AGENT_DATA_MAX, NULL) < 0
             ? -1
             : 0;
}

static int
tear_down (void **state)
{
  struct bench *b = *state;

  rcvmi_streams_free (b->streams);
  rcvmi_link_clear (&b->link);
  rcvmi_link_clear (&b->guest);
  rcvmi_ev_free (b->ev);
  free (b);
  return 0;
}

#define STREAM_TEST(name) static void name (void **state)

static void
on_done (void *user)
{
  struct bench *b = user;

  b->done++;
}

static void
on_broken (void *user, rcvm_error *err)
{
  struct bench *b = user;

  b->broken++;
  rcvm_error_free (err);
}

/* The fds become the streams'. */
static void
open_streams (struct bench *b, int in, int out, int err_fd)
{
  const int fds[3] = { in, out, err_fd };
  rcvm_error *e = NULL;

  b->streams = rcvmi_streams_new (b->ev, &b->link, PROCESS, fds, &e);
  check_ok (b->streams ? 0 : -1, e);
  rcvmi_streams_set_handlers (b->streams, on_broken, on_done, b);
}

static void
start (struct bench *b)
{
  rcvm_error *e = NULL;

  check_ok (rcvmi_streams_start (b->streams, &e), e);
}

static int
feed (struct bench *b, uint16_t type, const void *data, size_t len, rcvm_error **err)
{
  struct agent_header h = { .len = (uint32_t) len, .type = type, .process = PROCESS };

  return rcvmi_streams_frame (b->streams, &h, len ? data : "", err);
}

static void
feed_ok (struct bench *b, uint16_t type, const void *data, size_t len)
{
  rcvm_error *e = NULL;

  check_ok (feed (b, type, data, len, &e), e);
}

static int
feed_record (struct bench *b, uint16_t type, uint32_t stream, uint32_t bytes, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int code;

  tlv_put_u32 (&w, A_STREAM, stream);
  tlv_put_u32 (&w, A_BYTES, bytes);
  code = feed (b, type, w.data, w.len, err);
  tlv_writer_free (&w);
  return code;
}

static void
stop_loop (void *user, uint32_t events)
{
  (void) events;
  rcvmi_ev_stop (user);
}

/* Callbacks until the guest's end has something to read, or another fd has the events. */
static void
run_until (struct bench *b, int fd, uint32_t events)
{
  struct rcvmi_ev_source *s;
  rcvm_error *e = NULL;
  int copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);

  s = rcvmi_ev_add (b->ev, copy, events, stop_loop, b->ev, &e);
  check_ok (s ? 0 : -1, e);
  check_ok (rcvmi_ev_run (b->ev, &e), e);
  rcvmi_ev_remove (s);
  close (copy);
}

struct frame
{
  uint16_t type;
  uint32_t stream, bytes; /* of WINDOW and CLOSE */
  size_t len;
  unsigned char data[AGENT_DATA_MAX];
};

static bool
guest_next (struct bench *b, struct frame *f)
{
  const unsigned char *payload;
  struct agent_header h;
  struct tlv_reader r;
  struct tlv_field field;
  rcvm_error *e = NULL;
  int n;

  check_ok (rcvmi_link_fill (&b->guest, &e), e);
  n = rcvmi_link_next (&b->guest, &h, &payload, &e);
  check_ok (n, e);
  if (n == 0)
    return false;
  assert_int_equal (h.process, PROCESS);
  f->type = h.type;
  f->len = h.len;
  memcpy (f->data, payload, h.len);
  f->stream = f->bytes = 0;
  if (h.type == AGENT_FRAME_WINDOW || h.type == AGENT_CLOSE)
    {
      tlv_reader_init (&r, payload, h.len);
      while (tlv_next (&r, &field))
        if (field.tag == A_STREAM)
          f->stream = tlv_get_u32 (&r, &field);
        else if (field.tag == A_BYTES)
          f->bytes = tlv_get_u32 (&r, &field);
      assert_false (r.bad);
    }
  return true;
}

/* Output. */

STREAM_TEST (test_output_to_pipes)
{
  struct bench *b = *state;
  int out[2], err_pipe[2];
  char buf[16];

  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (err_pipe, O_CLOEXEC), 0);
  open_streams (b, -1, out[1], err_pipe[1]);
  start (b);
  feed_ok (b, AGENT_STDOUT, "to stdout", 9);
  feed_ok (b, AGENT_STDERR, "to stderr", 9);
  read_full (out[0], buf, 9);
  assert_memory_equal (buf, "to stdout", 9);
  read_full (err_pipe[0], buf, 9);
  assert_memory_equal (buf, "to stderr", 9);
  assert_false (is_ready (out[0], POLLIN));
  /* Each ends by itself. */
  feed_ok (b, AGENT_STDERR, NULL, 0);
  assert_int_equal (read (err_pipe[0], buf, 1), 0);
  assert_false (is_ready (out[0], POLLIN));
  feed_ok (b, AGENT_STDOUT, NULL, 0);
  assert_int_equal (read (out[0], buf, 1), 0);
  assert_int_equal (b->done, 0);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
  close (out[0]);
  close (err_pipe[0]);
}

/* Ends that the guest did not tell come with the process's. */
STREAM_TEST (test_finish_ends_output)
{
  struct bench *b = *state;
  int out[2];
  char c;

  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  open_streams (b, -1, out[1], -1);
  feed_ok (b, AGENT_STDOUT, "x", 1);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
  assert_int_equal (read (out[0], &c, 1), 1);
  assert_int_equal (read (out[0], &c, 1), 0);
  close (out[0]);
}

STREAM_TEST (test_output_to_nothing)
{
  struct bench *b = *state;
  unsigned char data[AGENT_DATA_MAX] = { 0 };
  struct frame f;
  size_t credit = 0;

  open_streams (b, -1, -1, open ("/dev/null", O_WRONLY | O_CLOEXEC));
  for (int i = 0; i < 100; i++)
    {
      feed_ok (b, AGENT_STDOUT, data, sizeof data);
      feed_ok (b, AGENT_STDERR, data, sizeof data);
      while (guest_next (b, &f))
        {
          assert_int_equal (f.type, AGENT_FRAME_WINDOW);
          credit += f.bytes;
        }
    }
  assert_int_equal (credit, 200 * sizeof data);
}

STREAM_TEST (test_output_to_file)
{
  struct bench *b = *state;
  char *dir = make_dir ();
  autofree char *path = NULL;
  autofree char *text = NULL;
  int fd;

  assert_true (asprintf (&path, "%s/f", dir) > 0);
  write_file (path, "....", 4);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  assert_int_equal (lseek (fd, 2, SEEK_SET), 2);
  /* One file for both, as with 2>&1: the offset is shared. */
  open_streams (b, -1, fcntl (fd, F_DUPFD_CLOEXEC, 3), fcntl (fd, F_DUPFD_CLOEXEC, 3));
  feed_ok (b, AGENT_STDOUT, "ab", 2);
  feed_ok (b, AGENT_STDERR, "CD", 2);
  feed_ok (b, AGENT_STDOUT, "ef", 2);
  assert_int_equal (lseek (fd, 0, SEEK_CUR), 8);
  rcvmi_streams_finish (b->streams);
  text = read_text (path);
  assert_string_equal (text, "..abCDef");
  close (fd);
  remove_tree (dir);
}

static unsigned char
pattern (size_t i)
{
  return (unsigned char) (i * 131 >> 7 ^ i);
}

/* A reader that stalls: the window fills, the other stream goes on, and nothing is lost when it reads on. */
static void
check_stalled_reader (struct bench *b, const int fds[2])
{
  static unsigned char data[AGENT_WINDOW + AGENT_DATA_MAX];
  unsigned char buf[8192];
  size_t given = 0, got = 0, credit = 0, wanted = 8 * AGENT_WINDOW;
  bool stalled = false;
  struct frame f;
  int other[2];

  assert_int_equal (pipe2 (other, O_CLOEXEC), 0);
  open_streams (b, -1, fds[1], other[1]);
  start (b);
  while (got < wanted)
    {
      while (given < wanted)
        {
          size_t window = AGENT_WINDOW + credit - given;
          size_t piece = window < AGENT_DATA_MAX ? window : AGENT_DATA_MAX;

          if (piece > wanted - given)
            piece = wanted - given;
          if (piece == 0)
            break;
          for (size_t i = 0; i < piece; i++)
            data[i] = pattern (given + i);
          feed_ok (b, AGENT_STDOUT, data, piece);
          given += piece;
          while (guest_next (b, &f))
            credit += f.bytes;
        }
      if (!stalled)
        {
          /* The reader has taken nothing: the window is used up. */
          assert_true (given < wanted);
          stalled = true;
          feed_ok (b, AGENT_STDERR, "!", 1);
          read_full (other[0], buf, 1);
          assert_int_equal (buf[0], '!');
        }
      for (size_t room = AGENT_WINDOW; room > 0 && got < given && is_ready (fds[0], POLLIN);)
        {
          ssize_t n = read (fds[0], buf, sizeof buf);

          assert_true (n > 0);
          for (ssize_t i = 0; i < n; i++)
            assert_int_equal (buf[i], pattern (got + (size_t) i));
          got += (size_t) n;
          room -= (size_t) n < room ? (size_t) n : room;
        }
      if (got < given)
        run_until (b, fds[0], EPOLLIN);
      while (guest_next (b, &f))
        {
          assert_int_equal (f.type, AGENT_FRAME_WINDOW);
          assert_int_equal (f.stream, AGENT_STDOUT);
          credit += f.bytes;
        }
    }
  assert_int_equal (given, wanted);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
  close (other[0]);
}

STREAM_TEST (test_stalled_pipe)
{
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  check_stalled_reader (*state, fds);
  close (fds[0]);
}

STREAM_TEST (test_stalled_socket)
{
  int fds[2];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  check_stalled_reader (*state, fds);
  close (fds[0]);
}

/* The process ends while its reader stalls: `done` waits for the last byte. */
STREAM_TEST (test_finish_while_stalled)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  unsigned char buf[8192];
  size_t given = 0, got = 0;
  int fds[2];
  ssize_t n;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, -1, fds[1], -1);
  for (; given < AGENT_WINDOW; given += sizeof data)
    {
      for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern (given + i);
      feed_ok (b, AGENT_STDOUT, data, sizeof data);
    }
  feed_ok (b, AGENT_STDOUT, NULL, 0);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 0);
  for (;;)
    {
      if (!is_ready (fds[0], POLLIN))
        run_until (b, fds[0], EPOLLIN | EPOLLHUP);
      n = read (fds[0], buf, sizeof buf);
      assert_true (n >= 0);
      if (n == 0)
        break;
      for (ssize_t i = 0; i < n; i++)
        assert_int_equal (buf[i], pattern (got + (size_t) i));
      got += (size_t) n;
    }
  assert_int_equal (got, given);
  assert_int_equal (b->done, 1);
  close (fds[0]);
}

/* The reader goes away: the guest is told, and what still comes is dropped. */
static void
check_gone_reader (struct bench *b, const int fds[2])
{
  struct frame f;

  open_streams (b, -1, fds[1], -1);
  start (b);
  feed_ok (b, AGENT_STDOUT, "x", 1);
  close (fds[0]);
  feed_ok (b, AGENT_STDOUT, "y", 1);
  assert_true (guest_next (b, &f));
  assert_int_equal (f.type, AGENT_CLOSE);
  assert_int_equal (f.stream, AGENT_STDOUT);
  feed_ok (b, AGENT_STDOUT, "z", 1);
  assert_false (guest_next (b, &f));
  feed_ok (b, AGENT_STDOUT, NULL, 0);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
  assert_int_equal (b->broken, 0);
}

STREAM_TEST (test_gone_pipe)
{
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  check_gone_reader (*state, fds);
}

STREAM_TEST (test_gone_socket)
{
  int fds[2];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  check_gone_reader (*state, fds);
}

/* It goes away while bytes wait for it. */
STREAM_TEST (test_gone_while_stalled)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  struct frame f = { 0 };
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, -1, fds[1], -1);
  for (size_t given = 0; given < AGENT_WINDOW; given += sizeof data)
    feed_ok (b, AGENT_STDOUT, data, sizeof data);
  while (guest_next (b, &f))
    assert_int_equal (f.type, AGENT_FRAME_WINDOW);
  close (fds[0]);
  run_until (b, b->guest.fd, EPOLLIN);
  assert_true (guest_next (b, &f));
  assert_int_equal (f.type, AGENT_CLOSE);
  assert_int_equal (f.stream, AGENT_STDOUT);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
}

/* The process has ended, bytes wait for a reader that goes away: that is the end of them. */
STREAM_TEST (test_gone_after_finish)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  struct frame f;
  int fds[2], watch;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  watch = fcntl (fds[1], F_DUPFD_CLOEXEC, 3);
  open_streams (b, -1, fds[1], -1);
  for (size_t given = 0; given < AGENT_WINDOW; given += sizeof data)
    feed_ok (b, AGENT_STDOUT, data, sizeof data);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 0);
  close (fds[0]);
  run_until (b, watch, EPOLLERR);
  assert_int_equal (b->done, 1);
  while (guest_next (b, &f))
    assert_int_equal (f.type, AGENT_FRAME_WINDOW);
  close (watch);
}

STREAM_TEST (test_abandon)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  unsigned char buf[8192];
  int fds[2], in[2];
  size_t total = 0;
  ssize_t n;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  open_streams (b, in[0], fds[1], -1);
  start (b);
  for (size_t given = 0; given < AGENT_WINDOW; given += sizeof data)
    feed_ok (b, AGENT_STDOUT, data, sizeof data);
  /* There is room for some of what waits. */
  read_full (fds[0], buf, sizeof buf);
  rcvmi_streams_abandon (b->streams);
  while ((n = read (fds[0], buf, sizeof buf)) > 0)
    total += (size_t) n;
  assert_int_equal (n, 0);
  assert_in_range (total, 65536, AGENT_WINDOW - 1);
  assert_int_equal (write (in[1], "x", 1), -1);
  assert_int_equal (errno, EPIPE);
  assert_int_equal (b->done, 0);
  close (fds[0]);
  close (in[1]);
}

/* A guest that breaks the rules. */

STREAM_TEST (test_window_violation)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  rcvm_error *e = NULL;
  size_t given = 0;
  int fds[2], code;

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, -1, fds[1], -1);
  while ((code = feed (b, AGENT_STDOUT, data, sizeof data, &e)) == 0)
    given += sizeof data;
  assert_int_equal (code, RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "more output than it may");
  /* What the pipe took is not given back in full before it is read, so no more than both fit. */
  assert_in_range (given, AGENT_WINDOW, AGENT_WINDOW + 65536);
  close (fds[0]);
}

STREAM_TEST (test_one_byte_too_many)
{
  struct bench *b = *state;
  static unsigned char data[AGENT_DATA_MAX];
  rcvm_error *e = NULL;
  size_t room = AGENT_WINDOW;
  struct frame f;
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, -1, fds[1], -1);
  while (room > 0)
    {
      size_t piece = room < 4097 ? room : 4097;

      feed_ok (b, AGENT_STDOUT, data, piece);
      room -= piece;
      while (guest_next (b, &f))
        room += f.bytes;
    }
  assert_int_equal (feed (b, AGENT_STDOUT, "x", 1, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "more output than it may");
  close (fds[0]);
}

STREAM_TEST (test_output_after_end)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  open_streams (b, -1, -1, -1);
  feed_ok (b, AGENT_STDERR, NULL, 0);
  assert_int_equal (feed (b, AGENT_STDERR, "x", 1, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "after its end");
  assert_int_equal (feed (b, AGENT_STDERR, NULL, 0, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "after its end");
  feed_ok (b, AGENT_STDOUT, "x", 1);
}

STREAM_TEST (test_bad_records)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;

  open_streams (b, -1, -1, -1);
  assert_int_equal (feed_record (b, AGENT_FRAME_WINDOW, AGENT_STDIN, 1, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "wrong window");
  assert_int_equal (feed_record (b, AGENT_FRAME_WINDOW, AGENT_STDIN, UINT32_MAX, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "wrong window");
  assert_int_equal (feed_record (b, AGENT_FRAME_WINDOW, AGENT_STDOUT, 0, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "wrong window");
  assert_int_equal (feed_record (b, AGENT_CLOSE, AGENT_STDOUT, 0, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "closed a stream");
  assert_int_equal (feed (b, AGENT_CLOSE, "\1\2\3", 3, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "malformed");
  assert_int_equal (feed (b, AGENT_FRAME_WINDOW, NULL, 0, &e), RCVM_E_PROTOCOL);
  check_error (&e, RCVM_E_PROTOCOL, "agent", "wrong window");
}

/* Input. */

static void
check_input (struct bench *b, int in, int writer)
{
  struct frame f;

  open_streams (b, in, -1, -1);
  /* Nothing flows before the process runs. */
  write_full (writer, "hello", 5);
  assert_false (guest_next (b, &f));
  start (b);
  run_until (b, b->guest.fd, EPOLLIN);
  assert_true (guest_next (b, &f));
  assert_int_equal (f.type, AGENT_STDIN);
  assert_int_equal (f.len, 5);
  assert_memory_equal (f.data, "hello", 5);
  close (writer);
  run_until (b, b->guest.fd, EPOLLIN);
  assert_true (guest_next (b, &f));
  assert_int_equal (f.type, AGENT_STDIN);
  assert_int_equal (f.len, 0);
  rcvmi_streams_finish (b->streams);
  assert_int_equal (b->done, 1);
  assert_false (guest_next (b, &f));
}

STREAM_TEST (test_input_pipe)
{
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  check_input (*state, fds[0], fds[1]);
}

STREAM_TEST (test_input_socket)
{
  int fds[2];

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  check_input (*state, fds[0], fds[1]);
}

STREAM_TEST (test_input_null)
{
  struct bench *b = *state;
  struct frame f;

  open_streams (b, open ("/dev/null", O_RDONLY | O_CLOEXEC), -1, -1);
  start (b);
  run_until (b, b->guest.fd, EPOLLIN);
  assert_true (guest_next (b, &f));
  assert_int_equal (f.type, AGENT_STDIN);
  assert_int_equal (f.len, 0);
}

STREAM_TEST (test_no_input)
{
  struct bench *b = *state;
  struct frame f;

  open_streams (b, -1, -1, -1);
  start (b);
  /* The EXEC said E_NO_STDIN: there is no stream to end. */
  assert_false (guest_next (b, &f));
}

/* A regular file: no more than the window, however fast it is; then as the guest gives credit. */
STREAM_TEST (test_input_file_window)
{
  struct bench *b = *state;
  static unsigned char data[3 * AGENT_WINDOW];
  char *dir = make_dir ();
  autofree char *path = NULL;
  size_t got = 0, credit = AGENT_WINDOW;
  struct frame f = { .len = 1 };
  rcvm_error *e = NULL;

  for (size_t i = 0; i < sizeof data; i++)
    data[i] = pattern (i);
  assert_true (asprintf (&path, "%s/f", dir) > 0);
  write_file (path, data, sizeof data);
  open_streams (b, open (path, O_RDONLY | O_CLOEXEC), -1, -1);
  start (b);
  while (f.len > 0)
    {
      if (!guest_next (b, &f))
        {
          check_ok (rcvmi_link_flush (&b->link, &e), e);
          if (got == credit)
            {
              check_ok (feed_record (b, AGENT_FRAME_WINDOW, AGENT_STDIN, AGENT_WINDOW, &e), e);
              credit += AGENT_WINDOW;
            }
          if (rcvmi_link_pending (&b->link) == 0)
            run_until (b, b->guest.fd, EPOLLIN);
          continue;
        }
      assert_int_equal (f.type, AGENT_STDIN);
      if (f.len > 0)
        assert_memory_equal (f.data, data + got, f.len);
      got += f.len;
      assert_true (got <= credit);
    }
  assert_int_equal (got, sizeof data);
  remove_tree (dir);
}

/* The process has closed its stdin: so does the host, and whoever writes there sees it. */
STREAM_TEST (test_input_closed_by_guest)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;
  struct frame f;
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, fds[0], -1, -1);
  start (b);
  check_ok (feed_record (b, AGENT_CLOSE, AGENT_STDIN, 0, &e), e);
  assert_int_equal (write (fds[1], "x", 1), -1);
  assert_int_equal (errno, EPIPE);
  /* Twice does no harm, nor does credit that was under way. */
  check_ok (feed_record (b, AGENT_CLOSE, AGENT_STDIN, 0, &e), e);
  assert_false (guest_next (b, &f));
  close (fds[1]);
}

STREAM_TEST (test_closed_before_start)
{
  struct bench *b = *state;
  rcvm_error *e = NULL;
  int fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  open_streams (b, fds[0], -1, -1);
  check_ok (feed_record (b, AGENT_CLOSE, AGENT_STDIN, 0, &e), e);
  start (b);
  assert_int_equal (write (fds[1], "x", 1), -1);
  close (fds[1]);
}

/* All fds go with the streams, in whatever state. */
STREAM_TEST (test_fds_are_closed)
{
  struct bench *b = *state;
  int in[2], out[2], before = count_fds ();

  assert_int_equal (pipe2 (in, O_CLOEXEC), 0);
  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  open_streams (b, in[0], out[1], fcntl (out[1], F_DUPFD_CLOEXEC, 3));
  start (b);
  rcvmi_streams_free (steal_ptr (b->streams));
  rcvmi_streams_free (NULL);
  close (in[1]);
  close (out[0]);
  assert_int_equal (count_fds (), before);
}

#define stream_test(f) cmocka_unit_test_setup_teardown (f, set_up, tear_down)

int
main (void)
{
  const struct CMUnitTest tests[] = {
    stream_test (test_output_to_pipes),
    stream_test (test_finish_ends_output),
    stream_test (test_output_to_nothing),
    stream_test (test_output_to_file),
    stream_test (test_stalled_pipe),
    stream_test (test_stalled_socket),
    stream_test (test_finish_while_stalled),
    stream_test (test_gone_pipe),
    stream_test (test_gone_socket),
    stream_test (test_gone_while_stalled),
    stream_test (test_gone_after_finish),
    stream_test (test_abandon),
    stream_test (test_window_violation),
    stream_test (test_one_byte_too_many),
    stream_test (test_output_after_end),
    stream_test (test_bad_records),
    stream_test (test_input_pipe),
    stream_test (test_input_socket),
    stream_test (test_input_null),
    stream_test (test_no_input),
    stream_test (test_input_file_window),
    stream_test (test_input_closed_by_guest),
    stream_test (test_closed_before_start),
    stream_test (test_fds_are_closed),
  };

  return cmocka_run_group_tests (tests, NULL, NULL);
}
