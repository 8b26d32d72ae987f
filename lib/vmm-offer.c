/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of the host that a VMM gets to see, as its own, in its working directory after it has gone into its confinement. */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

static int
offer (struct rcvmi_vmm *vmm, int dir_fd, const char *name, const char *file, rcvm_error **err)
{
  const struct rcvmi_confine *c = vmm->confine;
  autoclose int place = openat (dir_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  autoclose int tree = open_tree (AT_FDCWD, file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
  char target[PATH_MAX];

  if (place < 0 || tree < 0 || fchownat (tree, "", c->id, c->id, AT_EMPTY_PATH) < 0)
    return rcvmi_fail_errno (err, errno, "cannot give '%.200s' to the VMM", file);
  snprintf (target, sizeof target, "%s/%s", c->dir, name);
  return rcvmi_confine_show_tree (vmm->proc.pid, tree, target, err);
}

int
rcvmi_vmm_offer (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, const char *const *files, size_t n, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; code == 0 && i < n; i++)
    code = offer (vmm, dir_fd, names[i], files[i], err);
  if (code < 0)
    rcvmi_vmm_withdraw (vmm, dir_fd, names, n);
  return code;
}

void
rcvmi_vmm_withdraw (struct rcvmi_vmm *vmm, int dir_fd, const char *const *names, size_t n)
{
  for (size_t i = 0; i < n; i++)
    {
      char target[PATH_MAX];

      snprintf (target, sizeof target, "%s/%s", vmm->confine->dir, names[i]);
      if (vmm->proc.pid > 0)
        rcvmi_confine_hide (vmm->proc.pid, target, NULL);
      unlinkat (dir_fd, names[i], 0);
    }
}
