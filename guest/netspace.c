/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "netspace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel.h"
#include "log.h"

static int own = -1, container = -1;

int
netspace_begin (int container_fd)
{
  container = container_fd;
  own = open ("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  return own < 0 ? -1 : 0;
}

int
netspace_container (void)
{
  return container;
}

int
netspace_own (void)
{
  return own;
}

int
netspace_enter (void)
{
  if (container < 0)
    {
      errno = ESRCH;
      return -1;
    }
  return k_setns (container, K_CLONE_NEWNET);
}

void
netspace_leave (void)
{
  int saved = errno;

  if (k_setns (own, K_CLONE_NEWNET) < 0)
    fatal ("cannot return to the network namespace: %s", strerror (errno));
  errno = saved;
}

int
netspace_socket (int domain, int type, int protocol)
{
  int fd;

  if (netspace_enter () < 0)
    return -1;
  fd = socket (domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  netspace_leave ();
  return fd;
}
