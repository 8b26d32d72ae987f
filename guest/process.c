/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "agent.h"
#include "agent-wire.h"
#include "cgroup.h"
#include "channel.h"
#include "cleanup.h"
#include "container.h"
#include "handoff.h"
#include "resources.h"
#include "log.h"
#include "names.h"
#include "program.h"
#include "request.h"
#include "unpack.h"

static struct process *processes;

struct process *
process_find (uint32_t number)
{
  struct process *p = processes;

  while (p && p->number != number)
    p = p->next;
  return p;
}

static void handoff_ready (struct watch *w, uint32_t events);

static struct process *
process_new (uint32_t number)
{
  struct process *p = calloc (1, sizeof *p);

  if (!p)
    return NULL;
  p->number = number;
  p->slave = -1;
  for (int i = 0; i < 3; i++)
    p->stdio[i] = -1;
  p->handoff = WATCH_INIT;
  p->handoff.ready = handoff_ready;
  relay_in_init (&p->in, p);
  relay_out_init (&p->out, p, AGENT_STDOUT);
  relay_out_init (&p->err, p, AGENT_STDERR);
  p->next = processes;
  processes = p;
  return p;
}

static void
close_fd (int *fd)
{
  if (*fd >= 0)
    close (steal_fd (fd));
}

static void
process_free (struct process *p)
{
  struct process **link = &processes;

  while (*link && *link != p)
    link = &(*link)->next;
  if (*link)
    *link = p->next;
  loop_close (&p->handoff);
  relay_in_free (&p->in);
  relay_out_free (&p->out);
  relay_out_free (&p->err);
  close_fd (&p->slave);
  for (int i = 0; i < 3; i++)
    close_fd (&p->stdio[i]);
  loop_free_later (p);
}

static void
process_failed (struct process *p, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  failure_put (&w, f);
  channel_send_record (AGENT_FAILED, p->number, &w);
  process_free (p);
}

/* execve has succeeded: output may flow now. */
static void
process_started (struct process *p)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  loop_close (&p->handoff);
  p->started = true;
  tlv_put_u32 (&w, A_PID, (uint32_t) p->pid);
  channel_send_record (AGENT_STARTED, p->number, &w);
  if (p->stdio[0] >= 0 && relay_in_start (&p->in, p->stdio[0], p->terminal) == 0)
    p->stdio[0] = -1;
  if (p->stdio[1] >= 0 && relay_out_start (&p->out, p->stdio[1], p->terminal) == 0)
    p->stdio[1] = -1;
  if (p->stdio[2] >= 0 && relay_out_start (&p->err, p->stdio[2], false) == 0)
    p->stdio[2] = -1;
  for (int i = 0; i < 3; i++)
    if (p->stdio[i] >= 0)
      fatal ("cannot watch a stream: %s", strerror (errno));
}

/* Takes what a starting child says; false once that has come to an end. */
static bool
take_handoff (struct process *p)
{
  unsigned char data[HANDOFF_MAX];
  size_t len = sizeof data;
  int fds[HANDOFF_FDS], type = handoff_recv (p->handoff.fd, data, &len, fds);
  struct failure f = { 0 };

  switch (type)
    {
    case HANDOFF_LOG:
      agent_forward_log (data, len);
      return true;
    case HANDOFF_TTY:
      p->stdio[1] = fds[0];
      p->slave = fds[1];
      if (!p->in.closed)
        p->stdio[0] = fcntl (p->stdio[1], F_DUPFD_CLOEXEC, 3);
      return true;
    case HANDOFF_EXEC:
      p->exec_said = true;
      return true;
    case HANDOFF_FAILED:
      channel_send (AGENT_FAILED, p->number, data, len);
      process_free (p);
      return false;
    case -1:
      if (errno == EAGAIN)
        return false;
      /* fall through */
    default:
      if (p->exec_said)
        process_started (p);
      else
        {
          fail (&f, "exec", 0, "the process died before its program could be run");
          process_failed (p, &f);
        }
      return false;
    }
}

static void
handoff_ready (struct watch *w, uint32_t events)
{
  struct process *p = owner_of (w, struct process, handoff);

  (void) events;
  while (take_handoff (p))
    ;
}

/* Pipes: the process's ends in `theirs`, ours in p->stdio. */
static int
make_pipes (struct process *p, const struct request *q, int theirs[3], struct failure *f)
{
  for (int i = 0; i < 3; i++)
    {
      int fds[2];

      if (i == 0 && q->no_stdin)
        {
          theirs[0] = open ("/dev/null", O_RDONLY | O_CLOEXEC);
          if (theirs[0] < 0)
            return fail (f, "stdio", errno, "cannot open /dev/null");
          continue;
        }
      if (pipe2 (fds, O_CLOEXEC) < 0)
        return fail (f, "stdio", errno, "cannot make a pipe");
      p->stdio[i] = fds[i == 0];
      theirs[i] = fds[i != 0];
      /* Our end alone: the two ends of a pipe have flags of their own. */
      if (fcntl (p->stdio[i], F_SETFL, O_NONBLOCK) < 0)
        return fail (f, "stdio", errno, "cannot make a pipe non-blocking");
    }
  return 0;
}

static _Noreturn void
child (const struct request *q, const int stdio[3], int handoff)
{
  struct program p = { .request = q, .handoff = handoff };
  struct failure f = { 0 };

  handoff_begin_child (handoff);
  memcpy (p.stdio, stdio, sizeof p.stdio);
  if (resources_apply (q, 0, &f) == 0 && container_enter (&f) == 0)
    program_run (&p, &f);
  handoff_send_failure (handoff, &f);
  _exit ((int) f.exit_code);
}

