/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk of a write-back that is one of several of the same image: tells what has changed since the one before.
 *
 * First all names are read, with their inodes' times of change, and compared with what is known of earlier write-backs.  All that is
 * handed out, before anything else, for the next one to know.  Then what is new, changed or gone is told as by the other walk.
 *
 * A file is the same if its name, its inode, and the inode's time of change are, and that time is past for good.  Renaming a
 * directory changes nothing of what is in it: what is below a directory that is not where it was is new.
 *
 * Two things may be known: the last write-back that came to its end, and a later one that may have been interrupted.  What
 * they do not agree on is told again.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "writeback-known.h"

/* A name in the image, or one that is not there any more. */
struct node
{
  size_t name; /* in the arena */
  uint32_t ino, generation, nsec;
  int64_t sec;
  uint8_t len, kind;
  bool dirty, linked, moved, ghost;
};

/* What the host has of a directory. */
enum place
{
  NEW,    /* nothing of ours */
  UNSURE, /* it, but who knows with what in it */
  STAYS,  /* it, as it was told last */
  OTHER   /* something else of ours */
};

struct dir
{
  uint32_t ino;
  size_t node, first, n; /* its nodes; its own is the parent's */
  size_t parent;
  size_t next; /* of its nodes, to be told */
  enum place place;
  bool touched;
};

struct changes
{
  struct rcvmi_wb_walk *walk;
  struct rcvmi_wb_known done, begun;
  unsigned char *done_data, *begun_data;
  bool has_begun;
  struct node *nodes;
  struct dir *dirs;
  char *arena;
  size_t n_nodes, cap_nodes, n_dirs, cap_dirs, len, cap;
  struct rcvmi_wb_set relinked; /* inodes with several names of which one is dirty */
};

static const char *
name_of (const struct changes *c, const struct node *n)
{
  return c->arena + n->name;
}

/* What is known. */

static int
read_all (struct changes *c, int fd, unsigned char **data, size_t *len)
{
  size_t cap = 0;

  *len = 0;
  for (;;)
    {
      ssize_t n;

      if (*len == cap)
        {
          unsigned char *more = cap > WB_KNOWN_MAX ? NULL : realloc (*data, cap = cap * 2 + 65536);

          if (!more)
            return rcvmi_fail_nomem (c->walk->err);
          *data = more;
        }
      n = pread (fd, *data + *len, cap - *len, (off_t) *len);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (c->walk->err, errno, "cannot read what is known of earlier write-backs of the image '%s'",
                                 c->walk->image);
      if (n == 0)
        return 0;
      *len += (size_t) n;
    }
}

static int
read_known (struct changes *c, int fd, struct rcvmi_wb_known *k, unsigned char **data)
{
  size_t len;
  int code;

  if (fd < 0)
    return 0;
  code = read_all (c, fd, data, &len);
  if (code < 0)
    return code;
  code = rcvmi_wb_known_parse (k, *data, len);
  if (code == -ENOMEM)
    return rcvmi_fail_nomem (c->walk->err);
  return code < 0 ? rcvmi_fail (c->walk->err, RCVM_E_STATE, 0,
                                "what is known of earlier write-backs of the image '%s' is damaged: remove the files with '.known' "
                                "in their names beside it, and all changes are written back once more",
                                c->walk->image)
                  : 0;
}

/* What is there. */

static struct node *
add_node (struct changes *c, const char *name, size_t len)
{
  struct node *n;

  if (c->n_nodes == c->cap_nodes)
    {
      size_t cap = c->cap_nodes * 2 + 256;

      n = reallocarray (c->nodes, cap, sizeof *n);
      if (!n)
        return NULL;
      c->nodes = n;
      c->cap_nodes = cap;
    }
  if (c->cap - c->len < len + 1)
    {
      size_t cap = c->cap * 2 + len + 4096;
      char *arena = realloc (c->arena, cap);

      if (!arena)
        return NULL;
      c->arena = arena;
      c->cap = cap;
    }
  n = &c->nodes[c->n_nodes++];
  *n = (struct node){ .name = c->len, .len = (uint8_t) len };
  memcpy (c->arena + c->len, name, len);
  c->arena[c->len + len] = 0;
  c->len += len + 1;
  return n;
}

