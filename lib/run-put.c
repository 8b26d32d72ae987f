/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What others put into the container's root on the host, as `docker cp` does, is put into the guest.
 *
 * A round: a worker looks for what has changed since our own last write-back, and sends it, through the agent, to a process in the
 * guest that puts it there.  There is a round when somebody has written to the overlay and has stopped doing so (fanotify),
 * shortly after somebody has looked at the container's files (for directories and symlinks make no event there), then less and less
 * often for a minute (they may take their time), and before anything that has to see it: a further process, a write-back.
 *
 * While changes are written back, none are looked for: both would have the same time.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "err.h"
#include "put-list.h"
#include "put-scan.h"

enum
{
  QUIET_MS = 50,     /* who writes has stopped for so long */
  LOOKED_MS = 300,   /* who has looked may have put something there by then ... */
  LOOKED_FOR_MS = 60000, /* ... and may still, so long that everything that has to see it looks again, */
  LOOKED_TIMES = 2,      /* and else when so many times the time has passed that has passed already */
  ROUND_MS = 120000,
  WAITERS_MAX = 64,

  OUT_FD = RCVMI_PROC_FORK_FD, /* in the worker */
  LIST_FD,
  BEFORE_FD
};

struct waiter
{
  void (*done) (void *user);
  void *user;
};

struct waiters
{
  struct waiter list[WAITERS_MAX];
  unsigned n;
};

struct rcvmi_run_put
{
  struct rcvmi_run *run;
  char *upper;
  int fanotify;
  struct rcvmi_ev_source *fanotify_source, *timer, *limit, *pipe_source;
  struct timespec since;
  bool written;      /* there were events */
  int64_t looked_at; /* ms; 0: nobody has */
  int64_t due_at;    /* ms: when the last timer for that ends */
  /* A round. */
  bool busy;
  struct rcvmi_worker worker;
  struct timespec began;
  int pipe, list, before, results;
  int64_t process; /* in the guest; -1: none */
  bool failed;
  struct waiters next, now; /* who waits for the next one, and for the one under way */
};

static void begin_round (struct rcvmi_run_put *p);

static bool
is_possible (const struct rcvmi_run *run)
{
  return run->state.status == RCVM_STATUS_RUNNING && !run->process_ended && !run->ending && !rcvmi_run_is_being_saved (run) && run->agent;
}

static void
close_fd (int *fd)
{
  if (*fd >= 0)
    close (steal_fd (fd));
}

static void
warn (struct rcvmi_run_put *p, rcvm_error *e)
{
  rcvmi_log_at (p->run->log, RCVM_LOG_WARNING, "rootfs", "what others have put into the container's root may be missing in the VM: %s",
                e ? rcvm_error_get_message (e) : "its unpacking failed");
  rcvm_error_free (e);
}

/* That something was written is all that is to be known. */
static void
drain (struct rcvmi_run_put *p)
{
  char buffer[4096] __attribute__ ((aligned (8)));
  ssize_t n;

  while (p->fanotify >= 0 && (n = read (p->fanotify, buffer, sizeof buffer)) > 0)
    for (const struct fanotify_event_metadata *m = (const void *) buffer; FAN_EVENT_OK (m, n); m = FAN_EVENT_NEXT (m, n))
      {
        if (m->fd >= 0)
          close (m->fd);
        p->written = true;
      }
}

static bool
is_wanted (const struct rcvmi_run_put *p)
{
  return p->written || (p->looked_at && rcvmi_clock_ms () - p->looked_at < LOOKED_FOR_MS);
}

/* How long from now until somebody who has looked may have put something there; 0: not any more. */
static unsigned
due_ms (const struct rcvmi_run_put *p)
{
  int64_t passed = p->looked_at ? rcvmi_clock_ms () - p->looked_at : LOOKED_FOR_MS;

  if (passed * (1 + LOOKED_TIMES) > LOOKED_FOR_MS)
    return 0;
  return passed * LOOKED_TIMES > LOOKED_MS ? (unsigned) passed * LOOKED_TIMES : LOOKED_MS;
}

static void
set_timer (struct rcvmi_run_put *p, struct rcvmi_ev_source **timer, unsigned ms, rcvmi_ev_fn fn)
{
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (*timer));
  if (fn && !(*timer = rcvmi_ev_add_timer (p->run->ev, ms, fn, p, &e)))
    warn (p, e);
}

static void
on_begin (void *user, uint32_t events)
{
  struct rcvmi_run_put *p = user;

  (void) events;
  rcvmi_ev_remove (steal_ptr (p->timer));
  if (!p->busy && !rcvmi_run_is_flushing (p->run))
    begin_round (p);
}

