/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whoever runs a further process as an OCI runtime's caller does wants a PID on the host for it: to signal it, and to take
 * its exit code.  That is a child of this command, which stays until the process ends: its caller is a subreaper, or init.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum
{
  FAILED = 125,
  KILLED = 128 + SIGKILL
};

/* With a terminal, SIGWINCH says that its size has changed, and SIGHUP that nobody has it any more. */
static int
start (rcvm_process *p, int console)
{
  rcvm_error *err = NULL;
  struct winsize size;

  if (rcvm_process_set_tied (p, 1, &err) < 0)
    return fail_with (err, 0);
  if (console >= 0)
    {
      if (ioctl (console, TIOCSCTTY, 0) < 0 || ioctl (console, TIOCGWINSZ, &size) < 0)
        {
          complain ("cli", "cannot follow the size of the terminal: %s", strerror (errno));
          return FAILED;
        }
      if (rcvm_process_set_stdio (p, console, console, -1, &err) < 0
          || (size.ws_row && size.ws_col && rcvm_process_resize (p, size.ws_row, size.ws_col, &err) < 0))
        return fail_with (err, 0);
    }
  return rcvm_process_start (p, &err) < 0 ? fail_with (err, 0) : 0;
}

/* Whoever reads the streams waits for their end. */
static void
close_streams (int console)
{
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);

  for (int fd = 0; fd < 3; fd++)
    if (dup2 (fd == 0 && console >= 0 ? console : null, fd) < 0)
      close (fd);
  if (null > 2)
    close (null);
  if (console > 2)
    close (console);
}

/* Waits for the word to begin, starts the process, says how that went, and stays. */
static int
shepherd (rcvm_process *p, int sync_fd, int console)
{
  const struct target target = target_of_process (p);
  rcvm_error *err = NULL;
  int signal_fd = foreground_open (), code;
  unsigned char byte;

  setsid ();
  if (signal_fd < 0 || read (sync_fd, &byte, 1) != 1)
    return FAILED;
  byte = (unsigned char) start (p, console);
  close_streams (console);
  if (write (sync_fd, &byte, 1) != 1 || byte)
    return byte;
  close (sync_fd);
  /* The caller's directory is its own.  A signal that came since foreground_open is not lost. */
  if (chdir ("/") < 0)
    complain ("cli", "cannot leave the working directory: %s", strerror (errno));
  code = foreground_wait (&target, signal_fd, &err);
  if (code >= 0)
    return code;
  /* The container ended, and took it along. */
  fail_with (err, 0);
  return KILLED;
}

static int
begin (pid_t pid, int sync_fd, const char *pid_file)
{
  unsigned char byte = 0;

  if (pid_file && write_pid_file (pid_file, pid) < 0)
    {
      complain ("cli", "cannot write the PID file '%s': %s", pid_file, strerror (errno));
      return FAILED;
    }
  if (write (sync_fd, &byte, 1) == 1 && read (sync_fd, &byte, 1) == 1)
    {
      if (byte && pid_file)
        unlink (pid_file);
      return byte;
    }
  if (pid_file)
    unlink (pid_file);
  complain ("cli", "the process that was to stand for the exec died");
  return FAILED;
}

int
shepherd_process (rcvm_process *p, const char *pid_file, int console)
{
  int pair[2], code;
  pid_t pid;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork ()) < 0)
    {
      complain ("cli", "cannot start a process for the PID file: %s", strerror (errno));
      return FAILED;
    }
  if (pid == 0)
    {
      close (pair[0]);
      code = shepherd (p, pair[1], console);
      rcvm_process_free (p);
      messages_close ();
      _exit (code);
    }
  close (pair[1]);
  signal (SIGPIPE, SIG_IGN);
  code = begin (pid, pair[0], pid_file);
  close (pair[0]);
  if (code)
    waitpid (pid, NULL, 0);
  return code;
}

void
shepherd_close_leaked (void)
{
  int log = messages_fd ();

  if (log > 3)
    close_range (3, (unsigned) log - 1, 0);
  close_range (log >= 3 ? (unsigned) log + 1 : 3, ~0U, 0);
}
