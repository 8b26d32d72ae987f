/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the files of rootfs-ext4*.c. */
#ifndef RCVM_LIB_ROOTFS_EXT4_PRIV_H
#define RCVM_LIB_ROOTFS_EXT4_PRIV_H

/* clang-format off: these two want their types from the first. */
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>
/* clang-format on */

#include "rootfs-ext4.h"

#define INODE_SIZE 256u
#define INODE_EXTRA 32u
/* What is left of an inode for attributes. */
#define INODE_XATTR_OFFSET (EXT2_GOOD_OLD_INODE_SIZE + INODE_EXTRA)
#define INODE_XATTR_SIZE (INODE_SIZE - INODE_XATTR_OFFSET)
#define EXT4_LINK_MAX 65000u

struct run
{
  uint64_t index; /* of the first one among the free blocks */
  uint64_t start;
  uint64_t count;
};

struct rcvmi_ext4
{
  ext2_filsys fs;
  int fd;
  struct run *runs;
  size_t n_runs;
  uint64_t free_blocks;
  uint32_t seed; /* of all checksums */
};

/* The checksum of something that belongs to an inode starts with its number and generation, which is 0. */
uint32_t rcvmi_ext4_inode_seed (const struct rcvmi_ext4 *e, uint32_t ino);

/* rootfs-ext4-xattr.c: `raw` is the whole inode; `block` (zeroed, in memory) is NULL where none is needed. */
void rcvmi_ext4_put_xattrs (const struct rcvmi_ext4 *e, const struct rcvmi_inode *inode,
                            unsigned char *raw, unsigned char *block, uint64_t block_nr);

#endif