static void
on_quiet (void *user, uint32_t events)
{
  struct rcvmi_run_put *p = user;

  p->written = false;
  drain (p);
  if (p->written)
    {
      /* Still at it. */
      set_timer (p, &p->timer, QUIET_MS, on_quiet);
      return;
    }
  p->written = true;
  on_begin (p, events);
}

static void
on_written (void *user, uint32_t events)
{
  struct rcvmi_run_put *p = user;

  (void) events;
  /* Not each of its writes. */
  rcvmi_ev_set_events (p->fanotify_source, 0);
  drain (p);
  set_timer (p, &p->timer, QUIET_MS, on_quiet);
}

/* The round. */

static void
tell (struct waiters *w)
{
  struct waiters told = *w;

  w->n = 0;
  for (unsigned i = 0; i < told.n; i++)
    if (told.list[i].done)
      told.list[i].done (told.list[i].user);
}

static void
end_round (struct rcvmi_run_put *p)
{
  set_timer (p, &p->limit, 0, NULL);
  rcvmi_ev_remove (steal_ptr (p->pipe_source));
  rcvmi_run_stop_worker (&p->worker);
  close_fd (&p->pipe);
  close_fd (&p->results);
  close_fd (&p->list);
  p->busy = false;
  tell (&p->now);
  rcvmi_run_puts_go_on (p->run);
}

/* Both have ended: the guest's process, and who has read what it was to put there. */
static void
finish (struct rcvmi_run_put *p, rcvm_error *err)
{
  struct rcvmi_puts_outcome outcome = { 0 };
  rcvm_error *e = err;

  if (!e && p->results >= 0)
    rcvmi_puts_keep (p->list, p->results, p->run->disks.dir_fd, &outcome, &e);
  if (e || p->failed)
    warn (p, e);
  else
    {
      p->since = p->began;
      close_fd (&p->before);
      if (outcome.n)
        p->before = steal_fd (&p->list);
    }
  if (outcome.failed)
    rcvmi_log_at (p->run->log, RCVM_LOG_WARNING, "rootfs",
                  "%zu of %zu names that others have put into the container's root could not be put into the VM, '%s' first: %s",
                  outcome.failed, outcome.n, outcome.path, strerror (outcome.errnum));
  else if (outcome.n)
    rcvmi_log_at (p->run->log, RCVM_LOG_DEBUG, "rootfs", "of %zu names that others have put into the container's root, %zu are in the VM",
                  outcome.n, outcome.n - outcome.covered);
  end_round (p);
}

static void
check_end (struct rcvmi_run_put *p)
{
  rcvm_error *e = NULL;

  if (p->worker.source || p->process >= 0)
    return;
  rcvmi_run_end_worker (&p->worker, "the worker that looks for what others have put into the container's root", &e);
  finish (p, e);
}

static void
on_exited (void *user, int code, int signum)
{
  struct rcvmi_run_put *p = user;

  (void) signum;
  p->process = -1;
  p->failed = code != 0;
  check_end (p);
}

static void
on_failed (void *user, rcvm_error *err)
{
  struct rcvmi_run_put *p = user;

  p->process = -1;
  p->failed = true;
  warn (p, err);
  check_end (p);
}

static void
on_started (void *user, uint32_t guest_pid)
{
  (void) user, (void) guest_pid;
}

static int
start_process (struct rcvmi_run_put *p, rcvm_error **err)
{
  static const struct rcvmi_agent_process_ops ops = { .started = on_started, .failed = on_failed, .exited = on_exited };
  struct tlv_writer w = TLV_WRITER_INIT;
  int fds[3] = { -1, -1, -1 };

  p->results = memfd_create ("put", MFD_CLOEXEC);
  fds[1] = p->results < 0 ? -1 : fcntl (p->results, F_DUPFD_CLOEXEC, 3);
  if (fds[1] < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a file in memory");
  fds[0] = steal_fd (&p->pipe);
  tlv_put_str (&w, E_ARG, "unpack");
  tlv_put_u32 (&w, E_UNPACK, 1);
  p->process = w.failed ? rcvmi_fail_nomem (err) : rcvmi_agent_exec (p->run->agent, w.data, w.len, fds, &ops, p, err);
  if (w.failed)
    for (int i = 0; i < 2; i++)
      close (fds[i]);
  tlv_writer_free (&w);
  return p->process < 0 ? -1 : 0;
}

static void
give_up (struct rcvmi_run_put *p, rcvm_error *e)
{
  if (p->process >= 0 && p->run->agent)
    rcvmi_agent_forget (p->run->agent, (uint32_t) p->process, true);
  p->process = -1;
  rcvmi_run_stop_worker (&p->worker);
  finish (p, e);
}

static void
on_late (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "it took longer than %d seconds", ROUND_MS / 1000);
  give_up (user, e);
}

