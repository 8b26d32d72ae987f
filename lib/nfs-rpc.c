/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ONC RPC version 2 (RFC 5531): the header of a call, its credential, and the reply around a procedure's
   results. */
#include "config.h"

#include "nfs.h"

enum
{
  HEADER = 28,       /* record mark, xid, REPLY, accepted, verifier (8), accept_stat */
  ACCEPT_STAT = 24,  /* its place */
  SYSTEM_ERR = 5,
  NOBODY = 65534
};

struct procedure
{
  const char *name;
  nfs_proc_fn fn; /* NULL: it does nothing */
  bool unrepeatable;
};

/* RFC 1813, section 3: what to repeat would do harm, or give another answer, is remembered by nfs-drc.c. */
static const struct procedure nfs_procedures[NFS_PROCEDURES] = {
  [NFS_NULL] = { "NULL", NULL, false },
  [NFS_GETATTR] = { "GETATTR", rcvmi_nfs_proc_getattr, false },
  [NFS_SETATTR] = { "SETATTR", rcvmi_nfs_proc_setattr, true },
  [NFS_LOOKUP] = { "LOOKUP", rcvmi_nfs_proc_lookup, false },
  [NFS_ACCESS] = { "ACCESS", rcvmi_nfs_proc_access, false },
  [NFS_READLINK] = { "READLINK", rcvmi_nfs_proc_readlink, false },
  [NFS_READ] = { "READ", rcvmi_nfs_proc_read, false },
  [NFS_WRITE] = { "WRITE", rcvmi_nfs_proc_write, false },
  [NFS_CREATE] = { "CREATE", rcvmi_nfs_proc_create, true },
  [NFS_MKDIR] = { "MKDIR", rcvmi_nfs_proc_mkdir, true },
  [NFS_SYMLINK] = { "SYMLINK", rcvmi_nfs_proc_symlink, true },
  [NFS_MKNOD] = { "MKNOD", rcvmi_nfs_proc_mknod, true },
  [NFS_REMOVE] = { "REMOVE", rcvmi_nfs_proc_remove, true },
  [NFS_RMDIR] = { "RMDIR", rcvmi_nfs_proc_rmdir, true },
  [NFS_RENAME] = { "RENAME", rcvmi_nfs_proc_rename, true },
  [NFS_LINK] = { "LINK", rcvmi_nfs_proc_link, true },
  [NFS_READDIR] = { "READDIR", rcvmi_nfs_proc_readdir, false },
  [NFS_READDIRPLUS] = { "READDIRPLUS", rcvmi_nfs_proc_readdirplus, false },
  [NFS_FSSTAT] = { "FSSTAT", rcvmi_nfs_proc_fsstat, false },
  [NFS_FSINFO] = { "FSINFO", rcvmi_nfs_proc_fsinfo, false },
  [NFS_PATHCONF] = { "PATHCONF", rcvmi_nfs_proc_pathconf, false },
  [NFS_COMMIT] = { "COMMIT", rcvmi_nfs_proc_commit, false },
};

/* RFC 1813, appendix I (section 5). */
static const struct procedure mount_procedures[MOUNT_PROCEDURES] = {
  [MOUNT_NULL] = { "MOUNT.NULL", NULL, false },
  [MOUNT_MNT] = { "MOUNT.MNT", rcvmi_nfs_mount_mnt, false },
  [MOUNT_DUMP] = { "MOUNT.DUMP", rcvmi_nfs_mount_dump, false },
  [MOUNT_UMNT] = { "MOUNT.UMNT", rcvmi_nfs_mount_umnt, false },
  [MOUNT_UMNTALL] = { "MOUNT.UMNTALL", rcvmi_nfs_mount_umntall, false },
  [MOUNT_EXPORT] = { "MOUNT.EXPORT", rcvmi_nfs_mount_export, false },
};

