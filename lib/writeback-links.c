/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard links that the base had.  The guest saw a change under all names of a file; on the host, a new file takes
 * the place of one name, so the others have to be given to it as well.
 *
 * With the base's image, the reader tells them (ALSO).  Without it they are the names that share the host's inode with the
 * changed one: found by one look at the whole tree, when all else is done, as names that the guest has
 * removed or replaced share it no more.  The names by which the inode was found are changed after all others, so
 * that a repeated run finds it again: until the last rename, such a name leads to the old inode, and to those that are left.
 * Those that have the new file already share that one, which is not the repeated run's: it is still in the staging directory,
 * and kept there as o<inode>.<number>.
 *
 * The directories of these names may be none of the guest's changes: their times stay what they are.  For the time in
 * between they are kept as those of a file in the staging directory, which holds the path.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-apply.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

static int
add_shared (struct rcvmi_wb_apply *a, const struct rcvmi_wb_shared *s, rcvm_error **err)
{
  if (a->n_shared == a->cap_shared)
    {
      size_t cap = a->cap_shared * 2 + 16;
      struct rcvmi_wb_shared *shared = reallocarray (a->shared, cap, sizeof *shared);

      if (!shared)
        return rcvmi_fail_nomem (err);
      a->shared = shared;
      a->cap_shared = cap;
    }
  a->shared[a->n_shared++] = *s;
  return 0;
}

int
rcvmi_wb_share (struct rcvmi_wb_apply *a, uint32_t ino, const char *name, rcvm_error **err)
{
  int dir = rcvmi_wb_tree_fd (&a->tree, err);
  char staged[32];
  struct rcvmi_wb_shared shared;
  struct stat st, mine;
  char *path;

  if (dir < 0)
    return -1;
  snprintf (staged, sizeof staged, "i%u", ino);
  if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink < 2
      || fstatat (a->staging.fd, staged, &mine, AT_SYMLINK_NOFOLLOW) < 0
      || (st.st_mode & S_IFMT) != (mine.st_mode & S_IFMT) || S_ISDIR (st.st_mode)
      || (st.st_dev == mine.st_dev && st.st_ino == mine.st_ino))
    return 0;
  if (asprintf (&path, "%s%s%s", a->tree.path_len ? a->tree.path : "", a->tree.path_len ? "/" : "", name)
      < 0)
    return rcvmi_fail_nomem (err);
  shared = (struct rcvmi_wb_shared){
    .path = path, .ino = ino, .host_dev = st.st_dev, .host_ino = st.st_ino
  };
  if (add_shared (a, &shared, err) < 0)
    {
      free (path);
      return -1;
    }
  return 1;
}

static int
compare_inodes (const void *a, const void *b)
{
  const struct rcvmi_wb_shared *x = a, *y = b;

  if (x->host_ino != y->host_ino)
    return x->host_ino < y->host_ino ? -1 : 1;
  return x->host_dev < y->host_dev ? -1 : x->host_dev > y->host_dev;
}

static bool
is_path_of (const char *path, const struct rcvmi_wb_tree *t, const char *name)
{
  if (t->path_len == 0)
    return strcmp (path, name) == 0;
  return strncmp (path, t->path, t->path_len) == 0 && path[t->path_len] == '/'
         && strcmp (path + t->path_len + 1, name) == 0;
}

/* Keeps the times of the directory that t is in, once. */
static int
keep_times (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const struct timespec times[2],
            rcvm_error **err)
{
  int staging = rcvmi_wb_staging_fd (&a->staging, err);
  const char *path = t->path_len ? t->path : "";
  autoclose int fd = -1;
  char fresh[32], name[33];
  size_t len = strlen (path);

  if (staging < 0)
    return -1;
  if (a->timed && strcmp (a->timed, path) == 0)
    return 0;
  free (a->timed);
  a->timed = NULL;
  rcvmi_wb_staging_new_name (&a->staging, fresh);
  snprintf (name, sizeof name, "d%s", fresh);
  fd = openat (staging, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0 || write (fd, path, len) != (ssize_t) len || futimens (fd, times) < 0
      || renameat (staging, fresh, staging, name) < 0)
    return rcvmi_fail_errno (err, errno, "cannot keep the times of the directory '%s/%s'", t->where,
                             path);
  a->timed = strdup (path);
  return a->timed ? 0 : rcvmi_fail_nomem (err);
}

