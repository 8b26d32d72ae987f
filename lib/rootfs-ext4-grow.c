/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Growing a finished image: further groups at its end, and the last one made whole.  What is there
 * stays where it is.
 *
 * The table of groups has no room to grow in, so what does not fit into its last block is described
 * at the start of the new groups themselves (meta_bg), as the kernel does it when it grows a
 * mounted file system.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <runcvm/rootfs.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4-priv.h"
#include "visibility.h"

/* A last group smaller than that, beyond its tables, is left off: as for a new image. */
#define GROUP_MIN 64

/* Features whose growth is known here. */
#define COMPAT_KNOWN                                                                              \
  (EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX | EXT3_FEATURE_COMPAT_HAS_JOURNAL)
#define INCOMPAT_KNOWN                                                                            \
  (EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT     \
   | EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT2_FEATURE_INCOMPAT_META_BG)
#define RO_COMPAT_KNOWN                                                                           \
  (EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE                        \
   | EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_DIR_NLINK                          \
   | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE | EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

struct grow
{
  const char *image;
  int fd; /* locked */
  ext2_filsys fs;
  uint64_t old_blocks, blocks;
  dgrp_t old_groups;
  rcvm_error **err;
};

static void
grow_clear (struct grow *g)
{
  if (g->fs)
    {
      g->fs->flags &= ~(EXT2_FLAG_DIRTY | EXT2_FLAG_CHANGED | EXT2_FLAG_IB_DIRTY | EXT2_FLAG_BB_DIRTY);
      ext2fs_free (g->fs);
    }
  cleanup_close (&g->fd);
}

static int
fail_ext2 (struct grow *g, errcode_t code, const char *what)
{
  if (code > 0 && code < 4096)
    return rcvmi_fail_errno (g->err, (int) code, "cannot %s the image '%s'", what, g->image);
  if (code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (g->err);
  return rcvmi_fail (g->err, RCVM_E_IMAGE, 0, "cannot %s the image '%s': libext2fs says error %ld",
                     what, g->image, (long) code);
}

static int
open_image (struct grow *g)
{
  autoclose int path = open (g->image, O_PATH | O_CLOEXEC), copy = -1;
  struct stat st;
  char name[32];
  errcode_t code;

  if (path < 0 || fstat (path, &st) < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot open the image '%s'", g->image);
  if (!S_ISREG (st.st_mode))
    return rcvmi_fail (g->err, RCVM_E_INVALID, 0, "the image '%s' is no file, so it cannot grow", g->image);
  snprintf (name, sizeof name, "/proc/self/fd/%d", path);
  g->fd = open (name, O_RDWR | O_CLOEXEC);
  if (g->fd < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot open the image '%s'", g->image);
  if (flock (g->fd, LOCK_EX | LOCK_NB) < 0)
    return rcvmi_fail (g->err, RCVM_E_STATE, errno, "the image '%s' is in use", g->image);
  /* libext2fs closes what it is given. */
  copy = fcntl (g->fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot open the image '%s' again", g->image);
  snprintf (name, sizeof name, "%d", steal_fd (&copy));
  code = ext2fs_open (name, EXT2_FLAG_64BITS | EXT2_FLAG_RW, 0, 0, unixfd_io_manager, &g->fs);
  if (code == EXT2_ET_BAD_MAGIC || code == EXT2_ET_SHORT_READ)
    return rcvmi_fail (g->err, RCVM_E_IMAGE, 0, "'%s' is no ext4 image", g->image);
  if (code)
    return fail_ext2 (g, code, "read");
  g->old_blocks = ext2fs_blocks_count (g->fs->super);
  g->old_groups = g->fs->group_desc_count;
  return 0;
}

/* Behind the file system there must be nothing: what is read there later has to be zero. */
static int
check_end (struct grow *g)
{
  off_t end = (off_t) (g->old_blocks * g->fs->blocksize);
  struct stat st;

  if (fstat (g->fd, &st) < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot read the image '%s'", g->image);
  if (st.st_size < end)
    return rcvmi_fail (g->err, RCVM_E_IMAGE, 0, "the image '%s' is cut short", g->image);
  if (st.st_size > end && (lseek (g->fd, end, SEEK_DATA) >= 0 || errno != ENXIO))
    return rcvmi_fail (g->err, RCVM_E_IMAGE, 0, "the image '%s' has something behind its file system",
                       g->image);
  return 0;
}

static int
check_image (struct grow *g)
{
  struct ext2_super_block *s = g->fs->super;

  if (!(s->s_state & EXT2_VALID_FS) || s->s_state & EXT2_ERROR_FS
      || ext2fs_has_feature_journal_needs_recovery (s))
    return rcvmi_fail (g->err, RCVM_E_IMAGE, 0,
                       "the image '%s' was not unmounted; run e2fsck, or build it again", g->image);
  if (s->s_feature_compat & ~(uint32_t) COMPAT_KNOWN || s->s_feature_incompat & ~(uint32_t) INCOMPAT_KNOWN
      || s->s_feature_ro_compat & ~(uint32_t) RO_COMPAT_KNOWN || !ext2fs_has_feature_64bit (s)
      || g->fs->blocksize != RCVMI_BLOCK || s->s_desc_size != EXT2_MIN_DESC_SIZE_64BIT)
    return rcvmi_fail (g->err, RCVM_E_UNSUPPORTED, 0,
                       "the image '%s' has features that are not known here; use resize2fs", g->image);
  return check_end (g);
}

/* Groups of which the last one is worth its tables. */
static int
choose_blocks (struct grow *g, uint64_t bytes)
{
  struct ext2_super_block *s = g->fs->super;
  uint64_t per_group = s->s_blocks_per_group, rest, groups;
  uint64_t least = g->fs->inode_blocks_per_group + 4 + GROUP_MIN;

  g->blocks = bytes / RCVMI_BLOCK;
  if (g->blocks < g->old_blocks)
    return rcvmi_fail (g->err, RCVM_E_INVALID, 0,
                       "the image '%s' has %" PRIu64 " bytes and cannot become smaller", g->image,
                       g->old_blocks * RCVMI_BLOCK);
  groups = (g->blocks + per_group - 1) / per_group;
  rest = g->blocks % per_group;
  /* It may have a copy of the superblock and of the table. */
  if (groups > g->old_groups && rest && rest < least + groups / EXT2_DESC_PER_BLOCK (s) + 1)
    g->blocks -= rest;
  groups = (g->blocks + per_group - 1) / per_group;
  if (g->blocks > UINT32_MAX || groups * s->s_inodes_per_group > UINT32_MAX)
    return rcvmi_fail (g->err, RCVM_E_UNSUPPORTED, 0,
                       "the image '%s' cannot have %" PRIu64 " bytes: that is more than 16 TiB, or than "
                       "2^32 inodes",
                       g->image, bytes);
  return 0;
}

/* In memory, as all of the following: the new number of groups, and room for them. */
static int
extend_tables (struct grow *g)
{
  ext2_filsys fs = g->fs;
  struct ext2_super_block *s = fs->super;
  unsigned long old_desc = fs->desc_blocks;
  uint64_t groups = (g->blocks + s->s_blocks_per_group - 1) / s->s_blocks_per_group;
  errcode_t code;

  ext2fs_blocks_count_set (s, g->blocks);
  fs->group_desc_count = (dgrp_t) groups;
  s->s_inodes_count = (uint32_t) (groups * s->s_inodes_per_group);
  fs->desc_blocks = (groups + EXT2_DESC_PER_BLOCK (s) - 1) / EXT2_DESC_PER_BLOCK (s);
  if (fs->desc_blocks > old_desc)
    {
      code = ext2fs_resize_mem (old_desc * fs->blocksize, fs->desc_blocks * fs->blocksize, &fs->group_desc);
      if (code)
        return fail_ext2 (g, code, "grow");
      memset ((char *) fs->group_desc + old_desc * fs->blocksize, 0,
              (fs->desc_blocks - old_desc) * fs->blocksize);
      if (!ext2fs_has_feature_meta_bg (s))
        {
          ext2fs_set_feature_meta_bg (s);
          s->s_first_meta_bg = (uint32_t) old_desc;
        }
    }
  code = ext2fs_resize_block_bitmap2 (g->blocks - 1, groups * s->s_blocks_per_group - 1, fs->block_map);
  if (!code)
    code = ext2fs_resize_inode_bitmap2 (s->s_inodes_count, s->s_inodes_count, fs->inode_map);
  return code ? fail_ext2 (g, code, "grow") : 0;
}

static uint32_t
count_free (struct grow *g, dgrp_t group)
{
  blk64_t at = ext2fs_group_first_block2 (g->fs, group), last = ext2fs_group_last_block2 (g->fs, group);
  uint32_t n = 0;

  while (at <= last)
    {
      blk64_t start, end;

      if (ext2fs_find_first_zero_block_bitmap2 (g->fs->block_map, at, last, &start))
        break;
      if (ext2fs_find_first_set_block_bitmap2 (g->fs->block_map, start, last, &end))
        end = last + 1;
      n += (uint32_t) (end - start);
      at = end;
    }
  return n;
}

static int
add_groups (struct grow *g)
{
  ext2_filsys fs = g->fs;
  uint64_t free_blocks = 0, free_inodes = 0;
  errcode_t code = 0;

  for (dgrp_t i = g->old_groups; i < fs->group_desc_count; i++)
    {
      /* The tables are holes of the file. */
      ext2fs_bg_flags_set (fs, i, EXT2_BG_INODE_ZEROED);
      ext2fs_bg_free_inodes_count_set (fs, i, fs->super->s_inodes_per_group);
      ext2fs_reserve_super_and_bgd (fs, i, fs->block_map);
    }
  for (dgrp_t i = g->old_groups; i < fs->group_desc_count && !code; i++)
    code = ext2fs_allocate_group_table (fs, i, fs->block_map);
  if (code)
    return fail_ext2 (g, code, "grow");
  for (dgrp_t i = 0; i < fs->group_desc_count; i++)
    {
      ext2fs_bg_free_blocks_count_set (fs, i, count_free (g, i));
      ext2fs_group_desc_csum_set (fs, i);
      free_blocks += ext2fs_bg_free_blocks_count (fs, i);
      free_inodes += ext2fs_bg_free_inodes_count (fs, i);
    }
  ext2fs_free_blocks_count_set (fs->super, free_blocks);
  fs->super->s_free_inodes_count = (uint32_t) free_inodes;
  /* What the kernel would take from there was counted before. */
  fs->super->s_overhead_clusters = 0;
  return 0;
}

static int
reserve (struct grow *g, blk64_t block, blk64_t count)
{
  /* A host that cannot do that has to tell when the block is written. */
  if (block && fallocate (g->fd, 0, (off_t) (block * RCVMI_BLOCK), (off_t) (count * RCVMI_BLOCK)) < 0
      && errno != EOPNOTSUPP)
    return rcvmi_fail_errno (g->err, errno, "cannot grow the image '%s'", g->image);
  return 0;
}

/* Space for all that will be written: a full disk must not be found half-way. */
static int
reserve_space (struct grow *g)
{
  ext2_filsys fs = g->fs;

  for (dgrp_t i = g->old_groups; i < fs->group_desc_count; i++)
    {
      blk64_t super, old_desc, new_desc;
      blk_t used;

      if (ext2fs_super_and_bgd_loc2 (fs, i, &super, &old_desc, &new_desc, &used))
        return fail_ext2 (g, EXT2_ET_CORRUPT_SUPERBLOCK, "grow");
      if (reserve (g, super, 1) < 0 || reserve (g, new_desc, 1) < 0
          || reserve (g, old_desc,
                      ext2fs_has_feature_meta_bg (fs->super) ? fs->super->s_first_meta_bg : fs->desc_blocks)
                 < 0
          || reserve (g, ext2fs_block_bitmap_loc (fs, i), 1) < 0
          || reserve (g, ext2fs_inode_bitmap_loc (fs, i), 1) < 0)
        return -1;
    }
  return 0;
}

/* Until all is written, the image says that it was not unmounted. */
static int
set_state (struct grow *g, bool valid)
{
  int flags = g->fs->flags;
  errcode_t code;

  if (valid)
    g->fs->super->s_state |= EXT2_VALID_FS;
  else
    g->fs->super->s_state &= (uint16_t) ~EXT2_VALID_FS;
  g->fs->flags |= EXT2_FLAG_SUPER_ONLY | EXT2_FLAG_DIRTY;
  code = ext2fs_flush2 (g->fs, 0);
  g->fs->flags = flags;
  return code ? fail_ext2 (g, code, "write") : 0;
}

static int
write_image (struct grow *g)
{
  errcode_t code;

  ext2fs_mark_super_dirty (g->fs);
  ext2fs_mark_bb_dirty (g->fs);
  ext2fs_mark_ib_dirty (g->fs);
  code = ext2fs_write_bitmaps (g->fs);
  if (!code)
    code = ext2fs_flush2 (g->fs, 0);
  return code ? fail_ext2 (g, code, "write") : 0;
}

static int
lengthen (struct grow *g, off_t old_size, off_t size)
{
  if (size > old_size && ftruncate (g->fd, size) < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot make the image '%s' that large", g->image);
  return 0;
}

static int
grow_image (struct grow *g)
{
  off_t old_size = (off_t) (g->old_blocks * RCVMI_BLOCK), size = (off_t) (g->blocks * RCVMI_BLOCK);
  struct ext2_super_block before = *g->fs->super;
  struct stat st;

  if (fstat (g->fd, &st) < 0)
    return rcvmi_fail_errno (g->err, errno, "cannot read the image '%s'", g->image);
  if (st.st_size > old_size)
    old_size = st.st_size;
  /* Still the old one. */
  if (set_state (g, false) < 0)
    return -1;
  if (lengthen (g, old_size, size) < 0 || extend_tables (g) < 0 || add_groups (g) < 0
      || reserve_space (g) < 0)
    {
      ext2_filsys fs = g->fs;

      /* Nothing of the new groups was written. */
      fs->group_desc_count = g->old_groups;
      *fs->super = before;
      (void) set_state (g, true);
      (void) !ftruncate (g->fd, old_size);
      return -1;
    }
  return write_image (g) < 0 || set_state (g, true) < 0 ? -1 : 0;
}

RCVM_PUBLIC int
rcvm_rootfs_grow (const char *image, uint64_t bytes, rcvm_error **err)
{
  rcvm_error *e = NULL;
  __attribute__ ((cleanup (grow_clear))) struct grow g = { .image = image, .fd = -1, .err = &e };
  errcode_t code;

  if (!image || !*image || bytes > INT64_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "an image to grow needs a name, and a size below 8 EiB");
  if (open_image (&g) < 0 || check_image (&g) < 0 || choose_blocks (&g, bytes) < 0)
    return rcvmi_error_pass (err, e);
  if (g.blocks == g.old_blocks)
    return 0;
  /* The same growth gives the same bytes. */
  g.fs->now = g.fs->super->s_wtime;
  code = ext2fs_read_bitmaps (g.fs);
  if (code)
    fail_ext2 (&g, code, "read");
  else if (grow_image (&g) == 0 && fsync (g.fd) < 0)
    rcvmi_fail_errno (&e, errno, "cannot write the image '%s' to disk", image);
  return e ? rcvmi_error_pass (err, e) : 0;
}
