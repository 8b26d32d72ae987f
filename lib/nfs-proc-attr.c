/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GETATTR, SETATTR, ACCESS, READLINK. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum
{
  SLOW_TO_CUT = 64 << 20 /* bytes */
};

/* RFC 1813, section 3.3.1 */
enum nfs_outcome
rcvmi_nfs_proc_getattr (struct nfs_call *c)
{
  struct nfs_handle h;
  struct nfs_object *obj;
  struct statx st;

  rcvmi_nfs_get_handle (&c->in, &h);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_object_get (c, &h, &obj);
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (rcvmi_nfs_stat (obj, &st));
  xdr_put_u32 (&c->out, c->status);
  if (c->status == NFS3_OK)
    rcvmi_nfs_put_fattr (&c->out, obj->scope, &st);
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.2 */
enum nfs_outcome
rcvmi_nfs_proc_setattr (struct nfs_call *c)
{
  struct nfs_handle h;
  struct nfs_object *obj;
  struct nfs_sattr attr;
  struct nfs_wcc wcc = { 0 };
  uint32_t guard_sec = 0, guard_nsec = 0;
  bool guarded;

  rcvmi_nfs_get_handle (&c->in, &h);
  rcvmi_nfs_get_sattr (&c->in, &attr);
  guarded = xdr_get_bool (&c->in);
  if (guarded)
    {
      guard_sec = xdr_get_u32 (&c->in);
      guard_nsec = xdr_get_u32 (&c->in);
    }
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter (c, &h, &obj);
  if (c->status == NFS3_OK)
    {
      if (!rcvmi_nfs_lock (c, obj))
        {
          rcvmi_nfs_object_put (c->server, obj);
          return NFS_DONE;
        }
      rcvmi_nfs_wcc_before (&wcc, obj);
      /* To cut a long file short takes the file system a while. */
      if (attr.set_size && rcvmi_nfs_may_detach (c) && wcc.have_before
          && wcc.before.stx_size / SLOW_TO_CUT > attr.size / SLOW_TO_CUT)
        {
          pthread_mutex_unlock (&obj->order);
          rcvmi_nfs_object_put (c->server, obj);
          c->detach = true;
          return NFS_DONE;
        }
      if (obj->scope->export->options.read_only)
        c->status = NFS3ERR_ROFS;
      else if (guarded
               && (!wcc.have_before || (uint32_t) wcc.before.stx_ctime.tv_sec != guard_sec
                   || wcc.before.stx_ctime.tv_nsec != guard_nsec))
        c->status = NFS3ERR_NOT_SYNC;
      else
        c->status = rcvmi_nfs_status (rcvmi_nfs_set_attr (c, obj, &attr));
      pthread_mutex_unlock (&obj->order);
    }
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_wcc (&c->out, &wcc);
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* What access(2) says of one right. */
static bool
has_right (const struct nfs_object *obj, int mode)
{
  if (obj->fd < 0)
    return !(mode & W_OK);
  return syscall (SYS_faccessat2, obj->fd, "", mode, AT_EACCESS | AT_EMPTY_PATH) == 0;
}

/* RFC 1813, section 3.3.4 */
enum nfs_outcome
rcvmi_nfs_proc_access (struct nfs_call *c)
{
  enum
  {
    WRITES = ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE
  };
  uint32_t asked, granted = 0, executes;
  struct nfs_handle h;
  struct nfs_object *obj;

  rcvmi_nfs_get_handle (&c->in, &h);
  asked = xdr_get_u32 (&c->in);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = rcvmi_nfs_enter (c, &h, &obj);
  xdr_put_u32 (&c->out, c->status);
  if (c->status != NFS3_OK)
    {
      xdr_put_u32 (&c->out, 0);
      return NFS_DONE;
    }
  /* To delete is a right in directories, to search is theirs alone, and to execute is not. */
  if (obj->type != S_IFDIR)
    asked &= ~(uint32_t) (ACCESS3_DELETE | ACCESS3_LOOKUP);
  else
    asked &= ~(uint32_t) ACCESS3_EXECUTE;
  if (obj->scope->export->options.read_only)
    asked &= ~(uint32_t) WRITES;
  executes = asked & (ACCESS3_LOOKUP | ACCESS3_EXECUTE);
  if ((asked & ACCESS3_READ) && has_right (obj, R_OK))
    granted |= ACCESS3_READ;
  if ((asked & WRITES) && has_right (obj, W_OK))
    granted |= asked & WRITES;
  if (executes && has_right (obj, X_OK))
    granted |= executes;
  rcvmi_nfs_put_post_now (&c->out, obj);
  xdr_put_u32 (&c->out, granted);
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.5 */
enum nfs_outcome
rcvmi_nfs_proc_readlink (struct nfs_call *c)
{
  struct nfs_handle h;
  struct nfs_object *obj;
  char target[NFS_PATH_MAX];
  ssize_t n = 0;

  rcvmi_nfs_get_handle (&c->in, &h);
  if (c->in.bad)
    return NFS_GARBAGE;
  if (!rcvmi_nfs_rpc_reserve (c, NFS_PATH_MAX + 256))
    return NFS_DROP;
  c->status = rcvmi_nfs_enter (c, &h, &obj);
  if (c->status == NFS3_OK && obj->type != S_IFLNK)
    c->status = NFS3ERR_INVAL;
  if (c->status == NFS3_OK)
    {
      n = readlinkat (obj->fd, "", target, sizeof target);
      if (n < 0)
        c->status = rcvmi_nfs_status (errno);
    }
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  if (c->status == NFS3_OK)
    xdr_put_opaque (&c->out, target, (size_t) n);
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}
