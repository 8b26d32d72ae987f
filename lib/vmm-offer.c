/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that a VMM gets to see after it has gone into its confinement: mounted into its namespace by a child that goes there. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  FILES = 4
};

struct job
{
  const char *dir;
  const char *const *names;
  size_t n;
  bool take_away;
};

static int
move (void *user, rcvm_error **err)
{
  const struct job *j = user;

  if (setns (RCVMI_PROC_FORK_FD, CLONE_NEWNS) < 0)
    return rcvmi_fail_errno (err, errno, "cannot enter the VMM's mount namespace");
  for (size_t i = 0; i < j->n; i++)
    {
      char target[256];

      snprintf (target, sizeof target, "%s/%s", j->dir, j->names[i]);
      if (j->take_away)
        umount2 (target, MNT_DETACH | UMOUNT_NOFOLLOW);
      else if (move_mount (RCVMI_PROC_FORK_FD + 1 + (int) i, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return rcvmi_fail_errno (err, errno, "cannot mount '%s' for the VMM", target);
    }
  return 0;
}

static int
go_there (struct rcvmi_vmm *vmm, struct job *j, int *fds, size_t n, rcvm_error **err)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  char path[64];
  autoclose int ns = -1;
  int error_fd = -1, code;

  snprintf (path, sizeof path, "/proc/%d/ns/mnt", (int) vmm->proc.pid);
  ns = open (path, O_RDONLY | O_CLOEXEC);
  if (ns < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the VMM's mount namespace");
  j->dir = vmm->confine->dir;
  fds[0] = ns;
  code = rcvmi_proc_fork_with (&proc, move, j, fds, n, &error_fd, err);
  return code < 0 ? code : rcvmi_proc_read_error (error_fd, rcvmi_proc_reap (&proc), "the process that mounts for the VMM", err);
}

int
rcvmi_vmm_offer (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, const char *const *files, size_t n, rcvm_error **err)
{
  struct job j = { .names = names, .n = n };
  int fds[1 + FILES] = { -1, -1, -1, -1, -1 }, code = 0;

  for (size_t i = 0; code == 0 && i < n && i < FILES; i++)
    {
      autoclose int place = openat (dir_fd, names[i], O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

      fds[1 + i] = open_tree (AT_FDCWD, files[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
      if (place < 0 || fds[1 + i] < 0 || fchownat (fds[1 + i], "", vmm->confine->id, vmm->confine->id, AT_EMPTY_PATH) < 0)
        code = rcvmi_fail_errno (err, errno, "cannot give '%.200s' to the VMM", files[i]);
    }
  if (code == 0)
    code = go_there (vmm, &j, fds, 1 + n, err);
  for (size_t i = 0; i < FILES; i++)
    cleanup_close (&fds[1 + i]);
  if (code < 0)
    rcvmi_vmm_withdraw (vmm, dir_fd, names, n);
  return code;
}

void
rcvmi_vmm_withdraw (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, size_t n)
{
  struct job j = { .names = names, .n = n, .take_away = true };
  int fds[1];

  if (vmm->proc.pid > 0)
    go_there (vmm, &j, fds, 1, NULL);
  for (size_t i = 0; i < n; i++)
    unlinkat (dir_fd, names[i], 0);
}
