/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the procedures share: arguments, the caller's rights, whether he may. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

void
rcvmi_nfs_get_handle (struct xdr_in *in, struct nfs_handle *h)
{
  const uint8_t *data = xdr_get_opaque (in, NFS_HANDLE_MAX, &h->len);

  if (h->len)
    memcpy (h->data, data, h->len);
}

/* diropargs3.  A name that no file system takes is the procedure's to answer, not garbage. */
void
rcvmi_nfs_get_dirop (struct xdr_in *in, struct nfs_dirop *d)
{
  const uint8_t *name;

  rcvmi_nfs_get_handle (in, &d->handle);
  name = xdr_get_opaque (in, NFS_PATH_MAX, &d->len);
  d->too_long = d->len > NFS_NAME_MAX;
  if (d->too_long)
    d->len = 0;
  if (d->len)
    memcpy (d->name, name, d->len);
  d->name[d->len] = 0;
}

uint32_t
rcvmi_nfs_check_name (const struct nfs_dirop *d)
{
  if (d->too_long)
    return NFS3ERR_NAMETOOLONG;
  if (d->len == 0 || memchr (d->name, '/', d->len) || memchr (d->name, 0, d->len))
    return NFS3ERR_ACCES;
  return NFS3_OK;
}

uint32_t
rcvmi_nfs_enter (struct nfs_call *c, const struct nfs_handle *h, struct nfs_object **obj)
{
  uint32_t status = rcvmi_nfs_object_get (c, h, obj);
  int rc;

  if (status != NFS3_OK)
    return status;
  rc = rcvmi_nfs_identity_assume (c->thread, (*obj)->scope->export, &c->cred);
  if (rc == 0)
    return NFS3_OK;
  rcvmi_nfs_object_put (c->server, *obj);
  *obj = NULL;
  return NFS3ERR_SERVERFAULT;
}

uint32_t
rcvmi_nfs_enter_change (struct nfs_call *c, const struct nfs_handle *h, struct nfs_wcc *wcc)
{
  struct nfs_object *obj;
  uint32_t status;

  *wcc = (struct nfs_wcc){ 0 };
  status = rcvmi_nfs_enter (c, h, &obj);
  if (status != NFS3_OK)
    return status;
  if (obj->scope->export->options.durable && rcvmi_nfs_may_detach (c))
    {
      c->detach = true;
      rcvmi_nfs_object_put (c->server, obj);
      return NFS3ERR_JUKEBOX;
    }
  rcvmi_nfs_wcc_before (wcc, obj);
  if (obj->scope->export->options.read_only || obj->fd < 0)
    return NFS3ERR_ROFS;
  return obj->type == S_IFDIR ? NFS3_OK : NFS3ERR_NOTDIR;
}

static int
ask (const struct nfs_object *obj, int mode)
{
  return syscall (SYS_faccessat2, obj->fd, "", mode, AT_EACCESS | AT_EMPTY_PATH) < 0 ? errno : 0;
}

int
rcvmi_nfs_may (struct nfs_call *c, const struct nfs_object *obj, int mode)
{
  struct statx st;
  int rc;

  if (obj->fd < 0)
    return mode & W_OK ? EROFS : 0;
  /* CAP_DAC_OVERRIDE. */
  if (c->server->identities && c->thread->now.uid == 0)
    return 0;
  if (obj->type == S_IFREG && statx (obj->fd, "", AT_EMPTY_PATH, STATX_UID, &st) == 0
      && st.stx_uid == c->thread->now.uid)
    return 0;
  rc = ask (obj, mode);
  if (rc == EACCES && mode == R_OK && obj->type == S_IFREG && ask (obj, X_OK) == 0)
    return 0;
  return rc;
}

int
rcvmi_nfs_settle (struct nfs_call *c, struct nfs_object *dir)
{
  int fd;

  if (!dir->scope->export->options.durable)
    return 0;
  fd = rcvmi_nfs_object_open (c, dir, false);
  if (fd < 0)
    return -fd;
  return fsync (fd) < 0 ? errno : 0;
}

bool
rcvmi_nfs_may_detach (const struct nfs_call *c)
{
  return c->server->workers && !c->thread->worker;
}

bool
rcvmi_nfs_lock (struct nfs_call *c, struct nfs_object *obj)
{
  if (!rcvmi_nfs_may_detach (c))
    pthread_mutex_lock (&obj->order);
  else if (pthread_mutex_trylock (&obj->order) != 0)
    c->detach = true;
  return !c->detach;
}
