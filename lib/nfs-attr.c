/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes: fattr3, sattr3, wcc_data (RFC 1813, section 2.6), and errno as a status. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

uint32_t
rcvmi_nfs_status (int errnum)
{
  switch (errnum)
    {
    case 0:
      return NFS3_OK;
    case EPERM:
      return NFS3ERR_PERM;
    case ENOENT:
      return NFS3ERR_NOENT;
    case ENXIO:
      return NFS3ERR_NXIO;
    case EACCES:
    case ETXTBSY:
    /* A mount point of the host that is to be removed or renamed: NFSv3 has no word for busy. */
    case EBUSY:
      return NFS3ERR_ACCES;
    case EEXIST:
      return NFS3ERR_EXIST;
    case EXDEV:
      return NFS3ERR_XDEV;
    case ENODEV:
      return NFS3ERR_NODEV;
    case ENOTDIR:
      return NFS3ERR_NOTDIR;
    case EISDIR:
      return NFS3ERR_ISDIR;
    case EINVAL:
    case ELOOP:
      return NFS3ERR_INVAL;
    case EFBIG:
    case EOVERFLOW:
      return NFS3ERR_FBIG;
    case ENOSPC:
      return NFS3ERR_NOSPC;
    case EROFS:
      return NFS3ERR_ROFS;
    case EMLINK:
      return NFS3ERR_MLINK;
    case ENAMETOOLONG:
      return NFS3ERR_NAMETOOLONG;
    case ENOTEMPTY:
      return NFS3ERR_NOTEMPTY;
    case EDQUOT:
      return NFS3ERR_DQUOT;
    case ESTALE:
      return NFS3ERR_STALE;
    case EOPNOTSUPP:
    case ENOSYS:
      return NFS3ERR_NOTSUPP;
    /* The client tries again later. */
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return NFS3ERR_JUKEBOX;
    default:
      return NFS3ERR_IO;
    }
}

/* The directory around a single file: nobody may write in it. */
static void
stat_virtual (const struct nfs_export *e, struct statx *st)
{
  *st = (struct statx){ .stx_mode = S_IFDIR | 0555,
                        .stx_nlink = 2,
                        .stx_size = 4096,
                        .stx_blocks = 8,
                        .stx_ino = ~e->root_ino };
  st->stx_atime.tv_sec = st->stx_mtime.tv_sec = st->stx_ctime.tv_sec = (int64_t) e->made;
}

int
rcvmi_nfs_stat (const struct nfs_object *obj, struct statx *st)
{
  if (obj->fd < 0)
    {
      stat_virtual (obj->scope->export, st);
      return 0;
    }
  if (statx (obj->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, st) < 0)
    return errno;
  /* Only this server's fd keeps it: which is what the volume of a single file is for.  No client takes a file without
     a name for one that is there. */
  if (st->stx_nlink == 0 && obj->scope->export->file)
    st->stx_nlink = 1;
  return st->stx_nlink == 0 ? ESTALE : 0;
}

static uint32_t
type_of (unsigned mode)
{
  switch (mode & S_IFMT)
    {
    case S_IFDIR:
      return NF3DIR;
    case S_IFBLK:
      return NF3BLK;
    case S_IFCHR:
      return NF3CHR;
    case S_IFLNK:
      return NF3LNK;
    case S_IFSOCK:
      return NF3SOCK;
    case S_IFIFO:
      return NF3FIFO;
    default:
      return NF3REG;
    }
}

/* nfstime3's seconds have 32 bits without a sign. */
static void
put_time (uint8_t *p, const struct statx_timestamp *t)
{
  be32_store (p, t->tv_sec < 0 ? 0 : t->tv_sec > UINT32_MAX ? UINT32_MAX : (uint32_t) t->tv_sec);
  be32_store (p + 4, t->tv_nsec);
}

static void
store_be64 (uint8_t *p, uint64_t v)
{
  be32_store (p, (uint32_t) (v >> 32));
  be32_store (p + 4, (uint32_t) v);
}

/* fattr3 */
void
rcvmi_nfs_put_fattr (struct xdr_out *out, const struct nfs_scope *scope, const struct statx *st)
{
  uint8_t *p = xdr_room (out, NFS_FATTR);

  if (!p)
    return;
  be32_store (p, type_of (st->stx_mode));
  be32_store (p + 4, st->stx_mode & 07777);
  be32_store (p + 8, st->stx_nlink);
  be32_store (p + 12, st->stx_uid);
  be32_store (p + 16, st->stx_gid);
  store_be64 (p + 20, st->stx_size);
  store_be64 (p + 28, st->stx_blocks * 512);
  be32_store (p + 36, st->stx_rdev_major);
  be32_store (p + 40, st->stx_rdev_minor);
  store_be64 (p + 44, scope->tag);
  store_be64 (p + 52, st->stx_ino);
  put_time (p + 60, &st->stx_atime);
  put_time (p + 68, &st->stx_mtime);
  put_time (p + 76, &st->stx_ctime);
}

void
rcvmi_nfs_put_post (struct xdr_out *out, const struct nfs_scope *scope, const struct statx *st)
{
  xdr_put_u32 (out, st != NULL);
  if (st)
    rcvmi_nfs_put_fattr (out, scope, st);
}

