/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is exported.  Where the process may, an export is a mount of its own (open_tree with
 * OPEN_TREE_CLONE, like a recursive private bind mount that hangs nowhere): its root is the end of every
 * "..", and what the host mounts later beneath the directory is not in it.  Mounts that were there are part
 * of it, each a scope with handles of its own, as in a container's recursive bind mount.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "cleanup.h"
#include "err.h"

/* statfs's f_type of file systems whose directory offsets mean the same after a reopening. */
static bool
has_stable_cookies (int fd)
{
  struct utsname u;
  struct statfs fs;
  unsigned major = 0, minor = 0;

  if (fstatfs (fd, &fs) < 0)
    return false;
  switch ((unsigned) fs.f_type)
    {
    case 0xef53:     /* ext2, 3, 4 */
    case 0x58465342: /* xfs */
    case 0x9123683e: /* btrfs */
    case 0xf2f52010: /* f2fs */
    case 0x2fc12fc1: /* zfs */
      return true;
    case 0x01021994: /* tmpfs, since 6.6 */
      return uname (&u) == 0 && sscanf (u.release, "%u.%u", &major, &minor) == 2
             && (major > 6 || (major == 6 && minor >= 6));
    default:
      return false;
    }
}

static bool
keeps_births (int fd)
{
  struct statfs fs;

  return fstatfs (fd, &fs) == 0 && (unsigned) fs.f_type != 0x794c7630; /* overlayfs */
}

static bool
has_kernel_handles (int fd)
{
  union
  {
    struct file_handle h;
    char space[sizeof (struct file_handle) + RCVMI_NFS_PAYLOAD_MAX];
  } u;
  int mount_id, opened;

  u.h.handle_bytes = RCVMI_NFS_PAYLOAD_MAX;
  if (name_to_handle_at (fd, "", &u.h, &mount_id, AT_EMPTY_PATH) < 0)
    return false;
  opened = open_by_handle_at (fd, &u.h, O_PATH | O_CLOEXEC);
  if (opened < 0)
    return false;
  close (opened);
  return true;
}

/* The same for the same file system, directory and export name, whenever the server is started. */
static uint64_t
identity_of (const struct nfs_server *s, const struct nfs_export *e, int fd, const struct statx *st,
             unsigned attempt)
{
  struct statfs fs;
  struct
  {
    uint64_t name, fsid, type, dev, ino, attempt;
  } text = { .ino = st->stx_ino, .attempt = attempt };

  text.name = rcvmi_nfs_siphash (s->key, e->name, strlen (e->name));
  if (fstatfs (fd, &fs) == 0)
    {
      memcpy (&text.fsid, &fs.f_fsid, sizeof text.fsid);
      text.type = (uint64_t) fs.f_type;
    }
  if (text.fsid == 0)
    text.dev = (uint64_t) st->stx_dev_major << 32 | st->stx_dev_minor;
  return rcvmi_nfs_siphash (s->key, &text, sizeof text);
}

struct nfs_scope *
rcvmi_nfs_scope_by_tag (struct nfs_server *s, uint32_t tag)
{
  for (struct nfs_export *e = s->exports; e; e = e->next)
    for (struct nfs_scope *scope = e->scopes; scope; scope = scope->next)
      if (scope->tag == tag)
        return scope;
  return NULL;
}

