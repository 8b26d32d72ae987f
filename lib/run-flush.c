/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that runs, and a root on the host that is as the container has it: on request, when the VM is paused, and before
 * Docker looks at the container's files.
 *
 * A round: the guest syncs; its CPUs stand still; a worker writes back what has changed since the last round; the CPUs go
 * on, unless the VM was to be paused.  The image is what a power failure would have left, and its reader replays the journal.
 *
 * Docker calls no runtime for cp, diff, export and inspect.  But for each of them it first opens the file `lower` beside the
 * overlay's upper directory: a permission event of fanotify makes it wait for a round.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "overlay-mount.h"

enum
{
  SYNC_TIMEOUT_MS = 60000,
  WAITERS_MAX = 64,
  LOOKERS_MAX = 64,
  /* Of who goes on and on writing to the root, not all is put into the guest. */
  RETRIES_MAX = 20,
  /* Two changes in one tick of the clock look like one. */
  TICK_NSEC = 20000000
};

struct waiter
{
  rcvmi_run_json_fn done; /* NULL: gone */
  void *user;
  bool pauses;
};

struct list
{
  struct waiter list[WAITERS_MAX];
  unsigned n;
  int lookers[LOOKERS_MAX]; /* fds of events that wait for an answer */
  unsigned n_lookers;
};

struct rcvmi_run_flush
{
  struct rcvmi_run *run;
  struct list next, now; /* who waits for the next round, and for the one under way */
  enum
  {
    IDLE,
    PUTTING, /* what others have put into the root comes first */
    SYNCING,
    WRITING
  } at;
  uint32_t number;
  unsigned retries;
  struct timespec frozen; /* the guest's time of the sync */
  struct rcvmi_ev_source *timer, *begin;
  struct rcvmi_worker worker;
  bool is_home; /* all that had changed when the image was `seen` */
  struct statx seen;
  bool paused; /* the last round ended with the VM paused */
  int fanotify;
  struct rcvmi_ev_source *fanotify_source;
};

static void begin_round (struct rcvmi_run_flush *f);
static void begin_sync (void *user);

/* Before the start nothing has changed. */
static bool
can_change (const struct rcvmi_run *run)
{
  return run->state.status == RCVM_STATUS_RUNNING && !run->process_ended && !run->ending && run->agent;
}

static bool
has_home (const struct rcvmi_run *run)
{
  return run->plan && run->plan->root_disk == RCVMI_ROOT_OVERLAY && run->plan->changes == RCVMI_CHANGES_WRITE_BACK;
}

static struct rcvmi_run_flush *
get (struct rcvmi_run *run, rcvm_error **err)
{
  if (!run->flush)
    {
      run->flush = calloc (1, sizeof *run->flush);
      if (!run->flush)
        {
          rcvmi_fail_nomem (err);
          return NULL;
        }
      run->flush->run = run;
      run->flush->fanotify = -1;
      run->flush->worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
    }
  return run->flush;
}

static void
let_look (struct rcvmi_run_flush *f, int fd)
{
  struct fanotify_response r = { .fd = fd, .response = FAN_ALLOW };

  if (write (f->fanotify, &r, sizeof r) < 0)
    rcvmi_log_at (f->run->log, RCVM_LOG_WARNING, "rootfs", "cannot let a process go on that looks at the container's files: %s",
                  strerror (errno));
  close (fd);
  rcvmi_run_puts_looked (f->run);
}

/* Who waited for it is told; `err` is taken over. */
static void
tell (struct rcvmi_run_flush *f, struct list *l, rcvm_error *err)
{
  struct list told = *l;
  bool passed = false;

  *l = (struct list){ 0 };
  for (unsigned i = 0; i < told.n_lookers; i++)
    let_look (f, told.lookers[i]);
  for (unsigned i = 0; i < told.n; i++)
    {
      rcvm_error *e = NULL;

      if (!told.list[i].done)
        continue;
      /* A VM that is to be paused is, whatever became of its files. */
      if (told.list[i].pauses && !err && f->run->state.status != RCVM_STATUS_PAUSED)
        rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' is not running", f->run->options.id);
      else if (err && !(told.list[i].pauses && f->run->state.status == RCVM_STATUS_PAUSED))
        {
          rcvmi_error_restore (&e, rcvm_error_get_code (err), rcvm_error_get_errno (err), rcvm_error_get_exit_code (err),
                               rcvm_error_get_stage (err), rcvm_error_get_message (err));
          passed = true;
        }
      told.list[i].done (told.list[i].user, NULL, e);
    }
  if (err && !passed)
    rcvmi_log_at (f->run->log, RCVM_LOG_WARNING, "rootfs", "the container's files on the host are not what they are in the VM: %s",
                  rcvm_error_get_message (err));
  rcvm_error_free (err);
}

