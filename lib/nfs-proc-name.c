/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* LOOKUP, REMOVE, RMDIR, RENAME, LINK. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

static bool
is_dots (const char *name)
{
  return strcmp (name, ".") == 0 || strcmp (name, "..") == 0;
}

static uint32_t
lookup (struct nfs_call *c, struct nfs_object *dir, const struct nfs_dirop *d, struct nfs_object **obj,
        struct statx *st)
{
  uint32_t status = rcvmi_nfs_check_name (d);
  int rc;

  if (dir->type != S_IFDIR)
    return NFS3ERR_NOTDIR;
  if (status != NFS3_OK)
    return status;
  if (!is_dots (d->name))
    return rcvmi_nfs_object_child (c, dir, d->name, obj, st);
  rc = rcvmi_nfs_may (c, dir, X_OK);
  if (rc != 0)
    return rcvmi_nfs_status (rc);
  if (d->name[1] == '.')
    return rcvmi_nfs_object_parent (c, dir, obj, st);
  status = rcvmi_nfs_object_get (c, &dir->handle, obj);
  return status ? status : rcvmi_nfs_status (rcvmi_nfs_stat (dir, st));
}

/* RFC 1813, section 3.3.3 */
enum nfs_outcome
rcvmi_nfs_proc_lookup (struct nfs_call *c)
{
  struct nfs_object *dir, *obj = NULL;
  struct nfs_dirop d;
  struct statx st;

  rcvmi_nfs_get_dirop (&c->in, &d);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter (c, &d.handle, &dir);
  if (c->status == NFS3_OK)
    c->status = lookup (c, dir, &d, &obj, &st);
  xdr_put_u32 (&c->out, c->status);
  if (c->status == NFS3_OK)
    {
      xdr_put_opaque (&c->out, obj->handle.data, obj->handle.len);
      rcvmi_nfs_put_post (&c->out, obj->scope, &st);
    }
  rcvmi_nfs_put_post_now (&c->out, dir);
  rcvmi_nfs_object_put (c->server, obj);
  rcvmi_nfs_object_put (c->server, dir);
  return NFS_DONE;
}

/* To remove or replace a mount point takes the mount away from everybody, unless it is in one's own
   namespace: the kernel would let this process do it, whose exports are in none. */
static bool
is_mount_point (const struct nfs_object *dir, const char *name)
{
  struct statx st;

  return statx (dir->fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) == 0
         && (st.stx_mask & STATX_MNT_ID) && st.stx_mnt_id != dir->scope->mnt_id;
}

static enum nfs_outcome
answer_wcc (struct nfs_call *c, struct nfs_wcc *wcc)
{
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (rcvmi_nfs_settle (c, wcc->obj));
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_wcc (&c->out, wcc);
  rcvmi_nfs_object_put (c->server, wcc->obj);
  return NFS_DONE;
}

