/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Layers of OCI images as sources of a root disk, put one over the other in memory.
 *
 *   rootfs-layer-stream.c   the bytes of a tar, decompressed
 *   rootfs-layer-reader.c   its entries, by libarchive, cleared of what a locale would do to names
 *   rootfs-layer-libarchive.c  libarchive, which is loaded only now
 *   rootfs-layer-names.c    the tree's names by hash, and what hides what
 *   rootfs-layer-scan.c     first pass: entries into the tree, data skipped
 *   rootfs-layer-data.c     second pass: data to its place in the image
 *   rootfs-layer-overlay.c  what overlayfs notes in the attributes of its upper directories
 */
#ifndef RCVM_LIB_ROOTFS_LAYER_H
#define RCVM_LIB_ROOTFS_LAYER_H

#include "rootfs-data.h"
#include "rootfs-tree.h"
#include "rootfs.h"

struct rcvmi_layer_limits
{
  uint64_t memory; /* of the tree, in bytes */
};

/* A tar or a directory over what is there.  RCVM_E_IMAGE where the tar is damaged or makes no sense. */
int rcvmi_layer_scan (struct rcvmi_tree *tree, const char *path, const struct rcvmi_layer_limits *limits,
                      struct rcvmi_rootfs_progress *p, rcvm_error **err);
/* The files of an archive, which are in the tree, into the image. */
int rcvmi_layer_write (struct rcvmi_data *d, size_t origin);

/* What a file's attributes mean to overlayfs. */
struct rcvmi_overlay
{
  bool opaque;
  bool whiteout;
  bool refers; /* to another layer, for its data or its entries */
};

/* Takes those attributes away; `keep_opaque`: but for that one. */
void rcvmi_overlay_take (struct rcvmi_inode *inode, bool keep_opaque, struct rcvmi_overlay *marks);

#endif