static bool
is_to_pause (const struct list *l)
{
  for (unsigned i = 0; i < l->n; i++)
    if (l->list[i].pauses)
      return true;
  return false;
}

static void
on_begin (void *user, uint32_t events)
{
  struct rcvmi_run_flush *f = user;

  (void) events;
  rcvmi_ev_remove (steal_ptr (f->begin));
  if (f->at == IDLE)
    begin_round (f);
}

/* Not from within what a caller of this file does. */
static void
begin_soon (struct rcvmi_run_flush *f)
{
  rcvm_error *e = NULL;

  if (f->begin || f->at != IDLE)
    return;
  f->begin = rcvmi_ev_add_timer (f->run->ev, 0, on_begin, f, &e);
  if (!f->begin)
    tell (f, &f->next, e);
}

/* The round is over, well or with `err`, which is taken over. */
static void
end_round (struct rcvmi_run_flush *f, rcvm_error *err)
{
  struct rcvmi_run *run = f->run;

  rcvmi_ev_remove (steal_ptr (f->timer));
  f->at = IDLE;
  tell (f, &f->now, err);
  rcvmi_run_puts_go_on (run);
  if (!f->next.n && !f->next.n_lookers)
    return;
  if (can_change (run))
    begin_soon (f);
  else if (run->state.status == RCVM_STATUS_PAUSED)
    tell (f, &f->next, NULL);
}

