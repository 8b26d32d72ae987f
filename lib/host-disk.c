/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "host-disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/fs.h>

#include "cleanup.h"
#include "err.h"

enum
{
  /* QEMU's own locks lie from byte 100 on, and stay in use. */
  LOCK_BYTE = 0
};

/* Where the device is mounted, as far as this process's namespace shows; "" where it is not. */
static int
find_mount (dev_t device, char *where, size_t size, rcvm_error **err)
{
  autofclose FILE *f = fopen ("/proc/self/mountinfo", "re");
  autofree char *line = NULL;
  size_t cap = 0;

  *where = 0;
  if (!f)
    return rcvmi_fail_errno (err, errno, "cannot read /proc/self/mountinfo");
  while (!*where && getline (&line, &cap, f) > 0)
    {
      unsigned major_number, minor_number;
      int at = 0;

      if (sscanf (line, "%*u %*u %u:%u %*s %n", &major_number, &minor_number, &at) == 2 && at
          && makedev (major_number, minor_number) == device)
        {
          line[at + (int) strcspn (line + at, " ")] = 0;
          snprintf (where, size, "%s", line + at);
        }
    }
  return 0;
}

static int
refuse (const char *path, const char *where, rcvm_error **err)
{
  if (*where)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%.200s' is mounted on the host, at '%.200s': a VM cannot have it at the same time; unmount it",
                       path, where);
  return rcvmi_fail (err, RCVM_E_STATE, 0,
                     "'%.200s' is in use on the host (mounted, swapped to, part of another device) or by another VM that "
                     "may write to it",
                     path);
}

static int
check_device (const char *path, dev_t device, rcvm_error **err)
{
  char where[256];
  int code = find_mount (device, where, sizeof where, err);

  return code < 0 || !*where ? code : refuse (path, where, err);
}

/* A loop device that shows the file, and is mounted: somewhere in sight, or in another namespace. */
static int
check_loop (const char *path, const struct stat *st, const char *name, rcvm_error **err)
{
  struct loop_info64 info;
  struct stat loop;
  char device[300];
  autoclose int fd = -1, exclusive = -1;
  int code;

  snprintf (device, sizeof device, "/dev/%s", name);
  fd = open (device, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat (fd, &loop) < 0 || ioctl (fd, LOOP_GET_STATUS64, &info) < 0 || info.lo_inode != st->st_ino
      || info.lo_device != st->st_dev)
    return 0;
  code = check_device (path, loop.st_rdev, err);
  if (code < 0)
    return code;
  exclusive = open (device, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
  return exclusive < 0 && errno == EBUSY ? refuse (path, "", err) : 0;
}

static int
check_loops (const char *path, const struct stat *st, rcvm_error **err)
{
  DIR *dir = opendir ("/sys/block");
  struct dirent *e;
  int code = 0;

  while (dir && code == 0 && (e = readdir (dir)))
    if (strncmp (e->d_name, "loop", 4) == 0)
      code = check_loop (path, st, e->d_name, err);
  if (dir)
    closedir (dir);
  return code;
}

static int
lock (const char *path, int fd, bool read_only, rcvm_error **err)
{
  struct flock l = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1 };

  if (fcntl (fd, F_OFD_SETLK, &l) == 0)
    return 0;
  if (errno == EAGAIN || errno == EACCES)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "another VM has '%.200s'%s", path,
                       read_only ? ", and may write to it" : ": only one that nobody writes to can be shared");
  return rcvmi_fail_errno (err, errno, "cannot lock '%.200s'", path);
}

/* A device is claimed as by a mount: the host cannot mount it as long as the VM has it. */
static int
claim (struct rcvmi_host_disk *d, int place, const struct stat *st, const char *where, bool read_only, rcvm_error **err)
{
  int flags = (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC, code, locked = 0;
  char self[40];

  snprintf (self, sizeof self, "/proc/self/fd/%d", place);
  code = d->device ? check_device (where, st->st_rdev, err) : check_loops (where, st, err);
  if (code < 0)
    return code;
  d->fd = open (self, flags | (d->device ? O_EXCL : 0));
  if (d->fd < 0 && errno == EBUSY)
    return refuse (where, "", err);
  if (d->fd >= 0 && d->device && read_only)
    {
      /* Others may read it, too. */
      close (d->fd);
      d->fd = open (self, flags);
    }
  if (d->fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s'%s", where, read_only ? "" : " for writing");
  /* It can be opened for writing all the same. */
  if (d->device && !read_only && ioctl (d->fd, BLKROGET, &locked) == 0 && locked)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the device '%.200s' cannot be written to: give it to the VM with 'ro'", where);
  return lock (where, d->fd, read_only, err);
}

static int
open_place (struct rcvmi_host_disk *d, int place, const char *where, bool read_only, bool only_file, rcvm_error **err)
{
  struct stat st;
  int code;

  *d = RCVMI_HOST_DISK_INIT;
  if (fstat (place, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s'", where);
  d->device = S_ISBLK (st.st_mode) && !only_file;
  if (!d->device && !S_ISREG (st.st_mode))
    code = rcvmi_fail (err, RCVM_E_INVALID, 0, only_file ? "'%.200s' is no image file"
                                                         : "'%.200s' is neither a block device nor an image file",
                       where);
  else
    code = claim (d, place, &st, where, read_only, err);
  if (code == 0 && asprintf (&d->path, "/proc/%d/fd/%d", (int) getpid (), d->fd) < 0)
    {
      d->path = NULL;
      code = rcvmi_fail_nomem (err);
    }
  if (code < 0)
    rcvmi_host_disk_close (d);
  return code;
}

int
rcvmi_host_disk_open (struct rcvmi_host_disk *d, const char *path, bool read_only, rcvm_error **err)
{
  /* Looked at before it is opened: a FIFO would wait, and another device may do anything. */
  autoclose int place = open (path, O_PATH | O_CLOEXEC);
  char *real;
  int code;

  *d = RCVMI_HOST_DISK_INIT;
  if (place < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the disk '%.200s'", path);
  code = open_place (d, place, path, read_only, false, err);
  /* A path that lasts and says something, where it leads to what was opened. */
  real = code == 0 ? realpath (path, NULL) : NULL;
  if (real)
    {
      free (d->path);
      d->path = real;
    }
  return code;
}

int
rcvmi_host_disk_open_found (struct rcvmi_host_disk *d, int place, const char *path, rcvm_error **err)
{
  return open_place (d, place, path, false, true, err);
}

int
rcvmi_host_disk_find (const char *dir, const char *path, bool parent, rcvm_error **err)
{
  struct open_how how = { .flags = O_PATH | O_CLOEXEC,
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
  autoclose int top = open (dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  const char *slash = strrchr (path, '/');
  autofree char *name = parent ? strndup (slash ? path : ".", slash ? (size_t) (slash - path) : 1) : strdup (path);
  int fd;

  if (!name)
    return rcvmi_fail_nomem (err);
  if (parent)
    how.flags |= O_DIRECTORY;
  fd = top < 0 ? -1 : (int) syscall (SYS_openat2, top, name, &how, sizeof how);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot find the disk '%.200s' in '%.200s'", path, dir);
  return fd;
}

void
rcvmi_host_disk_close (struct rcvmi_host_disk *d)
{
  cleanup_close (&d->fd);
  free (d->path);
  *d = RCVMI_HOST_DISK_INIT;
}
