/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "disks.h"
#include "kernel.h"
#include "mounts.h"
#include "path.h"

/* Of the initramfs. */
#define NODES "/run/devices"

static const struct setup_device defaults[] = {
  { "/dev/null", S_IFCHR, 1, 3, 0666, 0, 0, NULL },    { "/dev/zero", S_IFCHR, 1, 5, 0666, 0, 0, NULL },
  { "/dev/full", S_IFCHR, 1, 7, 0666, 0, 0, NULL },   { "/dev/random", S_IFCHR, 1, 8, 0666, 0, 0, NULL },
  { "/dev/urandom", S_IFCHR, 1, 9, 0666, 0, 0, NULL }, { "/dev/tty", S_IFCHR, 5, 0, 0666, 0, 0, NULL },
};

enum
{
  N_DEFAULTS = sizeof defaults / sizeof defaults[0]
};

static const struct setup_device *
device_at (const struct setup *s, size_t i)
{
  return i < N_DEFAULTS ? &defaults[i] : &s->devices[i - N_DEFAULTS];
}

static dev_t
number_of (const struct setup_device *d)
{
  return d->type == S_IFIFO ? 0 : makedev (d->major, d->minor);
}

static int
number_disks (struct setup *s, struct failure *f)
{
  for (size_t i = 0; i < s->n_devices; i++)
    {
      struct setup_device *d = &s->devices[i];
      char path[PATH_MAX];
      struct stat st;

      if (!d->disk)
        continue;
      if (disk_find (d->disk, path, sizeof path, f) < 0)
        return -1;
      if (stat (path, &st) < 0)
        return fail (f, "device", errno, "cannot look at %s", path);
      d->major = major (st.st_rdev);
      d->minor = minor (st.st_rdev);
    }
  return 0;
}

int
devices_prepare (struct setup *s, struct failure *f)
{
  char path[64];

  if (number_disks (s, f) < 0)
    return -1;
  if (!(s->namespaces & K_CLONE_NEWUSER))
    return 0;
  if (mkdir (NODES, 0755) < 0 && errno != EEXIST)
    return fail (f, "device", errno, "cannot make %s in the initramfs", NODES);
  for (size_t i = 0; i < N_DEFAULTS + s->n_devices; i++)
    {
      const struct setup_device *d = device_at (s, i);

      snprintf (path, sizeof path, NODES "/%zu", i);
      if (mknod (path, d->type | 0600, number_of (d)) < 0 || chmod (path, d->mode & 07777) < 0
          || chown (path, d->uid, d->gid) < 0)
        return fail (f, "device", errno, "cannot make the device %s", d->path);
    }
  return 0;
}

static int
bind_node (const struct setup_device *d, size_t i, int root, struct failure *f)
{
  autoclose int from = -1, tree = -1, to = -1;
  char path[64];

  snprintf (path, sizeof path, NODES "/%zu", i);
  from = open (path, O_PATH | O_CLOEXEC);
  tree = from < 0 ? -1 : mount_clone (from, 0);
  to = tree < 0 ? -1 : path_make_file (root, d->path);
  if (to < 0 || k_move_mount (tree, to) < 0)
    return fail (f, "device", errno, "cannot make the device %s", d->path);
  return 0;
}

/* Something of the image may be in the way. */
static int
make_node (const struct setup_device *d, int dir, const char *name)
{
  struct stat st;

  if (mknodat (dir, name, d->type | 0600, number_of (d)) < 0)
    {
      if (errno != EEXIST || fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
      if ((st.st_mode & S_IFMT) == d->type && st.st_rdev == number_of (d))
        return 0;
      if (unlinkat (dir, name, 0) < 0 || mknodat (dir, name, d->type | 0600, number_of (d)) < 0)
        return -1;
    }
  if (fchownat (dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return -1;
  return fchmodat (dir, name, d->mode & 07777, 0);
}

static int
make_device (const struct setup *s, size_t i, int root, struct failure *f)
{
  const struct setup_device *d = device_at (s, i);
  autoclose int dir = -1;
  const char *name;

  if (d->type != S_IFCHR && d->type != S_IFBLK && d->type != S_IFIFO)
    return fail (f, "device", EINVAL, "%s is of an unknown type of device", d->path);
  if (s->namespaces & K_CLONE_NEWUSER)
    return bind_node (d, i, root, f);
  dir = path_open_parent (root, d->path, &name);
  if (dir < 0 || make_node (d, dir, name) < 0)
    return fail (f, "device", errno, "cannot make the device %s", d->path);
  return 0;
}

static int
make_link (int dev, const char *name, const char *target, struct failure *f)
{
  if (symlinkat (target, dev, name) == 0)
    return 0;
  /* The image may have the link, or another ptmx that would not be this container's. */
  if (errno == EEXIST && unlinkat (dev, name, 0) == 0 && symlinkat (target, dev, name) == 0)
    return 0;
  return fail (f, "device", errno, "cannot make the link /dev/%s", name);
}

/* What is mounted over /dev as a bind is someone's own /dev. */
static bool
is_foreign (const struct setup *s)
{
  for (size_t i = 0; i < s->n_mounts; i++)
    if (strcmp (s->mounts[i].destination, "/dev") == 0
        && ((s->mounts[i].flags & MS_BIND) || strcmp (s->mounts[i].type, "bind") == 0))
      return true;
  return false;
}

int
devices_make (const struct setup *s, int root, struct failure *f)
{
  static const char *const links[][2] = {
    { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
    { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
  };
  bool foreign = is_foreign (s);
  autoclose int dev = -1, pts = -1;

  for (size_t i = foreign ? N_DEFAULTS : 0; i < N_DEFAULTS + s->n_devices; i++)
    if (make_device (s, i, root, f) < 0)
      return -1;
  if (foreign)
    return 0;
  dev = path_make_dir (root, "/dev", 0755);
  if (dev < 0)
    return fail (f, "device", errno, "cannot make /dev");
  for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
    if (make_link (dev, links[i][0], links[i][1], f) < 0)
      return -1;
  pts = path_open (root, "/dev/pts/ptmx", O_PATH);
  return pts < 0 ? 0 : make_link (dev, "ptmx", "pts/ptmx", f);
}
