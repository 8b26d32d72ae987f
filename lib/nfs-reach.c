/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From handles to open files and back.  The proof that a handle names something of its export:
 *
 *   1. A handle is made in two places here only (make_handle), of what was met under one component's name in a
 *      directory of the export, no symlink followed, or of the export's root.
 *   2. Nobody but the server can make one that verifies (nfs-handle.c), and it verifies in its own scope only.
 *   3. A directory that a handle names is used only if walking up from it meets the export's root; that is looked
 *      at again when a second has passed.  So a directory that was moved out of the export is stale, and nothing in
 *      it is ever met.  A file that was moved out stays reachable for who has its handle, as it does for a process
 *      that has it open; docs/volumes.md says so.
 */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "cleanup.h"

enum
{
  DEPTH_MAX = 4096,
  STAT_MASK = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
};

union kernel_handle
{
  struct file_handle h;
  char space[sizeof (struct file_handle) + RCVMI_NFS_PAYLOAD_MAX];
};

static void
close_if (int fd)
{
  if (fd >= 0)
    close (fd);
}

/* The one place where handles of files come from. */
static uint32_t
make_handle (struct nfs_call *c, struct nfs_object *dir, const char *name, int fd, const struct statx *st,
             struct nfs_scope **scope, struct nfs_handle *h)
{
  struct nfs_server *s = c->server;
  union kernel_handle u;
  int mount_id;

  *scope = dir->scope;
  if (st->stx_mnt_id != dir->scope->mnt_id)
    {
      pthread_mutex_lock (&s->lock);
      *scope = rcvmi_nfs_scope_by_mount (s, dir->scope->export, fd, st);
      pthread_mutex_unlock (&s->lock);
      if (!*scope)
        return NFS3ERR_JUKEBOX;
    }
  u.h.handle_bytes = RCVMI_NFS_PAYLOAD_MAX;
  if ((*scope)->kernel_handles && name_to_handle_at (fd, "", &u.h, &mount_id, AT_EMPTY_PATH) == 0
      && u.h.handle_type >= 0 && u.h.handle_type <= 255)
    rcvmi_nfs_handle_seal (h, s->key, *scope, NFS_HANDLE_KERNEL, (unsigned) u.h.handle_type, u.h.f_handle,
                           u.h.handle_bytes);
  else
    rcvmi_nfs_place_handle (s, dir, name, st, *scope, h);
  return NFS3_OK;
}

uint32_t
rcvmi_nfs_object_adopt (struct nfs_call *c, struct nfs_object *dir, const char *name, int fd,
                        const struct statx *st, struct nfs_object **obj)
{
  struct nfs_scope *scope;
  struct nfs_handle h;
  uint32_t status = make_handle (c, dir, name, fd, st, &scope, &h);

  if (status != NFS3_OK)
    {
      close (fd);
      return status;
    }
  return rcvmi_nfs_object_insert (c, scope, &h, fd, st, obj);
}

uint32_t
rcvmi_nfs_object_root (struct nfs_call *c, struct nfs_export *e, struct nfs_object **obj)
{
  struct nfs_object at = { .scope = e->scopes, .ino = e->root_ino };
  struct nfs_handle h;
  struct statx st;
  int fd;

  *obj = NULL;
  if (e->file)
    {
      rcvmi_nfs_handle_seal (&h, c->server->key, e->scopes, NFS_HANDLE_VIRTUAL, 0, NULL, 0);
      return rcvmi_nfs_object_get (c, &h, obj);
    }
  fd = fcntl (e->root_fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0 || statx (fd, "", AT_EMPTY_PATH, STAT_MASK, &st) < 0)
    {
      close_if (fd);
      return NFS3ERR_JUKEBOX;
    }
  return rcvmi_nfs_object_adopt (c, &at, NULL, fd, &st, obj);
}

