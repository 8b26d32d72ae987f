/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at finished images: what they are, and whether their metadata is whole.  Every checksum is computed, every
 * block must have one owner, every name an inode, and the bitmaps must say the same.  Contents of files have no
 * checksums in ext4.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <runcvm/rootfs.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-ext4-priv.h"
#include "visibility.h"

struct verify
{
  const char *image;
  ext2_filsys fs;
  ext2fs_block_bitmap blocks; /* that have an owner */
  ext2_ino_t ino;             /* that is being looked at */
  rcvm_error **err;
  int result;
};

static void
close_image (ext2_filsys *fs)
{
  if (*fs)
    ext2fs_free (*fs);
}

static int
open_image (const char *image, const char *otherwise, ext2_filsys *fs, rcvm_error **err)
{
  autoclose int fd = open (image, O_RDONLY | O_CLOEXEC);
  struct stat st;
  char name[16];
  errcode_t code;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the image '%s'", image);
  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the image '%s'", image);
  snprintf (name, sizeof name, "%d", fd);
  code = ext2fs_open (name, EXT2_FLAG_64BITS, 0, 0, unixfd_io_manager, fs);
  /* Closed by libext2fs in any case. */
  steal_fd (&fd);
  if (code == EXT2_ET_BAD_MAGIC || code == EXT2_ET_SHORT_READ)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "'%s' is no %s", image, otherwise);
  if (code == EXT2_ET_NO_MEMORY)
    return rcvmi_fail_nomem (err);
  if (code)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' has a damaged superblock or group table (libext2fs: %ld)",
                       image, (long) code);
  if (S_ISREG (st.st_mode)
      && (uint64_t) st.st_size < ext2fs_blocks_count ((*fs)->super) * (*fs)->blocksize)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "the image '%s' is cut short", image);
  return 0;
}

static int
damaged (struct verify *v, const char *what)
{
  if (v->result == 0)
    v->result = v->ino ? rcvmi_fail (v->err, RCVM_E_IMAGE, 0,
                                     "the image '%s' is damaged: %s (inode %u); build it again",
                                     v->image, what, v->ino)
                       : rcvmi_fail (v->err, RCVM_E_IMAGE, 0,
                                     "the image '%s' is damaged: %s; build it again", v->image, what);
  return v->result;
}

static int
own_block (struct verify *v, blk64_t block)
{
  if (block < v->fs->super->s_first_data_block || block >= ext2fs_blocks_count (v->fs->super))
    return damaged (v, "a block lies beyond its end");
  /* That inode reserves blocks that the group tables may grow into, which are owned as such. */
  if (ext2fs_mark_block_bitmap2 (v->blocks, block) && v->ino != EXT2_RESIZE_INO)
    return damaged (v, "a block has two owners");
  return 0;
}

static int
own_file_block (ext2_filsys fs, blk64_t *block, e2_blkcnt_t count, blk64_t ref, int offset,
                void *user)
{
  (void) fs;
  (void) count;
  (void) ref;
  (void) offset;
  return own_block (user, *block) < 0 ? BLOCK_ABORT : 0;
}

static int
check_entry (ext2_ino_t dir, int kind, struct ext2_dir_entry *entry, int offset, int size, char *buf,
             void *user)
{
  struct verify *v = user;

  (void) dir;
  (void) kind;
  (void) offset;
  (void) size;
  (void) buf;
  if (entry->inode == 0 || entry->inode > v->fs->super->s_inodes_count
      || !ext2fs_test_inode_bitmap2 (v->fs->inode_map, entry->inode))
    return damaged (v, "a name leads nowhere") < 0 ? DIRENT_ABORT : 0;
  return 0;
}

static int
check_contents (struct verify *v, struct ext2_inode_large *inode)
{
  struct ext2_inode *small = (struct ext2_inode *) inode;
  blk64_t acl = ext2fs_file_acl_block (v->fs, small);
  char block[EXT2_MAX_BLOCK_SIZE];
  errcode_t code = 0;

  if (acl)
    {
      if (acl >= ext2fs_blocks_count (v->fs->super)
          || ext2fs_read_ext_attr3 (v->fs, acl, block, v->ino))
        return damaged (v, "attributes cannot be read");
      /* Files may share it. */
      ext2fs_mark_block_bitmap2 (v->blocks, acl);
    }
  if (ext2fs_inode_has_valid_blocks2 (v->fs, small) && !(inode->i_flags & EXT4_INLINE_DATA_FL))
    code = ext2fs_block_iterate3 (v->fs, v->ino, BLOCK_FLAG_READ_ONLY, NULL, own_file_block, v);
  if (v->result == 0 && !code && LINUX_S_ISDIR (inode->i_mode))
    code = ext2fs_dir_iterate2 (v->fs, v->ino, 0, NULL, check_entry, v);
  return code ? damaged (v, "its blocks or entries cannot be read") : v->result;
}

