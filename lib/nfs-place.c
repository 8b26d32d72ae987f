/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handles for files of file systems that have none of their own (overlayfs, most of FUSE), and for a server
 * without CAP_DAC_READ_SEARCH: inode number, birth time, and a trail, one byte of a keyed hash of each
 * inode number from the mount's root down to the file.  A bounded table knows where an inode was last seen;
 * where that is no more true, or after a restart, the trail leads a search: only directories whose byte
 * fits are entered.  A search without the trail is the last resort for what was moved; it gives up after
 * SEARCH_MAX names.
 */
#include "config.h"

#include "nfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "cleanup.h"

enum
{
  TABLE = 4096,
  TABLE_BYTES_MAX = 2 << 20,
  TRAIL_MAX = 31,
  PAYLOAD_FIXED = 13,
  DEPTH_MAX = 200,
  SEARCH_MAX = 200000,
  MASK = STATX_BASIC_STATS | STATX_BTIME
};

struct place
{
  struct place *hash_next, *newer, *older;
  uint64_t ino, parent;
  uint32_t tag, birth;
  uint8_t trail_len, trail[TRAIL_MAX];
  char name[];
};

struct nfs_places
{
  struct place *table[TABLE];
  struct place *newest, *oldest;
  size_t bytes;
};

static unsigned
slot_of (uint32_t tag, uint64_t ino)
{
  return (unsigned) ((ino * UINT64_C (0x9e3779b97f4a7c15) >> 40) ^ tag) % TABLE;
}

static uint8_t
trail_byte (const struct nfs_server *s, uint64_t ino)
{
  return (uint8_t) rcvmi_nfs_siphash (s->key, &ino, sizeof ino);
}

static uint32_t
birth_of (const struct nfs_scope *scope, const struct statx *st)
{
  /* Where a write copies the file, its birth time changes with it. */
  if (!scope->births || !(st->stx_mask & STATX_BTIME))
    return 0;
  return (uint32_t) st->stx_btime.tv_sec ^ (uint32_t) st->stx_btime.tv_nsec << 2;
}

static struct place *
find (const struct nfs_places *ps, uint32_t tag, uint64_t ino)
{
  struct place *p = ps->table[slot_of (tag, ino)];

  while (p && (p->ino != ino || p->tag != tag))
    p = p->hash_next;
  return p;
}

static void
unlink_place (struct nfs_places *ps, struct place *p)
{
  struct place **slot = &ps->table[slot_of (p->tag, p->ino)];

  while (*slot != p)
    slot = &(*slot)->hash_next;
  *slot = p->hash_next;
  *(p->newer ? &p->newer->older : &ps->newest) = p->older;
  *(p->older ? &p->older->newer : &ps->oldest) = p->newer;
  ps->bytes -= sizeof *p + strlen (p->name) + 1;
}

static void
link_place (struct nfs_places *ps, struct place *p)
{
  struct place **slot = &ps->table[slot_of (p->tag, p->ino)];

  p->hash_next = *slot;
  *slot = p;
  p->newer = NULL;
  p->older = ps->newest;
  *(ps->newest ? &ps->newest->newer : &ps->oldest) = p;
  ps->newest = p;
  ps->bytes += sizeof *p + strlen (p->name) + 1;
}

/* With the lock.  What is remembered of the inode, with its present name. NULL: no memory. */
static struct place *
remember (struct nfs_server *s, const struct nfs_scope *scope, uint64_t ino, uint32_t birth, uint64_t parent,
          const char *name)
{
  struct nfs_places *ps = s->places;
  struct place *old, *above, *p;

  if (!ps && !(ps = s->places = calloc (1, sizeof *ps)))
    return NULL;
  old = find (ps, scope->tag, ino);
  if (old && old->birth == birth && old->parent == parent && strcmp (old->name, name) == 0)
    return old;
  p = calloc (1, sizeof *p + strlen (name) + 1);
  if (!p)
    return NULL;
  p->ino = ino;
  p->parent = parent;
  p->tag = scope->tag;
  p->birth = birth;
  strcpy (p->name, name);
  if (old && old->birth == birth)
    {
      /* The handle stays what it was, wherever the file goes. */
      p->trail_len = old->trail_len;
      memcpy (p->trail, old->trail, sizeof p->trail);
    }
  else
    {
      above = find (ps, scope->tag, parent);
      if (above)
        {
          p->trail_len = above->trail_len;
          memcpy (p->trail, above->trail, sizeof p->trail);
        }
      if (p->trail_len < TRAIL_MAX)
        p->trail[p->trail_len++] = trail_byte (s, ino);
    }
  if (old)
    {
      unlink_place (ps, old);
      free (old);
    }
  link_place (ps, p);
  while (ps->bytes > TABLE_BYTES_MAX && ps->oldest != p)
    {
      old = ps->oldest;
      unlink_place (ps, old);
      free (old);
    }
  return p;
}

