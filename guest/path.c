/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "path.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "kernel.h"

enum
{
  MAX_LINKS = 40
};

int
path_open (int root, const char *path, int flags)
{
  struct k_open_how how = {
    .flags = (uint64_t) flags | O_CLOEXEC,
    .resolve = K_RESOLVE_IN_ROOT | K_RESOLVE_NO_MAGICLINKS,
  };
  int fd;

  do
    fd = k_openat2 (root, path, &how);
  while (fd < 0 && errno == EAGAIN); /* a rename raced with the walk */
  return fd;
}

/* Where a dangling link at `prefix`/`name` leads, with what follows it. */
static int
follow (int dir, const char *name, const char *prefix, const char *rest, char *out, size_t size)
{
  char target[PATH_MAX];
  ssize_t n = readlinkat (dir, name, target, sizeof target - 1);
  int len;

  if (n < 0)
    return -1;
  target[n] = 0;
  len = snprintf (out, size, "%s/%s%s%s", target[0] == '/' ? "" : prefix, target,
                  *rest ? "/" : "", rest);
  if (len < 0 || (size_t) len >= size)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  return 0;
}

static int
make_dir (int root, const char *path, mode_t mode, int links)
{
  char prefix[PATH_MAX] = "", name[NAME_MAX + 1], next[PATH_MAX];
  size_t len = 0;
  int fd = path_open (root, path, O_PATH | O_DIRECTORY);

  if (fd >= 0 || errno != ENOENT)
    return fd;
  for (const char *p = path + strspn (path, "/"); *p; p += strspn (p, "/"))
    {
      autoclose int dir = -1;
      size_t n = strcspn (p, "/");

      if (n > NAME_MAX || len + n + 2 > sizeof prefix)
        {
          errno = ENAMETOOLONG;
          return -1;
        }
      memcpy (name, p, n);
      name[n] = 0;
      p += n;
      dir = path_open (root, len ? prefix : "/", O_PATH | O_DIRECTORY);
      if (dir < 0)
        return -1;
      memcpy (next, prefix, len);
      next[len] = '/';
      memcpy (next + len + 1, name, n + 1);
      fd = path_open (root, next, O_PATH | O_DIRECTORY);
      if (fd < 0 && errno == ENOENT)
        {
          if (mkdirat (dir, name, mode) == 0)
            fd = path_open (root, next, O_PATH | O_DIRECTORY);
          else if (errno == EEXIST && links < MAX_LINKS)
            return follow (dir, name, prefix, p + strspn (p, "/"), next, sizeof next) < 0
                       ? -1
                       : make_dir (root, next, mode, links + 1);
        }
      if (fd < 0)
        return -1;
      close (fd);
      len += n + 1;
      memcpy (prefix, next, len + 1);
    }
  return path_open (root, path, O_PATH | O_DIRECTORY);
}

int
path_make_dir (int root, const char *path, mode_t mode)
{
  mode_t mask = umask (0);
  int fd = make_dir (root, path, mode, 0), saved = errno;

  umask (mask);
  errno = saved;
  return fd;
}

int
path_open_parent (int root, const char *path, const char **name)
{
  char parent[PATH_MAX];
  const char *slash = strrchr (path, '/');
  size_t n = slash ? (size_t) (slash - path) : 0;

  *name = slash ? slash + 1 : path;
  if (!**name || strcmp (*name, ".") == 0 || strcmp (*name, "..") == 0)
    {
      errno = EINVAL;
      return -1;
    }
  if (n >= sizeof parent)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  memcpy (parent, path, n);
  parent[n] = 0;
  return path_make_dir (root, n ? parent : "/", 0755);
}

int
path_make_file (int root, const char *path)
{
  char where[PATH_MAX], next[PATH_MAX];

  if (snprintf (where, sizeof where, "/%s", path) >= (int) sizeof where)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  for (int links = 0; links < MAX_LINKS; links++)
    {
      autoclose int dir = -1;
      const char *name;
      int fd = path_open (root, where, O_PATH);

      if (fd >= 0 || errno != ENOENT)
        return fd;
      dir = path_open_parent (root, where, &name);
      if (dir < 0)
        return -1;
      fd = openat (dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_RDONLY, 0644);
      if (fd >= 0)
        {
          close (fd);
          continue;
        }
      if (errno != EEXIST)
        return -1;
      where[name - where > 1 ? name - where - 1 : 0] = 0;
      /* `name` stays intact: only the slash before it was cut. */
      if (follow (dir, name, where, "", next, sizeof next) < 0)
        return -1;
      memcpy (where, next, sizeof where);
    }
  errno = ELOOP;
  return -1;
}
