/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moves what files contain to its place in the image, by the cheapest way that the host has. */
#ifndef RCVM_LIB_ROOTFS_DATA_H
#define RCVM_LIB_ROOTFS_DATA_H

#include "rootfs-ext4.h"
#include "rootfs-tree.h"
#include "rootfs.h"

/* Reads every regular file of the tree.  One that is not what the scan has seen is an error. `sync`: the
   image will be synced when it is complete. */
int rcvmi_data_write (struct rcvmi_tree *tree, const struct rcvmi_ext4 *e, int image, bool sync,
                      struct rcvmi_rootfs_progress *p, rcvm_error **err);

#endif