static int
add_dir (struct changes *c, size_t parent, size_t node)
{
  uint32_t ino = c->nodes[node].ino;

  if (rcvmi_wb_set_has (&c->walk->dirs, ino))
    return rcvmi_wb_damaged (c->walk, ino, "a directory has two names", 0);
  if (!rcvmi_wb_set_add (&c->walk->dirs, ino))
    return rcvmi_fail_nomem (c->walk->err);
  if (c->n_dirs == c->cap_dirs)
    {
      size_t cap = c->cap_dirs * 2 + 64;
      struct dir *dirs = reallocarray (c->dirs, cap, sizeof *dirs);

      if (!dirs)
        return rcvmi_fail_nomem (c->walk->err);
      c->dirs = dirs;
      c->cap_dirs = cap;
    }
  c->dirs[c->n_dirs++] = (struct dir){ .ino = ino, .parent = parent, .node = node };
  return 0;
}

static int
read_node (struct changes *c, const char *name, size_t len, uint32_t ino)
{
  struct ext2_inode_large *i;
  struct timespec t;
  struct node *n;

  if (rcvmi_wb_read_inode (c->walk, ino, &i) < 0)
    return -1;
  n = add_node (c, name, len);
  if (!n)
    return rcvmi_fail_nomem (c->walk->err);
  t = rcvmi_wb_change_time (i);
  n->ino = ino;
  n->generation = i->i_generation;
  n->sec = t.tv_sec;
  n->nsec = (uint32_t) t.tv_nsec;
  n->kind = LINUX_S_ISDIR (i->i_mode) ? WB_KNOWN_DIR : rcvmi_wb_is_whiteout (i) ? WB_KNOWN_WHITEOUT : WB_KNOWN_FILE;
  n->linked = n->kind == WB_KNOWN_FILE && i->i_links_count > 1;
  return 0;
}

static int
compare_nodes (const void *a, const void *b, void *user)
{
  const struct node *x = a, *y = b;

  return rcvmi_wb_known_compare (name_of (user, x), x->len, name_of (user, y), y->len);
}

static int
read_dir (struct changes *c, size_t number)
{
  struct rcvmi_wb_entries entries = { 0 };
  size_t first = c->n_nodes;
  int r = rcvmi_wb_entries_read (c->walk->fs, c->dirs[number].ino, &entries, c->walk->image, c->walk->err);

  for (struct rcvmi_wb_entry *e = NULL; r == 0 && (e = rcvmi_wb_entry_next (&entries, e));)
    r = read_node (c, e->name, e->len, e->ino);
  free (entries.data);
  if (r < 0)
    return r;
  c->dirs[number].first = first;
  c->dirs[number].n = c->n_nodes - first;
  if (c->dirs[number].n)
    qsort_r (c->nodes + first, c->n_nodes - first, sizeof *c->nodes, compare_nodes, c);
  return 0;
}

/* What is new about it. */

static bool
is_at_place (const struct rcvmi_wb_known_entry *e, const struct node *n)
{
  return e->kind == WB_KNOWN_DIR && e->ino == n->ino && e->generation == n->generation;
}

static bool
is_same (const struct rcvmi_wb_known_entry *e, const struct node *n)
{
  return e->kind == n->kind
         && (n->kind == WB_KNOWN_WHITEOUT
             || (e->ino == n->ino && e->generation == n->generation && e->sec == n->sec && e->nsec == n->nsec));
}

static bool
is_past (const struct node *n, const struct timespec *since)
{
  return n->kind == WB_KNOWN_WHITEOUT || n->sec < since->tv_sec || (n->sec == since->tv_sec && n->nsec < (uint32_t) since->tv_nsec);
}

static const struct rcvmi_wb_known_entry *
find_done (const struct changes *c, const struct rcvmi_wb_known_dir *dir, const struct node *n)
{
  const struct rcvmi_wb_known_entry *e = rcvmi_wb_known_find (&c->done, dir, name_of (c, n), n->len);

  return e && e->flags & WB_KNOWN_GHOST ? NULL : e;
}