void
rcvmi_nfs_put_post_now (struct xdr_out *out, const struct nfs_object *obj)
{
  struct statx st;

  if (obj && rcvmi_nfs_stat (obj, &st) == 0)
    rcvmi_nfs_put_post (out, obj->scope, &st);
  else
    xdr_put_u32 (out, 0);
}

void
rcvmi_nfs_put_post_handle (struct xdr_out *out, const struct nfs_handle *h)
{
  xdr_put_u32 (out, h != NULL);
  if (h)
    xdr_put_opaque (out, h->data, h->len);
}

void
rcvmi_nfs_wcc_before (struct nfs_wcc *wcc, struct nfs_object *obj)
{
  wcc->obj = obj;
  wcc->have_before = obj && rcvmi_nfs_stat (obj, &wcc->before) == 0;
}

void
rcvmi_nfs_put_wcc (struct xdr_out *out, const struct nfs_wcc *wcc)
{
  uint8_t *p;

  xdr_put_u32 (out, wcc->have_before);
  if (wcc->have_before)
    {
      p = xdr_room (out, 24);
      if (p)
        {
          store_be64 (p, wcc->before.stx_size);
          put_time (p + 8, &wcc->before.stx_mtime);
          put_time (p + 16, &wcc->before.stx_ctime);
        }
    }
  rcvmi_nfs_put_post_now (out, wcc->obj);
}

static unsigned
get_time_how (struct xdr_in *in, struct timespec *t)
{
  uint32_t how = xdr_get_u32 (in);

  if (how > NFS_CLIENT_TIME)
    in->bad = true;
  if (how == NFS_CLIENT_TIME)
    {
      t->tv_sec = xdr_get_u32 (in);
      t->tv_nsec = xdr_get_u32 (in);
      if (t->tv_nsec > 999999999)
        in->bad = true;
    }
  return how;
}

/* sattr3 */
void
rcvmi_nfs_get_sattr (struct xdr_in *in, struct nfs_sattr *a)
{
  *a = (struct nfs_sattr){ 0 };
  a->set_mode = xdr_get_bool (in);
  if (a->set_mode)
    a->mode = xdr_get_u32 (in) & 07777;
  a->set_uid = xdr_get_bool (in);
  if (a->set_uid)
    a->uid = xdr_get_u32 (in);
  a->set_gid = xdr_get_bool (in);
  if (a->set_gid)
    a->gid = xdr_get_u32 (in);
  a->set_size = xdr_get_bool (in);
  if (a->set_size)
    a->size = xdr_get_u64 (in);
  a->atime_how = get_time_how (in, &a->atime);
  a->mtime_how = get_time_how (in, &a->mtime);
}

static int
set_size (struct nfs_call *c, struct nfs_object *obj, uint64_t size)
{
  int fd, rc;

  if (obj->type != S_IFREG)
    return obj->type == S_IFDIR ? EISDIR : EINVAL;
  if (size > INT64_MAX)
    return EFBIG;
  rc = rcvmi_nfs_may (c, obj, W_OK);
  if (rc != 0)
    return rc;
  fd = rcvmi_nfs_object_open (c, obj, true);
  if (fd < 0)
    return -fd;
  return ftruncate (fd, (off_t) size) < 0 ? errno : 0;
}

/* O_PATH fds take chmod since Linux 6.6; before, it goes through /proc. */
static int
set_mode (struct nfs_call *c, struct nfs_object *obj, uint32_t mode)
{
  char name[16];

  if (syscall (SYS_fchmodat2, obj->fd, "", mode, AT_EMPTY_PATH) == 0)
    return 0;
  if (errno != ENOSYS)
    return errno;
  if (obj->type == S_IFLNK || c->server->proc_fd < 0)
    return EOPNOTSUPP;
  snprintf (name, sizeof name, "%d", obj->fd);
  return fchmodat (c->server->proc_fd, name, mode, 0) < 0 ? errno : 0;
}

static void
time_to_set (struct timespec *out, unsigned how, const struct timespec *given)
{
  *out = *given;
  if (how == NFS_SERVER_TIME)
    out->tv_nsec = UTIME_NOW;
  else if (how == NFS_DONT_CHANGE)
    out->tv_nsec = UTIME_OMIT;
}

int
rcvmi_nfs_set_attr (struct nfs_call *c, struct nfs_object *obj, const struct nfs_sattr *a)
{
  int rc = 0;

  if (obj->fd < 0)
    return EROFS;
  if (a->set_size)
    rc = set_size (c, obj, a->size);
  /* The owner first: changing it takes set-id bits away, which the mode may be about to set. */
  if (rc == 0 && (a->set_uid || a->set_gid)
      && fchownat (obj->fd, "", a->set_uid ? a->uid : (uid_t) -1, a->set_gid ? a->gid : (gid_t) -1,
                   AT_EMPTY_PATH)
             < 0)
    rc = errno;
  if (rc == 0 && a->set_mode)
    rc = set_mode (c, obj, a->mode);
  if (rc == 0 && (a->atime_how != NFS_DONT_CHANGE || a->mtime_how != NFS_DONT_CHANGE))
    {
      struct timespec times[2];

      time_to_set (&times[0], a->atime_how, &a->atime);
      time_to_set (&times[1], a->mtime_how, &a->mtime);
      if (utimensat (obj->fd, "", times, AT_EMPTY_PATH) < 0)
        rc = errno;
    }
  return rc;
}
