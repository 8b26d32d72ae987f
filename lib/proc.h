/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Child processes of the monitor: VMMs and workers.  A child dies with the monitor (PDEATHSIG). */
#ifndef RCVM_LIB_PROC_H
#define RCVM_LIB_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

struct rcvmi_proc
{
  pid_t pid;
  int pidfd; /* polls readable when the process has ended */
};

#define RCVMI_PROC_INIT ((struct rcvmi_proc){ .pid = -1, .pidfd = -1 })

/* Starts a program: `path` with `argv`, in its own session, signals reset, stdin /dev/null, stdout and stderr
   `output_fd`.  fds[i] becomes fd 3 + i of the child; no other fd is passed. */
int rcvmi_proc_spawn (struct rcvmi_proc *proc, const char *path, char *const argv[], int output_fd,
                      const int *fds, size_t n_fds, rcvm_error **err);

/* The same where there is more to say. */
struct rcvmi_proc_how
{
  const char *path;
  char *const *argv;
  int stdout_fd, stderr_fd; /* -1: /dev/null */
  int dir_fd;               /* its working directory; -1: the caller's */
  const int *fds;
  size_t n_fds;
  unsigned long namespaces; /* flags of clone: those that it gets for itself */
  char *const *env;         /* NULL: the caller's */
  /* In the child before the program; -1 with errno and a sentence in `what`.  May be NULL. */
  int (*prepare) (void *user, char *what, size_t size);
  void *user;
};
int rcvmi_proc_spawn_as (struct rcvmi_proc *proc, const struct rcvmi_proc_how *how, rcvm_error **err);

/* Runs `fn` in a forked child; its return value is the child's exit code.  Its error, if any, goes through the
   pipe whose read end is stored in *error_fd: see rcvmi_proc_read_error. */
int rcvmi_proc_fork (struct rcvmi_proc *proc, int (*fn) (void *user, rcvm_error **err), void *user,
                     int *error_fd, rcvm_error **err);
/* The same with fds to keep: fds[i] becomes fd RCVMI_PROC_FORK_FD + i of the child. */
#define RCVMI_PROC_FORK_FD 4
int rcvmi_proc_fork_with (struct rcvmi_proc *proc, int (*fn) (void *user, rcvm_error **err),
                          void *user, const int *fds, size_t n_fds, int *error_fd,
                          rcvm_error **err);
/* What the child of rcvmi_proc_fork reported, to be called when it has ended; `what` stands in where it was
   killed before it could.  Takes the fd over.  Returns 0 where it succeeded. */
int rcvmi_proc_read_error (int error_fd, int wait_status, const char *what, rcvm_error **err);

/* Reaps a process that has ended, or waits for one that will; returns the status of waitpid. */
int rcvmi_proc_reap (struct rcvmi_proc *proc);
/* Stops it, and returns when all its threads stand still; lets it go on.  -1 and errno: ESRCH for one that ended instead. */
int rcvmi_proc_stop (const struct rcvmi_proc *proc);
int rcvmi_proc_continue (const struct rcvmi_proc *proc);
/* SIGKILL and reap; nothing for one that is not there. */
void rcvmi_proc_kill (struct rcvmi_proc *proc);

/* "exit code 1", "killed by signal 9 (Killed)". */
void rcvmi_proc_describe (int wait_status, char *buf, size_t size);

/* A process of another's: whether `pid` still is the one that started at `start_time` (clock ticks after boot). */
unsigned long long rcvmi_proc_start_time (pid_t pid);
/* The milliseconds of CPU time that the process has used by now, in all its threads; -1: there is no such process. */
int64_t rcvmi_proc_cpu_ms (pid_t pid);
/* Kills that one, through a pidfd so that a reused pid is never hit, and waits until it is gone. */
void rcvmi_proc_kill_stranger (pid_t pid, unsigned long long start_time);

#endif
