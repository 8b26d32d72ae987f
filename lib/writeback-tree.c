/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  OPEN_LEVELS = 48,
  PIECE = 4000 /* of a path that a system call takes */
};

static int
open_beneath (int dir, const char *path)
{
  const struct open_how how
      = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
                     | RESOLVE_NO_XDEV };
  long fd;

  do
    fd = syscall (SYS_openat2, dir, path, &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd < 0 ? -errno : (int) fd;
}

int
rcvmi_wb_open_dir (int dir, const char *path)
{
  autoclose int at = -1;

  if (!*path)
    return open_beneath (dir, ".");
  while (*path)
    {
      char piece[PIECE + 1];
      size_t n = strlen (path);
      int next;

      if (n > PIECE)
        for (n = PIECE; n && path[n] != '/';)
          n--;
      if (n == 0)
        return -ENAMETOOLONG;
      memcpy (piece, path, n);
      piece[n] = 0;
      path += n + (path[n] == '/');
      next = open_beneath (at < 0 ? dir : at, piece);
      if (next < 0)
        return next;
      cleanup_close (&at);
      at = next;
    }
  return steal_fd (&at);
}

void
rcvmi_wb_tree_init (struct rcvmi_wb_tree *t, int root, const char *where)
{
  *t = (struct rcvmi_wb_tree){ .root = root, .where = where };
}

void
rcvmi_wb_tree_clear (struct rcvmi_wb_tree *t)
{
  for (size_t i = 0; i < t->n; i++)
    cleanup_close (&t->levels[i].fd);
  free (t->levels);
  free (t->path);
  *t = (struct rcvmi_wb_tree){ .root = -1 };
}

char *
rcvmi_wb_tree_name (const struct rcvmi_wb_tree *t, const char *name)
{
  char *text;

  if (asprintf (&text, "%s%s%s%s%s", t->where, t->path_len ? "/" : "", t->path_len ? t->path : "",
                name ? "/" : "", name ? name : "")
      < 0)
    return NULL;
  return text;
}

int
rcvmi_wb_tree_fd (struct rcvmi_wb_tree *t, rcvm_error **err)
{
  struct rcvmi_wb_tree_level *l;

  if (t->n == 0)
    return t->root;
  l = &t->levels[t->n - 1];
  if (l->fd < 0)
    {
      int fd = rcvmi_wb_open_dir (t->root, t->path);

      if (fd < 0)
        {
          autofree char *path = rcvmi_wb_tree_name (t, NULL);

          rcvmi_fail_errno (err, -fd, "cannot open the directory '%s' again", path ? path : "?");
          return -1;
        }
      l->fd = fd;
    }
  return l->fd;
}

static int
grow (struct rcvmi_wb_tree *t, size_t len)
{
  if (t->n == t->cap)
    {
      size_t cap = t->cap * 2 + 32;
      struct rcvmi_wb_tree_level *levels = reallocarray (t->levels, cap, sizeof *levels);

      if (!levels)
        return -ENOMEM;
      t->levels = levels;
      t->cap = cap;
    }
  if (t->path_len + len + 2 > t->path_cap)
    {
      size_t cap = t->path_cap * 2 + len + 256;
      char *path = realloc (t->path, cap);

      if (!path)
        return -ENOMEM;
      t->path = path;
      t->path_cap = cap;
    }
  return 0;
}

int
rcvmi_wb_tree_enter (struct rcvmi_wb_tree *t, const char *name)
{
  size_t len = strlen (name);
  rcvm_error *err = NULL;
  int dir = rcvmi_wb_tree_fd (t, &err), fd, r = grow (t, len);

  if (dir < 0)
    {
      r = -rcvm_error_get_errno (err);
      rcvm_error_free (err);
      return r ? r : -ENOMEM;
    }
  if (r < 0)
    return r;
  fd = open_beneath (dir, name);
  if (fd < 0)
    return fd;
  if (t->n >= OPEN_LEVELS)
    {
      struct rcvmi_wb_tree_level *old = &t->levels[t->n - OPEN_LEVELS];

      cleanup_close (&old->fd);
      old->fd = -1;
    }
  if (t->path_len)
    t->path[t->path_len++] = '/';
  memcpy (t->path + t->path_len, name, len + 1);
  t->path_len += len;
  t->levels[t->n++] = (struct rcvmi_wb_tree_level){ .path_len = t->path_len, .fd = fd };
  return 0;
}

void
rcvmi_wb_tree_leave (struct rcvmi_wb_tree *t)
{
  cleanup_close (&t->levels[--t->n].fd);
  t->path_len = t->n ? t->levels[t->n - 1].path_len : 0;
  t->path[t->path_len] = 0;
}

int
rcvmi_wb_staging_clean (struct rcvmi_wb_staging *s, rcvm_error **err)
{
  cleanup_close (&s->fd);
  s->fd = -1;
  return rcvmi_wb_remove_in_place (s->root, s->name, s->where, err);
}

