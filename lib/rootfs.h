/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Root disks: one pass from a tree of the host to an ext4 image.
 *
 *   rootfs.c        options, the image file (invisible until it is complete), the order of the steps
 *   rootfs-scan.c   walks the sources, reading metadata alone, into the tree of rootfs-tree.c;
 *                   extended attributes by rootfs-xattr.c, directories opened by rootfs-dirfd.c
 *   rootfs-layer*.c the same from the layers of an OCI image; see rootfs-layer.h
 *   rootfs-layout.c inode numbers, sizes, and which block is whose: pure arithmetic
 *   rootfs-delta.c  makes the upper directory of one overlayfs fit for another
 *   rootfs-data.c   moves file data straight to its place in the image
 *   rootfs-ext4*.c  everything whose form ext4 prescribes; the only files that know libext2fs
 */
#ifndef RCVM_LIB_ROOTFS_H
#define RCVM_LIB_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>
#include <runcvm/rootfs.h>

struct rcvmi_rootfs_copy
{
  char *source;      /* on the host; a symlink is followed */
  char *destination; /* absolute, resolved inside the image */
  enum rcvm_rootfs_missing missing;
  bool shallow;      /* of a directory, what it is and not what it holds */
  bool delta;        /* the upper directory of an overlayfs, to be one again: see rootfs-delta.c */
};

struct rcvmi_rootfs_params
{
  uint64_t size;     /* bytes; 0: what the contents need, and headroom */
  unsigned headroom; /* percent */
  bool journal;      /* false for images that are only ever mounted read-only */
  bool sync;         /* on disk before the image gets its name */
  struct rcvmi_rootfs_copy *copies;
  size_t n_copies;
  enum rcvm_rootfs_missing missing; /* of the copies to come */
  rcvm_progress_fn progress;
  void *progress_user;
};

#define RCVMI_ROOTFS_PARAMS_INIT                                                                  \
  ((struct rcvmi_rootfs_params){ .headroom = 30, .journal = true, .sync = true })

/* Like rcvm_rootfs_build; needs no state beyond its arguments, so that a forked worker can run it.  `source` NULL: an
   empty root directory of root's, to be filled by copies. */
int rcvmi_rootfs_build (const char *source, const char *image,
                        const struct rcvmi_rootfs_params *params, rcvm_error **err);

/* From layers, the lowest first, ended by NULL: tars or directories, see rootfs-layer.h. */
int rcvmi_rootfs_build_layers (const char *const *layers, const char *image,
                               const struct rcvmi_rootfs_params *params, rcvm_error **err);

enum
{
  RCVMI_ROOTFS_TYPE = 32
};

/* What is on a disk, by libblkid's name ("ext4"), and what that is for ("filesystem", "crypto", "raid"); both "" where it
   is nothing that is known.  `where` is for messages. */
int rcvmi_rootfs_probe (int fd, const char *where, char type[RCVMI_ROOTFS_TYPE], char usage[RCVMI_ROOTFS_TYPE],
                        rcvm_error **err);

/* What is passed down through the steps to report on them. */
struct rcvmi_rootfs_progress
{
  rcvm_progress_fn fn;
  void *user;
  const char *phase;
  uint64_t files;
  uint64_t bytes;
  uint64_t next_files; /* the marks at which the callback is due again */
  uint64_t next_bytes;
};

void rcvmi_rootfs_phase (struct rcvmi_rootfs_progress *p, const char *phase);
/* Counts, and calls back every now and then; RCVM_E_CANCELLED if the callback says so. */
int rcvmi_rootfs_progress (struct rcvmi_rootfs_progress *p, uint64_t files, uint64_t bytes,
                           rcvm_error **err);
/* Calls back at once. */
int rcvmi_rootfs_report (struct rcvmi_rootfs_progress *p, rcvm_error **err);

#endif
