/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "proc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  FIRST_FD = 3,
  MAX_FDS = 264, /* a volume server gets one for each volume */
  MAX_ERROR_TEXT = 4096
};

static void
reset_signals (void)
{
  struct sigaction dfl = { .sa_handler = SIG_DFL };
  sigset_t none;

  for (int sig = 1; sig < NSIG; sig++)
    sigaction (sig, &dfl, NULL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
}

/* The parent may have died before prctl: its death signal would then never come. */
static void
die_with_parent (pid_t parent)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (getppid () != parent)
    _exit (125);
}

/* The same where the parent may be in another PID namespace, and so have no number here. */
static void
die_with (int parent_fd)
{
  struct pollfd p = { .fd = parent_fd, .events = POLLIN };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (poll (&p, 1, 0) != 0)
    _exit (125);
}

static int
adopt (struct rcvmi_proc *proc, pid_t pid, rcvm_error **err)
{
  int fd = pidfd_open (pid, 0);

  if (fd < 0)
    {
      int code = rcvmi_fail_errno (err, errno, "cannot watch process %d", pid);

      kill (pid, SIGKILL);
      waitpid (pid, NULL, 0);
      return code;
    }
  proc->pid = pid;
  proc->pidfd = fd;
  return 0;
}

/* In the child: moves all fds out of the way first, so that no dup2 overwrites one that is still needed. */
static int
place_fds (const struct rcvmi_proc_how *how, int *status_fd)
{
  int high[MAX_FDS + 3], null_fd;
  size_t n = how->n_fds;
  int base = FIRST_FD + (int) n + 1;

  null_fd = open ("/dev/null", O_RDWR | O_CLOEXEC);
  if (null_fd < 0)
    return -1;
  for (size_t i = 0; i < n; i++)
    if ((high[i] = fcntl (how->fds[i], F_DUPFD_CLOEXEC, base)) < 0)
      return -1;
  if ((high[n] = fcntl (how->stdout_fd >= 0 ? how->stdout_fd : null_fd, F_DUPFD_CLOEXEC, base)) < 0
      || (high[n + 1] = fcntl (how->stderr_fd >= 0 ? how->stderr_fd : null_fd, F_DUPFD_CLOEXEC, base)) < 0
      || (high[n + 2] = fcntl (*status_fd, F_DUPFD_CLOEXEC, base)) < 0)
    return -1;
  if (dup2 (null_fd, 0) < 0 || dup2 (high[n], 1) < 0 || dup2 (high[n + 1], 2) < 0)
    return -1;
  for (size_t i = 0; i < n; i++)
    if (dup2 (high[i], FIRST_FD + (int) i) < 0)
      return -1;
  if (dup3 (high[n + 2], FIRST_FD + (int) n, O_CLOEXEC) < 0)
    return -1;
  *status_fd = FIRST_FD + (int) n;
  close_range ((unsigned) *status_fd + 1, ~0U, 0);
  return 0;
}

/* What the child says when there is no program in the end. */
struct failure
{
  int errnum;
  char what[300]; /* "": execve failed */
};

static void
become (const struct rcvmi_proc_how *how, int parent_fd, int status_fd)
{
  struct failure f = { 0 };

  die_with (parent_fd);
  reset_signals ();
  setsid ();
  if (how->dir_fd < 0 || fchdir (how->dir_fd) == 0)
    {
      if (!how->prepare || how->prepare (how->user, f.what, sizeof f.what) == 0)
        {
          /* Another user has no such signal, until it asks for it. */
          die_with (parent_fd);
          if (place_fds (how, &status_fd) == 0)
            execve (how->path, how->argv, how->env ? how->env : environ);
        }
    }
  f.errnum = errno;
  if (write (status_fd, &f, sizeof f) != sizeof f)
    _exit (126);
  _exit (127);
}

/* As fork, into namespaces of its own.  The child's threads' libraries need know nothing of that: it has one. */
static pid_t
fork_into (unsigned long namespaces)
{
  return namespaces ? (pid_t) syscall (SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0) : fork ();
}

