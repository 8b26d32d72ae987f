/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MOUNT version 3 (RFC 1813, appendix I).  The list of mounts is told for the curious; nothing depends on
   it. */
#include "config.h"

#include "nfs.h"

#include <stdlib.h>

#include "cleanup.h"

static bool
get_path (struct xdr_in *in, char path[MOUNT_PATH_MAX + 1])
{
  uint32_t len;
  const uint8_t *p = xdr_get_opaque (in, MOUNT_PATH_MAX, &len);

  if (in->bad)
    return false;
  if (len)
    memcpy (path, p, len);
  path[len] = 0;
  while (len > 1 && path[len - 1] == '/')
    path[--len] = 0;
  return true;
}

/* The export that the path names or lies in; `rest` is what follows its name. */
static struct nfs_export *
find_export (struct nfs_server *s, const char *path, const char **rest)
{
  struct nfs_export *best = NULL;
  size_t best_len = 0;

  for (struct nfs_export *e = s->exports; e; e = e->next)
    {
      size_t len = strcmp (e->name, "/") == 0 ? 0 : strlen (e->name);

      if (strncmp (path, e->name, len) == 0 && (path[len] == 0 || path[len] == '/')
          && (!best || len > best_len))
        {
          best = e;
          best_len = len;
          *rest = path + len;
        }
    }
  return best;
}

static uint32_t
walk (struct nfs_call *c, struct nfs_object **obj, const char *rest)
{
  char *save, *part;
  autofree char *copy = strdup (rest);

  if (!copy)
    return NFS3ERR_SERVERFAULT;
  rcvmi_nfs_identity_server (c->thread);
  for (part = strtok_r (copy, "/", &save); part; part = strtok_r (NULL, "/", &save))
    {
      struct nfs_object *next;
      struct statx st;
      uint32_t status;

      if (strcmp (part, ".") == 0)
        continue;
      if (strcmp (part, "..") == 0 || strlen (part) > NFS_NAME_MAX)
        return NFS3ERR_ACCES;
      status = rcvmi_nfs_object_child (c, *obj, part, &next, &st);
      if (status != NFS3_OK)
        return status;
      rcvmi_nfs_object_put (c->server, *obj);
      *obj = next;
    }
  return (*obj)->type == S_IFDIR ? NFS3_OK : NFS3ERR_NOTDIR;
}

static void
note_mount (struct nfs_server *s, const char *host, const char *path)
{
  struct nfs_mounted *slot = NULL;

  for (unsigned i = 0; i < RCVMI_NFS_MOUNTED; i++)
    {
      struct nfs_mounted *m = &s->mounted[i];

      if (m->path && strcmp (m->path, path) == 0 && strcmp (m->host, host) == 0)
        return;
      if (!m->path && !slot)
        slot = m;
    }
  if (!slot)
    return;
  slot->host = strdup (host);
  slot->path = strdup (path);
  if (!slot->host || !slot->path)
    {
      free (slot->host);
      free (slot->path);
      *slot = (struct nfs_mounted){ 0 };
    }
}

/* NULL: all of the host's. */
static void
forget_mount (struct nfs_server *s, const char *host, const char *path)
{
  for (unsigned i = 0; i < RCVMI_NFS_MOUNTED; i++)
    {
      struct nfs_mounted *m = &s->mounted[i];

      if (m->path && strcmp (m->host, host) == 0 && (!path || strcmp (m->path, path) == 0))
        {
          free (m->host);
          free (m->path);
          *m = (struct nfs_mounted){ 0 };
        }
    }
}

/* RFC 1813, appendix I, section 5.2.1 */
enum nfs_outcome
rcvmi_nfs_mount_mnt (struct nfs_call *c)
{
  char path[MOUNT_PATH_MAX + 1];
  struct nfs_object *obj = NULL;
  const char *rest = "";
  struct nfs_export *e;

  if (!get_path (&c->in, path))
    return NFS_GARBAGE;
  e = find_export (c->server, path, &rest);
  c->status = e ? rcvmi_nfs_object_root (c, e, &obj) : NFS3ERR_NOENT;
  if (c->status == NFS3_OK)
    c->status = walk (c, &obj, rest);
  xdr_put_u32 (&c->out, c->status);
  if (c->status == NFS3_OK)
    {
      xdr_put_opaque (&c->out, obj->handle.data, obj->handle.len);
      xdr_put_u32 (&c->out, 1);
      xdr_put_u32 (&c->out, RPC_AUTH_SYS);
      note_mount (c->server, c->machine, path);
    }
  rcvmi_nfs_object_put (c->server, obj);
  return NFS_DONE;
}

/* RFC 1813, appendix I, section 5.2.2 */
enum nfs_outcome
rcvmi_nfs_mount_dump (struct nfs_call *c)
{
  if (!rcvmi_nfs_rpc_reserve (c, RCVMI_NFS_MOUNTED * (16 + MOUNT_NAME_MAX + MOUNT_PATH_MAX) + 4))
    return NFS_DROP;
  for (unsigned i = 0; i < RCVMI_NFS_MOUNTED; i++)
    {
      const struct nfs_mounted *m = &c->server->mounted[i];

      if (!m->path)
        continue;
      xdr_put_u32 (&c->out, 1);
      xdr_put_opaque (&c->out, m->host, strlen (m->host));
      xdr_put_opaque (&c->out, m->path, strlen (m->path));
    }
  xdr_put_u32 (&c->out, 0);
  return NFS_DONE;
}

/* RFC 1813, appendix I, section 5.2.3 */
enum nfs_outcome
rcvmi_nfs_mount_umnt (struct nfs_call *c)
{
  char path[MOUNT_PATH_MAX + 1];

  if (!get_path (&c->in, path))
    return NFS_GARBAGE;
  forget_mount (c->server, c->machine, path);
  return NFS_DONE;
}

/* RFC 1813, appendix I, section 5.2.4 */
enum nfs_outcome
rcvmi_nfs_mount_umntall (struct nfs_call *c)
{
  forget_mount (c->server, c->machine, NULL);
  return NFS_DONE;
}

/* RFC 1813, appendix I, section 5.2.5.  No groups: whoever can reach the server may mount. */
enum nfs_outcome
rcvmi_nfs_mount_export (struct nfs_call *c)
{
  size_t room = 4;

  for (const struct nfs_export *e = c->server->exports; e; e = e->next)
    room += 16 + strlen (e->name);
  if (room > NFS_TRANSFER_MAX || !rcvmi_nfs_rpc_reserve (c, room))
    return NFS_DROP;
  for (const struct nfs_export *e = c->server->exports; e; e = e->next)
    {
      xdr_put_u32 (&c->out, 1);
      xdr_put_opaque (&c->out, e->name, strlen (e->name));
      xdr_put_u32 (&c->out, 0);
    }
  xdr_put_u32 (&c->out, 0);
  return NFS_DONE;
}