const char *
rcvmi_nfs_rpc_name (unsigned index)
{
  if (index < NFS_PROCEDURES)
    return nfs_procedures[index].name;
  return index < RCVMI_NFS_COUNTED ? mount_procedures[index - NFS_PROCEDURES].name : NULL;
}

static const struct procedure *
procedure_of (const struct nfs_call *c)
{
  if (c->prog == NFS_PROGRAM)
    return c->proc < NFS_PROCEDURES ? &nfs_procedures[c->proc] : NULL;
  return c->proc < MOUNT_PROCEDURES ? &mount_procedures[c->proc] : NULL;
}

bool
rcvmi_nfs_rpc_is_unrepeatable (const struct nfs_call *c)
{
  const struct procedure *p = c->answered ? NULL : procedure_of (c);

  return p && p->unrepeatable;
}

static void
begin_reply (struct nfs_call *c, struct nfs_buf *b)
{
  c->reply = b;
  c->out = (struct xdr_out){ .pos = b->data, .end = b->data + b->cap };
  xdr_put_u32 (&c->out, 0);
  xdr_put_u32 (&c->out, c->xid);
  xdr_put_u32 (&c->out, RPC_REPLY);
  xdr_put_u32 (&c->out, RPC_MSG_ACCEPTED);
  xdr_put_u32 (&c->out, RPC_AUTH_NONE);
  xdr_put_u32 (&c->out, 0);
  xdr_put_u32 (&c->out, RPC_SUCCESS);
}

static void
end_reply (struct nfs_call *c)
{
  if (c->out.full)
    {
      c->out.pos = c->reply->data + HEADER;
      be32_store (c->reply->data + ACCEPT_STAT, SYSTEM_ERR);
    }
  c->reply->len = (size_t) (c->out.pos - c->reply->data);
  be32_store (c->reply->data, RPC_LAST_FRAGMENT | (uint32_t) (c->reply->len - 4 + c->reply->file_left));
}

bool
rcvmi_nfs_rpc_reserve (struct nfs_call *c, size_t bytes)
{
  struct nfs_buf *b;

  if (c->reply->cap >= HEADER + bytes)
    return true;
  b = rcvmi_nfs_buf_new (&c->server->bufs, HEADER + bytes);
  if (!b)
    return false;
  rcvmi_nfs_buf_free (&c->server->bufs, c->reply);
  begin_reply (c, b);
  return true;
}

static enum nfs_outcome
deny (struct nfs_call *c, uint32_t why, uint32_t a, bool have_b, uint32_t b)
{
  c->out.pos = c->reply->data + 12;
  xdr_put_u32 (&c->out, RPC_MSG_DENIED);
  xdr_put_u32 (&c->out, why);
  xdr_put_u32 (&c->out, a);
  if (have_b)
    xdr_put_u32 (&c->out, b);
  end_reply (c);
  c->answered = true;
  return NFS_DONE;
}

static enum nfs_outcome
refuse (struct nfs_call *c, uint32_t accept_stat)
{
  c->out.pos = c->reply->data + HEADER;
  c->out.full = false;
  be32_store (c->reply->data + ACCEPT_STAT, accept_stat);
  if (accept_stat == RPC_PROG_MISMATCH)
    {
      /* NFS and MOUNT alike. */
      xdr_put_u32 (&c->out, NFS_VERSION);
      xdr_put_u32 (&c->out, NFS_VERSION);
    }
  end_reply (c);
  c->answered = true;
  return NFS_DONE;
}

