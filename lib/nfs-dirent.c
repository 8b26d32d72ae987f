/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories from a cookie on.  Where the file system's offsets outlive a close, they are the cookies.
 * Elsewhere (overlayfs, FUSE) a cookie is a keyed hash of the name, and entries come in its order: the
 * whole directory is read for each reply, and whatever is made or removed meanwhile, no other entry is left
 * out or told twice.
 */
#include "config.h"

#include "nfs.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct linux_dirent64
{
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
  char name[];
};

struct entry
{
  uint64_t hash;
  uint64_t ino;
  size_t name; /* in the arena */
};

struct nfs_sorted
{
  struct entry *entries;
  size_t n, cap;
  char *names;
  size_t names_len, names_cap;
  uint64_t bound; /* what sorts behind it was left out */
  bool cut;
};

enum
{
  AHEAD_USEC = 100000, /* names that were there so long ago may be told */
  READ_MIN = 1024,
  ENTRY_MIN = 24, /* of a reply */
  DOT = 1,
  DOT_DOT = 2,
  FIRST = 3
};

static uint64_t
cookie_of (const struct nfs_server *s, const char *name)
{
  uint64_t hash;

  if (strcmp (name, ".") == 0)
    return DOT;
  if (strcmp (name, "..") == 0)
    return DOT_DOT;
  /* Some clients take it for a signed number. */
  hash = rcvmi_nfs_siphash (s->key, name, strlen (name)) >> 1;
  return hash < FIRST ? FIRST : hash;
}

