/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

enum
{
  ROUND = 16
};

/* Output has an epoll set of its own inside the main one, so that it can be paused in one step. */
static int main_set = -1, output_set = -1;
static bool output_paused;
static void **garbage;
static size_t n_garbage, garbage_cap;

void
loop_init (void)
{
  struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };

  output_paused = false;
  main_set = epoll_create1 (EPOLL_CLOEXEC);
  output_set = epoll_create1 (EPOLL_CLOEXEC);
  if (main_set < 0 || output_set < 0 || epoll_ctl (main_set, EPOLL_CTL_ADD, output_set, &e) < 0)
    fatal ("cannot make the event loop: %s", strerror (errno));
}

/* An output that waits for nothing is taken out: epoll would go on reporting that it hung up. */
static bool
is_in_set (const struct watch *w)
{
  return !w->output || w->events;
}

static int
control (struct watch *w, int operation, int fd, uint32_t events)
{
  struct epoll_event e = { .events = events, .data.ptr = w };

  return epoll_ctl (w->output ? output_set : main_set, operation, fd, &e);
}

int
loop_add (struct watch *w, int fd, uint32_t events)
{
  w->events = events;
  if (is_in_set (w) && control (w, EPOLL_CTL_ADD, fd, events) < 0)
    return -1;
  w->fd = fd;
  return 0;
}

void
loop_modify (struct watch *w, uint32_t events)
{
  bool was_in = is_in_set (w);

  if (w->fd < 0 || w->events == events)
    return;
  w->events = events;
  if (control (w,
               !is_in_set (w) ? EPOLL_CTL_DEL
               : was_in       ? EPOLL_CTL_MOD
                              : EPOLL_CTL_ADD,
               w->fd, events)
      < 0)
    fatal ("cannot change an event: %s", strerror (errno));
}

int
loop_remove (struct watch *w)
{
  /* Closing alone would not do: a child that was forked meanwhile may hold the same file. */
  if (w->fd >= 0 && is_in_set (w))
    control (w, EPOLL_CTL_DEL, w->fd, 0);
  return steal_fd (&w->fd);
}

void
loop_close (struct watch *w)
{
  int fd = loop_remove (w);

  if (fd >= 0)
    close (fd);
}

void
loop_pause_output (bool pause)
{
  struct epoll_event e = { .events = pause ? 0 : EPOLLIN, .data.ptr = NULL };

  if (pause == output_paused)
    return;
  output_paused = pause;
  if (epoll_ctl (main_set, EPOLL_CTL_MOD, output_set, &e) < 0)
    fatal ("cannot change an event: %s", strerror (errno));
}

void
loop_free_later (void *p)
{
  if (n_garbage == garbage_cap)
    {
      size_t cap = garbage_cap ? garbage_cap * 2 : 16;
      void **grown = realloc (garbage, cap * sizeof *grown);

      if (!grown)
        fatal ("out of memory");
      garbage = grown;
      garbage_cap = cap;
    }
  garbage[n_garbage++] = p;
}

static void
round_of (int set)
{
  struct epoll_event events[ROUND];
  int n = epoll_wait (set, events, ROUND, set == main_set ? -1 : 0);

  if (n < 0 && errno != EINTR)
    fatal ("cannot wait for events: %s", strerror (errno));
  for (int i = 0; i < n; i++)
    {
      struct watch *w = events[i].data.ptr;

      if (!w)
        round_of (output_set);
      else if (w->fd >= 0)
        w->ready (w, events[i].events);
    }
}

void
loop_run (void (*after) (void))
{
  for (;;)
    {
      round_of (main_set);
      after ();
      while (n_garbage)
        free (garbage[--n_garbage]);
    }
}
