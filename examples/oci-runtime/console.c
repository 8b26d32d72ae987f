/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --console-socket: the master of a new pseudo-terminal goes to whoever listens, as runc's users expect it. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static int
connect_to (const char *path)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd;

  if (strlen (path) >= sizeof address.sun_path)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  memcpy (address.sun_path, path, strlen (path));
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect (fd, (struct sockaddr *) &address, sizeof address) < 0)
    {
      int e = errno;

      close (fd);
      errno = e;
      fd = -1;
    }
  return fd;
}

static int
send_fd (int to, int fd)
{
  /* Whoever receives it wants a name with it. */
  static char name[] = "/dev/ptmx";
  struct iovec data = { name, sizeof name - 1 };
  union
  {
    struct cmsghdr header;
    char bytes[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct msghdr message
      = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  struct cmsghdr *c = CMSG_FIRSTHDR (&message);

  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN (sizeof fd);
  memcpy (CMSG_DATA (c), &fd, sizeof fd);
  return sendmsg (to, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int
console_open (const char *path, unsigned rows, unsigned cols)
{
  int master = posix_openpt (O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1, to = -1, e;
  struct termios raw;
  const struct winsize size = { .ws_row = (unsigned short) rows, .ws_col = (unsigned short) cols };

  if (master < 0 || unlockpt (master) < 0
      || (slave = ioctl (master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0
      || ioctl (master, TIOCSWINSZ, &size) < 0 || tcgetattr (slave, &raw) < 0
      /* The guest's terminal does what a terminal does. */
      || (cfmakeraw (&raw), tcsetattr (slave, TCSANOW, &raw)) < 0)
    complain ("cli", "cannot make a pseudo-terminal: %s", strerror (errno));
  else if ((to = connect_to (path)) < 0)
    complain ("cli", "nobody can be reached at the console socket '%s': %s", path, strerror (errno));
  else if (send_fd (to, master) < 0)
    complain ("cli", "cannot pass the terminal to the console socket '%s': %s", path, strerror (errno));
  else
    {
      close (to);
      close (master);
      return slave;
    }
  e = errno;
  if (to >= 0)
    close (to);
  if (slave >= 0)
    close (slave);
  if (master >= 0)
    close (master);
  errno = e;
  return -1;
}

void
console_size (const char *process, unsigned *rows, unsigned *cols)
{
  static const char *const height[] = { "consoleSize", "height", NULL }, *const width[] = { "consoleSize", "width", NULL };
  char *h = process ? json_get (process, height) : NULL, *w = process ? json_get (process, width) : NULL;

  *rows = h ? (unsigned) strtoul (h, NULL, 10) & 0xffff : 0;
  *cols = w ? (unsigned) strtoul (w, NULL, 10) & 0xffff : 0;
  free (h);
  free (w);
}

int
no_preserved_fds (const struct command *command, const char *preserve_fds)
{
  char *end;

  if (!preserve_fds || (strtoul (preserve_fds, &end, 10) == 0 && *preserve_fds && !*end))
    return 0;
  usage_error (command, "--preserve-fds %s: open files cannot be passed into a VM", preserve_fds);
  return -1;
}
