/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree while an archive is put over it.  An archive names its entries in any order, so names
 * are found by hash, and directories are put in order when the archive is through.
 *
 * Every name knows whether it is of this archive or of what lies below: whiteouts hide the latter
 * alone, wherever in the archive they stand.
 */
#ifndef RCVM_LIB_ROOTFS_LAYER_NAMES_H
#define RCVM_LIB_ROOTFS_LAYER_NAMES_H

#include "rootfs-tree.h"

struct rcvmi_layer_names
{
  struct rcvmi_tree *tree;
  struct rcvmi_layer_slot
  {
    struct rcvmi_dir *dir;
    struct rcvmi_node *node;
  } *slots; /* open addressing */
  size_t n, cap;
  uint64_t key;
  uint32_t layer;
  struct rcvmi_dir **dirs; /* whose names are in there */
  size_t n_dirs, cap_dirs;
};

/* `layer` is another number for each archive of a tree, and not 0. */
int rcvmi_layer_names_init (struct rcvmi_layer_names *l, struct rcvmi_tree *tree, uint32_t layer,
                            rcvm_error **err);
/* Takes out what is gone, and sorts. */
int rcvmi_layer_names_finish (struct rcvmi_layer_names *l, rcvm_error **err);
void rcvmi_layer_names_clear (struct rcvmi_layer_names *l);

/* *node is NULL where there is none. */
int rcvmi_layer_names_find (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, const char *name, size_t len,
                            struct rcvmi_node **node, rcvm_error **err);
/* Puts the node, which has its inode, over what has its name. */
int rcvmi_layer_names_put (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, struct rcvmi_node *node,
                           rcvm_error **err);
/* Makes a name that is there one of the archive. */
void rcvmi_layer_names_own (struct rcvmi_dir *dir, struct rcvmi_node *node);
/* Hides what was there before the archive: a name, or all that a directory has. */
int rcvmi_layer_names_whiteout (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, const char *name,
                                size_t len, rcvm_error **err);
int rcvmi_layer_names_opaque (struct rcvmi_layer_names *l, struct rcvmi_dir *dir, rcvm_error **err);

/* Where `path` (cleaned: see rootfs-layer-path.h) leads inside the tree: symlinks on the way are
   followed as if the tree's root were "/"; the last component is not.  Directories that lack are
   made, which is RCVM_E_IMAGE (with a message that lacks the name of the archive) where
   something else is in the way; or, where nothing is to be made, *dir is NULL.  *name points
   into `path`. */
int rcvmi_layer_names_resolve (struct rcvmi_layer_names *l, const char *path, bool make,
                               struct rcvmi_dir **dir, const char **name, rcvm_error **err);

/* Brings the name of an entry into the form "a/b/c", malloc'ed; "" is the root.  RCVM_E_IMAGE
   for one that leads out of the tree, or has a component that is too long. */
int rcvmi_layer_path_clean (const char *name, char **path, rcvm_error **err);

#endif
