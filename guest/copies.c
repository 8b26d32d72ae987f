/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * To freeze a file system may take as long as it takes to write what is dirty, and whoever has frozen one must not die: a process
 * of its own does it, with a socket to the agent.  It thaws when it is told to, when the agent or the host is gone, for then the
 * socket ends, and when nobody has said anything for too long.  If it dies, the agent thaws.
 *
 * Changes are told once: who watches stops with the first one, until the host has frozen the disk again.  So nothing is done for
 * each of many changes.  Overlayfs writes to its upper files behind the back of those who watch these, and does not let itself be
 * watched for names: hence data is watched in the overlays, names and attributes on the disk below.
 */
#include "copies.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "agent-wire.h"
#include "array.h"
#include "channel.h"
#include "cleanup.h"
#include "handoff.h"
#include "log.h"
#include "loop.h"
#include "mounts.h"

#ifndef FIFREEZE
#define FIFREEZE _IOWR ('X', 119, int)
#define FITHAW _IOWR ('X', 120, int)
#endif
#ifndef FAN_REPORT_FID
#define FAN_REPORT_FID 0x200
#endif

enum
{
  /* The host gives up before. */
  FROZEN_MS = 60000,

  DISK = 'D',
  WATCHED = 'W'
};

/* What the process says: first of the freeze, then of the thaw. */
struct report
{
  int errnum;
  uint64_t clock_nsec;
};

static void freezer_said (struct watch *w, uint32_t events);
static void something_changed (struct watch *w, uint32_t events);

static struct
{
  int disk;
  int *watched;
  size_t n_watched;
  struct watch data, names;
  struct watch freezer;
  uint32_t number;
  bool frozen;
} the = {
  .disk = -1,
  .data = { .fd = -1, .ready = something_changed },
  .names = { .fd = -1, .ready = something_changed },
  .freezer = { .fd = -1, .ready = freezer_said },
};

/* In the helper. */

static int
pass (int handoff, const char *name, char what, struct failure *f)
{
  autoclose int fd = mounts_open_stage (name);

  if (fd < 0 || handoff_send (handoff, HANDOFF_COPIES, &what, 1, &fd, 1) < 0)
    return fail (f, "mount", errno, "cannot pass on the mount \"%s\"", name);
  return 0;
}

int
copies_pass (const struct setup *s, int handoff, struct failure *f)
{
  char name[32];

  if (s->copies_live && pass (handoff, "copies", DISK, f) < 0)
    return -1;
  for (size_t i = 0; i < s->n_copies_watched; i++)
    {
      snprintf (name, sizeof name, "copy%u", s->copies_watched[i]);
      if (pass (handoff, name, WATCHED, f) < 0)
        return -1;
    }
  return 0;
}

/* In the agent. */

void
copies_take (const void *what, size_t len, int fd)
{
  char kind = len == 1 ? *(const char *) what : 0;
  int *place = kind == WATCHED ? array_append (the.watched, the.n_watched) : NULL;

  if (place)
    *place = fd;
  else if (kind == DISK && the.disk < 0)
    the.disk = fd;
  else
    fatal ("cannot take over a mount of the helper");
}

static void
stop_watching (void)
{
  loop_close (&the.data);
  loop_close (&the.names);
}

static int
start_watch (struct watch *w, unsigned flags)
{
  int fd = fanotify_init (FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | flags, O_RDONLY | O_CLOEXEC);

  if (fd >= 0 && loop_add (w, fd, EPOLLIN) < 0)
    {
      close (fd);
      return -1;
    }
  return fd < 0 ? -1 : 0;
}

static int
mark (const struct watch *w, uint64_t mask, int fd)
{
  return fanotify_mark (w->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, mask, fd, NULL);
}

int
copies_watch (struct failure *f)
{
  if (the.n_watched == 0)
    return 0;
  stop_watching ();
  if (start_watch (&the.data, 0) < 0 || start_watch (&the.names, FAN_REPORT_FID) < 0)
    return fail (f, "mount", errno, "the guest's kernel does not tell of changes in copies (fanotify)");
  for (size_t i = 0; i < the.n_watched; i++)
    if (mark (&the.data, FAN_MODIFY | FAN_CLOSE_WRITE, the.watched[i]) < 0)
      return fail (f, "mount", errno, "cannot watch a copy for changes");
  if (mark (&the.names, FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_ATTRIB | FAN_ONDIR, the.disk) < 0)
    return fail (f, "mount", errno, "cannot watch the disk of copies for changes");
  return 0;
}

static void
something_changed (struct watch *w, uint32_t events)
{
  (void) w, (void) events;
  stop_watching ();
  channel_send (AGENT_CHANGED, 0, NULL, 0);
}

static void
answer (uint16_t type, int errnum, uint64_t clock_nsec, const char *what)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct failure f = { 0 };

  if (errnum)
    {
      fail (&f, "mount", errnum, "%s", what);
      failure_put (&w, &f);
    }
  else if (clock_nsec)
    tlv_put_u64 (&w, A_CLOCK_NSEC, clock_nsec);
  channel_send_record (type, the.number, &w);
}

