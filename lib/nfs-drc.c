/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Replies to calls that must not be done twice.  A client whose connection broke sends again what was not
 * answered, with the same xid, perhaps over another connection: a REMOVE that was done must not fail with
 * "no such file".  A call is the same when its xid and a keyed hash of the rest are, for two minutes; but
 * for what a credential holds besides who it is, for some put the time there.
 */
#include "config.h"

#include "nfs-server.h"

#include <stdlib.h>

enum
{
  REPLY_MAX = 1024
};

#define AGE_MAX INT64_C (120000000) /* usec */

static uint64_t
check_of (const struct nfs_call *c)
{
  uint64_t parts[3] = { (uint64_t) c->prog << 32 | c->proc, (uint64_t) c->cred.uid << 32 | c->cred.gid };

  parts[2] = rcvmi_nfs_siphash (c->server->key, c->body, (size_t) (c->record + c->len - c->body));
  return rcvmi_nfs_siphash (c->server->key, parts, sizeof parts);
}

struct nfs_drc_entry *
rcvmi_nfs_drc_find (struct nfs_drc *d, const struct nfs_call *c, bool *is_new)
{
  uint64_t check;
  struct nfs_drc_entry *e;

  *is_new = true;
  if (!d->entries && !(d->entries = calloc (RCVMI_NFS_REMEMBERED, sizeof *d->entries)))
    return NULL;
  check = check_of (c);
  for (unsigned i = 0; i < RCVMI_NFS_REMEMBERED; i++)
    {
      e = &d->entries[i];
      if (d->xids[i] == c->xid && e->check == check && (e->len || e->job) && c->arrived - e->when < AGE_MAX)
        {
          *is_new = false;
          return e;
        }
    }
  /* The oldest that is not being run. */
  for (unsigned i = 0; i < RCVMI_NFS_REMEMBERED; i++)
    {
      e = &d->entries[d->next];
      d->next = (d->next + 1) % RCVMI_NFS_REMEMBERED;
      if (e->job)
        continue;
      d->xids[e - d->entries] = c->xid;
      e->check = check;
      e->when = c->arrived;
      e->len = 0;
      return e;
    }
  return NULL;
}

void
rcvmi_nfs_drc_answer (struct nfs_drc_entry *e, const struct nfs_buf *reply)
{
  uint8_t *copy;

  e->job = NULL;
  e->len = 0;
  if (reply->len > REPLY_MAX || !(copy = realloc (e->reply, reply->len)))
    return;
  e->reply = copy;
  memcpy (copy, reply->data, reply->len);
  e->len = reply->len;
}

void
rcvmi_nfs_drc_free (struct nfs_drc *d)
{
  for (unsigned i = 0; d->entries && i < RCVMI_NFS_REMEMBERED; i++)
    free (d->entries[i].reply);
  free (d->entries);
  *d = (struct nfs_drc){ 0 };
}
