/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entries of a layer's tar, one after the other.  Nothing that libarchive knows goes past here. */
#ifndef RCVM_LIB_ROOTFS_LAYER_READER_H
#define RCVM_LIB_ROOTFS_LAYER_READER_H

#include "rootfs-scan.h"
#include "rootfs-tree.h"
#include "rootfs.h"

struct rcvmi_layer_reader;

/* Valid until the next entry. */
struct rcvmi_layer_entry
{
  uint64_t number; /* from 1 on */
  const char *path;
  const char *hardlink; /* or NULL: then the rest counts */
  const char *target;   /* of a symlink */
  uint64_t size;
  uint64_t mtime, atime; /* packed */
  uint64_t rdev;
  uint32_t uid, gid;
  uint16_t mode;
};

int rcvmi_layer_reader_open (struct rcvmi_layer_reader **out, const struct rcvmi_origin *origin,
                             struct rcvmi_rootfs_progress *p, rcvm_error **err);
void rcvmi_layer_reader_close (struct rcvmi_layer_reader *r);
/* 1: an entry; 0: the end, which has been found to be in order; negative: an error. */
int rcvmi_layer_reader_next (struct rcvmi_layer_reader *r, struct rcvmi_layer_entry *entry,
                             rcvm_error **err);
/* The attributes of the entry.  Negative errno; ENOTSUP for an ACL that names somebody by name alone. */
int rcvmi_layer_reader_xattrs (struct rcvmi_layer_reader *r, struct rcvmi_xattr_list *list);
/* The next part of a sparse entry that has data: 1, or 0.  An entry that is not sparse has none. */
bool rcvmi_layer_reader_is_sparse (struct rcvmi_layer_reader *r);
int rcvmi_layer_reader_segment (struct rcvmi_layer_reader *r, uint64_t *offset, uint64_t *len);
/* The next bytes of its contents: 1, 0 at the end, or negative. */
int rcvmi_layer_reader_data (struct rcvmi_layer_reader *r, const void **data, size_t *len,
                             uint64_t *offset, rcvm_error **err);
/* "the layer 'PATH' is damaged at 'ENTRY': WHAT". */
int rcvmi_layer_reader_fail (const struct rcvmi_layer_reader *r, int code, const char *what,
                             rcvm_error **err);

#endif