static void
seal (struct nfs_server *s, const struct nfs_scope *scope, uint64_t ino, uint32_t birth, const uint8_t *trail,
      unsigned n, struct nfs_handle *h)
{
  uint8_t payload[RCVMI_NFS_PAYLOAD_MAX];

  memcpy (payload, &ino, 8);
  memcpy (payload + 8, &birth, 4);
  payload[12] = (uint8_t) n;
  if (n)
    memcpy (payload + PAYLOAD_FIXED, trail, n);
  rcvmi_nfs_handle_seal (h, s->key, scope, NFS_HANDLE_PLACE, 0, payload, PAYLOAD_FIXED + n);
}

void
rcvmi_nfs_place_handle (struct nfs_server *s, const struct nfs_object *dir, const char *name,
                        const struct statx *st, struct nfs_scope *scope, struct nfs_handle *h)
{
  uint32_t birth = birth_of (scope, st);
  const struct place *p = NULL;

  pthread_mutex_lock (&s->lock);
  if (st->stx_ino == scope->root_ino)
    seal (s, scope, scope->root_ino, 0, NULL, 0, h);
  else
    {
      if (name)
        p = remember (s, scope, st->stx_ino, birth, dir->ino, name);
      else if (s->places)
        p = find (s->places, scope->tag, st->stx_ino);
      if (p)
        seal (s, scope, p->ino, p->birth, p->trail, p->trail_len, h);
      else
        {
          const uint8_t byte = trail_byte (s, st->stx_ino);

          seal (s, scope, st->stx_ino, birth, &byte, 1, h);
        }
    }
  pthread_mutex_unlock (&s->lock);
}

