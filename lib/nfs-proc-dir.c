/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* READDIR and READDIRPLUS. */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <unistd.h>

enum
{
  RESULT_HEAD = 4 + 4 + NFS_FATTR + NFS_COOKIE_VERF, /* status, attributes, verifier */
  RESULT_TAIL = 4 + 4,                               /* no more entries; the end? */
  ENTRY_FIXED = 4 + 8 + 4 + 8,
  PLUS_ROOM = 4 + NFS_FATTR + 4 + 4 + NFS_HANDLE_MAX
};

struct request
{
  struct nfs_handle handle;
  uint64_t cookie;
  uint64_t verf;
  size_t names_max; /* bytes of what READDIR would give */
  size_t max;       /* bytes of the whole result */
  bool plus;
};

/* Attributes and handle of an entry, or that there are none: not of what is above, nor of a mount point,
   whose number in the directory is not that of what is mounted there.  The client looks it up. */
static void
put_plus (struct nfs_call *c, struct nfs_object *dir, const struct nfs_dirent *e)
{
  struct nfs_handle_parts parts;
  struct nfs_handle h;
  struct statx st;
  bool have;

  if (strcmp (e->name, ".") == 0)
    {
      h = dir->handle;
      have = rcvmi_nfs_stat (dir, &st) == 0;
    }
  else
    have = strcmp (e->name, "..") != 0 && rcvmi_nfs_object_entry (c, dir, e->name, &st, &h)
           && rcvmi_nfs_handle_parse (&h, &parts) && parts.tag == dir->scope->tag;
  rcvmi_nfs_put_post (&c->out, dir->scope, have ? &st : NULL);
  rcvmi_nfs_put_post_handle (&c->out, have ? &h : NULL);
}

static enum nfs_outcome
fail_dir (struct nfs_call *c, uint32_t status, struct nfs_object *dir)
{
  c->status = status;
  xdr_put_u32 (&c->out, status);
  rcvmi_nfs_put_post_now (&c->out, dir);
  rcvmi_nfs_object_put (c->server, dir);
  return NFS_DONE;
}

/* Entries as long as there is room.  1: there may be more, 0: that was the last; a negative errno. */
static int
put_entries (struct nfs_call *c, const struct request *r, struct nfs_dir *d, struct nfs_object *dir,
             unsigned *n_entries, uint64_t *last)
{
  const uint8_t *limit = c->out.pos + (r->max - RESULT_HEAD - RESULT_TAIL);
  size_t names = 0;
  struct nfs_dirent e;

  for (*n_entries = 0;; ++*n_entries)
    {
      int rc = rcvmi_nfs_dir_next (c, d, &e);
      size_t len, fixed;

      if (rc <= 0)
        return rc == -E2BIG ? 1 : rc;
      len = strlen (e.name);
      fixed = ENTRY_FIXED + xdr_padded (len);
      if ((size_t) (limit - c->out.pos) < fixed + (r->plus ? PLUS_ROOM : 0)
          || (*n_entries > 0 && names + fixed > r->names_max))
        return 1;
      names += fixed;
      *last = e.cookie;
      xdr_put_u32 (&c->out, 1);
      xdr_put_u64 (&c->out, e.ino);
      xdr_put_opaque (&c->out, e.name, len);
      xdr_put_u64 (&c->out, e.cookie);
      if (r->plus)
        put_plus (c, dir, &e);
    }
}

static enum nfs_outcome
read_dir (struct nfs_call *c, struct request *r)
{
  struct nfs_object *dir;
  struct nfs_dir d;
  struct xdr_out head;
  struct statx st;
  unsigned n_entries = 0;
  uint64_t last = 0;
  uint32_t status;
  int more;

  status = rcvmi_nfs_enter (c, &r->handle, &dir);
  if (status == NFS3_OK && dir->type != S_IFDIR)
    status = NFS3ERR_NOTDIR;
  if (status == NFS3_OK)
    status = rcvmi_nfs_status (rcvmi_nfs_may (c, dir, R_OK));
  /* Cookies hold as long as the directory: the verifier is always 0. */
  if (status == NFS3_OK && (r->cookie > INT64_MAX || (r->cookie && r->verf)))
    status = NFS3ERR_BAD_COOKIE;
  if (status == NFS3_OK && r->max < RESULT_HEAD + RESULT_TAIL)
    status = NFS3ERR_TOOSMALL;
  if (r->max > NFS_DIR_MAX)
    r->max = NFS_DIR_MAX;
  if (status == NFS3_OK && !rcvmi_nfs_rpc_reserve (c, r->max))
    status = NFS3ERR_JUKEBOX;
  if (status != NFS3_OK)
    return fail_dir (c, status, dir);
  head = c->out;
  xdr_room (&c->out, RESULT_HEAD);
  /* Entries of a reply take more room than the kernel's: five times that with attributes. */
  more = rcvmi_nfs_dir_open (c, &d, dir, r->cookie, r->plus ? r->max / 5 : r->max);
  if (more == 0)
    more = put_entries (c, r, &d, dir, &n_entries, &last);
  rcvmi_nfs_dir_close (c, &d, more == 1 ? last : 0);
  if (more < 0 || (more == 1 && n_entries == 0))
    {
      c->out = head;
      return fail_dir (c, more == 1 ? NFS3ERR_TOOSMALL : more == -EINVAL ? NFS3ERR_BAD_COOKIE
                                                                         : rcvmi_nfs_status (-more),
                       dir);
    }
  xdr_put_u32 (&c->out, 0);
  xdr_put_u32 (&c->out, more == 0);
  xdr_put_u32 (&head, NFS3_OK);
  if (rcvmi_nfs_stat (dir, &st) == 0)
    rcvmi_nfs_put_post (&head, dir->scope, &st);
  else
    {
      /* It went meanwhile. */
      c->out = head;
      c->out.pos -= 4;
      return fail_dir (c, NFS3ERR_STALE, dir);
    }
  xdr_put_u64 (&head, 0);
  rcvmi_nfs_object_put (c->server, dir);
  return NFS_DONE;
}

/* RFC 1813, section 3.3.16 */
enum nfs_outcome
rcvmi_nfs_proc_readdir (struct nfs_call *c)
{
  struct request r = { .plus = false };

  rcvmi_nfs_get_handle (&c->in, &r.handle);
  r.cookie = xdr_get_u64 (&c->in);
  r.verf = xdr_get_u64 (&c->in);
  r.max = xdr_get_u32 (&c->in);
  r.names_max = r.max;
  return c->in.bad ? NFS_GARBAGE : read_dir (c, &r);
}

/* RFC 1813, section 3.3.17 */
enum nfs_outcome
rcvmi_nfs_proc_readdirplus (struct nfs_call *c)
{
  struct request r = { .plus = true };

  rcvmi_nfs_get_handle (&c->in, &r.handle);
  r.cookie = xdr_get_u64 (&c->in);
  r.verf = xdr_get_u64 (&c->in);
  r.names_max = xdr_get_u32 (&c->in);
  r.max = xdr_get_u32 (&c->in);
  return c->in.bad ? NFS_GARBAGE : read_dir (c, &r);
}
