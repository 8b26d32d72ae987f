/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waiting for a container as if its process were this one: its signals are passed on, its exit code
   is ours. */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* SIGTSTP and SIGCONT stop and continue this process only; SIGPIPE is about this process's
   messages. */
static const int forwarded[] = { SIGHUP,  SIGINT,    SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                 SIGALRM, SIGVTALRM, SIGPROF, SIGIO,   SIGPWR };

int
foreground_open (void)
{
  sigset_t set;
  int fd;

  sigemptyset (&set);
  sigaddset (&set, SIGWINCH);
  for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
    sigaddset (&set, forwarded[i]);
  for (int i = SIGRTMIN; i <= SIGRTMAX; i++)
    sigaddset (&set, i);
  fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0)
    {
      complain ("cli", "cannot watch for signals: %s", strerror (errno));
      return -1;
    }
  /* The terminal is restored from the background, too. */
  sigaddset (&set, SIGTTOU);
  sigprocmask (SIG_BLOCK, &set, NULL);
  signal (SIGPIPE, SIG_IGN);
  return fd;
}

/* The next signal that came, or 0. */
static int
next_signal (int fd)
{
  struct signalfd_siginfo info;

  return read (fd, &info, sizeof info) == sizeof info ? (int) info.ssi_signo : 0;
}

/* A boot takes a while, and the call does not return before: it has a thread, and this one listens
   for Ctrl-C. */
struct creator
{
  rcvm_vm *vm;
  int done_fd;
  int code;
  rcvm_error *err;
};

static void *
create (void *user)
{
  struct creator *c = user;

  c->code = rcvm_vm_create (c->vm, &c->err);
  eventfd_write (c->done_fd, 1);
  return NULL;
}

/* Through a handle of its own, since the other one is busy. */
static void
cancel (const char *root, const char *id)
{
  rcvm_vm *vm = rcvm_vm_open (root, id, NULL);

  /* Any other status is that of a VM which had the id before, or this one's in the moment of its
     success. */
  if (vm && rcvm_vm_get_status (vm) == RCVM_STATUS_CREATING)
    rcvm_vm_delete (vm, 1, NULL);
  rcvm_vm_free (vm);
}

static void
watch_creation (const struct creator *c, const char *root, int signal_fd, int *signum)
{
  struct pollfd p[2] = { { .fd = c->done_fd, .events = POLLIN },
                         { .fd = signal_fd, .events = POLLIN } };

  for (;;)
    {
      if (poll (p, 2, -1) < 0)
        continue;
      if (p[0].revents)
        return;
      switch (next_signal (signal_fd))
        {
        case SIGHUP:
          *signum = SIGHUP;
          break;
        case SIGINT:
          *signum = SIGINT;
          break;
        case SIGQUIT:
          *signum = SIGQUIT;
          break;
        case SIGTERM:
          *signum = SIGTERM;
          break;
        default:
          continue;
        }
      cancel (root, rcvm_vm_get_id (c->vm));
    }
}

int
foreground_create (rcvm_vm *vm, const char *root, int signal_fd, int *signum, rcvm_error **err)
{
  struct creator c = { .vm = vm, .done_fd = eventfd (0, EFD_CLOEXEC) };
  pthread_t thread;

  *signum = 0;
  if (c.done_fd < 0 || pthread_create (&thread, NULL, create, &c) != 0)
    {
      /* Without the means to cancel it, it is no less a VM. */
      if (c.done_fd >= 0)
        close (c.done_fd);
      return rcvm_vm_create (vm, err);
    }
  watch_creation (&c, root, signal_fd, signum);
  pthread_join (thread, NULL);
  close (c.done_fd);
  if (*signum && c.code == 0)
    c.code = rcvm_vm_delete (vm, 1, &c.err) < 0 ? -1 : RCVM_E_CANCELLED;
  else if (*signum && c.code != RCVM_E_CANCELLED)
    *signum = 0; /* it had failed by itself */
  *err = c.err;
  return c.code;
}

int
foreground_wait (const struct target *t, int signal_fd, rcvm_error **err)
{
  struct pollfd p[2] = { { .events = POLLIN }, { .fd = signal_fd, .events = POLLIN } };
  unsigned rows, cols;
  int ended, signum, exit_code;

  while ((ended = t->has_ended (t->object, err)) == 0)
    {
      p[0].fd = t->get_fd (t->object);
      if (poll (p, 2, -1) < 0)
        continue;
      while (p[1].revents && (signum = next_signal (signal_fd)))
        {
          /* What fails here fails because the process has just ended, and that is seen next. */
          if (signum != SIGWINCH)
            t->kill (t->object, signum, NULL);
          else if (t->resize && terminal_size (&rows, &cols) == 0)
            t->resize (t->object, rows, cols, NULL);
        }
    }
  if (ended < 0 || t->wait (t->object, &exit_code, err) < 0)
    return -1;
  return exit_code;
}

static int
vm_get_fd (void *vm)
{
  return rcvm_vm_get_fd (vm);
}

static int
vm_has_ended (void *vm, rcvm_error **err)
{
  int status = rcvm_vm_dispatch (vm, err);

  return status < 0 ? -1 : status == RCVM_STATUS_STOPPED;
}

static int
vm_wait (void *vm, int *exit_code, rcvm_error **err)
{
  return rcvm_vm_wait (vm, -1, exit_code, err);
}

static int
vm_kill (void *vm, int signum, rcvm_error **err)
{
  return rcvm_vm_kill (vm, signum, err);
}

static int
vm_resize (void *vm, unsigned rows, unsigned cols, rcvm_error **err)
{
  return rcvm_vm_resize (vm, rows, cols, err);
}

struct target
target_of_vm (rcvm_vm *vm)
{
  return (struct target){ vm, vm_get_fd, vm_has_ended, vm_wait, vm_kill, vm_resize };
}

static int
process_get_fd (void *process)
{
  return rcvm_process_get_fd (process);
}

static int
process_has_ended (void *process, rcvm_error **err)
{
  (void) err; /* whatever ended it, rcvm_process_wait says so again */
  return rcvm_process_wait (process, 0, NULL, NULL) != RCVM_E_TIMEOUT;
}

static int
process_wait (void *process, int *exit_code, rcvm_error **err)
{
  return rcvm_process_wait (process, -1, exit_code, err);
}

static int
process_kill (void *process, int signum, rcvm_error **err)
{
  return rcvm_process_kill (process, signum, err);
}

static int
process_resize (void *process, unsigned rows, unsigned cols, rcvm_error **err)
{
  return rcvm_process_resize (process, rows, cols, err);
}

struct target
target_of_process (rcvm_process *process)
{
  return (struct target){ process,      process_get_fd, process_has_ended,
                          process_wait, process_kill,   process_resize };
}
