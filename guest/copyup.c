/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copyup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#include "cleanup.h"

enum
{
  DEPTH = 256 /* each level holds two fds */
};

static void
close_dir (DIR **dir)
{
  if (*dir)
    closedir (*dir);
}

/* A tmpfs has no room for all kinds of extended attributes: what it refuses is left out. */
static void
copy_xattrs (int from, int to)
{
  char names[4096], value[4096];
  ssize_t len = flistxattr (from, names, sizeof names);

  for (ssize_t i = 0; i < len; i += (ssize_t) strlen (names + i) + 1)
    {
      ssize_t n = fgetxattr (from, names + i, value, sizeof value);

      if (n >= 0)
        (void) fsetxattr (to, names + i, value, (size_t) n, 0);
    }
}

static int
copy_attributes (int to, const struct stat *st)
{
  struct timespec times[2] = { st->st_atim, st->st_mtim };

  if (fchown (to, st->st_uid, st->st_gid) < 0 || fchmod (to, st->st_mode & 07777) < 0)
    return -1;
  return futimens (to, times);
}

static int
copy_file (int from_dir, int to_dir, const char *name, const struct stat *st)
{
  autoclose int from = openat (from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  autoclose int to
      = openat (to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  ssize_t n;

  if (from < 0 || to < 0)
    return -1;
  do
    n = sendfile (to, from, NULL, 1 << 20);
  while (n > 0);
  if (n < 0)
    return -1;
  copy_xattrs (from, to);
  return copy_attributes (to, st);
}

static int
copy_special (int from_dir, int to_dir, const char *name, const struct stat *st)
{
  struct timespec times[2] = { st->st_atim, st->st_mtim };

  if (S_ISLNK (st->st_mode))
    {
      char target[PATH_MAX];
      ssize_t n = readlinkat (from_dir, name, target, sizeof target - 1);

      if (n < 0)
        return -1;
      target[n] = 0;
      if (symlinkat (target, to_dir, name) < 0)
        return -1;
    }
  else if (mknodat (to_dir, name, st->st_mode, st->st_rdev) < 0)
    return -1;
  if (fchownat (to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
    return -1;
  if (!S_ISLNK (st->st_mode) && fchmodat (to_dir, name, st->st_mode & 07777, 0) < 0)
    return -1;
  return utimensat (to_dir, name, times, AT_SYMLINK_NOFOLLOW);
}

static int
copy_dir (int from, int to, int depth)
{
  __attribute__ ((cleanup (close_dir))) DIR *dir = NULL;
  struct dirent *entry;
  struct stat st;
  int fd = openat (from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  dir = fd < 0 ? NULL : fdopendir (fd);
  if (!dir)
    return -1;
  if (depth > DEPTH)
    {
      errno = ELOOP;
      return -1;
    }
  while ((errno = 0, entry = readdir (dir)))
    {
      int r;

      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (fstatat (fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
      if (S_ISDIR (st.st_mode))
        {
          autoclose int from_sub = -1, to_sub = -1;

          if (mkdirat (to, entry->d_name, 0700) < 0)
            return -1;
          from_sub = openat (fd, entry->d_name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
          to_sub = openat (to, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
          r = from_sub < 0 || to_sub < 0 ? -1 : copy_dir (from_sub, to_sub, depth + 1);
        }
      else if (S_ISREG (st.st_mode))
        r = copy_file (fd, to, entry->d_name, &st);
      else
        r = copy_special (fd, to, entry->d_name, &st);
      if (r < 0)
        return -1;
    }
  if (errno)
    return -1;
  if (fstat (fd, &st) < 0)
    return -1;
  copy_xattrs (fd, to);
  return copy_attributes (to, &st);
}

int
copy_up (int from, const char *to)
{
  autoclose int fd = open (to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  return fd < 0 ? -1 : copy_dir (from, fd, 0);
}
