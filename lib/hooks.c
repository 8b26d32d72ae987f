/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "hooks"
#include "hooks.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "err.h"
#include "proc.h"

enum
{
  FIRST_FD = 3,
  OUTPUT_MAX = 2048, /* what is kept of the end of what it writes */
  PIPE_ROUNDS = 128, /* 64 KiB in pieces */
  LINE_SIZE = 300
};

struct running
{
  pid_t pid;
  int pid_fd;
  int output_fd;
  char output[OUTPUT_MAX + 1];
  size_t len;
};

/* Not 0, 1 or 2, which the program's own streams become. */
static int
move_up (int fd)
{
  int high = fd < 0 ? -1 : fcntl (fd, F_DUPFD_CLOEXEC, FIRST_FD);

  if (fd >= 0)
    close (fd);
  return high;
}

/* A file: the program may read it when it likes, or not at all. */
static int
make_stdin (const char *state)
{
  size_t len = strlen (state);
  int fd = move_up (memfd_create ("state", MFD_CLOEXEC));

  if (fd >= 0 && (write (fd, state, len) != (ssize_t) len || lseek (fd, 0, SEEK_SET) < 0))
    {
      close (fd);
      fd = -1;
    }
  return fd;
}

static int
spawn (const struct rcvmi_spec_hook *hook, const char *dir, int in, int out, pid_t *pid)
{
  char *args[] = { hook->path, NULL }, *none[] = { NULL };
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t empty, all;
  int e;

  sigemptyset (&empty);
  sigfillset (&all);
  e = posix_spawn_file_actions_init (&actions);
  if (e)
    return e;
  e = posix_spawnattr_init (&attr);
  if (e)
    {
      posix_spawn_file_actions_destroy (&actions);
      return e;
    }
  e = posix_spawn_file_actions_adddup2 (&actions, in, 0);
  if (e == 0)
    e = posix_spawn_file_actions_adddup2 (&actions, out, 1);
  if (e == 0)
    e = posix_spawn_file_actions_adddup2 (&actions, out, 2);
  if (e == 0)
    e = posix_spawn_file_actions_addclosefrom_np (&actions, FIRST_FD);
  if (e == 0)
    e = posix_spawn_file_actions_addchdir_np (&actions, dir);
  /* A group of its own, so that its children can be killed with it. */
  posix_spawnattr_setpgroup (&attr, 0);
  posix_spawnattr_setflags (&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask (&attr, &empty);
  posix_spawnattr_setsigdefault (&attr, &all);
  if (e == 0)
    e = posix_spawn (pid, hook->path, &actions, &attr, hook->args ? hook->args : args, hook->env ? hook->env : none);
  posix_spawnattr_destroy (&attr);
  posix_spawn_file_actions_destroy (&actions);
  return e;
}

static int
start (struct running *r, const struct rcvmi_hooks *hooks, const struct rcvmi_spec_hook *hook, rcvm_error **err)
{
  autoclose int in = make_stdin (hooks->state), out = -1;
  int pair[2], e;

  if (in < 0 || pipe2 (pair, O_CLOEXEC | O_NONBLOCK) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the streams of a hook");
  r->output_fd = pair[0];
  out = move_up (pair[1]);
  if (out < 0 || fcntl (out, F_SETFL, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the streams of a hook");
  e = spawn (hook, hooks->dir, in, out, &r->pid);
  if (e)
    {
      r->pid = -1;
      return rcvmi_fail (err, RCVM_E_PROCESS, e, "the %s hook '%s' cannot be run", hooks->kind, hook->path);
    }
  r->pid_fd = pidfd_open (r->pid, 0);
  return r->pid_fd < 0 ? rcvmi_fail_errno (err, errno, "cannot watch the %s hook '%s'", hooks->kind, hook->path) : 0;
}

/* False at the end. */
static bool
read_output (struct running *r)
{
  char piece[1024];
  ssize_t n = read (r->output_fd, piece, sizeof piece);
  size_t size = n > 0 ? (size_t) n : 0;

  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  if (r->len + size > OUTPUT_MAX)
    {
      size_t surplus = r->len + size - OUTPUT_MAX;

      memmove (r->output, r->output + surplus, r->len - surplus);
      r->len -= surplus;
    }
  memcpy (r->output + r->len, piece, size);
  r->len += size;
  return n > 0;
}

enum ending
{
  ENDED,
  TIMED_OUT,
  ABORTED
};

static enum ending
await (struct running *r, const struct rcvmi_spec_hook *hook, int abort_fd)
{
  int64_t deadline = rcvmi_clock_ms () + hook->timeout.value * 1000;
  struct pollfd p[] = { { .fd = r->pid_fd, .events = POLLIN },
                        { .fd = r->output_fd, .events = POLLIN },
                        { .fd = abort_fd, .events = 0 } };

  for (;;)
    {
      int64_t left = hook->timeout.set ? deadline - rcvmi_clock_ms () : -1;
      int n;

      if (hook->timeout.set && left <= 0)
        return TIMED_OUT;
      n = poll (p, 3, left > INT32_MAX ? INT32_MAX : (int) left);
      if (n < 0 && errno != EINTR)
        return ABORTED;
      if (n <= 0)
        continue;
      if (p[2].revents)
        return ABORTED;
      if (p[1].revents && !read_output (r))
        p[1].fd = -1;
      if (p[0].revents)
        {
          /* What is in the pipe; what it left behind may hold that open, and is not waited for. */
          for (int i = 0; i < PIPE_ROUNDS && poll (&p[1], 1, 0) > 0 && read_output (r); i++)
            ;
          return ENDED;
        }
    }
}

/* Of text that goes into messages. */
static void
last_line (struct running *r, char line[LINE_SIZE])
{
  char *start;

  while (r->len > 0 && (r->output[r->len - 1] == '\n' || r->output[r->len - 1] == '\r'))
    r->len--;
  r->output[r->len] = 0;
  start = memrchr (r->output, '\n', r->len);
  snprintf (line, LINE_SIZE, "%.*s", LINE_SIZE - 1, start ? start + 1 : r->output);
  for (char *c = line; *c; c++)
    if (*c < 0x20 || *c > 0x7e)
      *c = '?';
}

static int
run_one (const struct rcvmi_hooks *hooks, const struct rcvmi_spec_hook *hook, rcvm_error **err)
{
  struct running r = { .pid = -1, .pid_fd = -1, .output_fd = -1 };
  char line[LINE_SIZE], how[64];
  enum ending ending = ABORTED;
  int code = start (&r, hooks, hook, err), status = 0;

  if (code == 0)
    ending = await (&r, hook, hooks->abort_fd);
  if (r.pid > 0 && ending != ENDED)
    kill (-r.pid, SIGKILL);
  /* Whoever else reaps this process's children may have been faster. */
  if (r.pid > 0)
    while (waitpid (r.pid, &status, 0) < 0 && errno == EINTR)
      ;
  last_line (&r, line);
  if (code == 0 && ending == TIMED_OUT)
    code = rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "the %s hook '%s' was killed after its %" PRId64 " seconds", hooks->kind,
                       hook->path, hook->timeout.value);
  else if (code == 0 && ending == ABORTED)
    code = rcvmi_fail (err, RCVM_E_CANCELLED, 0, "the %s hook '%s' was killed", hooks->kind, hook->path);
  else if (code == 0 && status)
    {
      rcvmi_proc_describe (status, how, sizeof how);
      code = rcvmi_fail (err, RCVM_E_PROCESS, 0, "the %s hook '%s' ended with %s%s%s", hooks->kind, hook->path, how,
                         line[0] ? ": " : "", line);
    }
  cleanup_close (&r.pid_fd);
  cleanup_close (&r.output_fd);
  return code;
}

int
rcvmi_hooks_run (const struct rcvmi_hooks *hooks, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; i < hooks->n && (code == 0 || hooks->go_on); i++)
    {
      int r = run_one (hooks, &hooks->list[i], code == 0 ? err : NULL);

      if (code == 0)
        code = r;
      if (r == RCVM_E_CANCELLED)
        break;
    }
  return code;
}
