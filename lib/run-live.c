/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies that go back while the VM runs.  A round of those that are due:
 *
 *   guest                        monitor                         worker
 *     FREEZE          <---------                                               it writes what is dirty, and stops all writing
 *     FROZEN          --------->            --------->                         reads the disk, changes the directories
 *     THAW            <---------            <---------  'R'                    it needs the disk no longer
 *     THAWED          --------->            --------->  'C'                    it did not change meanwhile: that lasts
 *
 * What fails is done again with the next round: a write-back that is not confirmed forgets nothing.  A guest that thaws too early spoils
 * its own copies at most; the reader of the disk expects anything from it (docs/write-back.md).
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "cleanup.h"
#include "clock.h"
#include "err.h"

enum
{
  FREEZE_TIMEOUT_MS = 60000, /* until what is dirty in the guest is on its disk */
  READ_TIMEOUT_MS = 45000,   /* less than the time after which the guest thaws by itself */
  THAW_TIMEOUT_MS = 60000,
  RETRY_MIN_MS = 5000, /* after a failure; doubled each time */
  RETRY_MAX_MS = 60000,

  READ = 'R',
  CONFIRMED = 'C'
};

enum phase
{
  IDLE,
  FREEZING,
  READING,
  THAWING,
  ENDING
};

struct copy
{
  unsigned number, failures;
  bool periodic;
  int64_t delay_ms;
  int64_t due; /* 0: not yet */
  bool in_round, succeeded;
};

struct rcvmi_run_live
{
  struct rcvmi_run *run;
  struct copy *list;
  size_t n;
  enum phase phase;
  uint32_t number; /* of the round */
  struct timespec frozen;
  int64_t began;
  struct rcvmi_ev_source *due, *limit, *said_source;
  struct rcvmi_worker worker;
  int worker_fd;  /* our end */
  char *told;     /* the last failure that was logged */
};

static void schedule (struct rcvmi_run_live *l);

/* In the worker. */

static int
confirm (void *user, rcvm_error **err)
{
  char c = READ;
  ssize_t n;

  (void) user;
  if (write (RCVMI_PROC_FORK_FD, &c, 1) != 1)
    return rcvmi_fail_errno (err, errno, "cannot tell that the copies were read");
  do
    n = read (RCVMI_PROC_FORK_FD, &c, 1);
  while (n < 0 && errno == EINTR);
  return n == 1 && c == CONFIRMED ? 0 : rcvmi_fail (err, RCVM_E_CANCELLED, 0, "the write-back of the copies was cancelled");
}

/* If it does not get there, it is done again. */
static void
report (void *user, unsigned number)
{
  uint32_t n = number;

  (void) user;
  (void) !send (RCVMI_PROC_FORK_FD, &n, sizeof n, MSG_NOSIGNAL);
}

static int
run_round (void *user, rcvm_error **err)
{
  struct rcvmi_run_live *l = user;
  autofree unsigned *numbers = calloc (l->n, sizeof *numbers);
  struct rcvmi_disks_round round = { .numbers = numbers, .frozen = l->frozen, .read = confirm, .done = report };
  int r = numbers ? rcvmi_disks_reopen (&l->run->disks, err) : rcvmi_fail_nomem (err);

  if (r < 0)
    return r;
  for (size_t i = 0; i < l->n; i++)
    if (l->list[i].in_round)
      numbers[round.n++] = l->list[i].number;
  return rcvmi_disks_round (&l->run->disks, &round, err);
}

/* In the monitor. */

static void
stop_worker (struct rcvmi_run_live *l)
{
  rcvmi_ev_remove (steal_ptr (l->said_source));
  rcvmi_ev_remove (steal_ptr (l->worker.source));
  rcvmi_proc_kill (&l->worker.proc);
  cleanup_close (&l->worker.error_fd);
  cleanup_close (&l->worker_fd);
  l->worker.error_fd = l->worker_fd = -1;
}

/* `again`: the last that had failed has succeeded. */
static void
tell (struct rcvmi_run_live *l, const rcvm_error *e, bool again)
{
  const char *text = e ? rcvm_error_get_message (e) : NULL;

  if (!e && again)
    rcvmi_log_at (l->run->log, RCVM_LOG_INFO, "volumes", "copies are written back again");
  else if (!e)
    rcvmi_log_at (l->run->log, RCVM_LOG_DEBUG, "volumes", "copies were written back within %lld ms",
                  (long long) (rcvmi_clock_ms () - l->began));
  /* The same once a minute is no news. */
  else if (!l->told || strcmp (l->told, text) != 0)
    rcvmi_log_at (l->run->log, RCVM_LOG_WARNING, "volumes", "copies are not written back now, and it is tried again: %s", text);
  if (e || again)
    {
      free (l->told);
      l->told = e ? strdup (text) : NULL;
    }
}

/* Some may have succeeded where others failed. */
static void
take_reports (struct rcvmi_run_live *l)
{
  uint32_t number;

  while (l->phase == ENDING && recv (l->worker_fd, &number, sizeof number, MSG_DONTWAIT) == sizeof number)
    for (size_t i = 0; i < l->n; i++)
      if (l->list[i].number == number)
        l->list[i].succeeded = true;
}

