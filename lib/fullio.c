/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "fullio.h"

#include <errno.h>
#include <unistd.h>

int
rcvmi_pread_all (int fd, void *buf, size_t len, uint64_t at)
{
  for (size_t done = 0; done < len;)
    {
      ssize_t n = pread (fd, (char *) buf + done, len - done, (off_t) (at + done));

      if (n < 0 && errno == EINTR)
        continue;
      if (n == 0)
        errno = EIO;
      if (n <= 0)
        return -1;
      done += (size_t) n;
    }
  return 0;
}

int
rcvmi_pwrite_all (int fd, const void *buf, size_t len, uint64_t at)
{
  for (size_t done = 0; done < len;)
    {
      ssize_t n = pwrite (fd, (const char *) buf + done, len - done, (off_t) (at + done));

      if (n < 0 && errno == EINTR)
        continue;
      if (n == 0)
        errno = EIO;
      if (n <= 0)
        return -1;
      done += (size_t) n;
    }
  return 0;
}