static int
compare (const void *a, const void *b)
{
  const struct entry *x = a, *y = b;

  return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Forgets what a reply cannot hold. */
static void
cut (struct nfs_sorted *t, size_t keep)
{
  size_t len = 0;

  qsort (t->entries, t->n, sizeof *t->entries, compare);
  if (t->n <= keep)
    return;
  t->n = keep;
  t->cut = true;
  t->bound = t->entries[keep - 1].hash;
  /* The names that stay move together; they are met in no order. */
  char *names = malloc (t->names_cap);

  if (!names)
    return;
  for (size_t i = 0; i < t->n; i++)
    {
      size_t size = strlen (t->names + t->entries[i].name) + 1;

      memcpy (names + len, t->names + t->entries[i].name, size);
      t->entries[i].name = len;
      len += size;
    }
  free (t->names);
  t->names = names;
  t->names_len = len;
}

static int
add (struct nfs_sorted *t, uint64_t hash, uint64_t ino, const char *name)
{
  size_t size = strlen (name) + 1;

  if (t->n == t->cap)
    {
      size_t cap = t->cap ? 2 * t->cap : 128;
      void *entries = reallocarray (t->entries, cap, sizeof *t->entries);

      if (!entries)
        return -ENOMEM;
      t->entries = entries;
      t->cap = cap;
    }
  if (t->names_cap - t->names_len < size)
    {
      size_t cap = t->names_cap ? 2 * t->names_cap : 4096;
      char *names = realloc (t->names, cap);

      if (!names)
        return -ENOMEM;
      t->names = names;
      t->names_cap = cap;
    }
  memcpy (t->names + t->names_len, name, size);
  t->entries[t->n++] = (struct entry){ hash, ino, t->names_len };
  t->names_len += size;
  return 0;
}

static int
sort_entries (struct nfs_call *c, struct nfs_dir *d, uint64_t cookie, size_t room)
{
  struct nfs_sorted *t = calloc (1, sizeof *t);
  size_t keep = room / ENTRY_MIN + 1;

  if (!t)
    return -ENOMEM;
  d->sorted = t;
  if (lseek (d->fd, 0, SEEK_SET) < 0)
    return -errno;
  for (;;)
    {
      long n = syscall (SYS_getdents64, d->fd, d->buf, sizeof c->thread->dents);

      if (n < 0)
        return -errno;
      if (n == 0)
        break;
      for (long pos = 0; pos < n;)
        {
          const struct linux_dirent64 *e = (const void *) (d->buf + pos);
          uint64_t hash = cookie_of (c->server, e->name);
          int rc = 0;

          pos += e->reclen;
          if (hash > cookie && (!t->cut || hash <= t->bound))
            rc = add (t, hash, e->ino, e->name);
          if (rc < 0)
            return rc;
          if (t->n >= 2 * keep)
            cut (t, keep);
        }
    }
  cut (t, keep);
  return 0;
}

/* What was read ahead of that cookie, or room for it.  NULL: all of it is in use. */
static struct nfs_ahead *
take_ahead (struct nfs_call *c, struct nfs_object *obj, uint64_t cookie)
{
  struct nfs_server *s = c->server;
  struct nfs_ahead *best = NULL;

  pthread_mutex_lock (&s->lock);
  for (unsigned i = 0; i < RCVMI_NFS_AHEAD; i++)
    {
      struct nfs_ahead *a = s->ahead[i];

      if (!a)
        a = s->ahead[i] = calloc (1, sizeof *a);
      if (!a || a->busy)
        continue;
      if (a->obj == obj)
        {
          best = a;
          break;
        }
      if (!best || a->when < best->when)
        best = a;
      if (a->when == 0)
        break;
    }
  if (best)
    {
      if (best->obj != obj || best->cookie != cookie || cookie == 0 || c->arrived - best->when > AHEAD_USEC)
        best->pos = best->len = 0;
      best->busy = true;
      best->obj = obj;
    }
  pthread_mutex_unlock (&s->lock);
  return best;
}

/* The object goes, and another may come to lie where it was. */
void
rcvmi_nfs_dir_forget (struct nfs_server *s, const struct nfs_object *obj)
{
  for (unsigned i = 0; i < RCVMI_NFS_AHEAD; i++)
    if (s->ahead[i] && s->ahead[i]->obj == obj)
      s->ahead[i]->obj = NULL;
}

int
rcvmi_nfs_dir_open (struct nfs_call *c, struct nfs_dir *d, struct nfs_object *obj, uint64_t cookie,
                    size_t room)
{
  *d = (struct nfs_dir){ .obj = obj, .fd = -1, .buf = c->thread->dents, .cookie = cookie };
  pthread_mutex_lock (&obj->order);
  if (obj->fd < 0)
    {
      d->next = cookie > 3 ? 3 : (unsigned) cookie;
      return 0;
    }
  d->fd = rcvmi_nfs_object_open (c, obj, false);
  if (d->fd < 0)
    return d->fd;
  if (!obj->scope->stable_cookies)
    return sort_entries (c, d, cookie, room);
  d->ahead = take_ahead (c, obj, cookie);
  if (d->ahead && d->ahead->pos < d->ahead->len)
    {
      d->buf = d->ahead->data;
      d->buf_size = sizeof d->ahead->data;
      d->pos = d->ahead->pos;
      d->len = d->ahead->len;
      return 0;
    }
  d->buf_size = sizeof c->thread->dents;
  if (d->ahead)
    d->buf = d->ahead->data;
  else if (room < d->buf_size)
    /* What does not fit will be read again: so, not much more than that. */
    d->buf_size = room < READ_MIN ? READ_MIN : room;
  if (lseek (d->fd, (off_t) cookie, SEEK_SET) < 0)
    return -errno;
  return 0;
}

static int
next_virtual (struct nfs_dir *d, struct nfs_dirent *e)
{
  const struct nfs_export *x = d->obj->scope->export;

  if (d->next >= 3)
    return 0;
  e->name = d->next == 0 ? "." : d->next == 1 ? ".." : x->file;
  e->ino = d->next == 2 ? x->root_ino : ~x->root_ino;
  e->cookie = ++d->next;
  return 1;
}

int
rcvmi_nfs_dir_next (struct nfs_call *c, struct nfs_dir *d, struct nfs_dirent *e)
{
  const struct nfs_object *obj = d->obj;
  const struct linux_dirent64 *from;

  if (obj->fd < 0)
    return next_virtual (d, e);
  if (d->sorted)
    {
      const struct entry *entry = &d->sorted->entries[d->next];

      if (d->next >= d->sorted->n)
        /* More of them sort behind: the next reply's. */
        return d->sorted->cut ? -E2BIG : 0;
      d->next++;
      *e = (struct nfs_dirent){ entry->ino, entry->hash, d->sorted->names + entry->name };
    }
  else
    {
      if (d->pos >= d->len)
        {
          long n = syscall (SYS_getdents64, d->fd, d->buf, d->buf_size);

          if (n <= 0)
            return n < 0 ? -errno : 0;
          d->len = (size_t) n;
          d->pos = 0;
        }
      from = (const void *) (d->buf + d->pos);
      d->taken = d->pos;
      d->pos += from->reclen;
      *e = (struct nfs_dirent){ from->ino, (uint64_t) from->off, from->name };
    }
  /* What lies above the export is nobody's business. */
  if (strcmp (e->name, "..") == 0 && obj->scope == obj->scope->export->scopes
      && obj->ino == obj->scope->export->root_ino)
    e->ino = obj->ino;
  (void) c;
  return 1;
}

/* The entry that no reply took is the first of what is kept. */
static void
keep_ahead (struct nfs_call *c, struct nfs_dir *d, uint64_t cookie)
{
  struct nfs_ahead *a = d->ahead;

  a->len = d->len;
  a->pos = cookie && d->taken < d->len ? d->taken : d->len;
  a->cookie = cookie;
  a->when = c->arrived;
  pthread_mutex_lock (&c->server->lock);
  a->busy = false;
  pthread_mutex_unlock (&c->server->lock);
}

void
rcvmi_nfs_dir_close (struct nfs_call *c, struct nfs_dir *d, uint64_t cookie)
{
  if (d->ahead)
    keep_ahead (c, d, cookie);
  if (d->sorted)
    {
      free (d->sorted->entries);
      free (d->sorted->names);
      free (d->sorted);
    }
  pthread_mutex_unlock (&d->obj->order);
}

void
rcvmi_nfs_dirs_trim (struct nfs_server *s)
{
  pthread_mutex_lock (&s->lock);
  for (unsigned i = 0; i < RCVMI_NFS_AHEAD; i++)
    if (s->ahead[i] && !s->ahead[i]->busy)
      {
        free (s->ahead[i]);
        s->ahead[i] = NULL;
      }
  pthread_mutex_unlock (&s->lock);
}
