/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inodes on disk, and the trees of extents that map their contents. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4-priv.h"

#define IN_INODE 4u
#define PER_BLOCK ((RCVMI_BLOCK - sizeof (struct ext3_extent_header)) / sizeof (struct ext3_extent))
#define EXTENT_MAX 32768u

/* The blocks of a whole tree over n extents: its leaves, the level above them, and so on. */
static uint64_t
tree_blocks (uint64_t n)
{
  uint64_t total = 0;

  while (n > IN_INODE)
    {
      n = (n + PER_BLOCK - 1) / PER_BLOCK;
      total += n;
    }
  return total;
}

static uint64_t
count_extents (const struct rcvmi_ext4 *e, const struct rcvmi_inode *inode)
{
  struct rcvmi_extents x;
  struct rcvmi_extent extent;
  uint64_t n = 0;

  for (rcvmi_extents_start (&x, e, inode); rcvmi_extents_next (&x, &extent);)
    n += (extent.count + EXTENT_MAX - 1) / EXTENT_MAX;
  return n;
}

uint64_t
rcvmi_ext4_index_blocks (const struct rcvmi_ext4 *e, const struct rcvmi_inode *inode)
{
  return tree_blocks (count_extents (e, inode));
}

uint64_t
rcvmi_ext4_index_bound (const struct rcvmi_inode *inode)
{
  uint64_t blocks = rcvmi_inode_blocks (inode), n = 1;

  if (rcvmi_inode_is (inode, S_IFREG) && inode->u.segments)
    n = inode->u.segments->n;
  /* Cut by length, and where a group has a copy of the superblock. */
  return tree_blocks (n + 2 * (blocks / EXTENT_MAX) + (blocks > 1));
}

struct entry
{
  uint64_t block, start;
  uint32_t count; /* in an index: 0 */
};

static void
put_header (unsigned char *at, size_t entries, size_t max, unsigned depth)
{
  struct ext3_extent_header h = { .eh_magic = ext2fs_cpu_to_le16 (EXT3_EXT_MAGIC),
                                  .eh_entries = ext2fs_cpu_to_le16 ((uint16_t) entries),
                                  .eh_max = ext2fs_cpu_to_le16 ((uint16_t) max),
                                  .eh_depth = ext2fs_cpu_to_le16 ((uint16_t) depth) };

  memcpy (at, &h, sizeof h);
}

static void
put_entry (unsigned char *node, size_t i, const struct entry *entry)
{
  unsigned char *at = node + sizeof (struct ext3_extent_header) + i * sizeof (struct ext3_extent);
  uint16_t high = (uint16_t) (entry->start >> 32);

  if (entry->count)
    {
      struct ext3_extent x = { .ee_block = ext2fs_cpu_to_le32 ((uint32_t) entry->block),
                               .ee_len = ext2fs_cpu_to_le16 ((uint16_t) entry->count),
                               .ee_start_hi = ext2fs_cpu_to_le16 (high),
                               .ee_start = ext2fs_cpu_to_le32 ((uint32_t) entry->start) };

      memcpy (at, &x, sizeof x);
    }
  else
    {
      struct ext3_extent_idx x = { .ei_block = ext2fs_cpu_to_le32 ((uint32_t) entry->block),
                                   .ei_leaf = ext2fs_cpu_to_le32 ((uint32_t) entry->start),
                                   .ei_leaf_hi = ext2fs_cpu_to_le16 (high) };

      memcpy (at, &x, sizeof x);
    }
}

/* Extents as they go on disk: none longer than its length field can say. */
struct cut
{
  struct rcvmi_extents x;
  struct rcvmi_extent rest;
};

static bool
next_entry (struct cut *c, struct entry *entry)
{
  uint64_t n;

  if (c->rest.count == 0 && !rcvmi_extents_next (&c->x, &c->rest))
    return false;
  n = c->rest.count < EXTENT_MAX ? c->rest.count : EXTENT_MAX;
  *entry = (struct entry){ c->rest.block, c->rest.start, (uint32_t) n };
  c->rest.block += n;
  c->rest.start += n;
  c->rest.count -= n;
  return true;
}