/* No process of the container: it is not in its sight, nor within its reach. */
static _Noreturn void
unpacker (const int stdio[3], int handoff)
{
  struct failure f = { 0 };

  handoff_begin_child (handoff);
  unpack_run (stdio[0], stdio[1], handoff, &f);
  handoff_send_failure (handoff, &f);
  _exit (125);
}

static int
start_further (struct process *p, const struct request *q, const int stdio[3], struct failure *f)
{
  int fds[2];

  if (handoff_pair (fds) < 0)
    return fail (f, "exec", errno, "cannot make a socket pair");
  p->pid = q->unpack ? fork () : container_fork ();
  if (p->pid == 0 && q->unpack)
    unpacker (stdio, fds[1]);
  if (p->pid == 0)
    child (q, stdio, fds[1]);
  if (p->pid < 0)
    fail (f, "exec", errno,
          errno == ESRCH ? "the container has stopped" : "cannot make another process");
  close (fds[1]);
  if (p->pid < 0 || loop_add (&p->handoff, fds[0], EPOLLIN) < 0)
    {
      if (p->pid > 0)
        fatal ("cannot watch a process: %s", strerror (errno));
      close (fds[0]);
      return -1;
    }
  return 0;
}

static int
start_first (struct process *p, const struct request *q, const void *record, size_t len,
             const int stdio[3], struct failure *f)
{
  autoclose int memory = memfd_create ("exec", MFD_CLOEXEC);
  int fds[HANDOFF_FDS] = { memory, stdio[0], stdio[1], stdio[2] }, handoff;
  const unsigned char *at = record;

  if (!container_is_waiting ())
    return fail (f, "exec", ESRCH, "the container is not there, or has run already");
  if (memory < 0)
    return fail (f, "exec", errno, "cannot pass the EXEC record on");
  while (len)
    {
      ssize_t n = write (memory, at, len);

      if (n < 0)
        return fail (f, "exec", errno, "cannot pass the EXEC record on");
      at += n;
      len -= (size_t) n;
    }
  if (q->names)
    names_start ();
  p->pid = container_init_pid ();
  if (resources_apply (q, p->pid, f) < 0)
    return -1;
  handoff = container_start (fds, stdio[1] < 0 ? 1 : HANDOFF_FDS);
  if (handoff < 0)
    return fail (f, "exec", errno, "the container has stopped");
  if (loop_add (&p->handoff, handoff, EPOLLIN) < 0)
    fatal ("cannot watch a process: %s", strerror (errno));
  return 0;
}

void
process_exec (uint32_t number, const void *record, size_t len)
{
  int theirs[3] = { -1, -1, -1 }, r;
  struct failure f = { 0 };
  struct request q;
  struct process *p;

  if (process_find (number))
    fatal ("the host uses process number %u twice", number);
  p = process_new (number);
  if (!p)
    fatal ("out of memory");
  r = request_parse (&q, record, len, &f);
  if (r == 0)
    {
      p->terminal = q.terminal;
      p->err.done = q.terminal;
      p->in.closed = q.no_stdin;
      if (!q.terminal)
        r = make_pipes (p, &q, theirs, &f);
      if (r == 0)
        r = number ? start_further (p, &q, theirs, &f)
                   : start_first (p, &q, record, len, theirs, &f);
    }
  request_free (&q);
  for (int i = 0; i < 3; i++)
    close_fd (&theirs[i]);
  if (r < 0)
    process_failed (p, &f);
}

bool
process_all_started (void)
{
  for (const struct process *p = processes; p; p = p->next)
    if (!p->started)
      return false;
  return true;
}

void
process_check_end (struct process *p)
{
  if (!p->exited || !p->out.done || !p->err.done || p->ended)
    return;
  p->ended = true;
  /* Why, if that is why, comes first. */
  cgroup_report_oom ();
  agent_send_exit (p->number, p->status);
  process_free (p);
}

void
process_reaped (pid_t pid, int status)
{
  struct process *p = processes;

  while (p && (p->pid != pid || p->exited))
    p = p->next;
  if (!p)
    return;
  if (!p->started)
    {
      uint32_t number = p->number;

      /* Its last words tell whether it ever ran. */
      while (take_handoff (p))
        ;
      p = process_find (number);
      if (!p || !p->started)
        return;
    }
  p->exited = true;
  p->status = status;
  p->in.closed = true;
  relay_in_free (&p->in);
  close_fd (&p->slave);
  relay_out_drain (&p->out);
  relay_out_drain (&p->err);
  process_check_end (p);
}

void
process_signal (uint32_t number, int signum)
{
  struct process *p = process_find (number);
  pid_t pid = p ? p->pid : number == 0 ? container_init_pid () : 0;

  if (pid > 0 && !(p && p->exited))
    kill (pid, signum);
}

void
process_resize (struct process *p, uint32_t rows, uint32_t cols)
{
  struct winsize size = { .ws_row = (unsigned short) rows, .ws_col = (unsigned short) cols };
  int fd = p->out.w.fd >= 0 ? p->out.w.fd : p->stdio[1];

  if (p->terminal && fd >= 0 && ioctl (fd, TIOCSWINSZ, &size) < 0)
    log_write (LOG_DEBUG, "cannot resize a terminal: %s", strerror (errno));
}

void
process_resume_all (void)
{
  struct process *next;

  for (struct process *p = processes; p; p = next)
    {
      next = p->next;
      if (p->exited)
        {
          relay_out_resume (&p->out);
          relay_out_resume (&p->err);
        }
    }
}
