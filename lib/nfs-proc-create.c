/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CREATE, MKDIR, SYMLINK, MKNOD. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"

enum
{
  DEFAULT_MODE = 0600,
  SET_ID = S_ISUID | S_ISGID
};

/* What an exclusive create leaves in the file's times until the client sets them (RFC 1813, section 4.10):
   so a repetition is known, also after a restart.  31 bits are what every file system keeps. */
static void
verifier_times (const uint8_t *verf, struct timespec times[2])
{
  times[0] = (struct timespec){ .tv_sec = be32_load (verf) & 0x7fffffff };
  times[1] = (struct timespec){ .tv_sec = be32_load (verf + 4) & 0x7fffffff };
}

static uint32_t
mode_of (const struct nfs_sattr *attr)
{
  return attr->set_mode ? attr->mode : DEFAULT_MODE;
}

/* The attributes that making the thing has not given it. */
static int
set_rest (struct nfs_call *c, struct nfs_object *obj, const struct nfs_sattr *attr)
{
  struct nfs_sattr rest = *attr;
  const struct nfs_cred *now = &c->thread->now;

  /* A mode without such bits was given, and may rightly have been narrowed by the directory's default ACL. */
  rest.set_mode = attr->set_mode && (attr->mode & SET_ID) && obj->type != S_IFLNK;
  rest.set_uid = attr->set_uid && attr->uid != now->uid;
  rest.set_gid = attr->set_gid && attr->gid != now->gid;
  rest.set_size = attr->set_size && attr->size != 0 && obj->type == S_IFREG;
  /* Squashed callers' files are whose they are squashed to. */
  if (obj->scope->export->options.squash && now->uid != 0)
    rest.set_uid = rest.set_gid = false;
  return rcvmi_nfs_set_attr (c, obj, &rest);
}

/* diropres3 */
static enum nfs_outcome
answer (struct nfs_call *c, struct nfs_wcc *wcc, struct nfs_object *obj)
{
  struct statx st;

  if (c->status == NFS3_OK && wcc->obj)
    c->status = rcvmi_nfs_status (rcvmi_nfs_settle (c, wcc->obj));
  xdr_put_u32 (&c->out, c->status);
  if (c->status == NFS3_OK)
    {
      bool known = obj && rcvmi_nfs_stat (obj, &st) == 0;

      rcvmi_nfs_put_post_handle (&c->out, known ? &obj->handle : NULL);
      rcvmi_nfs_put_post (&c->out, known ? obj->scope : NULL, known ? &st : NULL);
    }
  rcvmi_nfs_put_wcc (&c->out, wcc);
  rcvmi_nfs_object_put (c->server, obj);
  rcvmi_nfs_object_put (c->server, wcc->obj);
  return NFS_DONE;
}

/* What was just made under that name.  `type` tells whether the host was faster and put something else
   there: then the reply comes without a handle, and the client looks itself. */
static struct nfs_object *
made (struct nfs_call *c, struct nfs_object *dir, const char *name, uint32_t type)
{
  struct nfs_object *obj;
  struct statx st;

  if (rcvmi_nfs_object_child (c, dir, name, &obj, &st) == NFS3_OK && obj->type == type)
    return obj;
  rcvmi_nfs_object_put (c->server, obj);
  return NULL;
}

static uint32_t
begin (struct nfs_call *c, const struct nfs_dirop *d, struct nfs_wcc *wcc)
{
  uint32_t status = rcvmi_nfs_enter_change (c, &d->handle, wcc);

  if (status == NFS3_OK)
    status = rcvmi_nfs_check_name (d);
  if (status == NFS3_OK && (strcmp (d->name, ".") == 0 || strcmp (d->name, "..") == 0))
    status = NFS3ERR_EXIST;
  return status;
}

/* The name is taken: right for an unchecked create of a file, and for an exclusive one that was answered
   before. */
static uint32_t
take_existing (struct nfs_call *c, struct nfs_object *dir, const char *name, unsigned how,
               const struct nfs_sattr *attr, const struct timespec times[2], struct nfs_object **obj)
{
  struct nfs_sattr size = { .set_size = attr->set_size, .size = attr->size };
  struct statx st;
  uint32_t status;

  if (how == NFS_GUARDED)
    return NFS3ERR_EXIST;
  status = rcvmi_nfs_object_child (c, dir, name, obj, &st);
  if (status != NFS3_OK)
    return status;
  if (!S_ISREG (st.stx_mode))
    return NFS3ERR_EXIST;
  if (how == NFS_UNCHECKED)
    return rcvmi_nfs_status (rcvmi_nfs_set_attr (c, *obj, &size));
  return st.stx_atime.tv_sec == times[0].tv_sec && st.stx_mtime.tv_sec == times[1].tv_sec ? NFS3_OK
                                                                                         : NFS3ERR_EXIST;
}

static uint32_t
create_file (struct nfs_call *c, struct nfs_object *dir, const char *name, unsigned how,
             const struct nfs_sattr *attr, const struct timespec times[2], struct nfs_object **obj)
{
  autoclose int fd = openat (dir->fd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
                             how == NFS_EXCLUSIVE ? DEFAULT_MODE : mode_of (attr));
  struct stat st;

  if (fd < 0)
    return errno == EEXIST ? take_existing (c, dir, name, how, attr, times, obj) : rcvmi_nfs_status (errno);
  if (how == NFS_EXCLUSIVE && futimens (fd, times) < 0)
    return rcvmi_nfs_status (errno);
  *obj = made (c, dir, name, S_IFREG);
  if (!*obj || fstat (fd, &st) < 0 || st.st_ino != (*obj)->ino)
    return NFS3_OK;
  rcvmi_nfs_object_give (c->server, *obj, steal_fd (&fd));
  return how == NFS_EXCLUSIVE ? NFS3_OK : rcvmi_nfs_status (set_rest (c, *obj, attr));
}