/* Where the blocks of the tree go: behind the contents. */
struct tree
{
  struct rcvmi_ext4 *e;
  struct rcvmi_writer *w;
  uint32_t seed;
  uint64_t next; /* free block index */
  rcvm_error **err;
};

static int
put_tree_block (struct tree *t, const struct entry *entries, size_t n, unsigned depth,
                struct entry *parent)
{
  uint64_t run, at = rcvmi_ext4_map (t->e, t->next++, 1, &run);
  unsigned char *block = rcvmi_writer_put (t->w, at * RCVMI_BLOCK, RCVMI_BLOCK, t->err);
  uint32_t crc;

  if (!block)
    return -1;
  put_header (block, n, PER_BLOCK, depth);
  for (size_t i = 0; i < n; i++)
    put_entry (block, i, &entries[i]);
  crc = ext2fs_cpu_to_le32 (ext2fs_crc32c_le (t->seed, block, RCVMI_BLOCK - 4));
  memcpy (block + RCVMI_BLOCK - 4, &crc, sizeof crc);
  *parent = (struct entry){ entries[0].block, at, 0 };
  return 0;
}

/* The leaves, straight from the walk: a list of all extents could be long. */
static int
write_leaves (struct tree *t, struct cut *c, struct entry *level, uint64_t *n_level)
{
  struct entry leaf[PER_BLOCK];
  size_t n = 0;
  bool more;

  *n_level = 0;
  do
    {
      more = next_entry (c, &leaf[n]);
      n += more;
      if (n == PER_BLOCK || (!more && n))
        {
          if (put_tree_block (t, leaf, n, 0, &level[(*n_level)++]) < 0)
            return -1;
          n = 0;
        }
    }
  while (more);
  return 0;
}

static int
write_extents (struct tree *t, const struct rcvmi_inode *inode, unsigned char *root)
{
  uint64_t n = count_extents (t->e, inode), n_level;
  autofree struct entry *level = NULL;
  struct cut c = { 0 };
  struct entry entry;
  unsigned depth = 0;

  rcvmi_extents_start (&c.x, t->e, inode);
  if (n <= IN_INODE)
    {
      put_header (root, n, IN_INODE, 0);
      for (size_t i = 0; next_entry (&c, &entry); i++)
        put_entry (root, i, &entry);
      return 0;
    }
  level = reallocarray (NULL, (n + PER_BLOCK - 1) / PER_BLOCK, sizeof *level);
  if (!level)
    return rcvmi_fail_nomem (t->err);
  t->next = c.x.index + rcvmi_inode_blocks (inode);
  if (write_leaves (t, &c, level, &n_level) < 0)
    return -1;
  for (depth = 1; n_level > IN_INODE; depth++)
    {
      uint64_t up = 0;

      for (uint64_t at = 0; at < n_level; at += PER_BLOCK, up++)
        {
          uint64_t count = n_level - at < PER_BLOCK ? n_level - at : PER_BLOCK;

          if (put_tree_block (t, level + at, count, depth, &entry) < 0)
            return -1;
          level[up] = entry;
        }
      n_level = up;
    }
  put_header (root, n_level, IN_INODE, depth);
  for (size_t i = 0; i < n_level; i++)
    put_entry (root, i, &level[i]);
  return 0;
}

static uint32_t
time_low (uint64_t packed)
{
  return ext2fs_cpu_to_le32 ((uint32_t) rcvmi_time_sec (packed));
}

/* Two more bits of the seconds, counted from what the signed low half says, below the nanoseconds. */
static uint32_t
time_extra (uint64_t packed)
{
  int64_t sec = rcvmi_time_sec (packed);
  uint32_t epoch = (uint32_t) ((sec - (int32_t) sec) >> 32) & EXT4_EPOCH_MASK;

  return ext2fs_cpu_to_le32 (rcvmi_time_nsec (packed) << EXT4_EPOCH_BITS | epoch);
}

static void
put_times (struct ext2_inode_large *raw, const struct rcvmi_inode *inode)
{
  raw->i_atime = time_low (inode->atime);
  raw->i_atime_extra = time_extra (inode->atime);
  /* The host's times of change and birth are its own business; the same tree must give the same image. */
  raw->i_mtime = raw->i_ctime = raw->i_crtime = time_low (inode->mtime);
  raw->i_mtime_extra = raw->i_ctime_extra = raw->i_crtime_extra = time_extra (inode->mtime);
}

