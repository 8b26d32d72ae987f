/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file system around the tree: superblock, groups, bitmaps and journal, by libext2fs.
 *
 * The image is a sparse file, so every block that was not written is zero: inode tables and the journal need
 * no initialisation.  Nothing in here may depend on the clock or on chance.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4-priv.h"

/* 2000-01-01: the image's own times, which must be the same for every build. */
#define BUILT 946684800
#define LOG_GROUPS_PER_FLEX 4

/* libext2fs passes errno values through; its own codes lie far above. */
static int
fail_ext2 (rcvm_error **err, errcode_t code, const char *what)
{
  if (code > 0 && code < 4096)
    return rcvmi_fail_errno (err, (int) code, "cannot %s the image", what);
  if (code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (err);
  return rcvmi_fail (err, RCVM_E_IMAGE, 0, "cannot %s the image: libext2fs says error %ld", what,
                     (long) code);
}

uint32_t
rcvmi_ext4_inode_seed (const struct rcvmi_ext4 *e, uint32_t ino)
{
  uint32_t words[2] = { ext2fs_cpu_to_le32 (ino), 0 };

  return ext2fs_crc32c_le (e->seed, (unsigned char *) words, sizeof words);
}

static bool
has_super (uint64_t group)
{
  if (group <= 1)
    return true;
  for (unsigned base = 3; base <= 7; base += 2)
    {
      uint64_t n = base;

      while (n < group)
        n *= base;
      if (n == group)
        return true;
    }
  return false;
}

uint64_t
rcvmi_ext4_overhead (uint64_t blocks, uint64_t inodes, uint32_t journal_blocks)
{
  uint64_t groups = (blocks + RCVMI_EXT4_GROUP_BLOCKS - 1) / RCVMI_EXT4_GROUP_BLOCKS;
  uint64_t descriptors = (groups + 63) / 64, per_group = (inodes + groups - 1) / groups;
  uint64_t table = (per_group + RCVMI_BLOCK / INODE_SIZE - 1) / (RCVMI_BLOCK / INODE_SIZE);
  uint64_t total = groups * (2 + table) + journal_blocks;

  for (uint64_t g = 0; g < groups; g++)
    if (has_super (g))
      total += 1 + descriptors;
  /* A journal of more than four extents has index blocks. */
  return total + (journal_blocks ? 2 : 0);
}

uint32_t
rcvmi_ext4_journal_blocks (uint64_t blocks)
{
  int n = ext2fs_default_journal_size (blocks);

  return n > 0 ? (uint32_t) n : 1024;
}

static void
set_params (struct ext2_super_block *p, const struct rcvmi_ext4_geometry *g)
{
  memset (p, 0, sizeof *p);
  ext2fs_blocks_count_set (p, g->blocks);
  p->s_inodes_count = (uint32_t) g->inodes;
  p->s_log_block_size = 2;
  p->s_log_cluster_size = 2;
  p->s_rev_level = EXT2_DYNAMIC_REV;
  p->s_inode_size = INODE_SIZE;
  p->s_min_extra_isize = INODE_EXTRA;
  p->s_want_extra_isize = INODE_EXTRA;
  p->s_log_groups_per_flex = LOG_GROUPS_PER_FLEX;
  p->s_checksum_type = EXT2_CRC32C_CHKSUM;
  p->s_desc_size = EXT2_MIN_DESC_SIZE_64BIT;
  p->s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX;
  p->s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS
                          | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG;
  p->s_feature_ro_compat
      = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE
        | EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK
        | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
}

static void
set_super (ext2_filsys fs, const struct rcvmi_ext4_geometry *g)
{
  struct ext2_super_block *s = fs->super;

  fs->now = BUILT;
  s->s_mkfs_time = s->s_lastcheck = s->s_wtime = BUILT;
  s->s_mtime = 0;
  s->s_kbytes_written = 0;
  s->s_max_mnt_count = -1;
  s->s_checkinterval = 0;
  s->s_min_extra_isize = s->s_want_extra_isize = INODE_EXTRA;
  s->s_checksum_type = EXT2_CRC32C_CHKSUM;
  memcpy (s->s_uuid, g->uuid, sizeof s->s_uuid);
  memcpy (s->s_hash_seed, g->hash_seed, sizeof s->s_hash_seed);
  s->s_def_hash_version = EXT2_HASH_HALF_MD4;
  s->s_flags = EXT2_FLAGS_SIGNED_HASH;
  s->s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  s->s_errors = EXT2_ERRORS_CONTINUE;
  ext2fs_r_blocks_count_set (s, 0);
  ext2fs_init_csum_seed (fs);
}

static int
add_run (struct rcvmi_ext4 *e, size_t *cap, uint64_t start, uint64_t count)
{
  if (e->n_runs == *cap)
    {
      size_t n = *cap ? *cap * 2 : 64;
      struct run *runs = reallocarray (e->runs, n, sizeof *runs);

      if (!runs)
        return -1;
      e->runs = runs;
      *cap = n;
    }
  e->runs[e->n_runs++] = (struct run){ e->free_blocks, start, count };
  e->free_blocks += count;
  return 0;
}

static int
find_runs (struct rcvmi_ext4 *e, rcvm_error **err)
{
  uint64_t last = ext2fs_blocks_count (e->fs->super) - 1, at = e->fs->super->s_first_data_block;
  size_t cap = 0;

  while (at <= last)
    {
      blk64_t start, end;

      if (ext2fs_find_first_zero_block_bitmap2 (e->fs->block_map, at, last, &start))
        break;
      if (ext2fs_find_first_set_block_bitmap2 (e->fs->block_map, start, last, &end))
        end = last + 1;
      if (add_run (e, &cap, start, end - start) < 0)
        return rcvmi_fail_nomem (err);
      at = end;
    }
  return 0;
}

static errcode_t
add_journal (ext2_filsys fs, uint32_t blocks)
{
  struct ext2fs_journal_params params = { .num_journal_blocks = blocks };
  blk64_t goal;
  errcode_t code;

  /* Right behind the first group's tables: the rest of the image is left in one piece. */
  code = ext2fs_find_first_zero_block_bitmap2 (
      fs->block_map, ext2fs_inode_table_loc (fs, 0), ext2fs_blocks_count (fs->super) - 1, &goal);
  if (code)
    return code;
  return ext2fs_add_journal_inode3 (fs, &params, goal,
                                    EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
}

static errcode_t
prepare (ext2_filsys fs, const struct rcvmi_ext4_geometry *g)
{
  errcode_t code;

  set_super (fs, g);
  /* We write to the same file past libext2fs. */
  code = io_channel_set_options (fs->io, "cache=off");
  if (code)
    return code;
  code = ext2fs_allocate_tables (fs);
  if (code)
    return code;
  /* The file has no contents yet: the tables are zero as they are. */
  for (dgrp_t i = 0; i < fs->group_desc_count; i++)
    {
      ext2fs_bg_flags_set (fs, i, EXT2_BG_INODE_ZEROED);
      ext2fs_group_desc_csum_set (fs, i);
    }
  for (ext2_ino_t ino = 1; ino < RCVMI_EXT4_FIRST_INO; ino++)
    ext2fs_inode_alloc_stats2 (fs, ino, +1, ino == EXT2_ROOT_INO);
  return g->journal_blocks ? add_journal (fs, g->journal_blocks) : 0;
}

int
rcvmi_ext4_new (struct rcvmi_ext4 **out, int fd, const struct rcvmi_ext4_geometry *g,
                rcvm_error **err)
{
  struct rcvmi_ext4 *e = calloc (1, sizeof *e);
  struct ext2_super_block params;
  char name[16];
  errcode_t code;
  int r;

  if (!e)
    return rcvmi_fail_nomem (err);
  /* libext2fs closes what it is given. */
  e->fd = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  if (e->fd < 0)
    {
      r = rcvmi_fail_errno (err, errno, "cannot open the image again");
      rcvmi_ext4_free (e);
      return r;
    }
  snprintf (name, sizeof name, "%d", e->fd);
  set_params (&params, g);
  code = ext2fs_initialize (name, EXT2_FLAG_64BITS, &params, unixfd_io_manager, &e->fs);
  e->fd = -1;
  if (code)
    r = fail_ext2 (err, code, "lay out");
  else
    {
      code = prepare (e->fs, g);
      e->seed = e->fs->csum_seed;
      r = code ? fail_ext2 (err, code, "lay out") : find_runs (e, err);
    }
  if (r < 0)
    {
      rcvmi_ext4_free (e);
      return r;
    }
  *out = e;
  return 0;
}

void
rcvmi_ext4_free (struct rcvmi_ext4 *e)
{
  if (!e)
    return;
  if (e->fs)
    {
      /* Nothing of what is pending matters any more. */
      e->fs->flags &= ~(EXT2_FLAG_DIRTY | EXT2_FLAG_CHANGED | EXT2_FLAG_IB_DIRTY | EXT2_FLAG_BB_DIRTY);
      ext2fs_free (e->fs);
    }
  cleanup_close (&e->fd);
  free (e->runs);
  free (e);
}

uint64_t
rcvmi_ext4_free_blocks (const struct rcvmi_ext4 *e)
{
  return e->free_blocks;
}

uint64_t
rcvmi_ext4_map (const struct rcvmi_ext4 *e, uint64_t index, uint64_t want, uint64_t *run)
{
  size_t low = 0, high = e->n_runs;
  const struct run *r;
  uint64_t left;

  while (high - low > 1)
    {
      size_t mid = low + (high - low) / 2;

      if (e->runs[mid].index <= index)
        low = mid;
      else
        high = mid;
    }
  r = &e->runs[low];
  left = r->count - (index - r->index);
  *run = left < want ? left : want;
  return r->start + (index - r->index);
}

void
rcvmi_extents_start (struct rcvmi_extents *x, const struct rcvmi_ext4 *e,
                     const struct rcvmi_inode *inode)
{
  *x = (struct rcvmi_extents){ .e = e, .inode = inode, .index = inode->first };
  if (inode->flags & RCVMI_INODE_XBLOCK)
    x->index++;
}

bool
rcvmi_extents_next (struct rcvmi_extents *x, struct rcvmi_extent *extent)
{
  const struct rcvmi_inode *inode = x->inode;
  uint64_t block = 0, left;

  if (rcvmi_inode_is (inode, S_IFREG) && inode->u.segments)
    {
      const struct rcvmi_segments *list = inode->u.segments;

      if (x->segment < list->n && x->done == list->s[x->segment].count)
        {
          x->segment++;
          x->done = 0;
        }
      if (x->segment == list->n)
        return false;
      block = list->s[x->segment].block;
      left = list->s[x->segment].count - x->done;
    }
  else
    left = rcvmi_inode_blocks (inode) - x->done;
  if (left == 0)
    return false;
  extent->block = block + x->done;
  extent->start = rcvmi_ext4_map (x->e, x->index, left, &extent->count);
  x->index += extent->count;
  x->done += extent->count;
  return true;
}

int
rcvmi_ext4_finish (struct rcvmi_ext4 *e, uint64_t used, rcvm_error **err)
{
  errcode_t code;

  for (uint64_t index = 0; index < used;)
    {
      uint64_t count, start = rcvmi_ext4_map (e, index, used - index, &count);

      for (uint64_t done = 0; done < count;)
        {
          uint64_t part = count - done > INT32_MAX ? INT32_MAX : count - done;

          ext2fs_block_alloc_stats_range (e->fs, start + done, (blk_t) part, +1);
          done += part;
        }
      index += count;
    }
  ext2fs_mark_super_dirty (e->fs);
  /* Whoever wants it on disk syncs the file, data and all. */
  code = ext2fs_close2 (e->fs, EXT2_FLAG_FLUSH_NO_SYNC);
  if (code)
    return fail_ext2 (err, code, "finish");
  e->fs = NULL;
  return 0;
}