static struct nfs_scope *
new_scope (struct nfs_server *s, struct nfs_export *e, int fd, const struct statx *st)
{
  struct nfs_scope *scope = calloc (1, sizeof *scope), **p = &e->scopes;
  unsigned attempt = 0;

  if (!scope)
    return NULL;
  scope->export = e;
  scope->mnt_id = st->stx_mnt_id;
  scope->root_ino = st->stx_ino;
  scope->fd = -1;
  /* The same directory mounted twice, or chance: another try. */
  do
    {
      scope->identity = identity_of (s, e, fd, st, attempt++);
      scope->tag = (uint32_t) scope->identity;
    }
  while (rcvmi_nfs_scope_by_tag (s, scope->tag) || scope->tag == 0);
  if (S_ISDIR (st->stx_mode))
    {
      scope->fd = openat (fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      scope->kernel_handles = s->by_handle && scope->fd >= 0 && has_kernel_handles (scope->fd);
      scope->stable_cookies = scope->fd >= 0 && has_stable_cookies (scope->fd);
      scope->births = scope->fd >= 0 && keeps_births (scope->fd);
    }
  while (*p)
    p = &(*p)->next;
  *p = scope;
  e->n_scopes++;
  return scope;
}

struct nfs_scope *
rcvmi_nfs_scope_by_mount (struct nfs_server *s, struct nfs_export *e, int fd, const struct statx *st)
{
  for (struct nfs_scope *scope = e->scopes; scope; scope = scope->next)
    if (scope->mnt_id == st->stx_mnt_id)
      return scope;
  return e->n_scopes < RCVMI_NFS_SCOPES ? new_scope (s, e, fd, st) : NULL;
}

static void
free_export (struct nfs_export *e)
{
  if (!e)
    return;
  while (e->scopes)
    {
      struct nfs_scope *scope = e->scopes;

      e->scopes = scope->next;
      if (scope->fd >= 0)
        close (scope->fd);
      free (scope);
    }
  if (e->root_fd >= 0)
    close (e->root_fd);
  free (e->name);
  free (e->path);
  free (e->file);
  free (e);
}

void
rcvmi_nfs_export_unref (struct nfs_export *e)
{
  if (--e->refs == 0 && e->removed)
    free_export (e);
}

/* A mount of its own, or the path itself where that is not to be had. */
static int
open_tree_of (int fd, const char *path, bool read_only)
{
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, .propagation = MS_PRIVATE };
  int tree;

  if (read_only)
    attr.attr_set |= MOUNT_ATTR_RDONLY;
  tree = (int) syscall (SYS_open_tree, fd >= 0 ? fd : AT_FDCWD, fd >= 0 ? "" : path,
                        OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE
                            | (fd >= 0 ? AT_EMPTY_PATH : 0));
  if (tree >= 0
      && syscall (SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) == 0)
    return tree;
  if (tree >= 0)
    close (tree);
  /* Already one that the caller made, or no right to make one. */
  if (fd >= 0)
    return fcntl (fd, F_DUPFD_CLOEXEC, 0);
  return open (path, O_PATH | O_CLOEXEC);
}

/* In place: mountinfo writes a space as "\040". */
static void
unescape (char *s)
{
  char *to = s;

  for (; *s; s++)
    if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0'
        && s[3] <= '7')
      {
        *to++ = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
        s += 3;
      }
    else
      *to++ = *s;
  *to = 0;
}

/* Mounts beneath the root become scopes at once, so that handles into them hold after a restart, when the
   client does not look their mount points up again.  Without /proc they become so when they are met. */
static void
add_nested (struct nfs_server *s, struct nfs_export *e, const char *real)
{
  autofclose FILE *f = fopen ("/proc/self/mountinfo", "re");
  struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
  size_t real_len = strcmp (real, "/") == 0 ? 0 : strlen (real), cap = 0;
  autofree char *line = NULL;

  while (f && getline (&line, &cap, f) > 0)
    {
      char *save, *field = strtok_r (line, " ", &save);
      struct statx st;
      autoclose int fd = -1;

      for (int i = 0; field && i < 4; i++)
        field = strtok_r (NULL, " ", &save);
      if (!field)
        continue;
      unescape (field);
      if (strncmp (field, real, real_len) != 0 || field[real_len] != '/' || !field[real_len + 1])
        continue;
      fd = (int) syscall (SYS_openat2, e->root_fd, field + real_len + 1, &how, sizeof how);
      if (fd >= 0 && statx (fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st) == 0
          && S_ISDIR (st.stx_mode))
        rcvmi_nfs_scope_by_mount (s, e, fd, &st);
    }
}

static char *
real_path (int fd)
{
  char name[40], path[PATH_MAX];
  ssize_t n;

  snprintf (name, sizeof name, "/proc/self/fd/%d", fd);
  n = readlink (name, path, sizeof path - 1);
  if (n <= 0)
    return NULL;
  path[n] = 0;
  return strdup (path);
}

static int
check_options (const struct nfs_server *s, const char *name, const struct nfs_export_options *o,
               rcvm_error **err)
{
  if (s->identities || (o->squash && o->uid == geteuid () && o->gid == getegid ()))
    return 0;
  return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                     "volume '%s' is to be served with other users' rights, for which the server has to be "
                     "started as root; squash to %u:%u works without",
                     name, (unsigned) geteuid (), (unsigned) getegid ());
}

