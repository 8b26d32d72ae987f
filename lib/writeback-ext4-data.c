/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the contents of a file lie in the image.  What was allocated and never written is a hole. */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-ext4.h"

#include <stdlib.h>

#include "cleanup.h"
#include "err.h"

struct data
{
  struct rcvmi_wb_walk *walk;
  uint32_t ino;
  uint64_t size;  /* bytes of the file */
  uint64_t block; /* the first of the file that may come */
  struct rcvmi_wb_extent extents[WB_EXTENTS_MAX];
  size_t n;
  int code;
};

static int
put_extents (struct data *d)
{
  if (d->n)
    rcvmi_wb_put_extents (&d->walk->out, d->extents, d->n);
  d->n = 0;
  return rcvmi_wb_flush (d->walk, false);
}

static int
add_extent (struct data *d, uint64_t block, uint64_t at, uint64_t count)
{
  uint64_t bs = d->walk->fs->blocksize;
  struct rcvmi_wb_extent x = { .offset = block * bs, .image = at * bs, .length = count * bs };
  struct rcvmi_wb_extent *last = d->n ? &d->extents[d->n - 1] : NULL;

  if (x.length > d->size - x.offset)
    x.length = d->size - x.offset;
  if (last && last->offset + last->length == x.offset && last->image + last->length == x.image)
    {
      last->length += x.length;
      return 0;
    }
  if (d->n == WB_EXTENTS_MAX && put_extents (d) < 0)
    return -1;
  d->extents[d->n++] = x;
  return 0;
}

/* One whose newest contents are in the journal. */
static int
add_replayed (struct data *d, uint64_t block, const struct rcvmi_wb_replayed *replayed)
{
  uint64_t bs = d->walk->fs->blocksize;
  autofree unsigned char *data = malloc (bs);
  struct rcvmi_wb_record r = { .type = WB_DATA, .offset = block * bs, .data = data, .len = bs };

  if (!data)
    return rcvmi_fail_nomem (d->walk->err);
  if (put_extents (d) < 0)
    return -1;
  if (rcvmi_wb_replay_read (&d->walk->source, replayed, data) < 0)
    return rcvmi_wb_damaged (d->walk, d->ino, "its data cannot be read", 0);
  if (r.len > d->size - r.offset)
    r.len = d->size - r.offset;
  rcvmi_wb_encode (&d->walk->out, &r, NULL);
  return 0;
}

/* `count` blocks of the file, at a block of the image. */
static int
add_blocks (struct data *d, uint64_t block, uint64_t at, uint64_t count)
{
  const struct rcvmi_wb_replay *replay = &d->walk->source.replay;
  uint64_t bs = d->walk->fs->blocksize, blocks = (d->size + bs - 1) / bs;

  /* Room that was kept behind the end. */
  if (block >= blocks)
    return 0;
  if (count > blocks - block)
    count = blocks - block;
  if (block < d->block || at == 0 || at >= d->walk->source.size / bs
      || count > d->walk->source.size / bs - at)
    return rcvmi_wb_damaged (d->walk, d->ino, "its blocks make no sense", 0);
  d->block = block + count;
  for (size_t i = rcvmi_wb_replay_find (replay, at);
       i < replay->n && replay->blocks[i].block < at + count; i++)
    {
      uint64_t before = replay->blocks[i].block - at;

      if ((before && add_extent (d, block, at, before) < 0)
          || add_replayed (d, block + before, &replay->blocks[i]) < 0)
        return -1;
      block += before + 1;
      at += before + 1;
      count -= before + 1;
    }
  return count ? add_extent (d, block, at, count) : 0;
}

static int
add_block (ext2_filsys fs, blk64_t *at, e2_blkcnt_t block, blk64_t ref, int offset, void *user)
{
  struct data *d = user;

  (void) fs, (void) ref, (void) offset;
  if (block >= 0)
    d->code = add_blocks (d, (uint64_t) block, *at, 1);
  return d->code < 0 ? BLOCK_ABORT : 0;
}

static void
read_extents (struct data *d, struct ext2_inode_large *inode)
{
  ext2_extent_handle_t handle;
  struct ext2fs_extent x;
  errcode_t code;

  code = ext2fs_extent_open2 (d->walk->fs, d->ino, (struct ext2_inode *) inode, &handle);
  if (code)
    {
      d->code = rcvmi_wb_damaged (d->walk, d->ino, "its extents cannot be read", code);
      return;
    }
  code = ext2fs_extent_get (handle, EXT2_EXTENT_ROOT, &x);
  while (!code && d->code == 0)
    {
      if (x.e_flags & EXT2_EXTENT_FLAGS_LEAF && !(x.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
        d->code = add_blocks (d, x.e_lblk, x.e_pblk, x.e_len);
      code = ext2fs_extent_get (handle, EXT2_EXTENT_NEXT, &x);
    }
  ext2fs_extent_free (handle);
  if (d->code == 0 && code != EXT2_ET_EXTENT_NO_NEXT)
    d->code = rcvmi_wb_damaged (d->walk, d->ino, "its extents cannot be read", code);
}

int
rcvmi_wb_put_data (struct rcvmi_wb_walk *walk, uint32_t ino, struct ext2_inode_large *inode)
{
  autofree struct data *d = calloc (1, sizeof *d);
  errcode_t code = 0;

  if (!d)
    return rcvmi_fail_nomem (walk->err);
  d->walk = walk;
  d->ino = ino;
  d->size = EXT2_I_SIZE (inode);
  if (d->size == 0)
    return 0;
  if (inode->i_flags & EXT4_EXTENTS_FL)
    read_extents (d, inode);
  else
    code = ext2fs_block_iterate3 (walk->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL,
                                  add_block, d);
  if (d->code < 0)
    return d->code;
  if (code)
    return rcvmi_wb_damaged (walk, ino, "its blocks cannot be read", code);
  return put_extents (d);
}
