/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A mount may show a file's owner as another user (mount_setattr, idmapped mounts): how a confined VMM opens a disk image of
 * somebody, whose owner and mode stay what they are.  The kernel takes the mapping from a user namespace, and that needs
 * a process to make it.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

static int
write_map (pid_t pid, const char *name, unsigned from, unsigned to)
{
  char path[64], text[64];
  autoclose int fd = -1;
  int n = snprintf (text, sizeof text, "%u %u 1\n", from, to);

  snprintf (path, sizeof path, "/proc/%d/%s", (int) pid, name);
  fd = open (path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write (fd, text, (size_t) n) == n ? 0 : -1;
}

int
rcvmi_confine_map_owner (uid_t uid, gid_t gid, uid_t id, rcvm_error **err)
{
  char path[64];
  int fd = -1, error;
  pid_t pid = (pid_t) syscall (SYS_clone, CLONE_NEWUSER, 0, 0, 0, 0);

  if (pid == 0)
    {
      prctl (PR_SET_PDEATHSIG, SIGKILL);
      for (;;)
        pause ();
    }
  snprintf (path, sizeof path, "/proc/%d/ns/user", (int) pid);
  if (pid > 0 && write_map (pid, "uid_map", uid, id) == 0 && write_map (pid, "gid_map", gid, id) == 0)
    fd = open (path, O_RDONLY | O_CLOEXEC);
  error = errno;
  if (pid > 0)
    {
      kill (pid, SIGKILL);
      while (waitpid (pid, NULL, __WALL) < 0 && errno == EINTR)
        ;
    }
  return fd >= 0 ? fd : rcvmi_fail_errno (err, error, "cannot make a user namespace that maps a file's owner to the VMM's user");
}
