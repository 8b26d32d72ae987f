/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "uevent.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/netlink.h>

#include "cleanup.h"

static int64_t
now_ms (void)
{
  struct timespec t;

  clock_gettime (CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int
uevent_wait (bool (*there) (void *data), void *data, int timeout_ms)
{
  struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
  int64_t deadline = now_ms () + timeout_ms;
  autoclose int fd = -1;

  if (there (data))
    return 0;
  /* The socket comes before the second look, so that no event falls between look and wait. */
  fd = socket (AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
  if (fd < 0 || bind (fd, (struct sockaddr *) &address, sizeof address) < 0)
    return -1;
  while (!there (data))
    {
      struct pollfd p = { .fd = fd, .events = POLLIN };
      int64_t left = deadline - now_ms ();
      char event[4096];

      if (left <= 0)
        {
          errno = ETIMEDOUT;
          return -1;
        }
      if (poll (&p, 1, (int) left) < 0 && errno != EINTR)
        return -1;
      /* What they say does not matter; ENOBUFS (events were lost) is as good as an event. */
      while (recv (fd, event, sizeof event, 0) > 0)
        ;
    }
  return 0;
}