static enum place
judge_place (const struct changes *c, const struct rcvmi_wb_known_entry *done, const struct rcvmi_wb_known_entry *begun,
             const struct node *n)
{
  if (!done && !begun)
    return NEW;
  if ((done && !is_at_place (done, n)) || (begun && (!is_at_place (begun, n) || begun->flags & (WB_KNOWN_MOVED | WB_KNOWN_GHOST))))
    return OTHER;
  return done && (begun || !c->has_begun) ? STAYS : UNSURE;
}

/* A name of a directory that the host has. */
static void
judge_node (struct changes *c, enum place place, const struct rcvmi_wb_known_dir *done_dir,
            const struct rcvmi_wb_known_dir *begun_dir, struct node *n, struct dir *dir)
{
  const struct rcvmi_wb_known_entry *done = find_done (c, done_dir, n);
  const struct rcvmi_wb_known_entry *begun = rcvmi_wb_known_find (&c->begun, begun_dir, name_of (c, n), n->len);

  n->dirty = place != STAYS || !done || !is_same (done, n) || !is_past (n, &c->done.since)
             || (c->has_begun && (!begun || !is_same (begun, n) || begun->flags));
  if (!dir)
    return;
  dir->place = judge_place (c, done, begun, n);
  if (dir->place == STAYS && place != STAYS)
    dir->place = UNSURE;
  n->moved = dir->place == OTHER;
  n->dirty |= dir->place != STAYS;
}

static int
add_ghosts (struct changes *c, struct dir *d, const struct rcvmi_wb_known *k, const struct rcvmi_wb_known_dir *known, bool ghosts_too)
{
  for (size_t i = 0; known && i < known->n; i++)
    {
      const struct rcvmi_wb_known_entry *e = &k->entries[known->first + i];
      size_t low = d->first, high = d->first + d->n;
      bool found = false;
      struct node *n;

      if (e->flags & WB_KNOWN_GHOST && !ghosts_too)
        continue;
      while (low < high && !found)
        {
          size_t mid = low + (high - low) / 2;
          int r = rcvmi_wb_known_compare (name_of (c, &c->nodes[mid]), c->nodes[mid].len, e->name, e->len);

          found = r == 0;
          if (r < 0)
            low = mid + 1;
          else
            high = mid;
        }
      if (found)
        continue;
      n = add_node (c, e->name, e->len);
      if (!n)
        return rcvmi_fail_nomem (c->walk->err);
      n->kind = WB_KNOWN_WHITEOUT;
      n->dirty = n->ghost = true;
    }
  return 0;
}

/* One after the other, each behind its parent; its own place is known.  Its nodes are the last ones. */
static int
judge_dir (struct changes *c, size_t number)
{
  struct dir *d = &c->dirs[number];
  bool is_known = d->place == STAYS || d->place == UNSURE;
  const struct rcvmi_wb_known_dir *done = is_known ? rcvmi_wb_known_dir (&c->done, d->ino) : NULL;
  const struct rcvmi_wb_known_dir *begun = is_known && c->has_begun ? rcvmi_wb_known_dir (&c->begun, d->ino) : NULL;
  enum place place = d->place;
  size_t first = d->first, n = d->n;

  for (size_t i = first; i < first + n; i++)
    {
      struct dir *below = NULL;

      if (c->nodes[i].kind == WB_KNOWN_DIR)
        {
          if (add_dir (c, number, i) < 0)
            return -1;
          below = &c->dirs[c->n_dirs - 1];
        }
      judge_node (c, place, done, begun, &c->nodes[i], below);
    }
  d = &c->dirs[number];
  if (add_ghosts (c, d, &c->done, done, false) < 0)
    return -1;
  /* The first ones are to be found by the second search. */
  d->n = c->n_nodes - first;
  if (d->n > n)
    qsort_r (c->nodes + first, d->n, sizeof *c->nodes, compare_nodes, c);
  n = d->n;
  if (add_ghosts (c, d, &c->begun, begun, true) < 0)
    return -1;
  d->n = c->n_nodes - first;
  if (d->n > n)
    qsort_r (c->nodes + first, d->n, sizeof *c->nodes, compare_nodes, c);
  /* Sorting has moved those of the directories below. */
  n = 0;
  for (size_t i = c->n_dirs; i-- > 0 && c->dirs[i].parent == number && i != 0;)
    n++;
  for (size_t i = first, at = c->n_dirs - n; i < first + d->n; i++)
    if (c->nodes[i].kind == WB_KNOWN_DIR)
      c->dirs[at++].node = i;
  return 0;
}

