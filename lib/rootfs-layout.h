/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decides everything about an image before its first byte is written: no I/O in here. */
#ifndef RCVM_LIB_ROOTFS_LAYOUT_H
#define RCVM_LIB_ROOTFS_LAYOUT_H

#include "rootfs-ext4.h"
#include "rootfs-tree.h"
#include "rootfs.h"

struct rcvmi_layout
{
  struct rcvmi_ext4_geometry geometry;
  uint64_t image_size; /* bytes */
  uint64_t inodes;     /* in use, without the reserved ones */
  uint64_t blocks;     /* an upper bound of what the tree takes */
  uint64_t used;       /* what it takes; known when each block has its place */
  uint64_t minimum;    /* bytes of the smallest image that would do */
  bool journal;
};

/* Numbers the inodes, sizes the directories, and settles the geometry. */
int rcvmi_layout_plan (struct rcvmi_layout *l, struct rcvmi_tree *tree,
                       const struct rcvmi_rootfs_params *params, rcvm_error **err);
/* Gives each inode its blocks: directories first, then the files in the order in which they are read. */
int rcvmi_layout_assign (struct rcvmi_layout *l, struct rcvmi_tree *tree,
                         const struct rcvmi_ext4 *e, rcvm_error **err);

#endif
