/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ext4 prescribes.  Its headers are included by rootfs-ext4*.c alone.
 *
 * Free blocks are numbered in the order in which they are given out, 0 being the first block that is not the
 * file system's own: planning is then adding up, and a file that stands in the way of a group's
 * superblock copy still is one range.
 */
#ifndef RCVM_LIB_ROOTFS_EXT4_H
#define RCVM_LIB_ROOTFS_EXT4_H

#include <stdbool.h>
#include <stdint.h>

#include "rootfs-tree.h"
#include "rootfs-writer.h"

#define RCVMI_EXT4_ROOT_INO 2
#define RCVMI_EXT4_FIRST_INO 11
#define RCVMI_EXT4_GROUP_BLOCKS 32768u

struct rcvmi_ext4;

struct rcvmi_ext4_geometry
{
  uint64_t blocks;
  uint64_t inodes;
  uint32_t journal_blocks; /* 0: none */
  unsigned char uuid[16];
  uint32_t hash_seed[4];
};

/* Blocks that a file system of this size keeps for itself. */
uint64_t rcvmi_ext4_overhead (uint64_t blocks, uint64_t inodes, uint32_t journal_blocks);
uint32_t rcvmi_ext4_journal_blocks (uint64_t blocks);

/* Makes an empty file system in the sparse file `fd`, which is duplicated. */
int rcvmi_ext4_new (struct rcvmi_ext4 **out, int fd, const struct rcvmi_ext4_geometry *g,
                    rcvm_error **err);
void rcvmi_ext4_free (struct rcvmi_ext4 *e);
uint64_t rcvmi_ext4_free_blocks (const struct rcvmi_ext4 *e);
/* Where free block `index` is, and in *run how many follow it there (at most `want`). */
uint64_t rcvmi_ext4_map (const struct rcvmi_ext4 *e, uint64_t index, uint64_t want, uint64_t *run);
/* Free blocks 0 to `used` are taken, and the inodes that were written: writes what says so, and the
   superblocks. */
int rcvmi_ext4_finish (struct rcvmi_ext4 *e, uint64_t used, rcvm_error **err);

/* rootfs-ext4-verify.c: what an image says of itself, as the members of a JSON object; malloc'ed.  *type is a constant
   text. */
char *rcvmi_ext4_describe (const char *image, const char **type, rcvm_error **err);

/* A contiguous part of a file. */
struct rcvmi_extent
{
  uint64_t block; /* in the file */
  uint64_t start; /* in the image */
  uint64_t count;
};

struct rcvmi_extents
{
  const struct rcvmi_ext4 *e;
  const struct rcvmi_inode *inode;
  uint64_t index;   /* the next free block */
  uint64_t segment; /* of a sparse file */
  uint64_t done;    /* blocks of the segment */
};

/* Walks the contents of an inode whose place is known, in order. */
void rcvmi_extents_start (struct rcvmi_extents *x, const struct rcvmi_ext4 *e,
                          const struct rcvmi_inode *inode);
bool rcvmi_extents_next (struct rcvmi_extents *x, struct rcvmi_extent *extent);

/* rootfs-ext4-dir.c: decides how many blocks the entries take. */
int rcvmi_ext4_plan_dir (struct rcvmi_dir *dir, const uint32_t seed[4], rcvm_error **err);
int rcvmi_ext4_write_dir (struct rcvmi_ext4 *e, struct rcvmi_writer *w, struct rcvmi_dir *dir,
                          rcvm_error **err);

/* rootfs-ext4-xattr.c: sets RCVMI_INODE_XBLOCK where the inode has too little room; RCVM_E_UNSUPPORTED where a
   block has, too. */
int rcvmi_ext4_plan_xattrs (struct rcvmi_inode *inode, rcvm_error **err);

/* rootfs-ext4-inode.c: blocks that the map of the contents needs outside of the inode; and an upper bound of
   them for a place that is not known yet. */
uint64_t rcvmi_ext4_index_blocks (const struct rcvmi_ext4 *e, const struct rcvmi_inode *inode);
uint64_t rcvmi_ext4_index_bound (const struct rcvmi_inode *inode);
/* Inodes are written by rising number. */
int rcvmi_ext4_write_inode (struct rcvmi_ext4 *e, struct rcvmi_writer *table,
                            struct rcvmi_writer *w, const struct rcvmi_inode *inode,
                            rcvm_error **err);

#endif
