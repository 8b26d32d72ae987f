/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

char *
read_file (const char *path)
{
  char *text = NULL;
  size_t size = 0;
  ssize_t n;
  FILE *f = fopen (path, "re");

  if (!f)
    return NULL;
  n = getdelim (&text, &size, 0, f);
  if (n < 0)
    {
      int e = ferror (f) ? errno : EINVAL;

      free (text);
      text = NULL;
      fclose (f);
      errno = e;
      return NULL;
    }
  fclose (f);
  return text;
}

/* A device, a FIFO or a terminal is written to: renaming a file over it would destroy it. */
static int
write_pid_through (const char *path, pid_t pid)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC), r, e;

  if (fd < 0)
    return -1;
  r = dprintf (fd, "%ld", (long) pid) > 0 ? 0 : -1;
  e = errno;
  close (fd);
  errno = e;
  return r;
}

int
write_pid_file (const char *path, pid_t pid)
{
  char *temporary = NULL;
  int fd = -1, r = -1, e;
  struct stat st;

  if (stat (path, &st) == 0 && !S_ISREG (st.st_mode))
    return write_pid_through (path, pid);

  if (asprintf (&temporary, "%s.%ld", path, (long) getpid ()) < 0)
    {
      errno = ENOMEM;
      return -1;
    }
  fd = open (temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd >= 0)
    {
      r = dprintf (fd, "%ld", (long) pid) > 0 && rename (temporary, path) == 0 ? 0 : -1;
      e = errno;
      close (fd);
      if (r < 0)
        unlink (temporary);
      errno = e;
    }
  e = errno;
  free (temporary);
  errno = e;
  return r;
}