static enum nfs_outcome
remove_name (struct nfs_call *c, bool directory)
{
  struct nfs_dirop d;
  struct nfs_wcc wcc;

  rcvmi_nfs_get_dirop (&c->in, &d);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter_change (c, &d.handle, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_check_name (&d);
  if (c->status == NFS3_OK && is_dots (d.name))
    c->status = !directory ? NFS3ERR_ISDIR : d.name[1] ? NFS3ERR_EXIST : NFS3ERR_INVAL;
  if (c->status == NFS3_OK && is_mount_point (wcc.obj, d.name))
    c->status = NFS3ERR_ACCES;
  if (c->status == NFS3_OK)
    {
      if (!directory)
        rcvmi_nfs_object_forget (c, wcc.obj, d.name);
      if (unlinkat (wcc.obj->fd, d.name, directory ? AT_REMOVEDIR : 0) < 0)
        c->status = rcvmi_nfs_status (errno);
    }
  return answer_wcc (c, &wcc);
}

/* RFC 1813, section 3.3.12 */
enum nfs_outcome
rcvmi_nfs_proc_remove (struct nfs_call *c)
{
  return remove_name (c, false);
}

/* RFC 1813, section 3.3.13 */
enum nfs_outcome
rcvmi_nfs_proc_rmdir (struct nfs_call *c)
{
  return remove_name (c, true);
}

/* Both directories change: both sets of attributes. */
static enum nfs_outcome
answer_two (struct nfs_call *c, struct nfs_wcc *from, struct nfs_wcc *to)
{
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (rcvmi_nfs_settle (c, to->obj));
  if (c->status == NFS3_OK && from->obj != to->obj)
    c->status = rcvmi_nfs_status (rcvmi_nfs_settle (c, from->obj));
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_wcc (&c->out, from);
  rcvmi_nfs_put_wcc (&c->out, to);
  rcvmi_nfs_object_put (c->server, from->obj);
  rcvmi_nfs_object_put (c->server, to->obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.14 */
enum nfs_outcome
rcvmi_nfs_proc_rename (struct nfs_call *c)
{
  struct nfs_dirop from, to;
  struct nfs_wcc from_wcc, to_wcc = { 0 };

  rcvmi_nfs_get_dirop (&c->in, &from);
  rcvmi_nfs_get_dirop (&c->in, &to);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter_change (c, &from.handle, &from_wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_enter_change (c, &to.handle, &to_wcc);
  if (c->detach)
    {
      rcvmi_nfs_object_put (c->server, from_wcc.obj);
      return NFS_DONE;
    }
  if (c->status == NFS3_OK && from_wcc.obj->scope->export != to_wcc.obj->scope->export)
    c->status = NFS3ERR_XDEV;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_check_name (&from);
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_check_name (&to);
  if (c->status == NFS3_OK && (is_dots (from.name) || is_dots (to.name)))
    c->status = NFS3ERR_INVAL;
  if (c->status == NFS3_OK
      && (is_mount_point (from_wcc.obj, from.name) || is_mount_point (to_wcc.obj, to.name)))
    c->status = NFS3ERR_ACCES;
  if (c->status == NFS3_OK)
    {
      if (renameat (from_wcc.obj->fd, from.name, to_wcc.obj->fd, to.name) < 0)
        c->status = rcvmi_nfs_status (errno);
      else
        rcvmi_nfs_place_moved (c->server, from_wcc.obj, from.name, to_wcc.obj, to.name);
    }
  return answer_two (c, &from_wcc, &to_wcc);
}

/* To link what a fd names wants CAP_DAC_READ_SEARCH, which acting as a user takes away: it comes back for
   this one call, and whether the user may write in the directory is still asked of the user's rights. */
static int
link_with_capability (const struct nfs_object *obj, const struct nfs_object *dir, const char *name)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct had[2], with[2];
  int rc;

  if (syscall (SYS_capget, &header, had) < 0)
    return errno;
  memcpy (with, had, sizeof with);
  with[0].effective |= 1U << CAP_DAC_READ_SEARCH;
  if (syscall (SYS_capset, &header, with) < 0)
    return errno;
  rc = linkat (obj->fd, "", dir->fd, name, AT_EMPTY_PATH) < 0 ? errno : 0;
  syscall (SYS_capset, &header, had);
  return rc;
}

static int
link_to (struct nfs_call *c, const struct nfs_object *obj, const struct nfs_object *dir, const char *name)
{
  char path[16];
  int rc;

  if (c->server->identities)
    {
      rc = rcvmi_nfs_may (c, dir, W_OK | X_OK);
      return rc ? rc : link_with_capability (obj, dir, name);
    }
  if (linkat (obj->fd, "", dir->fd, name, AT_EMPTY_PATH) == 0)
    return 0;
  if (errno != ENOENT || c->server->proc_fd < 0)
    return errno;
  snprintf (path, sizeof path, "%d", obj->fd);
  return linkat (c->server->proc_fd, path, dir->fd, name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
}

/* RFC 1813, section 3.3.15 */
enum nfs_outcome
rcvmi_nfs_proc_link (struct nfs_call *c)
{
  struct nfs_handle h;
  struct nfs_dirop d;
  struct nfs_wcc wcc;
  struct nfs_object *obj = NULL;

  rcvmi_nfs_get_handle (&c->in, &h);
  rcvmi_nfs_get_dirop (&c->in, &d);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter_change (c, &d.handle, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_object_get (c, &h, &obj);
  /* Opening what the handle names may have taken other rights. */
  if (c->status == NFS3_OK && rcvmi_nfs_identity_assume (c->thread, wcc.obj->scope->export, &c->cred) != 0)
    c->status = NFS3ERR_SERVERFAULT;
  if (c->status == NFS3_OK && obj->scope->export != wcc.obj->scope->export)
    c->status = NFS3ERR_XDEV;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_check_name (&d);
  if (c->status == NFS3_OK && is_dots (d.name))
    c->status = NFS3ERR_EXIST;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (obj->fd < 0 ? EPERM : link_to (c, obj, wcc.obj, d.name));
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (rcvmi_nfs_settle (c, wcc.obj));
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  rcvmi_nfs_put_wcc (&c->out, &wcc);
  rcvmi_nfs_object_put (c->server, obj);
  rcvmi_nfs_object_put (c->server, wcc.obj);
  return NFS_DONE;
}
