/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The children that the tests start are this program again: see play_child. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "proc.h"

static char self[4096];

enum
{
  ECHO_FD = 3
};

/* What the child has open, one a line: "0 device:inode". */
static int
list_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  struct dirent *e;

  while ((e = readdir (dir)))
    {
      int fd = atoi (e->d_name);
      struct stat st;

      if (e->d_name[0] != '.' && fd != dirfd (dir) && fstat (fd, &st) == 0)
        dprintf (1, "%d %lx:%lx\n", fd, (unsigned long) st.st_dev, (unsigned long) st.st_ino);
    }
  closedir (dir);
  return 0;
}

static int
echo (void)
{
  char c;

  while (read (ECHO_FD, &c, 1) == 1)
    if (write (ECHO_FD, &c, 1) != 1)
      return 1;
  return 0;
}

static int
show_signals (void)
{
  struct sigaction action;
  sigset_t mask;
  int pdeath = 0;

  sigprocmask (SIG_BLOCK, NULL, &mask);
  sigaction (SIGUSR1, NULL, &action);
  prctl (PR_GET_PDEATHSIG, &pdeath);
  dprintf (1, "blocked %d ignored %d session %d death %d\n", sigismember (&mask, SIGUSR2),
           action.sa_handler == SIG_IGN, getsid (0) == getpid (), pdeath);
  return 0;
}

static int
play_child (const char *what)
{
  if (strcmp (what, "fds") == 0)
    return list_fds ();
  if (strcmp (what, "echo") == 0)
    return echo ();
  if (strcmp (what, "signals") == 0)
    return show_signals ();
  if (strcmp (what, "talk") == 0)
    return dprintf (1, "out,") == 4 && dprintf (2, "err") == 3 ? 3 : 1;
  return 2;
}

static int
spawn (struct rcvmi_proc *proc, const char *what, int output_fd, const int *fds, size_t n, rcvm_error **err)
{
  char *argv[] = { (char *) "child", (char *) (uintptr_t) what, NULL };

  *proc = RCVMI_PROC_INIT;
  return rcvmi_proc_spawn (proc, self, argv, output_fd, fds, n, err);
}

/* All that comes out of the pipe until its end. */
static void
read_all (int fd, char *buf, size_t size)
{
  size_t len = 0;
  ssize_t n;

  for (;;)
    {
      await (fd, POLLIN);
      n = read (fd, buf + len, size - 1 - len);
      assert_true (n >= 0);
      if (n == 0)
        break;
      len += (size_t) n;
    }
  buf[len] = 0;
}

static void
run_child (const char *what, const int *fds, size_t n, int wanted_status, char *output, size_t size)
{
  struct rcvmi_proc proc;
  rcvm_error *e = NULL;
  int out[2];

  assert_int_equal (pipe2 (out, O_CLOEXEC), 0);
  check_ok (spawn (&proc, what, out[1], fds, n, &e), e);
  close (out[1]);
  read_all (out[0], output, size);
  close (out[0]);
  await (proc.pidfd, POLLIN);
  assert_int_equal (rcvmi_proc_reap (&proc), wanted_status);
  assert_int_equal (proc.pid, -1);
  assert_int_equal (proc.pidfd, -1);
}

TEST (test_output_and_exit)
{
  char output[256];

  run_child ("talk", NULL, 0, 3 << 8, output, sizeof output);
  assert_string_equal (output, "out,err");
}

TEST (test_signals_and_session)
{
  char output[256];
  sigset_t set, old;

  sigemptyset (&set);
  sigaddset (&set, SIGUSR2);
  sigprocmask (SIG_BLOCK, &set, &old);
  signal (SIGUSR1, SIG_IGN);
  run_child ("signals", NULL, 0, 0, output, sizeof output);
  signal (SIGUSR1, SIG_DFL);
  sigprocmask (SIG_SETMASK, &old, NULL);
  assert_string_equal (output, "blocked 0 ignored 0 session 1 death 9\n");
}

static void
describe (char *at, int child_fd, int fd)
{
  struct stat st;

  assert_int_equal (fstat (fd, &st), 0);
  sprintf (at, "%d %lx:%lx\n", child_fd, (unsigned long) st.st_dev, (unsigned long) st.st_ino);
}

/* The child has 0, 1, 2 and what it was given, in the order given, and nothing else. */
static void
check_placement (const int *fds, size_t n)
{
  char output[8192], line[128];
  int null_fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  const char *p;

  run_child ("fds", fds, n, 0, output, sizeof output);
  describe (line, 0, null_fd);
  assert_non_null (strstr (output, line));
  for (size_t i = 0; i < n; i++)
    {
      describe (line, 3 + (int) i, fds[i]);
      assert_non_null (strstr (output, line));
    }
  for (p = output; *p; p += strcspn (p, "\n") + 1)
    assert_in_range (atoi (p), 0, 2 + n);
  close (null_fd);
}