/* RFC 1813, section 3.3.8 */
enum nfs_outcome
rcvmi_nfs_proc_create (struct nfs_call *c)
{
  struct nfs_dirop d;
  struct nfs_sattr attr = { 0 };
  struct nfs_wcc wcc;
  struct nfs_object *obj = NULL;
  struct timespec times[2] = { { 0 } };
  const uint8_t *verf;
  uint32_t how;

  rcvmi_nfs_get_dirop (&c->in, &d);
  how = xdr_get_u32 (&c->in);
  if (how == NFS_UNCHECKED || how == NFS_GUARDED)
    rcvmi_nfs_get_sattr (&c->in, &attr);
  else if (how == NFS_EXCLUSIVE)
    {
      verf = xdr_take (&c->in, NFS_CREATE_VERF);
      if (verf)
        verifier_times (verf, times);
    }
  else
    return NFS_GARBAGE;
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = begin (c, &d, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK)
    c->status = create_file (c, wcc.obj, d.name, how, &attr, times, &obj);
  return answer (c, &wcc, obj);
}

/* RFC 1813, section 3.3.9 */
enum nfs_outcome
rcvmi_nfs_proc_mkdir (struct nfs_call *c)
{
  struct nfs_dirop d;
  struct nfs_sattr attr;
  struct nfs_wcc wcc;
  struct nfs_object *obj = NULL;

  rcvmi_nfs_get_dirop (&c->in, &d);
  rcvmi_nfs_get_sattr (&c->in, &attr);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = begin (c, &d, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK && mkdirat (wcc.obj->fd, d.name, attr.set_mode ? attr.mode : 0700) < 0)
    c->status = rcvmi_nfs_status (errno);
  if (c->status == NFS3_OK)
    {
      obj = made (c, wcc.obj, d.name, S_IFDIR);
      if (obj)
        c->status = rcvmi_nfs_status (set_rest (c, obj, &attr));
    }
  return answer (c, &wcc, obj);
}

/* RFC 1813, section 3.3.10 */
enum nfs_outcome
rcvmi_nfs_proc_symlink (struct nfs_call *c)
{
  struct nfs_dirop d;
  struct nfs_sattr attr;
  struct nfs_wcc wcc;
  struct nfs_object *obj = NULL;
  char target[NFS_PATH_MAX];
  const uint8_t *path;
  uint32_t len;

  rcvmi_nfs_get_dirop (&c->in, &d);
  rcvmi_nfs_get_sattr (&c->in, &attr);
  path = xdr_get_opaque (&c->in, 2 * NFS_PATH_MAX, &len);
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = begin (c, &d, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK && len >= sizeof target)
    c->status = NFS3ERR_NAMETOOLONG;
  else if (c->status == NFS3_OK && (len == 0 || memchr (path, 0, len)))
    c->status = NFS3ERR_INVAL;
  if (c->status == NFS3_OK)
    {
      memcpy (target, path, len);
      target[len] = 0;
      if (symlinkat (target, wcc.obj->fd, d.name) < 0)
        c->status = rcvmi_nfs_status (errno);
    }
  if (c->status == NFS3_OK)
    {
      obj = made (c, wcc.obj, d.name, S_IFLNK);
      if (obj)
        c->status = rcvmi_nfs_status (set_rest (c, obj, &attr));
    }
  return answer (c, &wcc, obj);
}

/* RFC 1813, section 3.3.11 */
enum nfs_outcome
rcvmi_nfs_proc_mknod (struct nfs_call *c)
{
  static const mode_t types[] = { [NF3BLK] = S_IFBLK, [NF3CHR] = S_IFCHR, [NF3SOCK] = S_IFSOCK,
                                  [NF3FIFO] = S_IFIFO };
  struct nfs_dirop d;
  struct nfs_sattr attr = { 0 };
  struct nfs_wcc wcc;
  struct nfs_object *obj = NULL;
  uint32_t type, major = 0, minor = 0;
  mode_t bits;

  rcvmi_nfs_get_dirop (&c->in, &d);
  type = xdr_get_u32 (&c->in);
  bits = type < sizeof types / sizeof types[0] ? types[type] : 0;
  if (bits)
    rcvmi_nfs_get_sattr (&c->in, &attr);
  if (type == NF3BLK || type == NF3CHR)
    {
      major = xdr_get_u32 (&c->in);
      minor = xdr_get_u32 (&c->in);
    }
  if (c->in.bad)
    return NFS_GARBAGE;
  c->status = begin (c, &d, &wcc);
  if (c->detach)
    return NFS_DONE;
  if (c->status == NFS3_OK && !bits)
    c->status = NFS3ERR_BADTYPE;
  if (c->status == NFS3_OK
      && mknodat (wcc.obj->fd, d.name, bits | mode_of (&attr), makedev (major, minor)) < 0)
    c->status = rcvmi_nfs_status (errno);
  if (c->status == NFS3_OK)
    {
      obj = made (c, wcc.obj, d.name, bits);
      if (obj)
        c->status = rcvmi_nfs_status (set_rest (c, obj, &attr));
    }
  return answer (c, &wcc, obj);
}