bool
rcvmi_nfs_object_is_beneath (struct nfs_call *c, const struct nfs_export *e, int fd)
{
  struct statx st, above = { 0 };
  uint32_t uid = c->thread->now.uid;
  int at = -1;
  bool found = false;

  rcvmi_nfs_identity_server (c->thread);
  for (unsigned depth = 0; depth < DEPTH_MAX; depth++)
    {
      int next;

      if (statx (at < 0 ? fd : at, "", AT_EMPTY_PATH, STAT_MASK, &st) < 0)
        break;
      found = st.stx_ino == e->root_ino && st.stx_mnt_id == e->scopes->mnt_id;
      /* The top of all: its parent is itself. */
      if (found || (depth > 0 && st.stx_ino == above.stx_ino && st.stx_mnt_id == above.stx_mnt_id))
        break;
      next = openat (at < 0 ? fd : at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
      close_if (at);
      at = next;
      if (at < 0)
        break;
      above = st;
    }
  close_if (at);
  rcvmi_nfs_identity_restore (c->thread, uid);
  return found;
}

int
rcvmi_nfs_reach_kernel (const struct nfs_scope *scope, const struct nfs_handle *h, int flags)
{
  struct nfs_handle_parts parts;
  union kernel_handle u;
  int fd;

  if (!rcvmi_nfs_handle_parse (h, &parts) || parts.len > RCVMI_NFS_PAYLOAD_MAX || scope->fd < 0)
    return -ESTALE;
  u.h.handle_bytes = parts.len;
  u.h.handle_type = parts.type;
  memcpy (u.h.f_handle, parts.payload, parts.len);
  fd = open_by_handle_at (scope->fd, &u.h, flags | O_CLOEXEC);
  if (fd < 0)
    /* It says EINVAL and ENOENT, too, of what is no more. */
    return errno == EINVAL || errno == ENOENT ? -ESTALE : -errno;
  return fd;
}

/* Opens what a handle names that is not in the table. */
uint32_t
rcvmi_nfs_reach_handle (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle *h,
             const struct nfs_handle_parts *parts, struct nfs_object **obj)
{
  const struct nfs_export *e = scope->export;
  struct statx st = { .stx_mode = S_IFDIR, .stx_ino = ~e->root_ino };
  int fd = -1;

  if (!rcvmi_nfs_handle_verify (h, c->server->key, scope))
    return NFS3ERR_BADHANDLE;
  rcvmi_nfs_identity_server (c->thread);
  if (parts->kind == NFS_HANDLE_KERNEL)
    fd = rcvmi_nfs_reach_kernel (scope, h, O_PATH | O_NOFOLLOW);
  else if (parts->kind == NFS_HANDLE_PLACE)
    fd = rcvmi_nfs_place_open (c, scope, parts);
  else if (!e->file)
    return NFS3ERR_BADHANDLE;
  else if (parts->kind == NFS_HANDLE_SINGLE)
    fd = fcntl (e->root_fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0 && parts->kind != NFS_HANDLE_VIRTUAL)
    return rcvmi_nfs_status (fd == -1 ? errno : -fd);
  if (fd >= 0 && statx (fd, "", AT_EMPTY_PATH, STAT_MASK, &st) < 0)
    {
      close (fd);
      return NFS3ERR_STALE;
    }
  if (fd >= 0
      && ((S_ISDIR (st.stx_mode) && !rcvmi_nfs_object_is_beneath (c, e, fd)) || (st.stx_nlink == 0 && !e->file)))
    {
      close (fd);
      return NFS3ERR_STALE;
    }
  return rcvmi_nfs_object_insert (c, scope, h, fd, &st, obj);
}

static uint32_t
single_child (struct nfs_call *c, struct nfs_object *dir, const char *name, struct nfs_object **obj,
              struct statx *st)
{
  struct nfs_export *e = dir->scope->export;
  struct nfs_handle h;
  uint32_t status;

  if (strcmp (name, e->file) != 0)
    return NFS3ERR_NOENT;
  rcvmi_nfs_handle_seal (&h, c->server->key, dir->scope, NFS_HANDLE_SINGLE, 0, NULL, 0);
  status = rcvmi_nfs_object_get (c, &h, obj);
  if (status == NFS3_OK)
    status = rcvmi_nfs_status (rcvmi_nfs_stat (*obj, st));
  return status;
}

uint32_t
rcvmi_nfs_object_child (struct nfs_call *c, struct nfs_object *dir, const char *name, struct nfs_object **obj,
                        struct statx *st)
{
  struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
  int fd;

  *obj = NULL;
  if (dir->type != S_IFDIR)
    return NFS3ERR_NOTDIR;
  if (dir->fd < 0)
    return single_child (c, dir, name, obj, st);
  fd = (int) syscall (SYS_openat2, dir->fd, name, &how, sizeof how);
  if (fd < 0)
    return errno == EXDEV ? NFS3ERR_ACCES : rcvmi_nfs_status (errno);
  if (statx (fd, "", AT_EMPTY_PATH, STAT_MASK, st) < 0)
    {
      int saved = errno;

      close (fd);
      return rcvmi_nfs_status (saved);
    }
  return rcvmi_nfs_object_adopt (c, dir, name, fd, st, obj);
}

uint32_t
rcvmi_nfs_object_parent (struct nfs_call *c, struct nfs_object *dir, struct nfs_object **obj,
                         struct statx *st)
{
  const struct nfs_export *e = dir->scope->export;
  bool is_root = dir->fd < 0 || (dir->scope == e->scopes && dir->ino == e->root_ino);
  uint32_t status;
  int fd;

  *obj = NULL;
  if (dir->type != S_IFDIR)
    return NFS3ERR_NOTDIR;
  if (is_root)
    {
      /* As at the root of any file system. */
      status = rcvmi_nfs_object_get (c, &dir->handle, obj);
      return status ? status : rcvmi_nfs_status (rcvmi_nfs_stat (dir, st));
    }
  fd = openat (dir->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return rcvmi_nfs_status (errno);
  if (statx (fd, "", AT_EMPTY_PATH, STAT_MASK, st) < 0 || !rcvmi_nfs_object_is_beneath (c, e, fd))
    {
      close (fd);
      return NFS3ERR_STALE;
    }
  return rcvmi_nfs_object_adopt (c, dir, NULL, fd, st, obj);
}

/* Handles of all file systems that matter hold the inode number as it is. */
static bool
mentions_inode (const union kernel_handle *u, uint64_t ino)
{
  uint32_t low = (uint32_t) ino, word;

  for (unsigned i = 0; i + 4 <= u->h.handle_bytes; i += 4)
    {
      memcpy (&word, u->h.f_handle + i, sizeof word);
      if (word == low)
        return true;
    }
  return false;
}

/* The kernel's handle of a name, sealed.  `ino` not 0: only if it is that inode's. */
bool
rcvmi_nfs_reach_name (struct nfs_call *c, const struct nfs_object *dir, const char *name, uint64_t ino,
                      struct nfs_handle *h)
{
  union kernel_handle u;
  int mount_id;

  u.h.handle_bytes = RCVMI_NFS_PAYLOAD_MAX;
  if (dir->fd < 0 || !dir->scope->kernel_handles || name_to_handle_at (dir->fd, name, &u.h, &mount_id, 0) < 0
      || u.h.handle_type < 0 || u.h.handle_type > 255 || (ino && !mentions_inode (&u, ino)))
    return false;
  rcvmi_nfs_handle_seal (h, c->server->key, dir->scope, NFS_HANDLE_KERNEL, (unsigned) u.h.handle_type,
                         u.h.f_handle, u.h.handle_bytes);
  return true;
}

bool
rcvmi_nfs_object_entry (struct nfs_call *c, struct nfs_object *dir, const char *name, struct statx *st,
                        struct nfs_handle *h)
{
  struct nfs_object *obj;

  /* Two looks at a name may see two files.  One that shows the other's number is believed; else it is
     opened. */
  if (dir->fd >= 0 && dir->scope->kernel_handles
      && statx (dir->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STAT_MASK, st) == 0
      && st->stx_mnt_id == dir->scope->mnt_id)
    {
      if (rcvmi_nfs_known_find (c, dir->scope, st, h))
        return true;
      if (rcvmi_nfs_reach_name (c, dir, name, st->stx_ino, h))
        {
          rcvmi_nfs_known_add (c, dir->scope, st, h);
          return true;
        }
    }
  if (rcvmi_nfs_object_child (c, dir, name, &obj, st) != NFS3_OK)
    {
      rcvmi_nfs_object_put (c->server, obj);
      return false;
    }
  *h = obj->handle;
  rcvmi_nfs_object_put (c->server, obj);
  return true;
}
