/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* FSSTAT, FSINFO, PATHCONF. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The handle and the attributes that all three begin with. */
static bool
begin (struct nfs_call *c, struct nfs_object **obj)
{
  struct nfs_handle h;

  rcvmi_nfs_get_handle (&c->in, &h);
  if (c->in.bad)
    return false;
  c->status = rcvmi_nfs_object_get (c, &h, obj);
  return true;
}

static int
stat_fs (const struct nfs_object *obj, struct statfs *fs)
{
  int fd = obj->fd >= 0 ? obj->fd : obj->scope->export->root_fd;

  return fstatfs (fd, fs) < 0 ? errno : 0;
}

/* RFC 1813, section 3.3.18 */
enum nfs_outcome
rcvmi_nfs_proc_fsstat (struct nfs_call *c)
{
  struct nfs_object *obj;
  struct statfs fs;
  uint64_t unit;

  if (!begin (c, &obj))
    return NFS_GARBAGE;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (stat_fs (obj, &fs));
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  if (c->status == NFS3_OK)
    {
      unit = (uint64_t) (fs.f_frsize ? fs.f_frsize : fs.f_bsize);
      xdr_put_u64 (&c->out, fs.f_blocks * unit);
      xdr_put_u64 (&c->out, fs.f_bfree * unit);
      xdr_put_u64 (&c->out, fs.f_bavail * unit);
      xdr_put_u64 (&c->out, fs.f_files);
      xdr_put_u64 (&c->out, fs.f_ffree);
      xdr_put_u64 (&c->out, fs.f_ffree);
      xdr_put_u32 (&c->out, 0); /* it may change at any time */
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.19 */
enum nfs_outcome
rcvmi_nfs_proc_fsinfo (struct nfs_call *c)
{
  struct nfs_object *obj;

  if (!begin (c, &obj))
    return NFS_GARBAGE;
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  if (c->status == NFS3_OK)
    {
      xdr_put_u32 (&c->out, NFS_TRANSFER_MAX); /* rtmax, rtpref, rtmult */
      xdr_put_u32 (&c->out, NFS_TRANSFER_MAX);
      xdr_put_u32 (&c->out, 4096);
      xdr_put_u32 (&c->out, NFS_TRANSFER_MAX); /* wtmax, wtpref, wtmult */
      xdr_put_u32 (&c->out, NFS_TRANSFER_MAX);
      xdr_put_u32 (&c->out, 4096);
      xdr_put_u32 (&c->out, NFS_DIR_PREFERRED);
      xdr_put_u64 (&c->out, INT64_MAX);
      xdr_put_u32 (&c->out, 0); /* time_delta: a nanosecond */
      xdr_put_u32 (&c->out, 1);
      xdr_put_u32 (&c->out, FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME);
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.20 */
enum nfs_outcome
rcvmi_nfs_proc_pathconf (struct nfs_call *c)
{
  enum
  {
    LINKS = 65000 /* ext4's, the least of those that have a limit worth the name */
  };
  struct nfs_object *obj;
  struct statfs fs;

  if (!begin (c, &obj))
    return NFS_GARBAGE;
  if (c->status == NFS3_OK)
    c->status = rcvmi_nfs_status (stat_fs (obj, &fs));
  xdr_put_u32 (&c->out, c->status);
  rcvmi_nfs_put_post_now (&c->out, obj);
  if (c->status == NFS3_OK)
    {
      xdr_put_u32 (&c->out, LINKS);
      xdr_put_u32 (&c->out, fs.f_namelen > 0 && fs.f_namelen < NFS_NAME_MAX ? (uint32_t) fs.f_namelen
                                                                            : NFS_NAME_MAX);
      xdr_put_u32 (&c->out, 1); /* no_trunc */
      xdr_put_u32 (&c->out, 1); /* chown_restricted */
      xdr_put_u32 (&c->out, 0); /* case_insensitive */
      xdr_put_u32 (&c->out, 1); /* case_preserving */
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}
