/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "userfd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void
rcvmi_userfd_open (struct rcvmi_userfd *s, int fd, bool for_writing)
{
  char path[64];
  struct stat st;
  int own;

  *s = RCVMI_USERFD_INIT;
  if (fd < 0)
    return;
  s->fd = fd;
  if (fstat (fd, &st) < 0)
    s->kind = RCVMI_USERFD_CAREFUL;
  else if (S_ISREG (st.st_mode) || S_ISBLK (st.st_mode) || S_ISDIR (st.st_mode))
    s->kind = RCVMI_USERFD_FILE;
  else if (S_ISSOCK (st.st_mode))
    s->kind = RCVMI_USERFD_SOCKET;
  else
    {
      snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
      own = open (path, (for_writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
      if (own < 0)
        s->kind = RCVMI_USERFD_CAREFUL;
      else
        {
          close (fd);
          s->fd = own;
          s->kind = RCVMI_USERFD_OWN;
        }
    }
}

void
rcvmi_userfd_close (struct rcvmi_userfd *s)
{
  if (s->fd >= 0)
    close (s->fd);
  *s = RCVMI_USERFD_INIT;
}

static bool
ready (const struct rcvmi_userfd *s, short events)
{
  struct pollfd p = { .fd = s->fd, .events = events };

  if (s->kind != RCVMI_USERFD_CAREFUL || poll (&p, 1, 0) > 0)
    return true;
  errno = EAGAIN;
  return false;
}

ssize_t
rcvmi_userfd_read (struct rcvmi_userfd *s, void *buf, size_t size)
{
  if (s->kind == RCVMI_USERFD_NONE)
    return 0;
  if (!ready (s, POLLIN))
    return -1;
  if (s->kind == RCVMI_USERFD_SOCKET)
    return recv (s->fd, buf, size, MSG_DONTWAIT);
  return read (s->fd, buf, size);
}

ssize_t
rcvmi_userfd_write (struct rcvmi_userfd *s, const void *buf, size_t size)
{
  if (s->kind == RCVMI_USERFD_NONE)
    return (ssize_t) size;
  if (!ready (s, POLLOUT))
    return -1;
  if (s->kind == RCVMI_USERFD_SOCKET)
    return send (s->fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  /* A pipe that polls writable takes PIPE_BUF bytes without blocking. */
  return write (s->fd, buf, s->kind == RCVMI_USERFD_CAREFUL && size > PIPE_BUF ? PIPE_BUF : size);
}
