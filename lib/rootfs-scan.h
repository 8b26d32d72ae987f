/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading the sources: nothing outside of them is ever opened, symlinks are never followed below their
   top, and nothing but directories and regular files is opened at all. */
#ifndef RCVM_LIB_ROOTFS_SCAN_H
#define RCVM_LIB_ROOTFS_SCAN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "rootfs-tree.h"
#include "rootfs.h"

/* The source directory becomes the root of the tree. */
int rcvmi_scan_root (struct rcvmi_tree *tree, const char *source, struct rcvmi_rootfs_progress *p,
                     rcvm_error **err);
/* A directory or file, put over what is at `destination`. Directories merge; everything else gives way. */
int rcvmi_scan_copy (struct rcvmi_tree *tree, const struct rcvmi_rootfs_copy *copy,
                     struct rcvmi_rootfs_progress *p, rcvm_error **err);

/* Kernel interfaces (/proc and its like): their "files" have no contents that could be kept. */
bool rcvmi_scan_is_virtual (int fd);

/* A layer's directory, in the form that overlayfs gives its upper ones: over all that is there. */
int rcvmi_scan_layer (struct rcvmi_tree *tree, const char *source, struct rcvmi_rootfs_progress *p,
                      rcvm_error **err);

/* rootfs-dirfd.c: directories of one origin, opened by their names one after the other.  Only the last few
   stay open, however deep the tree is. */
struct rcvmi_dirfd
{
  const struct rcvmi_origin *origin;
  struct rcvmi_dirfd_level
  {
    struct rcvmi_dir *dir;
    int fd;
  } *levels;
  size_t n, cap;
};

void rcvmi_dirfd_init (struct rcvmi_dirfd *s, const struct rcvmi_origin *origin);
void rcvmi_dirfd_clear (struct rcvmi_dirfd *s);
/* An fd that the stack owns, valid until the next call; -1 with *err set. */
int rcvmi_dirfd_get (struct rcvmi_dirfd *s, struct rcvmi_dir *dir, rcvm_error **err);

/* Opens a source for reading.  Leaves its access time alone where that can be done; *quiet says so. */
int rcvmi_origin_openat (const struct rcvmi_origin *origin, int fd, const char *name, int flags,
                         bool *quiet);

/* rootfs-xattr.c: the attributes of `name` in `fd`, or of `fd` itself where name is NULL.  *out stays NULL
   where there are none.  Those that ext4 has no namespace for are left out.  Negative errno. */
int rcvmi_xattrs_read (struct rcvmi_tree *tree, int fd, const char *name, struct rcvmi_xattrs **out);

/* Attributes that are being gathered; all zero at first. */
struct rcvmi_xattr_list
{
  unsigned char *data;
  size_t len, cap;
  uint32_t n;
};

void rcvmi_xattr_list_clear (struct rcvmi_xattr_list *list);
/* By its full name, in the form that the kernel's interface has; one of the same name gives way.  Negative
   errno: E2BIG for what no file can have, EINVAL for an ACL that is none. */
int rcvmi_xattr_list_add (struct rcvmi_xattr_list *list, const char *name, const void *value, size_t len);
int rcvmi_xattr_list_store (struct rcvmi_tree *tree, const struct rcvmi_xattr_list *list,
                            struct rcvmi_xattrs **out);

/* Walks the list: NULL first, then what it returned. */
const struct rcvmi_xattr *rcvmi_xattrs_next (const struct rcvmi_xattrs *list,
                                             const struct rcvmi_xattr *x);
static inline const char *
rcvmi_xattr_name (const struct rcvmi_xattr *x)
{
  return (const char *) (x + 1);
}
static inline const unsigned char *
rcvmi_xattr_value (const struct rcvmi_xattr *x)
{
  return (const unsigned char *) (x + 1) + x->name_len;
}

#endif