static int
open_beneath (int dir, const char *path, int flags)
{
  struct open_how how
      = { .flags = (unsigned) (flags | O_NOFOLLOW | O_CLOEXEC),
          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

  return (int) syscall (SYS_openat2, dir, path, &how, sizeof how);
}

/* "a/b/c" at the end of `path`; NULL: not known. */
static char *
known_path (struct nfs_server *s, const struct nfs_scope *scope, uint64_t ino, char path[PATH_MAX])
{
  char *at = path + PATH_MAX - 1;

  *at = 0;
  while (s->places && ino != scope->root_ino)
    {
      const struct place *p = find (s->places, scope->tag, ino);
      size_t len = p ? strlen (p->name) : 0;

      if (!p || len + 1 > (size_t) (at - path))
        return NULL;
      if (*at)
        *--at = '/';
      at -= len;
      memcpy (at, p->name, len);
      ino = p->parent;
    }
  return *at ? at : NULL;
}

struct wanted
{
  uint64_t ino;
  uint32_t birth;
  uint8_t n, trail[TRAIL_MAX];
};

struct frame
{
  DIR *dir;
  uint64_t ino;
  uint32_t birth;
  char name[NAME_MAX + 1];
};

static bool
is_wanted (const struct nfs_scope *scope, const struct wanted *w, const struct statx *st)
{
  return st->stx_ino == w->ino && (w->birth == 0 || birth_of (scope, st) == w->birth);
}

static DIR *
open_dir (int at, const char *name)
{
  int fd = open_beneath (at, name, O_RDONLY | O_DIRECTORY);
  DIR *d = fd >= 0 ? fdopendir (fd) : NULL;

  if (!d && fd >= 0)
    close (fd);
  return d;
}

/* The frames' directories lead to the file. */
static void
remember_all (struct nfs_server *s, const struct nfs_scope *scope, const struct frame *frames, unsigned depth,
              const char *name, const struct statx *st)
{
  pthread_mutex_lock (&s->lock);
  for (unsigned i = 1; i <= depth; i++)
    remember (s, scope, frames[i].ino, frames[i].birth, frames[i - 1].ino, frames[i].name);
  remember (s, scope, st->stx_ino, birth_of (scope, st), frames[depth].ino, name);
  pthread_mutex_unlock (&s->lock);
}

static int
search (struct nfs_server *s, struct nfs_scope *scope, const struct wanted *w, bool follow_trail)
{
  autofree struct frame *frames = malloc (DEPTH_MAX * sizeof *frames);
  unsigned depth = 0, seen = 0;
  int found = -ESTALE;

  if (!frames || !(frames[0].dir = open_dir (scope->fd, ".")))
    return -ENOMEM;
  frames[0].ino = scope->root_ino;
  for (;;)
    {
      struct frame *f = &frames[depth];
      const struct dirent *entry = readdir (f->dir);
      struct statx st;

      if (!entry)
        {
          closedir (f->dir);
          if (depth-- == 0)
            return found;
          continue;
        }
      if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
        continue;
      if (++seen > SEARCH_MAX)
        break;
      if (statx (dirfd (f->dir), entry->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, MASK, &st) < 0)
        continue;
      if (is_wanted (scope, w, &st))
        {
          found = open_beneath (dirfd (f->dir), entry->d_name, O_PATH);
          if (found >= 0)
            {
              remember_all (s, scope, frames, depth, entry->d_name, &st);
              break;
            }
          found = -ESTALE;
        }
      if (!S_ISDIR (st.stx_mode) || depth + 1 >= DEPTH_MAX
          || (follow_trail && depth < TRAIL_MAX
              && (depth + 1 >= w->n || w->trail[depth] != trail_byte (s, st.stx_ino))))
        continue;
      frames[depth + 1].dir = open_dir (dirfd (f->dir), entry->d_name);
      if (!frames[depth + 1].dir)
        continue;
      depth++;
      frames[depth].ino = st.stx_ino;
      frames[depth].birth = birth_of (scope, &st);
      strcpy (frames[depth].name, entry->d_name);
    }
  for (unsigned i = 0; i <= depth; i++)
    closedir (frames[i].dir);
  return found;
}

int
rcvmi_nfs_place_open (struct nfs_call *c, struct nfs_scope *scope, const struct nfs_handle_parts *parts)
{
  struct nfs_server *s = c->server;
  struct wanted w = { 0 };
  char space[PATH_MAX], *path;
  struct statx st;
  int fd;

  if (parts->len < PAYLOAD_FIXED || parts->payload[12] > TRAIL_MAX
      || parts->len != PAYLOAD_FIXED + parts->payload[12])
    return -ESTALE;
  memcpy (&w.ino, parts->payload, 8);
  memcpy (&w.birth, parts->payload + 8, 4);
  w.n = parts->payload[12];
  memcpy (w.trail, parts->payload + PAYLOAD_FIXED, w.n);
  if (w.n == 0)
    {
      fd = openat (scope->fd, ".", O_PATH | O_CLOEXEC);
      return fd < 0 ? -errno : fd;
    }
  pthread_mutex_lock (&s->lock);
  path = known_path (s, scope, w.ino, space);
  pthread_mutex_unlock (&s->lock);
  fd = path ? open_beneath (scope->fd, path, O_PATH) : -1;
  if (fd >= 0 && statx (fd, "", AT_EMPTY_PATH, MASK, &st) == 0 && is_wanted (scope, &w, &st))
    return fd;
  if (fd >= 0)
    close (fd);
  fd = search (s, scope, &w, true);
  return fd == -ESTALE ? search (s, scope, &w, false) : fd;
}

void
rcvmi_nfs_place_moved (struct nfs_server *s, const struct nfs_object *dir, const char *name,
                       const struct nfs_object *to, const char *new_name)
{
  pthread_mutex_lock (&s->lock);
  if (s->places)
    for (const struct place *p = s->places->newest; p; p = p->older)
      if (p->parent == dir->ino && p->tag == dir->scope->tag && strcmp (p->name, name) == 0)
        {
          remember (s, to->scope, p->ino, p->birth, to->ino, new_name);
          break;
        }
  pthread_mutex_unlock (&s->lock);
}

void
rcvmi_nfs_places_free (struct nfs_server *s)
{
  struct place *p = s->places ? s->places->newest : NULL;

  while (p)
    {
      struct place *older = p->older;

      free (p);
      p = older;
    }
  free (s->places);
  s->places = NULL;
}