/* The CPUs stand still, and shall go on; or stay, where that was asked for. */
static void
let_go_on (struct rcvmi_run_flush *f, rcvm_error *err)
{
  rcvm_error *e = NULL;

  f->paused = is_to_pause (&f->now) && can_change (f->run);
  if (f->paused)
    rcvmi_run_set_status (f->run, RCVM_STATUS_PAUSED);
  else if (rcvmi_run_go_on (f->run, &e) < 0)
    {
      rcvmi_log_at (f->run->log, RCVM_LOG_ERROR, "vmm", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  end_round (f, err);
}

static int
write_changes (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;
  int r = rcvmi_disks_reopen (&run->disks, err);

  if (r == 0)
    r = rcvmi_disks_flush (&run->disks, run->flush->frozen, err);
  if (run->put)
    rcvmi_run_puts_settle ();
  return r;
}

static void
on_written (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_flush *f = run->flush;
  rcvm_error *e = NULL;

  (void) events;
  f->is_home = rcvmi_run_end_worker (&f->worker, "the worker that writes the VM's changes back", &e) == 0;
  rcvmi_run_puts_written (run);
  let_go_on (f, e);
}

/* Whether the image is what it was when all of it was brought home. */
static bool
is_same_image (struct rcvmi_run_flush *f)
{
  struct timespec now;
  struct statx st;
  bool same;

  clock_gettime (CLOCK_REALTIME_COARSE, &now);
  if (statx (AT_FDCWD, f->run->disks.upper, 0, STATX_MTIME | STATX_BLOCKS, &st) < 0)
    return false;
  same = f->is_home && st.stx_mtime.tv_sec == f->seen.stx_mtime.tv_sec && st.stx_mtime.tv_nsec == f->seen.stx_mtime.tv_nsec
         && st.stx_blocks == f->seen.stx_blocks;
  f->seen = st;
  /* It may be written to once more at that time. */
  if ((now.tv_sec - st.stx_mtime.tv_sec) * INT64_C (1000000000) + now.tv_nsec - st.stx_mtime.tv_nsec < TICK_NSEC)
    f->seen.stx_mtime.tv_sec = 0;
  return same;
}

static void
on_still (struct rcvmi_run_flush *f)
{
  rcvm_error *e = NULL;

  if (is_same_image (f))
    {
      let_go_on (f, NULL);
      return;
    }
  f->at = WRITING;
  f->is_home = false;
  rcvmi_run_puts_hold (f->run);
  if (rcvmi_run_start_worker (f->run, &f->worker, write_changes, -1, on_written, &e) < 0)
    {
      rcvmi_run_puts_written (f->run);
      let_go_on (f, e);
    }
}

static void
begin_putting (struct rcvmi_run_flush *f)
{
  f->at = PUTTING;
  if (!rcvmi_run_puts_first (f->run, begin_sync, f))
    begin_sync (f);
}

void
rcvmi_run_synced (void *user, uint32_t number, uint64_t clock_nsec, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_flush *f = run->flush;
  rcvm_error *e = NULL;

  /* A late one, of a round that was given up. */
  if (!f || f->at != SYNCING || number != f->number)
    {
      rcvm_error_free (err);
      return;
    }
  rcvmi_ev_remove (steal_ptr (f->timer));
  f->frozen = (struct timespec){ .tv_sec = (time_t) (clock_nsec / 1000000000), .tv_nsec = (long) (clock_nsec % 1000000000) };
  /* The process has ended: all is written back soon, and who looks waits for that. */
  if (!can_change (run))
    return;
  /* Once it is written back nobody can tell whose it was. */
  if (!err && f->retries < RETRIES_MAX && rcvmi_run_puts_are_due (run))
    {
      f->retries++;
      begin_putting (f);
      return;
    }
  if (err && !is_to_pause (&f->now))
    end_round (f, err);
  else if (rcvmi_run_stand_still (run, err ? NULL : &e) < 0)
    end_round (f, err ? err : e);
  else if (err)
    let_go_on (f, err);
  else
    on_still (f);
}

static void
on_not_synced (void *user, uint32_t events)
{
  struct rcvmi_run_flush *f = user;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "the guest did not sync its disks within %d seconds", SYNC_TIMEOUT_MS / 1000);
  rcvmi_run_synced (f->run, f->number, 0, e);
}

static void
begin_sync (void *user)
{
  struct rcvmi_run_flush *f = user;
  struct rcvmi_run *run = f->run;
  rcvm_error *e = NULL;

  /* The process has ended meanwhile. */
  if (f->at != PUTTING || !can_change (run))
    return;
  f->at = SYNCING;
  if ((f->timer = rcvmi_ev_add_timer (run->ev, SYNC_TIMEOUT_MS, on_not_synced, f, &e)))
    rcvmi_agent_sync (run->agent, ++f->number, &e);
  if (e)
    end_round (f, e);
}

static void
begin_round (struct rcvmi_run_flush *f)
{
  if (!can_change (f->run))
    {
      rcvmi_run_abort_flush (f->run);
      return;
    }
  f->now = f->next;
  f->next = (struct list){ 0 };
  f->retries = 0;
  begin_putting (f);
}

bool
rcvmi_run_is_flushing (const struct rcvmi_run *run)
{
  return run->flush && (run->flush->at == SYNCING || run->flush->at == WRITING);
}

static int
wait_for_round (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, bool pauses, rcvm_error **err)
{
  struct rcvmi_run_flush *f = get (run, err);

  if (!f)
    return RCVM_E_NOMEM;
  if (f->next.n == WAITERS_MAX)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "too many requests about VM '%s' are under way", run->options.id);
  f->next.list[f->next.n++] = (struct waiter){ .done = done, .user = user, .pauses = pauses };
  begin_soon (f);
  return 0;
}

int
rcvmi_run_flush (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  if (!has_home (run))
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "the changes of VM '%s' to its root are not written back: it was started to discard or to keep them",
                       run->options.id);
  if (run->state.status == RCVM_STATUS_PAUSED && !run->ending && run->flush && run->flush->paused && run->flush->is_home)
    {
      done (user, NULL, NULL);
      return 0;
    }
  if (run->state.status == RCVM_STATUS_PAUSED)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused: resume it first", run->options.id);
  if (!can_change (run))
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  return wait_for_round (run, done, user, false, err);
}

bool
rcvmi_run_flush_pauses (const struct rcvmi_run *run)
{
  return has_home (run) && run->plan->flush != RCVMI_FLUSH_ASKED;
}

int
rcvmi_run_flush_and_pause (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  return wait_for_round (run, done, user, true, err);
}

static void
forget (struct list *l, void *user)
{
  for (unsigned i = 0; i < l->n; i++)
    if (l->list[i].user == user)
      l->list[i].done = NULL;
}

void
rcvmi_run_flush_forget (struct rcvmi_run *run, void *user)
{
  if (run->flush)
    {
      forget (&run->flush->next, user);
      forget (&run->flush->now, user);
    }
}