static void
put_device (struct ext2_inode_large *raw, uint64_t rdev)
{
  uint32_t major = major (rdev), minor = minor (rdev);

  if (major < 256 && minor < 256)
    raw->i_block[0] = ext2fs_cpu_to_le32 (major << 8 | minor);
  else
    raw->i_block[1]
        = ext2fs_cpu_to_le32 ((minor & 0xff) | major << 8 | (minor & ~UINT32_C (0xff)) << 12);
}

static void
put_size (struct ext2_inode_large *raw, uint64_t size, uint64_t blocks)
{
  uint64_t sectors = blocks * (RCVMI_BLOCK / 512);

  raw->i_size = ext2fs_cpu_to_le32 ((uint32_t) size);
  raw->i_size_high = ext2fs_cpu_to_le32 ((uint32_t) (size >> 32));
  raw->i_blocks = ext2fs_cpu_to_le32 ((uint32_t) sectors);
  raw->osd2.linux2.l_i_blocks_hi = ext2fs_cpu_to_le16 ((uint16_t) (sectors >> 32));
}

static uint16_t
link_count (const struct rcvmi_inode *inode)
{
  uint32_t n = inode->nlink;

  /* Directories may have more than can be counted, and then count as 1. */
  if (rcvmi_inode_is (inode, S_IFDIR))
    {
      n = inode->u.dir->subdirs + 2;
      if (n >= EXT4_LINK_MAX)
        n = 1;
    }
  return ext2fs_cpu_to_le16 ((uint16_t) n);
}

/* What i_block holds, by the kind of inode. */
static int
put_contents (struct tree *t, const struct rcvmi_inode *inode, struct ext2_inode_large *raw,
              uint64_t blocks)
{
  uint64_t size = inode->size, run, at;
  unsigned char *block;

  switch (inode->mode & S_IFMT)
    {
    case S_IFCHR:
    case S_IFBLK:
      put_device (raw, inode->u.rdev);
      put_size (raw, 0, blocks);
      return 0;
    case S_IFLNK:
      put_size (raw, size, blocks);
      if (size <= RCVMI_FAST_SYMLINK)
        {
          memcpy (raw->i_block, inode->u.target, size);
          return 0;
        }
      at = rcvmi_ext4_map (t->e, inode->first + (inode->flags & RCVMI_INODE_XBLOCK ? 1 : 0), 1,
                           &run);
      block = rcvmi_writer_put (t->w, at * RCVMI_BLOCK, RCVMI_BLOCK, t->err);
      if (!block)
        return -1;
      memcpy (block, inode->u.target, size);
      break;
    case S_IFDIR:
      put_size (raw, (uint64_t) inode->u.dir->blocks * RCVMI_BLOCK, blocks);
      if (inode->u.dir->leaves)
        raw->i_flags |= ext2fs_cpu_to_le32 (EXT2_INDEX_FL);
      break;
    case S_IFREG:
      put_size (raw, size, blocks);
      break;
    default:
      put_size (raw, 0, blocks);
      return 0;
    }
  raw->i_flags |= ext2fs_cpu_to_le32 (EXT4_EXTENTS_FL);
  return write_extents (t, inode, (unsigned char *) raw->i_block);
}

static int
put_xattrs (struct tree *t, const struct rcvmi_inode *inode, unsigned char *raw)
{
  struct ext2_inode_large *large = (struct ext2_inode_large *) raw;
  unsigned char *block = NULL;
  uint64_t run, at = 0;

  if (inode->flags & RCVMI_INODE_XBLOCK)
    {
      at = rcvmi_ext4_map (t->e, inode->first, 1, &run);
      block = rcvmi_writer_put (t->w, at * RCVMI_BLOCK, RCVMI_BLOCK, t->err);
      if (!block)
        return -1;
      large->i_file_acl = ext2fs_cpu_to_le32 ((uint32_t) at);
      large->osd2.linux2.l_i_file_acl_high = ext2fs_cpu_to_le16 ((uint16_t) (at >> 32));
    }
  rcvmi_ext4_put_xattrs (t->e, inode, raw, block, at);
  return 0;
}

