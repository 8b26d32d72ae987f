/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The volume server's loop: listeners, workers' results, time, signals. */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs-server.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "err.h"

enum
{
  TRIM_MS = 1000,      /* how often it is looked for what to close */
  UNUSED_MS = 2000,    /* a file that was not used for so long is closed */
  STOP_MS = 2000       /* so long clients may take their last replies */
};

static void
on_pool (void *user, uint32_t events)
{
  struct nfs_daemon *d = user;
  struct nfs_job *job = rcvmi_nfs_pool_take (d->pool);

  (void) events;
  while (job)
    {
      struct nfs_job *next = job->next;

      rcvmi_nfs_conn_done (d, job);
      job = next;
    }
}

struct nfs_daemon *
rcvmi_nfs_daemon_new (const uint8_t *key, unsigned workers, rcvm_error **err)
{
  struct nfs_daemon *d = calloc (1, sizeof *d);

  if (!d)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  d->control_fd = d->signal_fd = -1;
  d->core = rcvmi_nfs_core_new (key, err);
  d->ev = d->core ? rcvmi_ev_new (err) : NULL;
  d->thread = calloc (1, sizeof *d->thread);
  if (!d->core || !d->ev || !d->thread)
    {
      if (!d->thread)
        rcvmi_fail_nomem (err);
      rcvmi_nfs_daemon_free (d);
      return NULL;
    }
  d->thread->server = d->core;
  if (workers > 0)
    {
      d->pool = rcvmi_nfs_pool_new (d->core, workers, err);
      d->pool_source
          = d->pool ? rcvmi_ev_add (d->ev, rcvmi_nfs_pool_fd (d->pool), EPOLLIN, on_pool, d, err) : NULL;
      if (!d->pool_source)
        {
          rcvmi_nfs_daemon_free (d);
          return NULL;
        }
      d->core->workers = true;
    }
  return d;
}

static void
on_listener (void *user, uint32_t events)
{
  struct nfs_listener *l = user;

  (void) events;
  for (;;)
    {
      int fd = accept4 (l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

      if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
        continue;
      if (fd < 0 && (errno == EMFILE || errno == ENFILE) && l->daemon->core->objects.count > 0)
        {
          /* Files are opened again, connections are not. */
          rcvmi_nfs_objects_trim (l->daemon->core, INT64_MAX, 0);
          continue;
        }
      if (fd < 0)
        return;
      rcvmi_nfs_conn_add (l->daemon, fd, NULL);
    }
}

int
rcvmi_nfs_daemon_listen (struct nfs_daemon *d, int fd, rcvm_error **err)
{
  struct nfs_listener *l = calloc (1, sizeof *l);

  if (!l)
    {
      close (fd);
      return rcvmi_fail_nomem (err);
    }
  l->daemon = d;
  l->fd = fd;
  fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) | O_NONBLOCK);
  l->source = rcvmi_ev_add (d->ev, fd, EPOLLIN, on_listener, l, err);
  if (!l->source)
    {
      close (fd);
      free (l);
      return RCVM_E_SYSTEM;
    }
  l->next = d->listeners;
  d->listeners = l;
  return 0;
}

static void
on_trim (void *user, uint32_t events)
{
  struct nfs_daemon *d = user;

  (void) events;
  rcvmi_ev_remove (d->trim_timer);
  d->trim_timer = NULL;
  if (rcvmi_nfs_objects_trim (d->core, rcvmi_clock_ms (), UNUSED_MS))
    d->trim_timer = rcvmi_ev_add_timer (d->ev, TRIM_MS, on_trim, d, NULL);
  else
    {
      /* Nothing was asked for two seconds. */
      rcvmi_nfs_bufs_trim (&d->core->bufs);
      rcvmi_nfs_dirs_trim (d->core);
      rcvmi_nfs_known_free (d->core);
      malloc_trim (0);
    }
}

void
rcvmi_nfs_daemon_touch (struct nfs_daemon *d)
{
  if (!d->trim_timer)
    d->trim_timer = rcvmi_ev_add_timer (d->ev, TRIM_MS, on_trim, d, NULL);
}

static void
on_signal (void *user, uint32_t events)
{
  struct nfs_daemon *d = user;
  struct signalfd_siginfo info;

  (void) events;
  if (read (d->signal_fd, &info, sizeof info) > 0)
    rcvmi_nfs_daemon_stop (d);
}

int
rcvmi_nfs_daemon_signals (struct nfs_daemon *d, rcvm_error **err)
{
  sigset_t set;

  sigemptyset (&set);
  sigaddset (&set, SIGTERM);
  sigaddset (&set, SIGINT);
  d->signal_fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (d->signal_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a signal fd");
  d->signal_source = rcvmi_ev_add (d->ev, d->signal_fd, EPOLLIN, on_signal, d, err);
  return d->signal_source ? 0 : RCVM_E_SYSTEM;
}

int
rcvmi_nfs_daemon_run (struct nfs_daemon *d, rcvm_error **err)
{
  return rcvmi_ev_run (d->ev, err);
}

static void
on_stop_time (void *user, uint32_t events)
{
  struct nfs_daemon *d = user;

  (void) events;
  rcvmi_ev_stop (d->ev);
}

static void
close_listeners (struct nfs_daemon *d)
{
  while (d->listeners)
    {
      struct nfs_listener *l = d->listeners;

      d->listeners = l->next;
      rcvmi_ev_remove (l->source);
      close (l->fd);
      free (l);
    }
}

void
rcvmi_nfs_daemon_stop (struct nfs_daemon *d)
{
  if (d->stopping)
    return;
  d->stopping = true;
  close_listeners (d);
  d->stop_timer = rcvmi_ev_add_timer (d->ev, STOP_MS, on_stop_time, d, NULL);
  if (!d->stop_timer)
    rcvmi_ev_stop (d->ev);
  rcvmi_nfs_daemon_progress (d);
}

void
rcvmi_nfs_daemon_progress (struct nfs_daemon *d)
{
  if (d->stopping && rcvmi_nfs_conns_are_idle (d))
    rcvmi_ev_stop (d->ev);
}

void
rcvmi_nfs_daemon_free (struct nfs_daemon *d)
{
  if (!d)
    return;
  if (d->pool)
    {
      struct nfs_job *job;

      rcvmi_nfs_pool_stop (d->pool);
      job = rcvmi_nfs_pool_take (d->pool);
      d->stopping = true;
      while (job)
        {
          struct nfs_job *next = job->next;

          rcvmi_nfs_conn_done (d, job);
          job = next;
        }
    }
  rcvmi_nfs_conns_free (d);
  close_listeners (d);
  rcvmi_ev_free (d->ev);
  if (d->pool)
    rcvmi_nfs_pool_free (d->pool);
  rcvmi_nfs_drc_free (&d->drc);
  if (d->control_fd >= 0)
    close (d->control_fd);
  if (d->signal_fd >= 0)
    close (d->signal_fd);
  rcvmi_nfs_core_free (d->core);
  free (d->thread);
  free (d->scratch);
  free (d);
}