/* The round is over; takes the error. */
static void
finish (struct rcvmi_run_live *l, rcvm_error *err)
{
  int64_t now = rcvmi_clock_ms ();
  bool again = false, failing = false;

  take_reports (l);
  stop_worker (l);
  rcvmi_ev_remove (steal_ptr (l->limit));
  /* A guest that is frozen, or will be. */
  if (l->phase == FREEZING || l->phase == READING)
    rcvmi_agent_thaw (l->run->agent, l->number);
  l->phase = IDLE;
  for (size_t i = 0; i < l->n; i++)
    {
      struct copy *c = &l->list[i];
      int64_t delay = c->delay_ms, retry;

      if (!c->in_round)
        continue;
      c->in_round = false;
      if (err && !c->succeeded)
        {
          retry = (int64_t) RETRY_MIN_MS << (c->failures < 4 ? c->failures : 4);
          if (retry > RETRY_MAX_MS)
            retry = RETRY_MAX_MS;
          c->failures++;
          c->due = now + (delay > retry ? delay : retry);
        }
      else
        {
          again |= c->failures > 0;
          c->failures = 0;
          if (c->periodic)
            c->due = now + delay;
        }
      c->succeeded = false;
    }
  for (size_t i = 0; i < l->n; i++)
    failing |= l->list[i].failures > 0;
  tell (l, err, again && !failing);
  rcvm_error_free (err);
  schedule (l);
}

static void
on_limit (void *user, uint32_t events)
{
  struct rcvmi_run_live *l = user;
  rcvm_error *e = NULL;

  (void) events;
  if (l->phase == READING)
    rcvmi_fail (&e, RCVM_E_TIMEOUT, 0,
                "the VM cannot be kept waiting for longer than the %d seconds that writing its changes to the host has taken",
                READ_TIMEOUT_MS / 1000);
  else
    rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "the guest's agent did not %s its disk of copies within %d seconds",
                l->phase == FREEZING ? "freeze" : "thaw", (l->phase == FREEZING ? FREEZE_TIMEOUT_MS : THAW_TIMEOUT_MS) / 1000);
  finish (l, e);
}

static unsigned
limit_of (enum phase phase)
{
  return phase == FREEZING ? FREEZE_TIMEOUT_MS : phase == READING ? READ_TIMEOUT_MS : phase == THAWING ? THAW_TIMEOUT_MS : 0;
}

static int
set_limit (struct rcvmi_run_live *l, rcvm_error **err)
{
  unsigned ms = limit_of (l->phase);

  rcvmi_ev_remove (steal_ptr (l->limit));
  if (ms == 0 || l->run->state.status == RCVM_STATUS_PAUSED)
    return 0;
  l->limit = rcvmi_ev_add_timer (l->run->ev, ms, on_limit, l, err);
  return l->limit ? 0 : RCVM_E_SYSTEM;
}

static void
enter (struct rcvmi_run_live *l, enum phase phase)
{
  rcvm_error *e = NULL;

  l->phase = phase;
  if (set_limit (l, &e) < 0)
    finish (l, e);
}

static void
on_due (void *user, uint32_t events)
{
  struct rcvmi_run_live *l = user;
  int64_t now = rcvmi_clock_ms ();
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (l->due));
  for (size_t i = 0; i < l->n; i++)
    if (l->list[i].due && l->list[i].due <= now)
      {
        l->list[i].due = 0;
        l->list[i].in_round = true;
      }
  l->began = now;
  l->phase = FREEZING;
  if (rcvmi_agent_freeze (l->run->agent, ++l->number, &e) < 0)
    {
      l->phase = IDLE;
      finish (l, e);
    }
  else
    enter (l, FREEZING);
}

static void
schedule (struct rcvmi_run_live *l)
{
  int64_t now = rcvmi_clock_ms (), next = 0;
  rcvm_error *e = NULL;

  rcvmi_ev_remove (steal_ptr (l->due));
  if (l->phase != IDLE || l->run->state.status == RCVM_STATUS_PAUSED)
    return;
  for (size_t i = 0; i < l->n; i++)
    if (l->list[i].due && (!next || l->list[i].due < next))
      next = l->list[i].due;
  if (!next)
    return;
  l->due = rcvmi_ev_add_timer (l->run->ev, next > now ? (unsigned) (next - now) : 1, on_due, l, &e);
  if (!l->due)
    rcvmi_run_fail (l->run, e);
}

/* The worker. */

static void
on_said (void *user, uint32_t events)
{
  struct rcvmi_run_live *l = user;
  char c = 0;

  (void) events;
  rcvmi_ev_remove (steal_ptr (l->said_source));
  /* At its end it has ended, and that is dealt with. */
  if (read (l->worker_fd, &c, 1) != 1 || c != READ || l->phase != READING)
    return;
  rcvmi_agent_thaw (l->run->agent, l->number);
  enter (l, THAWING);
}