/* RFC 5531, appendix A. */
static bool
get_auth_sys (struct nfs_call *c, const uint8_t *body, uint32_t len)
{
  struct xdr_in in = { .pos = body, .end = body + len };
  const uint8_t *machine;
  uint32_t machine_len;

  xdr_get_u32 (&in);
  machine = xdr_get_opaque (&in, RPC_MACHINE_NAME_MAX, &machine_len);
  if (machine && machine_len >= sizeof c->machine)
    machine_len = sizeof c->machine - 1;
  if (machine_len)
    memcpy (c->machine, machine, machine_len);
  c->machine[machine_len] = 0;
  c->cred.uid = xdr_get_u32 (&in);
  c->cred.gid = xdr_get_u32 (&in);
  c->cred.n_groups = xdr_get_u32 (&in);
  if (c->cred.n_groups > RPC_GROUPS_MAX)
    return false;
  for (uint32_t i = 0; i < c->cred.n_groups; i++)
    c->cred.groups[i] = xdr_get_u32 (&in);
  return !in.bad;
}

enum nfs_outcome
rcvmi_nfs_rpc_decode (struct nfs_call *c)
{
  struct xdr_in in = { .pos = c->record, .end = c->record + c->len };
  uint32_t type, rpc_version, flavor, len, verf_len;
  const uint8_t *cred;
  struct nfs_buf *b;

  c->xid = xdr_get_u32 (&in);
  type = xdr_get_u32 (&in);
  if (in.bad || type != RPC_CALL || !(b = rcvmi_nfs_buf_new (&c->server->bufs, 1)))
    return NFS_DROP;
  c->answered = c->detach = false;
  c->status = NFS3_OK;
  c->bytes_in = c->bytes_out = 0;
  c->prog = c->proc = 0;
  c->machine[0] = 0;
  begin_reply (c, b);
  rpc_version = xdr_get_u32 (&in);
  c->prog = xdr_get_u32 (&in);
  c->vers = xdr_get_u32 (&in);
  c->proc = xdr_get_u32 (&in);
  flavor = xdr_get_u32 (&in);
  cred = xdr_get_opaque (&in, RPC_AUTH_MAX, &len);
  xdr_get_u32 (&in);
  xdr_get_opaque (&in, RPC_AUTH_MAX, &verf_len);
  if (rpc_version != RPC_VERSION)
    return deny (c, RPC_MISMATCH, RPC_VERSION, true, RPC_VERSION);
  if (in.bad)
    return deny (c, RPC_AUTH_ERROR, RPC_AUTH_BADCRED, false, 0);
  if (flavor == RPC_AUTH_NONE)
    c->cred = (struct nfs_cred){ .uid = NOBODY, .gid = NOBODY };
  else if (flavor != RPC_AUTH_SYS)
    return deny (c, RPC_AUTH_ERROR, RPC_AUTH_TOOWEAK, false, 0);
  else if (!get_auth_sys (c, cred, len))
    return deny (c, RPC_AUTH_ERROR, RPC_AUTH_BADCRED, false, 0);
  if (c->prog != NFS_PROGRAM && c->prog != MOUNT_PROGRAM)
    return refuse (c, RPC_PROG_UNAVAIL);
  if (c->vers != NFS_VERSION)
    return refuse (c, RPC_PROG_MISMATCH);
  if (!procedure_of (c))
    return refuse (c, RPC_PROC_UNAVAIL);
  c->body = in.pos;
  return NFS_DONE;
}

enum nfs_outcome
rcvmi_nfs_rpc_run (struct nfs_thread *t, struct nfs_call *c)
{
  const struct procedure *p = procedure_of (c);
  enum nfs_outcome outcome = NFS_DONE;

  c->thread = t;
  c->in = (struct xdr_in){ .pos = c->body, .end = c->record + c->len };
  c->detach = false;
  begin_reply (c, c->reply);
  if (p->fn)
    outcome = p->fn (c);
  if (c->detach)
    return NFS_DETACH;
  if (outcome == NFS_GARBAGE)
    {
      c->status = NFS3ERR_INVAL;
      return refuse (c, RPC_GARBAGE_ARGS);
    }
  /* No memory for the results. */
  if (outcome == NFS_DROP)
    {
      c->status = NFS3ERR_SERVERFAULT;
      c->out.full = true;
    }
  end_reply (c);
  return NFS_DONE;
}