int
rcvmi_wb_staging_fd (struct rcvmi_wb_staging *s, rcvm_error **err)
{
  int fd;

  if (s->fd >= 0)
    return s->fd;
  if (mkdirat (s->root, s->name, 0700) < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot make the directory '%s/%s'", s->where, s->name);
      return -1;
    }
  fd = open_beneath (s->root, s->name);
  /* What is made in it must not inherit from the root: neither ACLs nor a group. */
  if (fd < 0
      || (fremovexattr (fd, "system.posix_acl_default") < 0 && errno != ENODATA && errno != ENOTSUP)
      || fchown (fd, geteuid (), getegid ()) < 0 || fchmod (fd, 0700) < 0)
    {
      rcvmi_fail_errno (err, fd < 0 ? -fd : errno, "cannot use the directory '%s/%s'", s->where,
                        s->name);
      if (fd >= 0)
        close (fd);
      unlinkat (s->root, s->name, AT_REMOVEDIR);
      return -1;
    }
  s->fd = fd;
  return fd;
}

void
rcvmi_wb_staging_new_name (struct rcvmi_wb_staging *s, char name[32])
{
  snprintf (name, 32, "t%lu", s->next++);
}

static int
fail_remove (const struct rcvmi_wb_tree *t, const char *name, int errnum, rcvm_error **err)
{
  autofree char *path = rcvmi_wb_tree_name (t, name);

  return rcvmi_fail_errno (err, errnum, "cannot remove '%s'", path ? path : "?");
}

static bool
is_dots (const char *name)
{
  return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* 0: gone, 1: it is a directory, or -errno. */
static int
unlink_file (int dir, const char *name)
{
  struct stat st;
  int saved;

  if (unlinkat (dir, name, 0) == 0 || errno == ENOENT)
    return 0;
  saved = errno;
  if ((saved == EISDIR || saved == EPERM) && fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0
      && S_ISDIR (st.st_mode))
    return 1;
  return -saved;
}

/* Removes files until there is a directory, which is entered: 1; none is left: 0. */
static int
empty_dir (struct rcvmi_wb_tree *t, rcvm_error **err)
{
  int fd = rcvmi_wb_tree_fd (t, err), list = fd < 0 ? -1 : open_beneath (fd, "."), r = 0;
  DIR *dir = list < 0 ? NULL : fdopendir (list);

  if (fd < 0)
    return -1;
  if (!dir)
    {
      r = fail_remove (t, NULL, list < 0 ? -list : errno, err);
      if (list >= 0)
        close (list);
      return r;
    }
  while (r == 0)
    {
      struct dirent *e;

      errno = 0;
      e = readdir (dir);
      if (!e)
        {
          if (errno)
            r = fail_remove (t, NULL, errno, err);
          break;
        }
      if (is_dots (e->d_name))
        continue;
      r = unlink_file (fd, e->d_name);
      if (r < 0)
        r = fail_remove (t, e->d_name, -r, err);
      else if (r == 1)
        {
          int entered = rcvmi_wb_tree_enter (t, e->d_name);

          if (entered < 0)
            r = fail_remove (t, e->d_name, -entered, err);
        }
    }
  closedir (dir);
  return r;
}

int
rcvmi_wb_remove_in_place (int dir, const char *name, const char *where, rcvm_error **err)
{
  struct rcvmi_wb_tree t;
  int r = unlink_file (dir, name);

  rcvmi_wb_tree_init (&t, dir, where);
  if (r == 0)
    return 0;
  if (r < 0)
    return fail_remove (&t, name, -r, err);
  r = rcvmi_wb_tree_enter (&t, name);
  if (r < 0)
    r = fail_remove (&t, name, -r, err);
  while (r == 0 && t.n)
    {
      r = empty_dir (&t, err);
      if (r == 1)
        r = 0;
      else if (r == 0)
        {
          autofree char *last = strdup (strrchr (t.path, '/') ? strrchr (t.path, '/') + 1 : t.path);
          int parent;

          rcvmi_wb_tree_leave (&t);
          parent = rcvmi_wb_tree_fd (&t, err);
          if (!last)
            r = rcvmi_fail_nomem (err);
          else if (parent < 0)
            r = -1;
          else if (unlinkat (parent, last, AT_REMOVEDIR) < 0 && errno != ENOENT)
            r = fail_remove (&t, last, errno, err);
        }
    }
  rcvmi_wb_tree_clear (&t);
  return r;
}

int
rcvmi_wb_remove (struct rcvmi_wb_tree *t, struct rcvmi_wb_staging *s, const char *name,
                 rcvm_error **err)
{
  int dir = rcvmi_wb_tree_fd (t, err), staging, r;
  autofree char *where = NULL;
  char trash[32];

  if (dir < 0)
    return -1;
  r = unlink_file (dir, name);
  if (r == 0)
    return 0;
  if (r < 0)
    return fail_remove (t, name, -r, err);
  staging = rcvmi_wb_staging_fd (s, NULL);
  rcvmi_wb_staging_new_name (s, trash);
  /* Away at once; but on a full disk there is no staging, and an overlay on the host does not rename a directory of
     its lower layers. */
  if (staging >= 0 && renameat (dir, name, staging, trash) == 0)
    return rcvmi_wb_remove_in_place (staging, trash, s->where, err);
  where = rcvmi_wb_tree_name (t, NULL);
  return rcvmi_wb_remove_in_place (dir, name, where ? where : "?", err);
}