/* One more name for an inode, in a directory that is done already. */
static int
install_quietly (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, uint32_t ino, const char *name,
                 rcvm_error **err)
{
  int fd = rcvmi_wb_tree_fd (t, err), code;
  struct timespec times[2];
  struct stat st;

  if (fd < 0)
    return -1;
  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at the directory of '%s'", name);
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  code = keep_times (a, t, times, err);
  if (code == 0)
    code = rcvmi_wb_install_link (a, t, ino, name, err);
  if (code < 0)
    return code;
  fd = rcvmi_wb_tree_fd (t, err);
  if (fd < 0)
    return -1;
  return futimens (fd, times) < 0
             ? rcvmi_fail_errno (err, errno, "cannot set the times of the directory of '%s'", name)
             : 0;
}

static int
restore_one (struct rcvmi_wb_apply *a, int staging, const char *name)
{
  autoclose int fd = openat (staging, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  autofree char *path = NULL;
  autoclose int dir = -1;
  struct timespec times[2];
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return -errno;
  if (!S_ISREG (st.st_mode) || !(path = calloc (1, (size_t) st.st_size + 1)))
    return S_ISREG (st.st_mode) ? -ENOMEM : 0;
  if (read (fd, path, (size_t) st.st_size) != st.st_size)
    return -EIO;
  times[0] = st.st_atim;
  times[1] = st.st_mtim;
  dir = rcvmi_wb_open_dir (a->tree.root, path);
  /* Gone, as the guest wanted it. */
  if (dir < 0)
    return 0;
  return futimens (dir, times) < 0 ? -errno : 0;
}

/* Of an earlier run: i<inode> becomes o<inode>.<number>; one that never got a name goes. */
static int
keep_old (int staging, const char *name)
{
  struct stat st;
  char old[64];

  if (fstatat (staging, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return -errno;
  if (st.st_nlink < 2)
    return unlinkat (staging, name, 0) < 0 ? -errno : 1;
  for (unsigned i = 0; name[0] == 'i'; i++)
    {
      snprintf (old, sizeof old, "o%.20s.%u", name + 1, i);
      if (renameat2 (staging, name, staging, old, RENAME_NOREPLACE) == 0)
        break;
      if (errno != EEXIST)
        return -errno;
    }
  return 0;
}

/* 1: it stays. */
static int
recover_one (struct rcvmi_wb_apply *a, int staging, const char *name, bool again, rcvm_error **err)
{
  int code = 0;

  if (name[0] == 'd')
    code = restore_one (a, staging, name);
  else if (again && (name[0] == 'i' || name[0] == 'o'))
    {
      code = keep_old (staging, name);
      if (code == 0)
        return 1;
    }
  if (code < 0)
    return rcvmi_fail_errno (err, -code, "cannot repeat what has begun in '%s/%s'", a->tree.where,
                             a->staging.name);
  return rcvmi_wb_remove_in_place (staging, name, a->staging.where, err);
}

int
rcvmi_wb_recover (struct rcvmi_wb_apply *a, bool again, rcvm_error **err)
{
  int staging = rcvmi_wb_open_dir (a->tree.root, a->staging.name), code = 0;
  DIR *dir = staging < 0 ? NULL : fdopendir (staging);
  struct dirent *e;
  size_t kept = 0;

  if (staging == -ENOENT)
    return 0;
  if (!dir)
    {
      code = rcvmi_fail_errno (err, staging < 0 ? -staging : errno, "cannot open the directory '%s/%s'",
                               a->tree.where, a->staging.name);
      cleanup_close (&staging);
      return code;
    }
  while (code >= 0 && (e = readdir (dir)))
    if (rcvmi_wb_is_name (e->d_name))
      {
        code = recover_one (a, dirfd (dir), e->d_name, again, err);
        kept += code == 1;
      }
  if (code >= 0 && kept && a->staging.fd < 0)
    {
      a->sharing = true;
      a->staging.fd = fcntl (dirfd (dir), F_DUPFD_CLOEXEC, 0);
      if (a->staging.fd < 0)
        code = rcvmi_fail_errno (err, errno, "cannot keep a directory open");
    }
  closedir (dir);
  if (code < 0)
    return code;
  return kept ? 0 : rcvmi_wb_staging_clean (&a->staging, err);
}

/* The files of earlier runs: what still has them gets this run's. */
static int
add_old (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  int list = rcvmi_wb_open_dir (a->staging.fd, ""), code = 0;
  DIR *dir = list < 0 ? NULL : fdopendir (list);
  struct dirent *e;

  if (!dir)
    {
      code = rcvmi_fail_errno (err, list < 0 ? -list : errno, "cannot read the directory '%s/%s'",
                               a->tree.where, a->staging.name);
      cleanup_close (&list);
      return code;
    }
  while (code == 0 && (e = readdir (dir)))
    {
      struct rcvmi_wb_shared s = { .path = NULL };
      struct stat st;

      if (sscanf (e->d_name, "o%u.", &s.ino) != 1 || s.ino == 0 || !rcvmi_wb_set_has (&a->copied, s.ino)
          || fstatat (list, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        continue;
      s.host_dev = st.st_dev;
      s.host_ino = st.st_ino;
      code = add_shared (a, &s, err);
    }
  closedir (dir);
  return code;
}

/* A name that the look at the whole tree came by. */
static int
look_at (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, const char *name, const struct stat *st,
         rcvm_error **err)
{
  struct rcvmi_wb_shared key = { .host_dev = st->st_dev, .host_ino = st->st_ino };
  const struct rcvmi_wb_shared *s, *end = a->shared + a->n_shared;

  if (st->st_nlink < 2)
    return 0;
  s = bsearch (&key, a->shared, a->n_shared, sizeof key, compare_inodes);
  if (!s)
    return 0;
  while (s > a->shared && compare_inodes (s - 1, &key) == 0)
    s--;
  key = *s;
  /* Those by which it was found are not due yet. */
  for (; s < end && compare_inodes (s, &key) == 0; s++)
    if (s->path && is_path_of (s->path, t, name))
      return 0;
  return install_quietly (a, t, key.ino, name, err);
}

/* Directories of the host that were found and not looked at yet, one name after the other. */
struct names
{
  char *data;
  size_t len, cap, at;
};

struct look
{
  struct names *levels;
  size_t n, cap;
};

static int
add_name (struct names *n, const char *name)
{
  size_t len = strlen (name) + 1;

  if (n->cap - n->len < len)
    {
      size_t cap = n->cap * 2 + len + 256;
      char *data = realloc (n->data, cap);

      if (!data)
        return -1;
      n->data = data;
      n->cap = cap;
    }
  memcpy (n->data + n->len, name, len);
  n->len += len;
  return 0;
}

/* One entry of the directory that t is in. */
static int
look_at_entry (struct rcvmi_wb_apply *a, struct rcvmi_wb_tree *t, struct names *dirs,
               const char *name, rcvm_error **err)
{
  int fd = rcvmi_wb_tree_fd (t, err);
  struct stat st;

  if (fd < 0)
    return -1;
  if (!rcvmi_wb_is_name (name) || (t->n == 0 && strcmp (name, a->staging.name) == 0)
      || rcvmi_wb_is_excluded (a, t->path_len ? t->path : NULL, name)
      || fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return 0;
  if (S_ISDIR (st.st_mode))
    return add_name (dirs, name) < 0 ? rcvmi_fail_nomem (err) : 0;
  return look_at (a, t, name, &st, err);
}

/* Looks at all that is in the directory that t is in. */
static int
look_at_dir (struct rcvmi_wb_apply *a, struct look *l, struct rcvmi_wb_tree *t, rcvm_error **err)
{
  int fd = rcvmi_wb_tree_fd (t, err), list = fd < 0 ? -1 : rcvmi_wb_open_dir (fd, ""), code = 0;
  DIR *dir = list < 0 ? NULL : fdopendir (list);
  struct dirent *e;

  if (fd < 0)
    return -1;
  if (!dir)
    {
      int errnum = list < 0 ? -list : errno;
      autofree char *path = rcvmi_wb_tree_name (t, NULL);

      cleanup_close (&list);
      return rcvmi_fail_errno (err, errnum, "cannot look for hard links in '%s'", path ? path : "?");
    }
  if (l->n == l->cap)
    {
      size_t cap = l->cap * 2 + 16;
      struct names *levels = reallocarray (l->levels, cap, sizeof *levels);

      if (levels)
        {
          l->levels = levels;
          l->cap = cap;
        }
      else
        code = rcvmi_fail_nomem (err);
    }
  if (code == 0)
    l->levels[l->n++] = (struct names){ 0 };
  while (code == 0 && (e = readdir (dir)))
    code = look_at_entry (a, t, &l->levels[l->n - 1], e->d_name, err);
  closedir (dir);
  return code;
}

static int
look_on (struct rcvmi_wb_apply *a, struct look *l, struct rcvmi_wb_tree *t, rcvm_error **err)
{
  struct names *dirs = &l->levels[l->n - 1];
  const char *name = dirs->data + dirs->at;
  int code;

  if (dirs->at == dirs->len)
    {
      free (dirs->data);
      l->n--;
      if (t->n)
        rcvmi_wb_tree_leave (t);
      return 0;
    }
  dirs->at += strlen (name) + 1;
  code = rcvmi_wb_tree_enter (t, name);
  /* What is mounted there is not the container's tree; and others may have taken it away. */
  if (code == -EXDEV || code == -ENOENT || code == -ENOTDIR || code == -ELOOP)
    return 0;
  if (code < 0)
    {
      autofree char *path = rcvmi_wb_tree_name (t, name);

      return rcvmi_fail_errno (err, -code, "cannot look for hard links in '%s'", path ? path : "?");
    }
  return look_at_dir (a, l, t, err);
}

static int
install_others (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  struct rcvmi_wb_tree t;
  struct look l = { 0 };
  int code;

  rcvmi_wb_tree_init (&t, a->tree.root, a->tree.where);
  code = look_at_dir (a, &l, &t, err);
  while (code == 0 && l.n)
    code = look_on (a, &l, &t, err);
  while (l.n)
    free (l.levels[--l.n].data);
  free (l.levels);
  rcvmi_wb_tree_clear (&t);
  return code;
}

/* Enters the directory of a path; 0, or -errno.  *name is the last component. */
static int
enter_parent (struct rcvmi_wb_tree *t, char *path, const char **name)
{
  int code = 0;

  for (char *slash; code == 0 && (slash = strchr (path, '/')); path = slash + 1)
    {
      *slash = 0;
      code = rcvmi_wb_tree_enter (t, path);
      *slash = '/';
    }
  *name = path;
  return code;
}

static int
install_path (struct rcvmi_wb_apply *a, uint32_t ino, const char *path, bool optional,
              rcvm_error **err)
{
  autofree char *copy = strdup (path);
  struct rcvmi_wb_tree t;
  const char *name;
  struct stat st;
  int code, fd;

  if (!copy)
    return rcvmi_fail_nomem (err);
  rcvmi_wb_tree_init (&t, a->tree.root, a->tree.where);
  code = enter_parent (&t, copy, &name);
  if (code < 0)
    code = optional && (code == -ENOENT || code == -ENOTDIR || code == -ELOOP || code == -EXDEV)
               ? 0
               : rcvmi_fail_errno (err, -code, "cannot open the directory of '%s/%s'", t.where, path);
  else if ((fd = rcvmi_wb_tree_fd (&t, err)) < 0)
    code = -1;
  else if (!optional || fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR (st.st_mode))
    code = install_quietly (a, &t, ino, name, err);
  rcvmi_wb_tree_clear (&t);
  return code;
}

int
rcvmi_wb_install_shared (struct rcvmi_wb_apply *a, rcvm_error **err)
{
  int code = a->sharing ? add_old (a, err) : 0;

  if (a->n_shared == 0)
    return code;
  if (code < 0)
    return code;
  a->sharing = true;
  qsort (a->shared, a->n_shared, sizeof *a->shared, compare_inodes);
  code = install_others (a, err);
  for (size_t i = 0; code == 0 && i < a->n_shared; i++)
    if (a->shared[i].path)
      code = install_path (a, a->shared[i].ino, a->shared[i].path, false, err);
  return code;
}

/* A prefix of the path, or all of it, was excluded. */
static bool
is_excluded_path (const struct rcvmi_wb_apply *a, const char *path)
{
  for (size_t i = 0; a->options && i < a->options->n_exclude; i++)
    {
      const char *e = a->options->exclude[i];
      size_t len = strlen (e);

      if (len > 1 && *e == '/' && strncmp (e + 1, path, len - 1) == 0
          && (!path[len - 1] || path[len - 1] == '/'))
        return true;
    }
  return false;
}

int
rcvmi_wb_install_also (struct rcvmi_wb_apply *a, const struct rcvmi_wb_record *r, rcvm_error **err)
{
  return is_excluded_path (a, r->name) ? 0 : install_path (a, r->ino, r->name, true, err);
}
