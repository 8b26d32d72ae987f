/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

enum
{
  PIPE_ROUNDS = 512, /* 64 KiB in pieces */
  OUTPUT_MAX = 300 /* what is kept of the end of what it writes */
};

static int64_t
now_ms (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A file: the hook may read it when it likes, or not at all. */
static int
open_state (const char *state)
{
  size_t len = strlen (state);
  int fd = memfd_create ("state", MFD_CLOEXEC);

  if (fd >= 0 && (write (fd, state, len) != (ssize_t) len || lseek (fd, 0, SEEK_SET) < 0))
    {
      close (fd);
      fd = -1;
    }
  return fd;
}

static _Noreturn void
child (const struct request_hook *hook, int in, int out)
{
  char *args[] = { (char *) hook->path, NULL }, *none[] = { NULL };

  setpgid (0, 0);
  /* fds are above 2: the process's own streams are 0 to 2 already. */
  if (dup2 (in, 0) == 0 && dup2 (out, 1) == 1 && dup2 (out, 2) == 2)
    {
      syscall (SYS_close_range, 3u, ~0u, K_CLOSE_RANGE_CLOEXEC);
      execve (hook->path, hook->n_argv ? hook->argv : args, hook->n_env ? hook->env : none);
    }
  dprintf (2, "%s", strerror (errno));
  _exit (127);
}

/* Keeps the end; false when there is no more. */
static bool
read_output (int fd, char output[OUTPUT_MAX + 1])
{
  char piece[OUTPUT_MAX];
  ssize_t n = read (fd, piece, sizeof piece);
  size_t len = strlen (output), size = n > 0 ? (size_t) n : 0, surplus;

  if (n <= 0)
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  surplus = len + size > OUTPUT_MAX ? len + size - OUTPUT_MAX : 0;
  memmove (output, output + surplus, len - surplus);
  memcpy (output + len - surplus, piece, size);
  output[len - surplus + size] = 0;
  return true;
}

/* Whether it ended by itself, and in time; what it leaves behind may hold the pipe open, and is not waited for. */
static bool
await (pid_t pid, int pid_fd, int out, unsigned timeout, char output[OUTPUT_MAX + 1])
{
  int64_t deadline = now_ms () + (int64_t) timeout * 1000;
  struct pollfd p[] = { { .fd = pid_fd, .events = POLLIN }, { .fd = out, .events = POLLIN } };

  for (;;)
    {
      int64_t left = timeout ? deadline - now_ms () : -1;

      if (timeout && left <= 0)
        {
          kill (-pid, SIGKILL);
          return false;
        }
      if (poll (p, 2, left > INT32_MAX ? INT32_MAX : (int) left) <= 0)
        continue;
      if (p[1].revents && !read_output (out, output))
        p[1].fd = -1;
      if (p[0].revents)
        {
          for (int i = 0; i < PIPE_ROUNDS && poll (&p[1], 1, 0) > 0 && read_output (out, output); i++)
            ;
          return true;
        }
    }
}

static const char *
last_line (char *output)
{
  size_t len = strlen (output);
  char *start;

  while (len > 0 && output[len - 1] == '\n')
    output[--len] = 0;
  start = strrchr (output, '\n');
  return start ? start + 1 : output;
}

static int
run (const struct request_hook *hook, const char *state, struct failure *f)
{
  autoclose int in = open_state (state), out = -1, theirs = -1, pid_fd = -1;
  char output[OUTPUT_MAX + 1] = "";
  int pair[2], status = 0;
  bool in_time;
  pid_t pid;

  if (in < 0 || pipe2 (pair, O_CLOEXEC) < 0)
    return fail (f, "hooks", errno, "cannot make the streams of a hook");
  out = pair[0];
  theirs = pair[1];
  fcntl (out, F_SETFL, O_NONBLOCK);
  pid = fork ();
  if (pid == 0)
    child (hook, in, theirs);
  if (pid < 0)
    return fail (f, "hooks", errno, "cannot fork for a hook");
  close (steal_fd (&theirs));
  pid_fd = (int) syscall (SYS_pidfd_open, pid, 0);
  in_time = await (pid, pid_fd, out, hook->timeout, output);
  while (waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (!in_time)
    return fail (f, "hooks", 0, "the startContainer hook \"%.200s\" was killed after its %u seconds", hook->path, hook->timeout);
  if (WIFSIGNALED (status))
    return fail (f, "hooks", 0, "the startContainer hook \"%.200s\" was killed by signal %d", hook->path, WTERMSIG (status));
  if (WEXITSTATUS (status))
    return fail (f, "hooks", 0, "the startContainer hook \"%.200s\" ended with exit code %d%s%.100s", hook->path,
                 WEXITSTATUS (status), *output ? ": " : "", last_line (output));
  return 0;
}

int
hooks_run (const struct request *q, struct failure *f)
{
  for (size_t i = 0; i < q->n_hooks; i++)
    if (run (&q->hooks[i], q->state ? q->state : "{}", f) < 0)
      {
        f->exit_code = EXIT_SETUP;
        return -1;
      }
  return 0;
}