/* There is something, or nothing any more. */
static void
on_pipe (void *user, uint32_t events)
{
  struct rcvmi_run_put *p = user;
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (p->pipe_source));
  if (!(events & EPOLLIN))
    check_end (p);
  else if (!is_possible (p->run))
    give_up (p, NULL);
  else if (start_process (p, &e) < 0)
    give_up (p, e);
}

static void
on_worker_ended (void *user, uint32_t events)
{
  struct rcvmi_run_put *p = ((struct rcvmi_run *) user)->put;

  (void) events;
  rcvmi_ev_remove (steal_ptr (p->worker.source));
  /* Else what it has left in the pipe comes first, or its end. */
  if (!p->pipe_source)
    check_end (p);
}

static int
scan (void *user, rcvm_error **err)
{
  struct rcvmi_run_put *p = ((struct rcvmi_run *) user)->put;
  struct rcvmi_put_scan q = { .upper = p->upper, .rootfs = p->run->plan->rootfs, .since = p->since, .out = OUT_FD, .list = LIST_FD,
                              .before = p->before >= 0 ? BEFORE_FD : -1 };

  int code = rcvmi_put_scan (&q, err);

  /* Nothing that was found is as young as what the next one looks for. */
  rcvmi_run_puts_settle ();
  return code;
}

