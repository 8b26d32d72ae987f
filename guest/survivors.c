/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "survivors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

enum
{
  KTHREADD = 2 /* parent of the kernel's threads */
};

/* 0: it is gone. */
static pid_t
parent_of (pid_t pid)
{
  char path[40], text[512], *p;
  autoclose int fd = -1;
  ssize_t n;
  int parent;

  snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
  if (n <= 0)
    return 0;
  text[n] = 0;
  /* Its name may hold anything. */
  p = strrchr (text, ')');
  return p && sscanf (p + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

unsigned
survivors_kill (pid_t keep)
{
  DIR *dir = opendir ("/proc");
  struct dirent *e;
  unsigned n = 0;

  if (!dir)
    fatal ("cannot read /proc: %s", strerror (errno));
  while ((e = readdir (dir)))
    {
      pid_t pid = (pid_t) atoi (e->d_name), parent;

      if (pid <= KTHREADD || pid == keep)
        continue;
      parent = parent_of (pid);
      if (parent == 0 || parent == KTHREADD)
        continue;
      n++;
      kill (pid, SIGKILL);
    }
  closedir (dir);
  return n;
}
