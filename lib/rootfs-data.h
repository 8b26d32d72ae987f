/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves what files contain to its place in the image, by the cheapest way that the host has. */
#ifndef RCVM_LIB_ROOTFS_DATA_H
#define RCVM_LIB_ROOTFS_DATA_H

#include "rootfs-ext4.h"
#include "rootfs-tree.h"
#include "rootfs-writer.h"
#include "rootfs.h"

/* What the parts of the writing share. */
struct rcvmi_data
{
  struct rcvmi_tree *tree;
  const struct rcvmi_ext4 *e;
  struct rcvmi_rootfs_progress *progress;
  const struct rcvmi_origin *origin;
  struct rcvmi_writer writer;
  int image;
  bool sync;
  uint64_t unsynced; /* bytes */
  struct rcvmi_data_host
  {
    bool no_clone, no_copy; /* the host cannot do that between this file system and the image's */
  } *hosts; /* by device */
  rcvm_error **err;
};

/* To be told of all that is written: reports, and has the writing to disk go on meanwhile. */
int rcvmi_data_advance (struct rcvmi_data *d, uint64_t bytes);

/* Reads every regular file of the tree.  One that is not what the scan has seen is an error. `sync`: the
   image will be synced when it is complete. */
int rcvmi_data_write (struct rcvmi_tree *tree, const struct rcvmi_ext4 *e, int image, bool sync,
                      struct rcvmi_rootfs_progress *p, rcvm_error **err);

#endif