int
rcvmi_proc_spawn_as (struct rcvmi_proc *proc, const struct rcvmi_proc_how *how, rcvm_error **err)
{
  autoclose int status_read = -1, status_write = -1, self = pidfd_open (getpid (), 0);
  struct failure f;
  int status[2];
  pid_t pid;

  if (how->n_fds > MAX_FDS)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "more than %d fds for '%s'", MAX_FDS, how->path);
  if (self < 0 || pipe2 (status, O_CLOEXEC) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  status_read = status[0];
  status_write = status[1];
  pid = fork_into (how->namespaces);
  if (pid < 0)
    return rcvmi_fail_errno (err, errno, "cannot fork for '%s'%s", how->path,
                             how->namespaces ? " into namespaces of its own; --confine off does without them" : "");
  if (pid == 0)
    become (how, self, status_write);
  close (steal_fd (&status_write));
  /* Ends without data when execve closes the pipe. */
  if (read (status_read, &f, sizeof f) == sizeof f)
    {
      waitpid (pid, NULL, 0);
      if (f.what[0])
        {
          f.what[sizeof f.what - 1] = 0;
          return rcvmi_fail_at (err, "vmm", rcvmi_code_from_errno (f.errnum), f.errnum, "%s", f.what);
        }
      return rcvmi_fail_errno (err, f.errnum, "cannot execute '%s'", how->path);
    }
  return adopt (proc, pid, err);
}

int
rcvmi_proc_spawn (struct rcvmi_proc *proc, const char *path, char *const argv[], int output_fd,
                  const int *fds, size_t n_fds, rcvm_error **err)
{
  return rcvmi_proc_spawn_as (proc,
                              &(struct rcvmi_proc_how){ .path = path,
                                                        .argv = argv,
                                                        .stdout_fd = output_fd,
                                                        .stderr_fd = output_fd,
                                                        .dir_fd = -1,
                                                        .fds = fds,
                                                        .n_fds = n_fds },
                              err);
}

/* The report: code, errno and exit code, then stage and message with their NULs. */
struct report
{
  int code;
  int errnum;
  int exit_code;
  char text[MAX_ERROR_TEXT];
};

static int
report_error (int fd, const rcvm_error *e)
{
  struct report r = { .code = rcvm_error_get_code (e),
                      .errnum = rcvm_error_get_errno (e),
                      .exit_code = rcvm_error_get_exit_code (e) };
  size_t stage_len = (size_t) snprintf (r.text, 64, "%s", rcvm_error_get_stage (e)) + 1;
  size_t size;

  if (stage_len > 64)
    stage_len = 64;
  snprintf (r.text + stage_len, sizeof r.text - stage_len, "%s", rcvm_error_get_message (e));
  size = offsetof (struct report, text) + stage_len + strlen (r.text + stage_len) + 1;
  return write (fd, &r, size) == (ssize_t) size ? 0 : -1;
}

/* In the child: the report becomes FIRST_FD, the others follow it, and nothing else stays open: the monitor's lock,
   sockets and the container's streams must not live on in here. */
static int
keep_fds (int report, const int *fds, size_t n_fds)
{
  int high[MAX_FDS + 1], base = RCVMI_PROC_FORK_FD + (int) n_fds;

  for (size_t i = 0; i < n_fds; i++)
    if ((high[i] = fcntl (fds[i], F_DUPFD_CLOEXEC, base)) < 0)
      return -1;
  if ((high[n_fds] = fcntl (report, F_DUPFD_CLOEXEC, base)) < 0
      || dup3 (high[n_fds], FIRST_FD, O_CLOEXEC) < 0)
    return -1;
  for (size_t i = 0; i < n_fds; i++)
    if (dup3 (high[i], RCVMI_PROC_FORK_FD + (int) i, O_CLOEXEC) < 0)
      return -1;
  close_range ((unsigned) base, ~0U, 0);
  return 0;
}

int
rcvmi_proc_fork (struct rcvmi_proc *proc, int (*fn) (void *user, rcvm_error **err), void *user,
                 int *error_fd, rcvm_error **err)
{
  return rcvmi_proc_fork_with (proc, fn, user, NULL, 0, error_fd, err);
}

int
rcvmi_proc_fork_with (struct rcvmi_proc *proc, int (*fn) (void *user, rcvm_error **err),
                      void *user, const int *fds, size_t n_fds, int *error_fd, rcvm_error **err)
{
  int report[2], code;
  pid_t pid, parent = getpid ();

  if (n_fds > MAX_FDS)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "more than %d fds for a worker", MAX_FDS);
  if (pipe2 (report, O_CLOEXEC) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  pid = fork ();
  if (pid < 0)
    {
      code = rcvmi_fail_errno (err, errno, "cannot fork a worker");
      close (report[0]);
      close (report[1]);
      return code;
    }
  if (pid == 0)
    {
      rcvm_error *e = NULL;

      die_with_parent (parent);
      reset_signals ();
      if (keep_fds (report[1], fds, n_fds) < 0)
        _exit (125);
      if (fn (user, &e) == 0)
        _exit (0);
      _exit (report_error (FIRST_FD, e) == 0 ? 1 : 125);
    }
  close (report[1]);
  code = adopt (proc, pid, err);
  if (code < 0)
    close (report[0]);
  else
    *error_fd = report[0];
  return code;
}