static void
on_worker_ended (void *user, uint32_t events)
{
  struct rcvmi_run_live *l = user;
  rcvm_error *e = NULL;
  int status;

  (void) events;
  rcvmi_ev_remove (steal_ptr (l->worker.source));
  status = rcvmi_proc_reap (&l->worker.proc);
  if (rcvmi_proc_read_error (steal_fd (&l->worker.error_fd), status, "the worker that writes copies back", &e) == 0 && l->phase != ENDING)
    rcvmi_fail (&e, RCVM_E_SYSTEM, 0, "the worker that writes copies back ended too early");
  finish (l, e);
}

static int
start_worker (struct rcvmi_run_live *l, rcvm_error **err)
{
  struct rcvmi_worker *w = &l->worker;
  int ends[2], code;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the sockets between the monitor and its worker");
  l->worker_fd = ends[0];
  code = rcvmi_proc_fork_with (&w->proc, run_round, l, &ends[1], 1, &w->error_fd, err);
  close (ends[1]);
  if (code < 0)
    return code;
  w->source = rcvmi_ev_add (l->run->ev, w->proc.pidfd, EPOLLIN, on_worker_ended, l, err);
  l->said_source = w->source ? rcvmi_ev_add (l->run->ev, l->worker_fd, EPOLLIN, on_said, l, err) : NULL;
  return l->said_source ? 0 : RCVM_E_SYSTEM;
}

/* The guest. */

void
rcvmi_run_copies_frozen (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_live *l = run->live;

  /* One that was given up, and told to thaw. */
  if (!l || l->phase != FREEZING || number != l->number)
    {
      rcvm_error_free (err);
      return;
    }
  if (err)
    {
      l->phase = IDLE;
      finish (l, err);
      return;
    }
  l->frozen = (struct timespec){ .tv_sec = (time_t) (clock_nsec / 1000000000), .tv_nsec = (long) (clock_nsec % 1000000000) };
  l->phase = READING;
  if (start_worker (l, &err) < 0)
    finish (l, err);
  else
    enter (l, READING);
}

void
rcvmi_run_copies_thawed (void *user, uint32_t number, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_live *l = run->live;
  char c = CONFIRMED;

  if (!l || (l->phase != READING && l->phase != THAWING) || number != l->number)
    {
      rcvm_error_free (err);
      return;
    }
  if (!err && (l->phase != THAWING || send (l->worker_fd, &c, 1, MSG_NOSIGNAL) != 1))
    rcvmi_fail (&err, RCVM_E_GUEST, 0, "the disk of copies has thawed before it was read");
  if (err)
    {
      l->phase = IDLE;
      finish (l, err);
      return;
    }
  enter (l, ENDING);
}

void
rcvmi_run_copies_changed (void *user)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_live *l = run->live;
  int64_t now = rcvmi_clock_ms ();

  for (size_t i = 0; l && i < l->n; i++)
    if (!l->list[i].periodic && !l->list[i].due)
      l->list[i].due = now + l->list[i].delay_ms;
  if (l)
    schedule (l);
}

/* The run. */

int
rcvmi_run_begin_live (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_run_live *l;
  size_t n = 0;

  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    n += rcvmi_plan_copy_is_live (&plan->copy_volumes[i]);
  if (n == 0)
    return 0;
  l = run->live = calloc (1, sizeof *l);
  if (l)
    l->list = calloc (n, sizeof *l->list);
  if (!l || !l->list)
    return rcvmi_fail_nomem (err);
  l->run = run;
  l->worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  l->worker_fd = -1;
  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    if (rcvmi_plan_copy_is_live (&plan->copy_volumes[i]))
      l->list[l->n++] = (struct copy){ .number = (unsigned) i,
                                       .periodic = plan->copy_volumes[i].back == RCVMI_PLAN_COPY_PERIODIC,
                                       .delay_ms = (int64_t) plan->copy_volumes[i].seconds * 1000 };
  return 0;
}

void
rcvmi_run_start_live (struct rcvmi_run *run)
{
  struct rcvmi_run_live *l = run->live;
  int64_t now = rcvmi_clock_ms ();

  for (size_t i = 0; l && i < l->n; i++)
    if (l->list[i].periodic)
      l->list[i].due = now + l->list[i].delay_ms;
  if (l)
    schedule (l);
}

void
rcvmi_run_hold_live (struct rcvmi_run *run)
{
  if (!run->live)
    return;
  rcvmi_ev_remove (steal_ptr (run->live->due));
  rcvmi_ev_remove (steal_ptr (run->live->limit));
}

int
rcvmi_run_go_on_with_live (struct rcvmi_run *run, rcvm_error **err)
{
  if (!run->live)
    return 0;
  schedule (run->live);
  return set_limit (run->live, err);
}

void
rcvmi_run_undo_live (struct rcvmi_run *run)
{
  struct rcvmi_run_live *l = steal_ptr (run->live);

  if (!l)
    return;
  /* Whoever waits for a frozen disk cannot be killed. */
  if ((l->phase == FREEZING || l->phase == READING) && run->agent)
    rcvmi_agent_thaw (run->agent, l->number);
  stop_worker (l);
  rcvmi_ev_remove (l->due);
  rcvmi_ev_remove (l->limit);
  free (l->told);
  free (l->list);
  free (l);
}
