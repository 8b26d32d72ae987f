/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "notify": for each volume that asks for it, a process that watches it on the host; what it says goes on to the
 * guest, for whose kernel nothing happens when somebody else changes a file.  A hint that is lost is lost: nothing waits for a guest
 * that does not read.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "notify-watch.h"

enum
{
  ROOT_FD = RCVMI_PROC_FORK_FD,
  OUT_FD,
  AT_ONCE = 64 /* packets of one volume in a round of the loop */
};

struct watch
{
  struct rcvmi_run *run;
  const struct rcvmi_plan_volume *volume;
  struct rcvmi_proc proc;
  struct rcvmi_ev_source *source;
  int error_fd, fd;
};

struct rcvmi_run_notify
{
  struct watch *list;
  size_t n, n_waiting;
};

static int
watch_volume (void *user, rcvm_error **err)
{
  (void) user;
  return rcvmi_notify_watch (ROOT_FD, OUT_FD, err);
}

static void
pass_on (struct watch *w, const char *path)
{
  struct tlv_writer record = TLV_WRITER_INIT;

  tlv_put_str (&record, V_DESTINATION, w->volume->destination);
  tlv_put_str (&record, V_PATH, path);
  if (!record.failed && w->run->agent && w->run->state.status == RCVM_STATUS_RUNNING && !w->run->process_ended)
    rcvmi_agent_notify (w->run->agent, record.data, record.len);
  tlv_writer_free (&record);
}

static void
end_watch (struct watch *w)
{
  rcvm_error *e = NULL;
  int status;

  rcvmi_ev_remove (steal_ptr (w->source));
  status = rcvmi_proc_reap (&w->proc);
  rcvmi_proc_read_error (steal_fd (&w->error_fd), status, "the process that watches a volume", &e);
  if (w->run->stage && !w->run->process_ended && !w->run->ending)
    rcvmi_log_at (w->run->log, RCVM_LOG_WARNING, "volumes", "changes of '%.200s' are not reported to the VM any more: %s",
                  w->volume->source, e ? rcvm_error_get_message (e) : "the process that watches it has ended");
  rcvm_error_free (e);
}

static void
on_packet (void *user, uint32_t events)
{
  struct watch *w = user;
  struct rcvmi_run_notify *all = w->run->notify;
  char packet[PATH_MAX + 1];

  (void) events;
  for (int i = 0; i < AT_ONCE; i++)
    {
      ssize_t n = recv (w->fd, packet, sizeof packet - 1, MSG_DONTWAIT);

      if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
      if (n <= 0)
        {
          end_watch (w);
          return;
        }
      packet[n] = 0;
      if (packet[0] == NOTIFY_CHANGED)
        pass_on (w, packet + 1);
      else if (packet[0] == NOTIFY_TROUBLE)
        rcvmi_log_at (w->run->log, RCVM_LOG_WARNING, "volumes", "of '%.200s', %s", w->volume->source, packet + 1);
      else if (all->n_waiting && --all->n_waiting == 0)
        {
          rcvmi_run_advance (w->run);
          return;
        }
    }
}

static int
start_watch (struct watch *w, rcvm_error **err)
{
  autoclose int root = open (w->volume->source, O_PATH | O_CLOEXEC);
  int ends[2], fds[2], code;

  if (root < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s', which is to be watched", w->volume->source);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a socket");
  w->fd = ends[0];
  fds[0] = root;
  fds[1] = ends[1];
  code = rcvmi_proc_fork_with (&w->proc, watch_volume, w, fds, 2, &w->error_fd, err);
  close (ends[1]);
  if (code < 0)
    return code;
  w->source = rcvmi_ev_add (w->run->ev, w->fd, EPOLLIN, on_packet, w, err);
  return w->source ? 0 : RCVM_E_SYSTEM;
}

enum rcvmi_run_step
rcvmi_run_begin_notify (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_run_notify *all;
  size_t wanted = 0;

  for (size_t i = 0; i < plan->n_volumes; i++)
    wanted += plan->volumes[i].notify;
  if (wanted == 0)
    return RCVMI_STEP_DONE;
  all = run->notify = calloc (1, sizeof *all);
  if (all)
    all->list = calloc (wanted, sizeof *all->list);
  if (!all || !all->list)
    {
      rcvmi_fail_nomem (err);
      return RCVMI_STEP_FAILED;
    }
  for (size_t i = 0; i < plan->n_volumes; i++)
    if (plan->volumes[i].notify)
      {
        struct watch *w = &all->list[all->n++];

        *w = (struct watch){ .run = run, .volume = &plan->volumes[i], .proc = RCVMI_PROC_INIT, .error_fd = -1, .fd = -1 };
        if (start_watch (w, err) < 0)
          return RCVMI_STEP_FAILED;
        all->n_waiting++;
      }
  return RCVMI_STEP_PENDING;
}

void
rcvmi_run_undo_notify (struct rcvmi_run *run)
{
  struct rcvmi_run_notify *all = steal_ptr (run->notify);

  for (size_t i = 0; all && i < all->n; i++)
    {
      struct watch *w = &all->list[i];

      rcvmi_ev_remove (w->source);
      rcvmi_proc_kill (&w->proc);
      cleanup_close (&w->error_fd);
      cleanup_close (&w->fd);
    }
  if (all)
    free (all->list);
  free (all);
}