/* Fds whose numbers are those that the child's fds get, in all orders. */
TEST (test_fd_placement)
{
  enum
  {
    N = 4
  };
  int fds[N][2], count = 0;

  for (int i = 0; i < N; i++)
    assert_int_equal (pipe2 (fds[i], O_CLOEXEC), 0);
  for (int order = 0; order < N * N * N * N; order++)
    {
      int chosen[N] = { order % N, order / N % N, order / N / N % N, order / N / N / N };
      bool used[N] = { false }, permutation = true;

      for (int i = 0; i < N; i++)
        {
          permutation = permutation && !used[chosen[i]];
          used[chosen[i]] = true;
        }
      if (!permutation)
        continue;
      for (int i = 0; i < N; i++)
        chosen[i] = fds[chosen[i]][i % 2];
      check_placement (chosen, N);
      count++;
    }
  assert_int_equal (count, 24);
  /* One twice, high ones, none. */
  check_placement ((int[]){ fds[2][0], fds[2][0], fds[0][0] }, 3);
  check_placement (NULL, 0);
  check_placement ((int[]){ fds[N - 1][1] }, 1);
  for (int i = 0; i < N; i++)
    {
      close (fds[i][0]);
      close (fds[i][1]);
    }
}

/* A monitor whose own standard fds are closed, or hold something else. */
TEST (test_closed_standard_fds)
{
  int saved[3], fds[2];

  assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
  for (int i = 0; i < 3; i++)
    {
      saved[i] = fcntl (i, F_DUPFD_CLOEXEC, 10);
      close (i);
    }
  check_placement ((int[]){ fds[1], fds[0] }, 2);
  assert_int_equal (dup2 (fds[0], 0), 0);
  assert_int_equal (dup2 (fds[1], 2), 2);
  check_placement ((int[]){ 2, 0 }, 2);
  for (int i = 0; i < 3; i++)
    {
      dup2 (saved[i], i);
      close (saved[i]);
    }
  close (fds[0]);
  close (fds[1]);
}

TEST (test_fd_without_cloexec)
{
  int fds[2];

  /* What another part of a process forgot to mark does not reach the child either. */
  assert_int_equal (pipe (fds), 0);
  check_placement (NULL, 0);
  close (fds[0]);
  close (fds[1]);
}

TEST (test_output_null)
{
  struct rcvmi_proc proc;
  rcvm_error *e = NULL;

  check_ok (spawn (&proc, "talk", -1, NULL, 0, &e), e);
  assert_int_equal (rcvmi_proc_reap (&proc), 3 << 8);
}

