/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include "writeback-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "fullio.h"

enum
{
  CLONE_FROM = 128 << 10, /* sharing smaller pieces costs more than copying them */
  CLONE_ALIGN = 4096,
  BUFFER = 1 << 20,
  LIST_MAX = 65536,
  VALUE_MAX = 65536
};

/* More than the limit would be a signal, not an error. */
static bool
too_large (uint64_t size)
{
  struct rlimit l;

  return getrlimit (RLIMIT_FSIZE, &l) == 0 && l.rlim_cur != RLIM_INFINITY && size > l.rlim_cur;
}

int
rcvmi_wb_file_make (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *r)
{
  switch (r->mode & S_IFMT)
    {
    case S_IFREG:
      if (too_large (r->size))
        return -EFBIG;
      f->fd = openat (f->staging, f->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
      if (f->fd < 0)
        return -errno;
      return r->size && ftruncate (f->fd, (off_t) r->size) < 0 ? -errno : 0;
    case S_IFLNK:
      return symlinkat (r->target, f->staging, f->name) < 0 ? -errno : 0;
    default:
      return mknodat (f->staging, f->name, (r->mode & S_IFMT) | 0600, makedev (r->major, r->minor)) < 0
                 ? -errno
                 : 0;
    }
}

static int
copy_by_hand (struct rcvmi_wb_file *f, struct rcvmi_wb_extent x)
{
  if (!f->buffer && !(f->buffer = malloc (BUFFER)))
    return -ENOMEM;
  while (x.length)
    {
      ssize_t n = pread (f->image, f->buffer, x.length < BUFFER ? x.length : BUFFER, (off_t) x.image);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return n < 0 ? -errno : -EIO;
      if (rcvmi_pwrite_all (f->fd, f->buffer, (size_t) n, x.offset) < 0)
        return -errno;
      x.image += (size_t) n;
      x.offset += (size_t) n;
      x.length -= (size_t) n;
    }
  return 0;
}

/* Shares what can be shared, and leaves in *x what remains. */
static void
clone (struct rcvmi_wb_file *f, struct rcvmi_wb_extent *x)
{
  struct file_clone_range range = { .src_fd = f->image,
                                    .src_offset = x->image,
                                    .src_length = x->length & ~(uint64_t) (CLONE_ALIGN - 1),
                                    .dest_offset = x->offset };

  if (f->no_clone || x->length < CLONE_FROM || x->image % CLONE_ALIGN || x->offset % CLONE_ALIGN)
    return;
  if (ioctl (f->fd, FICLONERANGE, &range) < 0)
    {
      f->no_clone = true;
      return;
    }
  x->image += range.src_length;
  x->offset += range.src_length;
  x->length -= range.src_length;
}

int
rcvmi_wb_file_copy (struct rcvmi_wb_file *f, const struct rcvmi_wb_extent *extent)
{
  struct rcvmi_wb_extent x = *extent;

  clone (f, &x);
  while (x.length && !f->no_copy)
    {
      off_t from = (off_t) x.image, to = (off_t) x.offset;
      ssize_t n = copy_file_range (f->image, &from, f->fd, &to, x.length, 0);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
        return -errno;
      if (n <= 0)
        {
          f->no_copy = true;
          break;
        }
      x.image += (size_t) n;
      x.offset += (size_t) n;
      x.length -= (size_t) n;
    }
  return copy_by_hand (f, x);
}

int
rcvmi_wb_file_write (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *data)
{
  return rcvmi_pwrite_all (f->fd, data->data, data->len, data->offset) < 0 ? -errno : 0;
}

/* Owner first: it takes set-user-ID bits and capabilities away.  Times last. */
int
rcvmi_wb_file_finish (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *r)
{
  const struct timespec times[2] = { r->atime, r->mtime };
  struct tlv_reader list = r->xattrs;
  struct rcvmi_wb_xattr x;
  char path[64];

  snprintf (path, sizeof path, "/proc/self/fd/%d/%s", f->staging, f->name);
  if (fchownat (f->staging, f->name, r->uid, r->gid, AT_SYMLINK_NOFOLLOW) < 0)
    return -errno;
  if (!S_ISLNK (r->mode) && fchmodat (f->staging, f->name, r->mode & 07777, 0) < 0)
    return -errno;
  while (rcvmi_wb_next_xattr (&list, &x))
    if (lsetxattr (path, x.name, x.value, x.len, 0) < 0)
      return -errno;
  if (utimensat (f->staging, f->name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return -errno;
  cleanup_close (&f->fd);
  f->fd = -1;
  return 0;
}

void
rcvmi_wb_file_clear (struct rcvmi_wb_file *f)
{
  cleanup_close (&f->fd);
  f->fd = -1;
  free (f->buffer);
  f->buffer = NULL;
}

/* The host's own, of which the guest knows nothing. */
static bool
is_of_host (const char *name)
{
  static const char *const names[]
      = { "security.selinux", "security.ima", "security.evm", "security.SMACK64" };

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strncmp (name, names[i], strlen (names[i])) == 0)
      return true;
  return !rcvmi_wb_is_xattr (name);
}

static bool
find_xattr (struct tlv_reader list, const char *name)
{
  struct rcvmi_wb_xattr x;

  while (rcvmi_wb_next_xattr (&list, &x))
    if (strcmp (x.name, name) == 0)
      return true;
  return false;
}

static int
remove_other_xattrs (int fd, struct tlv_reader list)
{
  autofree char *names = malloc (LIST_MAX);
  ssize_t len = names ? flistxattr (fd, names, LIST_MAX) : -1;

  if (!names)
    return -ENOMEM;
  if (len < 0)
    return errno == ENOTSUP ? 0 : -errno;
  for (const char *p = names; p < names + len; p += strlen (p) + 1)
    if (!is_of_host (p) && !find_xattr (list, p) && fremovexattr (fd, p) < 0 && errno != ENODATA)
      return -errno;
  return 0;
}

static int
set_xattrs (int fd, struct tlv_reader list)
{
  autofree char *value = malloc (VALUE_MAX);
  struct rcvmi_wb_xattr x;

  if (!value)
    return -ENOMEM;
  while (rcvmi_wb_next_xattr (&list, &x))
    {
      ssize_t len = fgetxattr (fd, x.name, value, VALUE_MAX);

      if ((len < 0 || (size_t) len != x.len || memcmp (value, x.value, x.len) != 0)
          && fsetxattr (fd, x.name, x.value, x.len, 0) < 0)
        return -errno;
    }
  return 0;
}

static bool
same_time (const struct timespec *a, const struct timespec *b)
{
  return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

int
rcvmi_wb_dir_finish (int fd, const struct rcvmi_wb_record *r)
{
  const struct timespec times[2] = { r->atime, r->mtime };
  struct stat st;
  int error;

  if (fstat (fd, &st) < 0)
    return -errno;
  if ((st.st_uid != r->uid || st.st_gid != r->gid) && fchown (fd, r->uid, r->gid) < 0)
    return -errno;
  /* Before the mode: an ACL changes it, and is changed by it. */
  error = remove_other_xattrs (fd, r->xattrs);
  if (error < 0)
    return error;
  if (fstat (fd, &st) < 0
      || ((st.st_mode & 07777) != (r->mode & 07777) && fchmod (fd, r->mode & 07777) < 0))
    return -errno;
  error = set_xattrs (fd, r->xattrs);
  if (error < 0)
    return error;
  if (fstat (fd, &st) < 0
      || ((!same_time (&st.st_atim, &r->atime) || !same_time (&st.st_mtim, &r->mtime))
          && futimens (fd, times) < 0))
    return -errno;
  return 0;
}