void
rcvmi_run_abort_flush (struct rcvmi_run *run)
{
  struct rcvmi_run_flush *f = run->flush;
  struct list *lists[2];

  if (!f)
    return;
  rcvmi_ev_remove (steal_ptr (f->timer));
  rcvmi_ev_remove (steal_ptr (f->begin));
  rcvmi_run_stop_worker (&f->worker);
  f->at = IDLE;
  rcvmi_run_abort_puts (run);
  lists[0] = &f->now;
  lists[1] = &f->next;
  /* Who looks waits for the end, when all is there. */
  for (int i = 0; i < 2; i++)
    {
      struct list waiting = { 0 };
      rcvm_error *e = NULL;

      memcpy (waiting.list, lists[i]->list, sizeof waiting.list);
      waiting.n = lists[i]->n;
      lists[i]->n = 0;
      if (waiting.n == 0)
        continue;
      rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' has stopped", run->options.id);
      tell (f, &waiting, e);
    }
}

void
rcvmi_run_undo_flush (struct rcvmi_run *run)
{
  struct rcvmi_run_flush *f = run->flush;

  if (!f)
    return;
  rcvmi_run_abort_flush (run);
  tell (f, &f->now, NULL);
  tell (f, &f->next, NULL);
  rcvmi_run_undo_puts (run);
  rcvmi_ev_remove (f->fanotify_source);
  cleanup_close (&f->fanotify);
  free (steal_ptr (run->flush));
}

/* Who looks at the container's files. */

static void
take_looker (struct rcvmi_run_flush *f, const struct fanotify_event_metadata *m)
{
  struct rcvmi_run *run = f->run;
  bool ours = m->pid == getpid () || (f->worker.proc.pid > 0 && m->pid == f->worker.proc.pid)
              || (run->worker.proc.pid > 0 && m->pid == run->worker.proc.pid);
  bool over = run->process_ended || run->ending;

  if (m->fd < 0)
    return;
  if (ours || f->next.n_lookers == LOOKERS_MAX || (!over && !can_change (run)))
    {
      let_look (f, m->fd);
      return;
    }
  f->next.lookers[f->next.n_lookers++] = m->fd;
  if (!over)
    begin_soon (f);
}

static void
on_looked_at (void *user, uint32_t events)
{
  struct rcvmi_run_flush *f = user;
  char buffer[4096] __attribute__ ((aligned (8)));
  const struct fanotify_event_metadata *m = (const void *) buffer;
  ssize_t n = read (f->fanotify, buffer, sizeof buffer);

  (void) events;
  for (; n > 0 && FAN_EVENT_OK (m, n); m = FAN_EVENT_NEXT (m, n))
    take_looker (f, m);
}

static int
watch (struct rcvmi_run *run, const char *path, rcvm_error **err)
{
  struct rcvmi_run_flush *f = get (run, err);

  if (!f)
    return RCVM_E_NOMEM;
  f->fanotify = fanotify_init (FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
  if (f->fanotify < 0 || fanotify_mark (f->fanotify, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, path) < 0)
    {
      cleanup_close (&f->fanotify);
      f->fanotify = -1;
      return rcvmi_fail_errno (err, errno, "cannot watch '%s'", path);
    }
  f->fanotify_source = rcvmi_ev_add (run->ev, f->fanotify, EPOLLIN, on_looked_at, f, err);
  return f->fanotify_source ? 0 : RCVM_E_SYSTEM;
}

void
rcvmi_run_watch_lookers (struct rcvmi_run *run)
{
  struct rcvmi_overlay_mount overlay = { 0 };
  autofree char *path = NULL;
  rcvm_error *e = NULL;
  struct stat st;
  char *slash;

  if (!has_home (run) || run->plan->flush != RCVMI_FLUSH_LOOK)
    return;
  if (rcvmi_overlay_mount_find (run->plan->rootfs, &overlay, &e) == 0 && overlay.upper && (slash = strrchr (overlay.upper, '/'))
      && asprintf (&path, "%.*s/lower", (int) (slash - overlay.upper), overlay.upper) >= 0)
    if (lstat (path, &st) == 0 && S_ISREG (st.st_mode) && watch (run, path, &e) == 0)
      rcvmi_run_watch_puts (run, overlay.upper);
  rcvmi_overlay_mount_clear (&overlay);
  /* As it is with other managers of containers: on request, then. */
  if (e)
    rcvmi_log_at (run->log, RCVM_LOG_INFO, "rootfs", "%s; what others see of the container's files is as of the last flush",
                  rcvm_error_get_message (e));
  rcvm_error_free (e);
}
