/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "process"
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

int
rcvmi_console_take (int fd, rcvm_error **err)
{
  autoclose int copy = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  struct termios mode;

  if (copy < 0 || tcgetattr (copy, &mode) < 0)
    return rcvmi_fail_errno (err, errno, "what was given as the process's terminal is none");
  cfmakeraw (&mode);
  if (tcsetattr (copy, TCSANOW, &mode) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the process's terminal raw");
  if (ioctl (copy, TIOCSCTTY, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot follow the size of the process's terminal: "
                                         "give it one that no other session has");
  return steal_fd (&copy);
}

bool
rcvmi_console_size (int fd, unsigned *rows, unsigned *cols)
{
  struct winsize size;

  if (fd < 0 || ioctl (fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
    return false;
  *rows = size.ws_row;
  *cols = size.ws_col;
  return true;
}
