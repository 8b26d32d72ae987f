/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "kernel.h"

enum
{
  MAP_SIZE = 4096 /* what the kernel takes in one write */
};

static int
write_map (pid_t pid, const char *name, const struct setup_idmap *map, size_t n)
{
  char path[64], text[MAP_SIZE];
  size_t len = 0;
  autoclose int fd = -1;

  for (size_t i = 0; i < n; i++)
    {
      int k = snprintf (text + len, sizeof text - len, "%u %u %u\n", map[i].container, map[i].host,
                        map[i].size);

      if (k < 0 || (size_t) k >= sizeof text - len)
        {
          errno = E2BIG;
          return -1;
        }
      len += (size_t) k;
    }
  snprintf (path, sizeof path, "/proc/%d/%s", (int) pid, name);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  return fd < 0 || write (fd, text, len) < 0 ? -1 : 0;
}

/* Maps are written by a process that stayed outside; its exit status is an errno. */
static _Noreturn void
map_writer (const struct setup *s, int go)
{
  pid_t parent = getppid ();
  char byte;

  if (read (go, &byte, 1) != 1)
    _exit (0);
  if (write_map (parent, "uid_map", s->uid_map, s->n_uid_map) < 0
      || write_map (parent, "gid_map", s->gid_map, s->n_gid_map) < 0)
    _exit (errno);
  _exit (0);
}

int
idmap_enter (const struct setup *s, struct failure *f)
{
  int go[2], status, result = 0;
  pid_t pid;

  if (pipe2 (go, O_CLOEXEC) < 0)
    return fail (f, "namespace", errno, "cannot make a pipe");
  pid = fork ();
  if (pid == 0)
    {
      close (go[1]);
      map_writer (s, go[0]);
    }
  close (go[0]);
  if (pid < 0)
    result = fail (f, "namespace", errno, "cannot fork");
  else if (k_unshare (K_CLONE_NEWUSER) < 0)
    result = fail (f, "namespace", errno, "cannot make the user namespace");
  else if (write (go[1], "", 1) != 1)
    result = fail (f, "namespace", errno, "cannot have the id maps written");
  close (go[1]);
  if (pid < 0)
    return result;
  while (waitpid (pid, &status, 0) < 0)
    if (errno != EINTR)
      return fail (f, "namespace", errno, "cannot wait for the id maps");
  if (result < 0)
    return result;
  if (!WIFEXITED (status) || WEXITSTATUS (status))
    return fail (f, "namespace", WIFEXITED (status) ? WEXITSTATUS (status) : EINTR,
                 "the kernel refuses the id maps");
  if (setgroups (0, NULL) < 0 || setresgid (0, 0, 0) < 0 || setresuid (0, 0, 0) < 0)
    return fail (f, "namespace", errno, "the id maps have no root");
  return 0;
}
