/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles that listings have met lately, by file system, inode number and birth time, so that READDIRPLUS need not ask the kernel twice for
 * each name: what the name is now is asked for each time (statx), only its handle is known.  An inode number may be used
 * again, and its generation, which is in the handle, changes then; so does its birth time, unless that happens within a tick of the
 * clock.  So handles of files that were just born are not kept.  A table of bounded size; it goes when nothing is asked for a while.
 */
#include "config.h"

#include "nfs.h"

#include <stdlib.h>
#include <time.h>

enum
{
  KNOWN = 8192,
  LEN_MAX = 36,
  SETTLED = 2 /* seconds of age */
};

struct known
{
  uint64_t ino;
  int64_t birth;
  uint32_t birth_nsec;
  uint32_t major, minor;
  uint8_t len, data[LEN_MAX]; /* the handle; it names its scope */
};

struct nfs_known
{
  struct known of[KNOWN];
};

static bool
can_be_known (const struct nfs_call *c, const struct nfs_scope *scope, const struct statx *st)
{
  return !c->thread->worker && scope->births && st->stx_mask & STATX_BTIME;
}

/* Files of one directory mostly have numbers that follow each other. */
static struct known *
place_of (const struct nfs_server *s, const struct nfs_scope *scope, const struct statx *st)
{
  return &s->known->of[(st->stx_ino ^ scope->tag) % KNOWN];
}

bool
rcvmi_nfs_known_find (const struct nfs_call *c, const struct nfs_scope *scope, const struct statx *st,
                      struct nfs_handle *h)
{
  struct nfs_handle_parts parts;
  const struct known *k;

  if (!can_be_known (c, scope, st) || !c->server->known)
    return false;
  k = place_of (c->server, scope, st);
  if (k->len == 0 || k->ino != st->stx_ino || k->birth != st->stx_btime.tv_sec
      || k->birth_nsec != st->stx_btime.tv_nsec || k->major != st->stx_dev_major || k->minor != st->stx_dev_minor)
    return false;
  h->len = k->len;
  memcpy (h->data, k->data, k->len);
  return rcvmi_nfs_handle_parse (h, &parts) && parts.tag == scope->tag;
}

void
rcvmi_nfs_known_add (struct nfs_call *c, const struct nfs_scope *scope, const struct statx *st,
                     const struct nfs_handle *h)
{
  struct nfs_server *s = c->server;
  struct known *k;

  if (!can_be_known (c, scope, st) || h->len > LEN_MAX || st->stx_btime.tv_sec > time (NULL) - SETTLED)
    return;
  if (!s->known && !(s->known = calloc (1, sizeof *s->known)))
    return;
  k = place_of (s, scope, st);
  *k = (struct known){ .ino = st->stx_ino, .birth = st->stx_btime.tv_sec, .birth_nsec = st->stx_btime.tv_nsec,
                       .major = st->stx_dev_major, .minor = st->stx_dev_minor, .len = (uint8_t) h->len };
  memcpy (k->data, h->data, h->len);
}

void
rcvmi_nfs_known_free (struct nfs_server *s)
{
  free (s->known);
  s->known = NULL;
}