TEST (test_exec_failure)
{
  char *argv[] = { (char *) "x", NULL };
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  int before = count_fds ();
  rcvm_error *e = NULL;

  assert_int_equal (rcvmi_proc_spawn (&proc, "/does/not/exist", argv, -1, NULL, 0, &e), RCVM_E_NOT_FOUND);
  assert_int_equal (rcvm_error_get_errno (e), ENOENT);
  check_error (&e, RCVM_E_NOT_FOUND, "monitor", "/does/not/exist");
  assert_int_equal (rcvmi_proc_spawn (&proc, "/etc/passwd", argv, -1, NULL, 0, &e), RCVM_E_PERMISSION);
  check_error (&e, RCVM_E_PERMISSION, "monitor", "/etc/passwd");
  /* A given fd that is not open. */
  assert_int_equal (rcvmi_proc_spawn (&proc, self, argv, -1, (int[]){ 9999 }, 1, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "monitor", NULL);
  assert_int_equal (rcvmi_proc_spawn (&proc, self, argv, -1, NULL, 1000, &e), RCVM_E_INVALID);
  check_error (&e, RCVM_E_INVALID, "monitor", NULL);
  assert_int_equal (proc.pid, -1);
  assert_int_equal (count_fds (), before);
  assert_int_equal (waitpid (-1, NULL, WNOHANG), -1);
  assert_int_equal (errno, ECHILD);
}

static int
start_echo (struct rcvmi_proc *proc)
{
  rcvm_error *e = NULL;
  int pair[2];
  char c = 'a';

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  check_ok (spawn (proc, "echo", -1, &pair[1], 1, &e), e);
  close (pair[1]);
  write_full (pair[0], &c, 1);
  read_full (pair[0], &c, 1);
  return pair[0];
}

TEST (test_kill)
{
  struct rcvmi_proc proc;
  int fd = start_echo (&proc), pidfd = proc.pidfd;

  assert_false (is_ready (pidfd, POLLIN));
  rcvmi_proc_kill (&proc);
  assert_int_equal (proc.pid, -1);
  assert_int_equal (fcntl (pidfd, F_GETFD), -1);
  await (fd, POLLIN | POLLHUP);
  rcvmi_proc_kill (&proc);
  close (fd);
}

TEST (test_stop)
{
  struct rcvmi_proc proc;
  int fd = start_echo (&proc);

  assert_int_equal (rcvmi_proc_stop (&proc), 0);
  assert_int_equal (process_state (proc.pid), 'T');
  assert_int_equal (rcvmi_proc_continue (&proc), 0);
  assert_int_not_equal (process_state (proc.pid), 'T');
  kill (proc.pid, SIGKILL);
  assert_int_equal (rcvmi_proc_stop (&proc), -1);
  assert_int_equal (errno, ESRCH);
  assert_true (WIFSIGNALED (rcvmi_proc_reap (&proc)));
  close (fd);
}

TEST (test_dies_with_parent)
{
  int pair[2], go[2];
  pid_t middle;
  char c = 'x';

  assert_int_equal (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  assert_int_equal (pipe2 (go, O_CLOEXEC), 0);
  middle = fork ();
  if (middle == 0)
    {
      struct rcvmi_proc proc;

      close (pair[0]);
      close (go[1]);
      if (spawn (&proc, "echo", -1, &pair[1], 1, NULL) < 0)
        _exit (1);
      _exit (read (go[0], &c, 1) == 0 ? 0 : 2);
    }
  close (pair[1]);
  close (go[0]);
  /* The child lives... */
  write_full (pair[0], &c, 1);
  read_full (pair[0], &c, 1);
  /* ... until its parent has gone: then the last holder of the other end is gone too. */
  close (go[1]);
  assert_int_equal (waitpid (middle, &(int){ 0 }, 0), middle);
  await (pair[0], POLLIN | POLLHUP);
  assert_int_equal (read (pair[0], &c, 1), 0);
  close (pair[0]);
}

TEST (test_start_time)
{
  assert_true (rcvmi_proc_start_time (getpid ()) > 0);
  assert_true (rcvmi_proc_start_time (-1) == 0);
  /* A name with parentheses and blanks does not confuse it. */
  {
    unsigned long long before = rcvmi_proc_start_time (getpid ());
    char name[16];

    prctl (PR_GET_NAME, name);
    prctl (PR_SET_NAME, "a) R 1 (2 ) 3");
    assert_true (rcvmi_proc_start_time (getpid ()) == before);
    prctl (PR_SET_NAME, name);
  }
}

TEST (test_cpu_time)
{
  int64_t before = rcvmi_proc_cpu_ms (getpid ()), now = before;

  assert_true (before >= 0);
  assert_true (rcvmi_proc_cpu_ms (-1) == -1);
  /* It comes with work, whatever else the machine does. */
  while (now < before + 50)
    now = rcvmi_proc_cpu_ms (getpid ());
}

TEST (test_kill_stranger)
{
  struct rcvmi_proc proc;
  int fd = start_echo (&proc);
  unsigned long long start = rcvmi_proc_start_time (proc.pid);
  char c = 'x';

  rcvmi_proc_kill_stranger (proc.pid, start + 1);
  rcvmi_proc_kill_stranger (proc.pid, 0);
  rcvmi_proc_kill_stranger (-1, start);
  rcvmi_proc_kill_stranger (0, start);
  write_full (fd, &c, 1);
  read_full (fd, &c, 1);
  assert_false (is_ready (proc.pidfd, POLLIN));
  rcvmi_proc_kill_stranger (proc.pid, start);
  assert_true (is_ready (proc.pidfd, POLLIN));
  assert_int_equal (rcvmi_proc_reap (&proc), SIGKILL);
  close (fd);
}

/* Workers. */

static int
succeed (void *user, rcvm_error **err)
{
  (void) user;
  (void) err;
  return 0;
}

static int
fail_well (void *user, rcvm_error **err)
{
  rcvmi_fail (err, RCVM_E_NO_SPACE, ENOSPC, "cannot write '%s'", (const char *) user);
  rcvmi_error_set_exit_code (*err, 33);
  return RCVM_E_NO_SPACE;
}

static int
fail_silently (void *user, rcvm_error **err)
{
  (void) user;
  (void) err;
  return RCVM_E_SYSTEM;
}

static int
fail_at_length (void *user, rcvm_error **err)
{
  static char text[20000];

  (void) user;
  memset (text, 'y', sizeof text - 1);
  return rcvmi_error_restore (err, RCVM_E_IMAGE, 0, 125, "rootfs", text);
}

static int
crash (void *user, rcvm_error **err)
{
  (void) user;
  (void) err;
  kill (getpid (), SIGKILL);
  return 0;
}

static int
count_own_fds (void *user, rcvm_error **err)
{
  int n = count_fds ();

  (void) user;
  /* 0, 1, 2 and the one for the error. */
  return n == 4 ? 0 : rcvmi_fail (err, RCVM_E_STATE, 0, "%d fds are open", n);
}

static int
run_worker (int (*fn) (void *, rcvm_error **), void *user, rcvm_error **err)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  int before = count_fds (), error_fd = -1, code;

  code = rcvmi_proc_fork (&proc, fn, user, &error_fd, err);
  assert_int_equal (code, 0);
  await (proc.pidfd, POLLIN);
  code = rcvmi_proc_read_error (error_fd, rcvmi_proc_reap (&proc), "the worker", err);
  assert_int_equal (count_fds (), before);
  return code;
}

TEST (test_fork)
{
  int spare[2];
  rcvm_error *e = NULL;

  check_ok (run_worker (succeed, NULL, &e), e);
  assert_int_equal (run_worker (fail_well, (void *) "/x", &e), RCVM_E_NO_SPACE);
  assert_int_equal (rcvm_error_get_errno (e), ENOSPC);
  assert_int_equal (rcvm_error_get_exit_code (e), 33);
  check_error (&e, RCVM_E_NO_SPACE, "rootfs", "cannot write '/x'");
  assert_int_equal (run_worker (fail_at_length, NULL, &e), RCVM_E_IMAGE);
  assert_in_range (strlen (rcvm_error_get_message (e)), 1000, 20000);
  check_error (&e, RCVM_E_IMAGE, "rootfs", "yyy");
  assert_int_equal (run_worker (crash, NULL, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "monitor", "the worker ended with signal 9 (Killed)");
  assert_int_equal (pipe (spare), 0);
  check_ok (run_worker (count_own_fds, NULL, &e), e);
  close (spare[0]);
  close (spare[1]);
}

/* A worker that fails without a word has still failed. */
TEST (test_fork_without_error)
{
  rcvm_error *e = NULL;

  assert_int_equal (run_worker (fail_silently, NULL, &e), RCVM_E_SYSTEM);
  check_error (&e, RCVM_E_SYSTEM, "monitor", "the worker ended with exit code 1");
}

/* A report that makes no sense is not believed. */
TEST (test_hostile_report)
{
  static const struct
  {
    int numbers[3];
    char text[8];
    size_t len;
  } reports[] = {
    { { 0, 0, 0 }, "a\0b", 16 },        { { 5, 0, 0 }, "a\0b", 16 }, { { -3, 0, 0 }, "abcdefg", 19 },
    { { -3, 0, 0 }, "", 12 },           { { -3, 0, 0 }, "", 4 },     { { 0, 0, 0 }, "", 0 },
  };

  for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++)
    {
      rcvm_error *e = NULL;
      int fds[2];

      assert_int_equal (pipe2 (fds, O_CLOEXEC), 0);
      write_full (fds[1], &reports[i], reports[i].len);
      close (fds[1]);
      assert_int_equal (rcvmi_proc_read_error (fds[0], 1 << 8, "it", &e), RCVM_E_SYSTEM);
      check_error (&e, RCVM_E_SYSTEM, "monitor", "it ended with exit code 1");
    }
}

TEST (test_describe)
{
  char buf[64];

  rcvmi_proc_describe (7 << 8, buf, sizeof buf);
  assert_string_equal (buf, "exit code 7");
  rcvmi_proc_describe (SIGSEGV, buf, sizeof buf);
  assert_string_equal (buf, "signal 11 (Segmentation fault)");
  rcvmi_proc_describe (SIGSEGV, buf, 5);
  assert_string_equal (buf, "sign");
}

int
main (int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test (test_output_and_exit),
    cmocka_unit_test (test_signals_and_session),
    cmocka_unit_test (test_fd_placement),
    cmocka_unit_test (test_closed_standard_fds),
    cmocka_unit_test (test_fd_without_cloexec),
    cmocka_unit_test (test_output_null),
    cmocka_unit_test (test_exec_failure),
    cmocka_unit_test (test_kill),
    cmocka_unit_test (test_stop),
    cmocka_unit_test (test_dies_with_parent),
    cmocka_unit_test (test_start_time),
    cmocka_unit_test (test_cpu_time),
    cmocka_unit_test (test_kill_stranger),
    cmocka_unit_test (test_fork),
    cmocka_unit_test (test_fork_without_error),
    cmocka_unit_test (test_hostile_report),
    cmocka_unit_test (test_describe),
  };

  if (argc > 1)
    return play_child (argv[1]);
  if (readlink ("/proc/self/exe", self, sizeof self - 1) < 0)
    return 1;
  return cmocka_run_group_tests (tests, NULL, NULL);
}