static void
seal_inode (struct ext2_inode_large *raw, uint32_t seed)
{
  uint32_t crc = ext2fs_crc32c_le (seed, (unsigned char *) raw, INODE_SIZE);

  raw->i_checksum_lo = ext2fs_cpu_to_le16 ((uint16_t) crc);
  raw->i_checksum_hi = ext2fs_cpu_to_le16 ((uint16_t) (crc >> 16));
}

/* The first block of the table also holds the reserved inodes, the journal's among them. */
static int
start_table (struct rcvmi_ext4 *e, struct rcvmi_writer *table, rcvm_error **err)
{
  uint64_t at = ext2fs_inode_table_loc (e->fs, 0);
  unsigned char *block = rcvmi_writer_put (table, at * RCVMI_BLOCK, RCVMI_BLOCK, err);
  ssize_t n;

  if (!block)
    return -1;
  n = pread (table->fd, block, RCVMI_BLOCK, (off_t) (at * RCVMI_BLOCK));
  if (n != (ssize_t) RCVMI_BLOCK)
    return rcvmi_fail_errno (err, n < 0 ? errno : EIO, "cannot read the image");
  return 0;
}

int
rcvmi_ext4_write_inode (struct rcvmi_ext4 *e, struct rcvmi_writer *table, struct rcvmi_writer *w,
                        const struct rcvmi_inode *inode, rcvm_error **err)
{
  struct tree t = { .e = e, .w = w, .seed = rcvmi_ext4_inode_seed (e, inode->ino), .err = err };
  uint32_t per_group = e->fs->super->s_inodes_per_group, i = (inode->ino - 1) % per_group;
  dgrp_t group = (inode->ino - 1) / per_group;
  union
  {
    unsigned char bytes[INODE_SIZE];
    struct ext2_inode_large large;
  } raw = { 0 };
  uint64_t blocks = rcvmi_inode_blocks (inode) + rcvmi_ext4_index_blocks (e, inode), at;
  unsigned char *slot;

  if (inode->flags & RCVMI_INODE_XBLOCK)
    blocks++;
  raw.large.i_mode = ext2fs_cpu_to_le16 (inode->mode);
  raw.large.i_uid = ext2fs_cpu_to_le16 ((uint16_t) inode->uid);
  raw.large.osd2.linux2.l_i_uid_high = ext2fs_cpu_to_le16 ((uint16_t) (inode->uid >> 16));
  raw.large.i_gid = ext2fs_cpu_to_le16 ((uint16_t) inode->gid);
  raw.large.osd2.linux2.l_i_gid_high = ext2fs_cpu_to_le16 ((uint16_t) (inode->gid >> 16));
  raw.large.i_links_count = link_count (inode);
  raw.large.i_extra_isize = ext2fs_cpu_to_le16 (INODE_EXTRA);
  put_times (&raw.large, inode);
  if (put_contents (&t, inode, &raw.large, blocks) < 0 || put_xattrs (&t, inode, raw.bytes) < 0)
    return -1;
  seal_inode (&raw.large, t.seed);

  at = ext2fs_inode_table_loc (e->fs, group) * RCVMI_BLOCK + (uint64_t) i * INODE_SIZE;
  if (inode->ino == EXT2_ROOT_INO)
    {
      if (start_table (e, table, err) < 0)
        return -1;
      slot = table->data + table->used - RCVMI_BLOCK + i * INODE_SIZE;
    }
  else if (group == 0 && i < RCVMI_BLOCK / INODE_SIZE)
    slot = table->data + i * INODE_SIZE;
  else if (!(slot = rcvmi_writer_put (table, at, INODE_SIZE, err)))
    return -1;
  memcpy (slot, raw.bytes, INODE_SIZE);
  if (inode->ino != EXT2_ROOT_INO)
    ext2fs_inode_alloc_stats2 (e->fs, inode->ino, +1, rcvmi_inode_is (inode, S_IFDIR));
  return 0;
}
