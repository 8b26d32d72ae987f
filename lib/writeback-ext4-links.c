/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard links of the base.  When the guest changes a file that has several names in the base, overlayfs (index=on) keeps
 * the copy in work/index as well, under the file handle of the base's inode, and shows it under all names.  Only the
 * names that were used are in upper/ though: the others are found here, in the base.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"

enum
{
  /* struct ovl_fb: version, magic, length, flags, type and a UUID; then ext4's handle: inode and generation. */
  HANDLE_HEADER = 21,
  HANDLE_SIZE = HANDLE_HEADER + 8,
  HANDLE_MAGIC = 0xfb,
  HANDLE_TYPE = 1,
  PATH_LIMIT = 1 << 20
};

struct copy
{
  uint32_t base, upper; /* inodes */
};

struct links
{
  struct rcvmi_wb_walk *walk;
  struct rcvmi_wb_source source; /* the base */
  ext2_filsys fs;
  uint32_t upper;
  struct copy *copies; /* by the base's inode */
  size_t n;
  struct rcvmi_wb_set dirs;
};

static int
hex (char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The inode of the base, 0 if the name is no handle of one. */
static uint32_t
decode_handle (const char *name)
{
  unsigned char h[HANDLE_SIZE];

  if (strlen (name) != 2 * HANDLE_SIZE)
    return 0;
  for (size_t i = 0; i < HANDLE_SIZE; i++)
    {
      int high = hex (name[2 * i]), low = hex (name[2 * i + 1]);

      if (high < 0 || low < 0)
        return 0;
      h[i] = (unsigned char) (high << 4 | low);
    }
  if (h[0] != 0 || h[1] != HANDLE_MAGIC || h[2] != HANDLE_SIZE || h[4] != HANDLE_TYPE)
    return 0;
  return h[21] | (uint32_t) h[22] << 8 | (uint32_t) h[23] << 16 | (uint32_t) h[24] << 24;
}

static int
compare (const void *a, const void *b)
{
  const struct copy *x = a, *y = b;

  return x->base < y->base ? -1 : x->base > y->base;
}

static int
take_index (struct links *l, const struct rcvmi_wb_entries *list)
{
  struct ext2_inode_large *inode;
  size_t n = 0;

  for (struct rcvmi_wb_entry *e = NULL; (e = rcvmi_wb_entry_next (list, e));)
    n++;
  l->copies = calloc (n + 1, sizeof *l->copies);
  if (!l->copies)
    return rcvmi_fail_nomem (l->walk->err);
  for (struct rcvmi_wb_entry *e = NULL; (e = rcvmi_wb_entry_next (list, e));)
    {
      uint32_t base = decode_handle (e->name);

      if (rcvmi_wb_read_inode (l->walk, e->ino, &inode) < 0)
        return -1;
      if (base && !LINUX_S_ISDIR (inode->i_mode) && !rcvmi_wb_is_whiteout (inode))
        l->copies[l->n++] = (struct copy){ .base = base, .upper = e->ino };
    }
  qsort (l->copies, l->n, sizeof *l->copies, compare);
  return 0;
}

static int
read_index (struct links *l)
{
  struct rcvmi_wb_entries list = { 0 };
  errcode_t code;
  uint32_t work = rcvmi_wb_lookup (l->walk->fs, EXT2_ROOT_INO, "work", &code);
  uint32_t index = work ? rcvmi_wb_lookup (l->walk->fs, work, "index", &code) : 0;
  int r;

  if (code)
    return rcvmi_wb_damaged (l->walk, work ? work : EXT2_ROOT_INO, "work/index cannot be read", code);
  if (!index)
    return 0;
  r = rcvmi_wb_entries_read (l->walk->fs, index, &list, l->walk->image, l->walk->err);
  if (r == 0)
    r = take_index (l, &list);
  free (list.data);
  return r;
}

/* Whether the guest saw something else at this path of the base: 1, 0, or an error. */
static int
is_hidden (struct links *l, char *path)
{
  uint32_t dir = l->upper;
  struct rcvmi_wb_overlay overlay;
  struct ext2_inode_large *inode;

  for (char *name = path;;)
    {
      size_t n = strcspn (name, "/");
      char end = name[n];
      errcode_t code;
      uint32_t ino;

      name[n] = 0;
      ino = rcvmi_wb_lookup (l->walk->fs, dir, name, &code);
      name[n] = end;
      if (code)
        return rcvmi_wb_damaged (l->walk, dir, "a directory cannot be read", code);
      if (!ino)
        return 0;
      if (!end)
        return 1;
      if (rcvmi_wb_read_inode (l->walk, ino, &inode) < 0
          || rcvmi_wb_read_xattrs (l->walk, ino, inode, &overlay) < 0)
        return -1;
      if (!LINUX_S_ISDIR (inode->i_mode) || overlay.opaque)
        return 1;
      dir = ino;
      name += n + 1;
    }
}

static int
take_name (struct links *l, uint32_t base, char *path)
{
  struct copy key = { .base = base };
  const struct copy *c = bsearch (&key, l->copies, l->n, sizeof key, compare);
  struct rcvmi_wb_record r = { .type = WB_ALSO, .name = path };
  int hidden;

  if (!c)
    return 0;
  hidden = is_hidden (l, path);
  if (hidden)
    return hidden < 0 ? hidden : 0;
  if (rcvmi_wb_put_file (l->walk, c->upper, NULL) < 0)
    return -1;
  r.ino = c->upper;
  rcvmi_wb_encode (&l->walk->out, &r, NULL);
  return rcvmi_wb_flush (l->walk, false);
}

/* A directory of the base that waits. */
struct level
{
  struct rcvmi_wb_entries entries;
  struct rcvmi_wb_entry *entry;
  size_t path_len; /* with a '/' at the end, or 0 */
};

struct descent
{
  struct level *levels;
  size_t n, cap;
  char *path;
  size_t path_cap;
};

static int
descend (struct links *l, struct descent *d, uint32_t ino, size_t path_len)
{
  if (rcvmi_wb_set_has (&l->dirs, ino))
    return rcvmi_fail (l->walk->err, RCVM_E_IMAGE, 0,
                       "the base image is damaged: a directory (inode %u) has two names", ino);
  if (!rcvmi_wb_set_add (&l->dirs, ino))
    return rcvmi_fail_nomem (l->walk->err);
  if (d->n == d->cap)
    {
      size_t cap = d->cap * 2 + 16;
      struct level *levels = reallocarray (d->levels, cap, sizeof *levels);

      if (!levels)
        return rcvmi_fail_nomem (l->walk->err);
      d->levels = levels;
      d->cap = cap;
    }
  if (path_len + 2 * WB_NAME_MAX > d->path_cap)
    {
      size_t cap = path_len * 2 + 4 * WB_NAME_MAX;
      char *path = cap <= PATH_LIMIT ? realloc (d->path, cap) : NULL;

      if (!path)
        return rcvmi_fail_nomem (l->walk->err);
      d->path = path;
      d->path_cap = cap;
    }
  d->levels[d->n++] = (struct level){ .path_len = path_len };
  return rcvmi_wb_entries_read (l->fs, ino, &d->levels[d->n - 1].entries, "base", l->walk->err);
}

static int
take_entry (struct links *l, struct descent *d)
{
  struct level *level = &d->levels[d->n - 1];
  struct rcvmi_wb_entry *e = level->entry;
  struct ext2_inode inode;

  memcpy (d->path + level->path_len, e->name, (size_t) e->len + 1);
  if (e->ino < EXT2_FIRST_INO (l->fs->super) || ext2fs_read_inode (l->fs, e->ino, &inode))
    return rcvmi_fail (l->walk->err, RCVM_E_IMAGE, 0, "the base image is damaged (inode %u)",
                       e->ino);
  if (!LINUX_S_ISDIR (inode.i_mode))
    return inode.i_links_count > 1 ? take_name (l, e->ino, d->path) : 0;
  d->path[level->path_len + e->len] = '/';
  return descend (l, d, e->ino, level->path_len + e->len + 1);
}

static int
walk_base (struct links *l)
{
  struct descent d = { 0 };
  int r = descend (l, &d, EXT2_ROOT_INO, 0);

  while (r == 0 && d.n)
    {
      struct level *level = &d.levels[d.n - 1];

      level->entry = rcvmi_wb_entry_next (&level->entries, level->entry);
      if (level->entry)
        r = take_entry (l, &d);
      else
        free (d.levels[--d.n].entries.data);
    }
  while (d.n)
    free (d.levels[--d.n].entries.data);
  free (d.levels);
  free (d.path);
  return r;
}

int
rcvmi_wb_put_base_links (struct rcvmi_wb_walk *walk, int base, uint32_t upper)
{
  struct links l = { .walk = walk, .upper = upper };
  int r = read_index (&l);

  if (r == 0 && l.n)
    {
      r = rcvmi_wb_source_open (&l.source, base, "base", &l.fs, walk->err);
      if (r == 0)
        r = walk_base (&l);
      rcvmi_wb_source_close (&l.source, &l.fs);
    }
  free (l.copies);
  free (l.dirs.slots);
  return r;
}