static int
check_inodes (struct verify *v)
{
  ext2_inode_scan scan;
  struct ext2_inode_large *inode = calloc (1, EXT2_INODE_SIZE (v->fs->super) + sizeof *inode);
  errcode_t code;

  if (!inode)
    return rcvmi_fail_nomem (v->err);
  code = ext2fs_open_inode_scan (v->fs, 0, &scan);
  while (!code && v->result == 0)
    {
      code = ext2fs_get_next_inode_full (scan, &v->ino, (struct ext2_inode *) inode,
                                         EXT2_INODE_SIZE (v->fs->super));
      if (code || v->ino == 0)
        break;
      /* Unused, or one of the first that have no links. */
      if (inode->i_links_count == 0 && (v->ino >= EXT2_FIRST_INO (v->fs->super) || !inode->i_mode))
        {
          if (v->ino >= EXT2_FIRST_INO (v->fs->super)
              && ext2fs_test_inode_bitmap2 (v->fs->inode_map, v->ino))
            damaged (v, "the inode is free, but counts as used");
          continue;
        }
      if (!ext2fs_test_inode_bitmap2 (v->fs->inode_map, v->ino))
        damaged (v, "the inode is used, but counts as free");
      else
        check_contents (v, inode);
    }
  if (code)
    damaged (v, code == EXT2_ET_INODE_CSUM_INVALID ? "a checksum is wrong"
                                                   : "the inode cannot be read");
  ext2fs_close_inode_scan (scan);
  free (inode);
  v->ino = 0;
  return v->result;
}

static int
check_groups (struct verify *v)
{
  for (dgrp_t g = 0; g < v->fs->group_desc_count; g++)
    {
      if (!ext2fs_group_desc_csum_verify (v->fs, g))
        return damaged (v, "a group's checksum is wrong");
      ext2fs_reserve_super_and_bgd (v->fs, g, v->blocks);
      ext2fs_mark_block_bitmap2 (v->blocks, ext2fs_block_bitmap_loc (v->fs, g));
      ext2fs_mark_block_bitmap2 (v->blocks, ext2fs_inode_bitmap_loc (v->fs, g));
      ext2fs_mark_block_bitmap_range2 (v->blocks, ext2fs_inode_table_loc (v->fs, g),
                                       v->fs->inode_blocks_per_group);
    }
  return 0;
}

RCVM_PUBLIC int
rcvm_rootfs_verify (const char *image, rcvm_error **err)
{
  __attribute__ ((cleanup (close_image))) ext2_filsys fs = NULL;
  struct verify v = { .image = image, .err = err };
  errcode_t code;
  int r;

  if (!image || !*image)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "no image was named");
  r = open_image (image, "ext4 image", &fs, err);
  if (r < 0)
    return r;
  v.fs = fs;
  if (!(fs->super->s_state & EXT2_VALID_FS) || fs->super->s_state & EXT2_ERROR_FS
      || ext2fs_has_feature_journal_needs_recovery (fs->super))
    return rcvmi_fail (err, RCVM_E_IMAGE, 0,
                       "the image '%s' was not unmounted; run e2fsck, or build it again", image);
  if (ext2fs_read_bitmaps (fs))
    return damaged (&v, "a bitmap is damaged");
  code = ext2fs_allocate_block_bitmap (fs, "owners", &v.blocks);
  if (code)
    return rcvmi_fail_nomem (err);
  if (check_groups (&v) == 0 && check_inodes (&v) == 0
      && ext2fs_compare_block_bitmap (v.blocks, fs->block_map))
    damaged (&v, "the bitmap of blocks and their owners differ");
  ext2fs_free_block_bitmap (v.blocks);
  return v.result;
}

char *
rcvmi_ext4_describe (const char *image, const char **type, rcvm_error **err)
{
  __attribute__ ((cleanup (close_image))) ext2_filsys fs = NULL;
  struct ext2_super_block *s;
  bool clean;
  char *json;

  if (open_image (image, "image of a file system that is known", &fs, err) < 0)
    return NULL;
  s = fs->super;
  clean = s->s_state & EXT2_VALID_FS && !ext2fs_has_feature_journal_needs_recovery (s);
  *type = ext2fs_has_feature_extents (s) ? "ext4" : ext2fs_has_feature_journal (s) ? "ext3" : "ext2";
  if (asprintf (&json,
                "\"size\":%" PRIu64 ",\"free\":%" PRIu64 ",\"blockSize\":%u,\"inodes\":%u,"
                "\"freeInodes\":%u,\"journal\":%s,\"checksums\":%s,\"clean\":%s",
                (uint64_t) ext2fs_blocks_count (s) * fs->blocksize,
                (uint64_t) ext2fs_free_blocks_count (s) * fs->blocksize, fs->blocksize,
                s->s_inodes_count, s->s_free_inodes_count,
                ext2fs_has_feature_journal (s) ? "true" : "false",
                ext2fs_has_feature_metadata_csum (s) ? "true" : "false", clean ? "true" : "false")
      < 0)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  return json;
}