static void
frozen (const struct report *r)
{
  struct failure f = { 0 };

  the.frozen = r->errnum == 0;
  /* While nothing can change: what comes next is told. */
  if (the.frozen && copies_watch (&f) < 0)
    log_write (LOG_WARNING, "%s", f.message);
  answer (AGENT_FROZEN, r->errnum, r->clock_nsec, "cannot freeze the disk of copies");
}

static void
freezer_said (struct watch *w, uint32_t events)
{
  struct report r;
  ssize_t n = recv (w->fd, &r, sizeof r, MSG_DONTWAIT);

  (void) events;
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n == sizeof r && !the.frozen && r.errnum == 0)
    {
      frozen (&r);
      return;
    }
  /* Its last word, or its end without one.  The next may come at once. */
  loop_close (w);
  if (n == sizeof r && !the.frozen)
    frozen (&r);
  else if (n == sizeof r)
    {
      the.frozen = false;
      answer (AGENT_THAWED, r.errnum, 0, "the disk of copies did not stay frozen");
    }
  else if (the.frozen)
    {
      the.frozen = false;
      if (ioctl (the.disk, FITHAW, 0) < 0 && errno != EINVAL)
        log_write (LOG_ERROR, "the disk of copies stays frozen: %s", strerror (errno));
      answer (AGENT_THAWED, ECHILD, 0, "the process that had frozen the disk of copies was killed");
    }
  else
    answer (AGENT_FROZEN, ECHILD, 0, "the process that was to freeze the disk of copies was killed");
  agent_go_on_with_shutdown ();
}

/* The process. */

static void
say (int fd, int errnum)
{
  struct report r = { .errnum = errnum };
  struct timespec now;

  /* What is written from now on has this time, or a later one. */
  clock_gettime (CLOCK_REALTIME_COARSE, &now);
  r.clock_nsec = (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
  (void) send (fd, &r, sizeof r, MSG_NOSIGNAL);
}

static void
never_kill (void)
{
  autoclose int fd = open ("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

  if (fd >= 0)
    (void) !write (fd, "-1000", 5);
}

static _Noreturn void
run_freezer (int to_agent)
{
  struct pollfd p = { .events = POLLIN };
  int disk, r;

  log_set_sink (NULL);
  prctl (PR_SET_NAME, "rcvm-freezer");
  never_kill ();
  disk = fcntl (the.disk, F_DUPFD_CLOEXEC, 64);
  p.fd = fcntl (to_agent, F_DUPFD_CLOEXEC, disk + 1);
  if (disk < 0 || p.fd < 0)
    _exit (1);
  syscall (SYS_close_range, 3U, (unsigned) disk - 1, 0);
  if (p.fd > disk + 1)
    syscall (SYS_close_range, (unsigned) disk + 1, (unsigned) p.fd - 1, 0);
  syscall (SYS_close_range, (unsigned) p.fd + 1, ~0U, 0);
  if (ioctl (disk, FIFREEZE, 0) < 0)
    {
      say (p.fd, errno);
      _exit (1);
    }
  say (p.fd, 0);
  do
    r = poll (&p, 1, FROZEN_MS);
  while (r < 0 && errno == EINTR);
  if (ioctl (disk, FITHAW, 0) < 0)
    say (p.fd, errno);
  else
    say (p.fd, r == 0 ? ETIMEDOUT : 0);
  _exit (0);
}

void
copies_freeze (uint32_t number)
{
  int fds[2];
  pid_t pid;

  if (the.freezer.fd >= 0)
    {
      struct tlv_writer w = TLV_WRITER_INIT;
      struct failure f = { 0 };

      fail (&f, "mount", EBUSY, "cannot freeze the disk of copies");
      failure_put (&w, &f);
      channel_send_record (AGENT_FROZEN, number, &w);
      return;
    }
  the.number = number;
  if (the.disk < 0 || agent_is_shutting_down ())
    {
      answer (AGENT_FROZEN, ENODEV, 0, "there is no disk of copies to be frozen");
      return;
    }
  if (handoff_pair (fds) < 0)
    {
      answer (AGENT_FROZEN, errno, 0, "cannot make a socket pair");
      return;
    }
  pid = fork ();
  if (pid == 0)
    run_freezer (fds[1]);
  if (pid < 0 || loop_add (&the.freezer, fds[0], EPOLLIN) < 0)
    {
      answer (AGENT_FROZEN, errno, 0, "cannot start the process that freezes the disk of copies");
      close (fds[0]);
    }
  close (fds[1]);
}

void
copies_thaw (uint32_t number)
{
  /* It sees the end, whatever it is at. */
  if (the.freezer.fd >= 0 && number == the.number)
    shutdown (the.freezer.fd, SHUT_WR);
}

bool
copies_release (void)
{
  stop_watching ();
  while (the.n_watched)
    close (the.watched[--the.n_watched]);
  if (the.freezer.fd >= 0)
    {
      copies_thaw (the.number);
      return false;
    }
  cleanup_close (&the.disk);
  the.disk = -1;
  return true;
}
