/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user's terminal: raw while a container has it, and as it was afterwards, whatever happens. */
#include "cli.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static int raw_fd = -1;

void
terminal_restore (void)
{
  if (raw_fd >= 0)
    tcsetattr (raw_fd, TCSADRAIN, &saved);
  raw_fd = -1;
}

/* For what kills the tool itself; the signals that are passed on never come here. */
static void
on_fatal (int signum)
{
  if (raw_fd >= 0)
    tcsetattr (raw_fd, TCSANOW, &saved);
  raise (signum); /* SA_RESETHAND: this time it kills */
}

void
terminal_set_raw (int fd)
{
  static const int fatal[] = { SIGSEGV, SIGBUS,  SIGILL,  SIGFPE, SIGABRT,
                               SIGSYS,  SIGTRAP, SIGXCPU, SIGXFSZ };
  struct sigaction action = { .sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER };
  struct termios raw;

  if (raw_fd >= 0 || tcgetattr (fd, &saved) < 0)
    return;
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
    sigaction (fatal[i], &action, NULL);
  raw = saved;
  cfmakeraw (&raw);
  raw_fd = fd;
  atexit (terminal_restore);
  tcsetattr (fd, TCSADRAIN, &raw);
}

int
terminal_size (unsigned *rows, unsigned *cols)
{
  struct winsize size;

  for (int fd = 0; fd < 3; fd++)
    if (ioctl (fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
      {
        *rows = size.ws_row;
        *cols = size.ws_col;
        return 0;
      }
  return -1;
}

const char *
terminal_newline (void)
{
  return raw_fd >= 0 && isatty (STDERR_FILENO) ? "\r\n" : "\n";
}
