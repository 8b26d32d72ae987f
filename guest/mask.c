/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mask.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "kernel.h"
#include "mounts.h"
#include "path.h"

static int
make_readonly (int root, const char *path, struct failure *f)
{
  autoclose int fd = path_open (root, path, O_PATH);
  autoclose int tree = -1;

  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return 0;
  if (fd >= 0)
    tree = mount_clone (fd, MS_REC | MS_RDONLY);
  if (tree < 0 || k_move_mount (tree, fd) < 0)
    return fail (f, "mount", errno, "cannot make %s read-only", path);
  return 0;
}

static int
mask (int root, const char *path, struct failure *f)
{
  autoclose int fd = path_open (root, path, O_PATH);
  autoclose int null = -1, tree = -1;
  char place[64];
  struct stat st;

  if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return 0;
  if (fd < 0 || fstat (fd, &st) < 0)
    return fail (f, "mount", errno, "cannot find %s to mask it", path);
  if (S_ISDIR (st.st_mode))
    {
      snprintf (place, sizeof place, "/proc/self/fd/%d", fd);
      if (mount ("tmpfs", place, "tmpfs", MS_RDONLY, "size=0,nr_inodes=2,mode=0555") < 0)
        return fail (f, "mount", errno, "cannot mask %s", path);
      return 0;
    }
  null = open ("/dev/null", O_PATH | O_CLOEXEC);
  tree = null < 0 ? -1 : mount_clone (null, 0);
  if (tree < 0 || k_move_mount (tree, fd) < 0)
    return fail (f, "mount", errno, "cannot mask %s", path);
  return 0;
}

int
mask_apply (const struct setup *s, int root, struct failure *f)
{
  for (size_t i = 0; i < s->n_readonly; i++)
    if (make_readonly (root, s->readonly[i], f) < 0)
      return -1;
  for (size_t i = 0; i < s->n_masked; i++)
    if (mask (root, s->masked[i], f) < 0)
      return -1;
  return 0;
}
