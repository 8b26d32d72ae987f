/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "ev.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "err.h"

struct rcvmi_ev_source
{
  struct rcvmi_ev *ev;
  struct rcvmi_ev_source *next;
  int fd;
  uint32_t events;
  rcvmi_ev_fn fn;
  void *user;
  bool always_ready; /* a regular file */
  bool own_fd;       /* a timer */
  bool removed;
};

struct rcvmi_ev
{
  int epoll_fd;
  struct rcvmi_ev_source *sources;
  unsigned always_ready;
  bool stop;
};

struct rcvmi_ev *
rcvmi_ev_new (rcvm_error **err)
{
  struct rcvmi_ev *ev = calloc (1, sizeof *ev);

  if (!ev)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  ev->epoll_fd = epoll_create1 (EPOLL_CLOEXEC);
  if (ev->epoll_fd < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot make an epoll instance");
      free (ev);
      return NULL;
    }
  return ev;
}

static void
free_source (struct rcvmi_ev_source *s)
{
  if (s->own_fd)
    close (s->fd);
  free (s);
}

void
rcvmi_ev_free (struct rcvmi_ev *ev)
{
  if (!ev)
    return;
  while (ev->sources)
    {
      struct rcvmi_ev_source *s = ev->sources;

      ev->sources = s->next;
      free_source (s);
    }
  close (ev->epoll_fd);
  free (ev);
}

struct rcvmi_ev_source *
rcvmi_ev_add (struct rcvmi_ev *ev, int fd, uint32_t events, rcvmi_ev_fn fn, void *user,
              rcvm_error **err)
{
  struct rcvmi_ev_source *s = calloc (1, sizeof *s);
  struct epoll_event event = { .events = events };

  if (!s)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  *s = (struct rcvmi_ev_source){ .ev = ev, .fd = fd, .events = events, .fn = fn, .user = user };
  event.data.ptr = s;
  if (epoll_ctl (ev->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
    {
      if (errno != EPERM)
        {
          rcvmi_fail_errno (err, errno, "cannot watch fd %d", fd);
          free (s);
          return NULL;
        }
      s->always_ready = true;
      ev->always_ready++;
    }
  s->next = ev->sources;
  ev->sources = s;
  return s;
}

void
rcvmi_ev_set_events (struct rcvmi_ev_source *s, uint32_t events)
{
  struct epoll_event event = { .events = events, .data.ptr = s };

  if (s->removed || s->events == events)
    return;
  /* A source without events leaves the set, or a hang-up would be reported without end. */
  if (!s->always_ready)
    epoll_ctl (s->ev->epoll_fd,
               events == 0 ? EPOLL_CTL_DEL : s->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd,
               &event);
  s->events = events;
}

void
rcvmi_ev_remove (struct rcvmi_ev_source *s)
{
  if (!s || s->removed)
    return;
  s->removed = true;
  if (s->always_ready)
    s->ev->always_ready--;
  else if (s->events)
    epoll_ctl (s->ev->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
}

struct rcvmi_ev_source *
rcvmi_ev_add_timer (struct rcvmi_ev *ev, unsigned ms, rcvmi_ev_fn fn, void *user, rcvm_error **err)
{
  struct itimerspec when = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L } };
  struct rcvmi_ev_source *s;
  int fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

  if (ms == 0)
    when.it_value.tv_nsec = 1;
  if (fd < 0 || timerfd_settime (fd, 0, &when, NULL) < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot make a timer");
      if (fd >= 0)
        close (fd);
      return NULL;
    }
  /* One shot: it stays readable until it is removed, so it must not be level-triggered. */
  s = rcvmi_ev_add (ev, fd, EPOLLIN | EPOLLET, fn, user, err);
  if (!s)
    {
      close (fd);
      return NULL;
    }
  s->own_fd = true;
  return s;
}

static void
reap_removed (struct rcvmi_ev *ev)
{
  struct rcvmi_ev_source **p = &ev->sources;

  while (*p)
    {
      struct rcvmi_ev_source *s = *p;

      if (s->removed)
        {
          *p = s->next;
          free_source (s);
        }
      else
        p = &s->next;
    }
}

static bool
file_is_waiting (const struct rcvmi_ev *ev)
{
  if (ev->always_ready > 0)
    for (const struct rcvmi_ev_source *s = ev->sources; s; s = s->next)
      if (s->always_ready && !s->removed && s->events)
        return true;
  return false;
}

int
rcvmi_ev_run (struct rcvmi_ev *ev, rcvm_error **err)
{
  struct epoll_event events[32];

  while (!ev->stop)
    {
      int n = epoll_wait (ev->epoll_fd, events, 32, file_is_waiting (ev) ? 0 : -1);

      if (n < 0 && errno != EINTR)
        return rcvmi_fail_errno (err, errno, "cannot wait for events");
      for (int i = 0; i < n; i++)
        {
          struct rcvmi_ev_source *s = events[i].data.ptr;

          if (!s->removed)
            s->fn (s->user, events[i].events);
        }
      if (ev->always_ready > 0)
        for (struct rcvmi_ev_source *s = ev->sources; s; s = s->next)
          if (s->always_ready && !s->removed && s->events)
            s->fn (s->user, s->events);
      reap_removed (ev);
    }
  ev->stop = false;
  return 0;
}

void
rcvmi_ev_stop (struct rcvmi_ev *ev)
{
  ev->stop = true;
}