/* Of a file with several names all are told, or none. */
static int
judge_links (struct changes *c)
{
  for (size_t i = 0; i < c->n_nodes; i++)
    if (c->nodes[i].linked && c->nodes[i].dirty && !rcvmi_wb_set_add (&c->relinked, c->nodes[i].ino))
      return rcvmi_fail_nomem (c->walk->err);
  for (size_t i = 0; i < c->n_nodes; i++)
    if (c->nodes[i].linked && rcvmi_wb_set_has (&c->relinked, c->nodes[i].ino))
      c->nodes[i].dirty = true;
  return 0;
}

static void
find_touched (struct changes *c)
{
  for (size_t i = c->n_dirs; i-- > 0;)
    {
      struct dir *d = &c->dirs[i];

      d->touched |= c->nodes[d->node].dirty;
      for (size_t j = d->first; !d->touched && j < d->first + d->n; j++)
        d->touched = c->nodes[j].dirty;
      if (d->touched)
        c->dirs[d->parent].touched = true;
    }
}

static int
collect (struct changes *c, uint32_t top)
{
  const struct rcvmi_wb_known_dir *done = rcvmi_wb_known_dir (&c->done, 0);
  const struct rcvmi_wb_known_dir *begun = c->has_begun ? rcvmi_wb_known_dir (&c->begun, 0) : NULL;

  if (read_node (c, ".", 1, top) < 0)
    return -1;
  if (c->nodes[0].kind != WB_KNOWN_DIR)
    return rcvmi_wb_damaged (c->walk, top, "it is no directory", 0);
  if (add_dir (c, 0, 0) < 0)
    return -1;
  judge_node (c, STAYS, done, begun, &c->nodes[0], &c->dirs[0]);
  if (c->dirs[0].place != STAYS)
    c->dirs[0].place = UNSURE;
  for (size_t i = 0; i < c->n_dirs; i++)
    if (read_dir (c, i) < 0 || judge_dir (c, i) < 0)
      return -1;
  if (judge_links (c) < 0)
    return -1;
  find_touched (c);
  return 0;
}

/* Telling. */

static void
put_known_node (struct changes *c, struct tlv_writer *w, const struct node *n)
{
  struct rcvmi_wb_known_entry e = { .ino = n->ino,
                                    .generation = n->generation,
                                    .sec = n->sec,
                                    .nsec = n->nsec,
                                    .kind = n->kind,
                                    .len = n->len,
                                    .name = name_of (c, n) };

  e.flags = (uint8_t) ((n->dirty ? WB_KNOWN_DIRTY : 0) | (n->ghost ? WB_KNOWN_GHOST : 0) | (n->moved ? WB_KNOWN_MOVED : 0));
  rcvmi_wb_known_put_entry (w, &e);
}

static int
flush_known (struct changes *c, struct tlv_writer *w, bool all)
{
  size_t at = 0;

  if (w->failed)
    return rcvmi_fail_nomem (c->walk->err);
  while (at < w->len && (all || w->len - at >= WB_DATA_MAX))
    {
      struct rcvmi_wb_record r = { .type = WB_KNOWN, .data = w->data + at };

      r.len = w->len - at < WB_DATA_MAX ? w->len - at : WB_DATA_MAX;
      rcvmi_wb_encode (&c->walk->out, &r, NULL);
      if (rcvmi_wb_flush (c->walk, false) < 0)
        return -1;
      at += r.len;
    }
  memmove (w->data, w->data + at, w->len - at);
  w->len -= at;
  return 0;
}