static int
start_worker (struct rcvmi_run_put *p, rcvm_error **err)
{
  int ends[2], fds[3], code;

  p->list = memfd_create ("put", MFD_CLOEXEC);
  if (p->list < 0 || pipe2 (ends, O_CLOEXEC) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  p->pipe = ends[0];
  fds[0] = ends[1];
  fds[1] = p->list;
  fds[2] = p->before;
  code = rcvmi_proc_fork_with (&p->worker.proc, scan, p->run, fds, p->before >= 0 ? 3 : 2, &p->worker.error_fd, err);
  close (ends[1]);
  if (code < 0)
    return code;
  p->worker.source = rcvmi_ev_add (p->run->ev, p->worker.proc.pidfd, EPOLLIN, on_worker_ended, p->run, err);
  if (p->worker.source)
    p->pipe_source = rcvmi_ev_add (p->run->ev, p->pipe, EPOLLIN, on_pipe, p, err);
  return p->pipe_source ? 0 : RCVM_E_SYSTEM;
}

static void
begin_round (struct rcvmi_run_put *p)
{
  rcvm_error *e = NULL;

  p->now = p->next;
  p->next.n = 0;
  /* It stays written where it cannot be put there now. */
  if (!is_possible (p->run))
    {
      tell (&p->now);
      return;
    }
  p->busy = true;
  p->failed = false;
  p->process = -1;
  drain (p);
  p->written = false;
  if (p->fanotify_source)
    rcvmi_ev_set_events (p->fanotify_source, EPOLLIN);
  clock_gettime (CLOCK_REALTIME_COARSE, &p->began);
  set_timer (p, &p->limit, ROUND_MS, on_late);
  if (start_worker (p, &e) < 0)
    give_up (p, e);
}

void
rcvmi_run_puts_go_on (struct rcvmi_run *run)
{
  struct rcvmi_run_put *p = run->put;
  unsigned due;

  if (!p || p->busy || p->timer)
    return;
  due = due_ms (p);
  if (p->next.n || p->written)
    set_timer (p, &p->timer, p->next.n ? 0 : QUIET_MS, on_begin);
  else if (due)
    {
      p->due_at = rcvmi_clock_ms () + due;
      set_timer (p, &p->timer, due, on_begin);
    }
}

bool
rcvmi_run_puts_first (struct rcvmi_run *run, void (*done) (void *user), void *user)
{
  struct rcvmi_run_put *p = run->put;

  if (!p || !is_possible (run) || p->next.n == WAITERS_MAX)
    return false;
  drain (p);
  if (!p->busy && !is_wanted (p))
    return false;
  p->next.list[p->next.n++] = (struct waiter){ .done = done, .user = user };
  rcvmi_ev_remove (steal_ptr (p->timer));
  rcvmi_run_puts_go_on (run);
  return true;
}

static void
forget (struct waiters *w, void *user)
{
  for (unsigned i = 0; i < w->n; i++)
    if (w->list[i].user == user)
      w->list[i].done = NULL;
}

void
rcvmi_run_puts_forget (struct rcvmi_run *run, void *user)
{
  if (run->put)
    {
      forget (&run->put->next, user);
      forget (&run->put->now, user);
    }
}

void
rcvmi_run_puts_looked (struct rcvmi_run *run)
{
  struct rcvmi_run_put *p = run->put;

  if (!p)
    return;
  p->looked_at = rcvmi_clock_ms ();
  /* That for somebody who looked before may be far away. */
  if (!p->written && !p->next.n && p->due_at > p->looked_at + LOOKED_MS)
    rcvmi_ev_remove (steal_ptr (p->timer));
  rcvmi_run_puts_go_on (run);
}

bool
rcvmi_run_puts_are_due (struct rcvmi_run *run)
{
  if (run->put)
    drain (run->put);
  return run->put && run->put->written;
}

/* Its own changes. */

static int
mark (struct rcvmi_run_put *p, unsigned how, rcvm_error **err)
{
  if (fanotify_mark (p->fanotify, how | FAN_MARK_FILESYSTEM, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, p->run->plan->rootfs) < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch '%s'", p->run->plan->rootfs);
  return 0;
}

void
rcvmi_run_puts_hold (struct rcvmi_run *run)
{
  if (run->put && run->put->fanotify >= 0)
    mark (run->put, FAN_MARK_REMOVE, NULL);
}

void
rcvmi_run_puts_settle (void)
{
  struct timespec began, now, tick = { .tv_nsec = 1000000 };

  /* The times of files are those of its ticks, and since 6.13 some are finer. */
  clock_gettime (CLOCK_REALTIME, &began);
  do
    {
      nanosleep (&tick, NULL);
      clock_gettime (CLOCK_REALTIME_COARSE, &now);
    }
  while (now.tv_sec < began.tv_sec || (now.tv_sec == began.tv_sec && now.tv_nsec <= began.tv_nsec));
}

void
rcvmi_run_puts_written (struct rcvmi_run *run)
{
  struct rcvmi_run_put *p = run->put;
  rcvm_error *e = NULL;

  if (!p)
    return;
  close_fd (&p->before);
  clock_gettime (CLOCK_REALTIME_COARSE, &p->since);
  if (p->fanotify >= 0 && mark (p, FAN_MARK_ADD, &e) < 0)
    warn (p, e);
}

/* Its life. */

void
rcvmi_run_watch_puts (struct rcvmi_run *run, const char *upper)
{
  struct rcvmi_run_put *p = calloc (1, sizeof *p);
  rcvm_error *e = NULL;

  if (p)
    p->upper = strdup (upper);
  if (!p || !p->upper)
    {
      free (p);
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "rootfs", "what others put into the container's root is not put into the VM: out of memory");
      return;
    }
  p->run = run;
  p->worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  p->pipe = p->list = p->before = p->results = -1;
  p->process = -1;
  clock_gettime (CLOCK_REALTIME_COARSE, &p->since);
  run->put = p;
  p->fanotify = fanotify_init (FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
  if (p->fanotify < 0)
    rcvmi_fail_errno (&e, errno, "cannot use fanotify");
  else if (mark (p, FAN_MARK_ADD, &e) == 0)
    p->fanotify_source = rcvmi_ev_add (run->ev, p->fanotify, EPOLLIN, on_written, p, &e);
  if (e)
    {
      close_fd (&p->fanotify);
      rcvmi_log_at (run->log, RCVM_LOG_INFO, "rootfs", "%s; what others put into the container's root is put into the VM before a further process only",
                    rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
}

void
rcvmi_run_abort_puts (struct rcvmi_run *run)
{
  struct rcvmi_run_put *p = run->put;

  if (!p)
    return;
  rcvmi_ev_remove (steal_ptr (p->timer));
  rcvmi_ev_remove (steal_ptr (p->fanotify_source));
  close_fd (&p->fanotify);
  p->written = false;
  if (p->process >= 0 && run->agent)
    rcvmi_agent_forget (run->agent, (uint32_t) p->process, false);
  p->process = -1;
  end_round (p);
  tell (&p->next);
  rcvmi_ev_remove (steal_ptr (p->timer));
}

void
rcvmi_run_undo_puts (struct rcvmi_run *run)
{
  if (!run->put)
    return;
  rcvmi_run_abort_puts (run);
  close_fd (&run->put->before);
  free (run->put->upper);
  free (steal_ptr (run->put));
}