int
rcvmi_proc_read_error (int error_fd, int wait_status, const char *what, rcvm_error **err)
{
  autoclose int fd = error_fd;
  struct report r;
  char how[64];
  ssize_t n;

  if (WIFEXITED (wait_status) && WEXITSTATUS (wait_status) == 0)
    return 0;
  n = read (fd, &r, sizeof r - 1);
  if (n > (ssize_t) offsetof (struct report, text))
    {
      size_t len = (size_t) n - offsetof (struct report, text), stage_len;

      r.text[len] = 0;
      stage_len = strlen (r.text);
      /* A worker that failed has failed, whatever its report says. */
      if (stage_len < len && r.code < 0)
        return rcvmi_error_restore (err, r.code, r.errnum, r.exit_code, r.text,
                                    r.text + stage_len + 1);
    }
  rcvmi_proc_describe (wait_status, how, sizeof how);
  return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "%s ended with %s", what, how);
}

int
rcvmi_proc_reap (struct rcvmi_proc *proc)
{
  int status = 0;

  if (proc->pid <= 0)
    return 0;
  while (waitpid (proc->pid, &status, 0) < 0 && errno == EINTR)
    ;
  close (proc->pidfd);
  *proc = RCVMI_PROC_INIT;
  return status;
}

int
rcvmi_proc_stop (const struct rcvmi_proc *proc)
{
  siginfo_t info = { 0 };
  int r;

  if (pidfd_send_signal (proc->pidfd, SIGSTOP, NULL, 0) < 0)
    return -1;
  do
    r = waitid (P_PIDFD, (id_t) proc->pidfd, &info, WSTOPPED | WEXITED | WNOWAIT);
  while (r < 0 && errno == EINTR);
  if (r == 0 && info.si_code != CLD_STOPPED)
    {
      errno = ESRCH;
      return -1;
    }
  return r;
}

int
rcvmi_proc_continue (const struct rcvmi_proc *proc)
{
  return pidfd_send_signal (proc->pidfd, SIGCONT, NULL, 0);
}

void
rcvmi_proc_kill (struct rcvmi_proc *proc)
{
  if (proc->pid <= 0)
    return;
  kill (proc->pid, SIGKILL);
  rcvmi_proc_reap (proc);
}

void
rcvmi_proc_describe (int wait_status, char *buf, size_t size)
{
  if (WIFSIGNALED (wait_status))
    snprintf (buf, size, "signal %d (%s)", WTERMSIG (wait_status),
              sigdescr_np (WTERMSIG (wait_status)) ? sigdescr_np (WTERMSIG (wait_status)) : "?");
  else
    snprintf (buf, size, "exit code %d", WEXITSTATUS (wait_status));
}

/* From this field of /proc/PID/stat on; NULL if it cannot be read. */
static const char *
read_stat (pid_t pid, int wanted, char *buf, size_t size)
{
  char path[64];
  autoclose int fd = -1;
  ssize_t n;
  char *p;

  snprintf (path, sizeof path, "/proc/%d/stat", pid);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || (n = read (fd, buf, size - 1)) <= 0)
    return NULL;
  buf[n] = 0;
  /* The second field, in parentheses, may hold anything. */
  p = strrchr (buf, ')');
  for (int field = 2; p && field < wanted; field++)
    p = strchr (p + 1, ' ');
  return p;
}

unsigned long long
rcvmi_proc_start_time (pid_t pid)
{
  char buf[1024];
  const char *p = read_stat (pid, 22, buf, sizeof buf);

  return p ? strtoull (p, NULL, 10) : 0;
}

int64_t
rcvmi_proc_cpu_ms (pid_t pid)
{
  char buf[1024];
  const char *p = read_stat (pid, 14, buf, sizeof buf);
  unsigned long long user, system;

  if (!p || sscanf (p, "%llu %llu", &user, &system) != 2)
    return -1;
  return (int64_t) ((user + system) * 1000 / (unsigned long long) sysconf (_SC_CLK_TCK));
}

void
rcvmi_proc_kill_stranger (pid_t pid, unsigned long long start_time)
{
  autoclose int fd = -1;
  struct pollfd p;

  if (pid <= 0 || start_time == 0)
    return;
  fd = pidfd_open (pid, 0);
  if (fd < 0 || rcvmi_proc_start_time (pid) != start_time)
    return;
  pidfd_send_signal (fd, SIGKILL, NULL, 0);
  p = (struct pollfd){ .fd = fd, .events = POLLIN };
  while (poll (&p, 1, -1) < 0 && errno == EINTR)
    ;
}