/* Names are absolute and have no trailing slash. */
static char *
clean_name (const char *name)
{
  size_t len = strlen (name);
  char *clean;

  while (len > 1 && name[len - 1] == '/')
    len--;
  if (name[0] != '/' || len > MOUNT_PATH_MAX)
    return NULL;
  clean = strndup (name, len);
  return clean;
}

int
rcvmi_nfs_export_add (struct nfs_server *s, int fd, const char *path, const char *name,
                      const struct nfs_export_options *options, rcvm_error **err)
{
  struct nfs_export *e, **p;
  autoclose int given = -1;
  autofree char *real = NULL;
  struct statx st;
  int rc;

  if (!name || !*name)
    name = path;
  rc = check_options (s, name, options, err);
  if (rc < 0)
    return rc;
  e = calloc (1, sizeof *e);
  if (!e)
    return rcvmi_fail_nomem (err);
  e->root_fd = -1;
  e->options = *options;
  e->made = (uint64_t) time (NULL);
  e->name = clean_name (name);
  e->path = strdup (path);
  if (!e->name || !e->path)
    {
      rc = !e->path ? rcvmi_fail_nomem (err)
                    : rcvmi_fail (err, RCVM_E_INVALID, 0, "volume name '%.100s' is no absolute path", name);
      free_export (e);
      return rc;
    }
  given = fd >= 0 ? fcntl (fd, F_DUPFD_CLOEXEC, 0) : open (path, O_PATH | O_CLOEXEC);
  if (given >= 0)
    e->root_fd = open_tree_of (given, path, options->read_only);
  if (given < 0 || e->root_fd < 0
      || statx (e->root_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st) < 0)
    {
      rc = rcvmi_fail_errno (err, errno, "cannot open the volume '%s'", path);
      free_export (e);
      return rc;
    }
  e->root_ino = st.stx_ino;
  if (S_ISREG (st.stx_mode))
    {
      const char *base = strrchr (e->name, '/') + 1;

      e->file = strdup (base);
      rc = !e->file ? rcvmi_fail_nomem (err)
           : !*base ? rcvmi_fail (err, RCVM_E_INVALID, 0, "the file '%s' needs a name to be exported as",
                                  path)
                    : 0;
    }
  else if (!S_ISDIR (st.stx_mode))
    rc = rcvmi_fail (err, RCVM_E_INVALID, 0, "volume '%s' is neither a directory nor a regular file", path);
  pthread_mutex_lock (&s->lock);
  for (p = &s->exports; rc == 0 && *p; p = &(*p)->next)
    if (strcmp ((*p)->name, e->name) == 0)
      rc = rcvmi_fail (err, RCVM_E_EXISTS, 0, "there is a volume '%s' already", e->name);
  if (rc == 0 && !new_scope (s, e, e->root_fd, &st))
    rc = rcvmi_fail_nomem (err);
  if (rc == 0)
    {
      real = !e->file ? real_path (given) : NULL;
      /* A tree that hangs nowhere has no path to compare with. */
      if (real && (fd < 0 || strcmp (real, path) == 0))
        add_nested (s, e, real);
      *p = e;
    }
  pthread_mutex_unlock (&s->lock);
  if (rc < 0)
    free_export (e);
  return rc;
}

int
rcvmi_nfs_export_remove (struct nfs_server *s, const char *name, rcvm_error **err)
{
  struct nfs_export **p, *e;

  pthread_mutex_lock (&s->lock);
  for (p = &s->exports; *p && strcmp ((*p)->name, name) != 0; p = &(*p)->next)
    ;
  e = *p;
  if (e)
    {
      *p = e->next;
      /* Calls that are under way end first. */
      e->removed = true;
      e->refs++;
      rcvmi_nfs_objects_purge (s, e);
      rcvmi_nfs_export_unref (e);
    }
  pthread_mutex_unlock (&s->lock);
  return e ? 0 : rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "there is no volume '%s'", name);
}

void
rcvmi_nfs_exports_free (struct nfs_server *s)
{
  while (s->exports)
    {
      struct nfs_export *e = s->exports;

      s->exports = e->next;
      free_export (e);
    }
}
