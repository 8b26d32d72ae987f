/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-layer-reader.h"
#include "rootfs-layer.h"

/* A file on its way into the image: its blocks are filled from front to back. */
struct filling
{
  struct rcvmi_data *d;
  struct rcvmi_extents x;
  struct rcvmi_extent extent;
  uint64_t done; /* bytes of the extent */
  bool open;     /* there is an extent */
};

static void
close_reader (struct rcvmi_layer_reader **r)
{
  rcvmi_layer_reader_close (*r);
}

static void
next_extent (struct filling *f)
{
  f->open = rcvmi_extents_next (&f->x, &f->extent);
  f->done = 0;
}

/* `data` NULL: zeros. */
static int
put (struct filling *f, const unsigned char *data, uint64_t len)
{
  struct rcvmi_writer *w = &f->d->writer;

  while (len)
    {
      uint64_t to = f->extent.start * RCVMI_BLOCK + f->done;
      size_t room = rcvmi_writer_room (w, to), part = len < room ? (size_t) len : room;
      unsigned char *p = rcvmi_writer_reserve (w, to, part, f->d->err);

      if (!p)
        return -1;
      if (data)
        {
          memcpy (p, data, part);
          data += part;
        }
      else
        memset (p, 0, part);
      f->done += part;
      len -= part;
    }
  return 0;
}

/* Zeros up to where `offset` of the file is, or to the end of its blocks. */
static int
fill_up_to (struct filling *f, uint64_t offset)
{
  while (f->open)
    {
      uint64_t start = f->extent.block * RCVMI_BLOCK, size = f->extent.count * RCVMI_BLOCK;

      if (offset < start + size)
        return offset > start + f->done ? put (f, NULL, offset - start - f->done) : 0;
      if (put (f, NULL, size - f->done) < 0)
        return -1;
      next_extent (f);
    }
  return 0;
}

/* Data at `offset`, which is where the last one ended, or behind. -1: it has no place there, or
   an error. */
static int
fill_data (struct filling *f, uint64_t offset, const unsigned char *data, size_t len)
{
  while (len)
    {
      uint64_t left;
      size_t part;

      if (fill_up_to (f, offset) < 0)
        return -1;
      if (!f->open || offset != f->extent.block * RCVMI_BLOCK + f->done)
        return -1;
      left = f->extent.count * RCVMI_BLOCK - f->done;
      part = len < left ? len : (size_t) left;
      if (put (f, data, part) < 0)
        return -1;
      data += part;
      offset += part;
      len -= part;
    }
  return 0;
}

static int
fail_changed (struct rcvmi_data *d)
{
  return rcvmi_fail (d->err, RCVM_E_STATE, 0,
                     "the layer '%s' changed while it was read; build again when nothing writes there",
                     d->origin->path);
}

static int
write_file (struct rcvmi_data *d, struct rcvmi_layer_reader *reader, struct rcvmi_inode *inode)
{
  struct filling f = { .d = d };
  uint64_t offset, end = 0;
  const void *data;
  size_t len;
  int r;

  rcvmi_extents_start (&f.x, d->e, inode);
  next_extent (&f);
  while ((r = rcvmi_layer_reader_data (reader, &data, &len, &offset, d->err)) > 0)
    {
      if (len == 0)
        continue;
      if (offset < end || offset > inode->size || len > inode->size - offset)
        return rcvmi_layer_reader_fail (reader, RCVM_E_IMAGE, "more data than its header says", d->err);
      if (fill_data (&f, offset, data, len) < 0)
        {
          /* Unless it was the image that could not be written. */
          rcvmi_layer_reader_fail (reader, RCVM_E_IMAGE, "data where its header has none", d->err);
          return -1;
        }
      end = offset + len;
      if (rcvmi_data_advance (d, len) < 0)
        return -1;
    }
  if (r < 0 || fill_up_to (&f, UINT64_MAX) < 0)
    return -1;
  return 0;
}

static bool
is_unchanged (const struct rcvmi_origin *o)
{
  const struct stat *was = &o->identity;
  struct stat st;

  return fstat (o->fd, &st) == 0 && st.st_size == was->st_size && st.st_mtim.tv_sec == was->st_mtim.tv_sec
         && st.st_mtim.tv_nsec == was->st_mtim.tv_nsec && st.st_ctim.tv_sec == was->st_ctim.tv_sec
         && st.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

/* What is read counts when it is written; but it can be cancelled while nothing but reading goes on. */
static int
forward (void *user, const char *phase, uint64_t files, uint64_t bytes)
{
  struct rcvmi_data *d = user;

  (void) phase;
  (void) files;
  (void) bytes;
  return rcvmi_rootfs_report (d->progress, NULL) < 0;
}

static int
write_files (struct rcvmi_data *d, struct rcvmi_inode **files, size_t n)
{
  __attribute__ ((cleanup (close_reader))) struct rcvmi_layer_reader *reader = NULL;
  struct rcvmi_rootfs_progress waiting = { .fn = forward, .user = d };
  struct rcvmi_layer_entry entry;

  if (rcvmi_layer_reader_open (&reader, d->origin, &waiting, d->err) < 0)
    return -1;
  for (size_t i = 0; i < n;)
    {
      int r = rcvmi_layer_reader_next (reader, &entry, d->err);

      if (r < 0)
        return -1;
      if (r > 0 && entry.number < files[i]->source_ino)
        continue;
      if (r == 0 || entry.number != files[i]->source_ino || entry.hardlink || !S_ISREG (entry.mode)
          || entry.size != files[i]->size)
        return fail_changed (d);
      files[i]->flags |= RCVMI_INODE_WRITTEN;
      if (entry.size && write_file (d, reader, files[i]) < 0)
        return -1;
      if (rcvmi_rootfs_progress (d->progress, 1, 0, d->err) < 0)
        return -1;
      i++;
    }
  return 0;
}

int
rcvmi_layer_write (struct rcvmi_data *d, size_t origin)
{
  size_t n;
  autofree struct rcvmi_inode **files = rcvmi_tree_archive_files (d->tree, origin, &n);

  if (!files)
    return rcvmi_fail_nomem (d->err);
  if (n && write_files (d, files, n) < 0)
    return -1;
  return is_unchanged (d->origin) ? 0 : fail_changed (d);
}