static int
put_known (struct changes *c)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  int r = 0;

  rcvmi_wb_known_put_head (&w, c->walk->scope->frozen);
  rcvmi_wb_known_put_dir (&w, 0, 1);
  put_known_node (c, &w, &c->nodes[0]);
  for (size_t i = 0; r == 0 && i < c->n_dirs; i++)
    {
      const struct dir *d = &c->dirs[i];

      rcvmi_wb_known_put_dir (&w, d->ino, (uint32_t) d->n);
      for (size_t j = d->first; r == 0 && j < d->first + d->n; j++)
        {
          put_known_node (c, &w, &c->nodes[j]);
          r = flush_known (c, &w, false);
        }
    }
  if (r == 0)
    r = flush_known (c, &w, true);
  tlv_writer_free (&w);
  return r;
}

/* What of ours the host has at a name of a directory that is another one goes; what it has beside that which we told does not. */
static int
tell_dir (struct changes *c, const struct dir *d)
{
  const struct node *n = &c->nodes[d->node];
  enum rcvmi_wb_opaque opaque = d->place == STAYS ? WB_OPAQUE_NO : d->place == OTHER ? WB_OPAQUE_YES : WB_OPAQUE_AS_IT_IS;

  if (rcvmi_wb_put_dir (c->walk, d->ino, d == c->dirs ? NULL : name_of (c, n), opaque) < 0)
    return -1;
  for (size_t i = d->first; i < d->first + d->n; i++)
    if (c->nodes[i].kind == WB_KNOWN_FILE && c->nodes[i].dirty
        && rcvmi_wb_put_file (c->walk, c->nodes[i].ino, name_of (c, &c->nodes[i])) < 0)
      return -1;
  return 0;
}

static int
tell_end (struct changes *c, const struct dir *d)
{
  for (size_t i = d->first; i < d->first + d->n; i++)
    if (c->nodes[i].kind == WB_KNOWN_WHITEOUT && c->nodes[i].dirty
        && rcvmi_wb_put_simple (c->walk, WB_WHITEOUT, name_of (c, &c->nodes[i]), 0) < 0)
      return -1;
  return rcvmi_wb_put_simple (c->walk, WB_LEAVE, NULL, 0);
}

/* Children lie in one run behind their parent, in the order of their names: `next` counts dirs here. */
static int
tell (struct changes *c)
{
  autofree size_t *first = calloc (c->n_dirs + 1, sizeof *first);
  size_t at = 0;

  if (!first)
    return rcvmi_fail_nomem (c->walk->err);
  for (size_t i = c->n_dirs; i-- > 1;)
    first[c->dirs[i].parent] = i;
  for (size_t i = 0; i < c->n_dirs; i++)
    c->dirs[i].next = first[i] ? first[i] : c->n_dirs;
  if (tell_dir (c, &c->dirs[0]) < 0)
    return -1;
  for (;;)
    {
      struct dir *d = &c->dirs[at];

      while (d->next < c->n_dirs && c->dirs[d->next].parent == at && !c->dirs[d->next].touched)
        d->next++;
      if (d->next < c->n_dirs && c->dirs[d->next].parent == at)
        {
          at = d->next++;
          if (tell_dir (c, &c->dirs[at]) < 0)
            return -1;
        }
      else if (tell_end (c, d) < 0)
        return -1;
      else if (at == 0)
        return 0;
      else
        at = d->parent;
    }
}

int
rcvmi_wb_walk_changes (struct rcvmi_wb_walk *walk, uint32_t top)
{
  struct changes c = { .walk = walk, .has_begun = walk->scope->begun_fd >= 0 };
  int r = read_known (&c, walk->scope->done_fd, &c.done, &c.done_data);

  if (r == 0)
    r = read_known (&c, walk->scope->begun_fd, &c.begun, &c.begun_data);
  if (r == 0)
    r = collect (&c, top);
  if (r == 0 && c.dirs[0].touched)
    {
      r = put_known (&c);
      if (r == 0)
        r = tell (&c);
    }
  rcvmi_wb_known_clear (&c.done);
  rcvmi_wb_known_clear (&c.begun);
  free (c.done_data);
  free (c.begun_data);
  free (c.nodes);
  free (c.dirs);
  free (c.arena);
  free (c.relinked.slots);
  return r;
}
