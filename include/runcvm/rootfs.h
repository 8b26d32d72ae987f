/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Root disks: a tree in, an ext4 image out.  Usable alone, without a VM. */
#ifndef RUNCVM_ROOTFS_H
#define RUNCVM_ROOTFS_H

#include <stdint.h>

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_rootfs_options rcvm_rootfs_options;

enum rcvm_rootfs_missing
{
  RCVM_ROOTFS_MISSING_FAILS = 0,     /* RCVM_E_NOT_FOUND; the default */
  RCVM_ROOTFS_MISSING_DIRECTORY = 1, /* an empty directory of root's */
  RCVM_ROOTFS_MISSING_FILE = 2       /* an empty file of root's */
};

/* Progress of a build: `phase` is "scan", "write" or "finish"; `files` and `bytes` count what is done.  A return
   value other than 0 cancels the build (RCVM_E_CANCELLED). */
typedef int (*rcvm_progress_fn) (void *user, const char *phase, uint64_t files, uint64_t bytes);

/* Options of a build, all at their defaults.  Since 0.1. */
rcvm_rootfs_options *rcvm_rootfs_options_new (rcvm_error **err);
/* Since 0.1. */
void rcvm_rootfs_options_free (rcvm_rootfs_options *options);
/* Size of the image in bytes; 0 (default): what the contents need and some room.  Since 0.1. */
int rcvm_rootfs_options_set_size (rcvm_rootfs_options *options, uint64_t bytes, rcvm_error **err);
/* Room to write into beyond the contents, in percent, for size 0.  Default 30; the image then has at least
   128 MiB.  With 0 it is as small as can be.  Since 0.1. */
int rcvm_rootfs_options_set_headroom (rcvm_rootfs_options *options, unsigned percent, rcvm_error **err);
/* Whether the image has a journal (default 1).  One that is only ever mounted read-only needs none.
   Since 0.1. */
int rcvm_rootfs_options_set_journal (rcvm_rootfs_options *options, int journal, rcvm_error **err);
/* Whether the image is on disk when the build returns (default 1), or at the host's leisure.  Since 0.1. */
int rcvm_rootfs_options_set_sync (rcvm_rootfs_options *options, int sync, rcvm_error **err);
/* A directory or file of the host copied into the image at the absolute path `destination`, over what
   is there: directories merge, all else is replaced.  Symlinks on the way are followed inside the image, and
   directories that lack are made.  Copies are applied in the order in which they were added.  Since 0.1. */
int rcvm_rootfs_options_add_copy (rcvm_rootfs_options *options, const char *source,
                                  const char *destination, rcvm_error **err);
/* What becomes of a copy whose source is not there: enum rcvm_rootfs_missing.  It holds for the
   copies that are added afterwards.  A directory that is in the image already stays; a file is
   replaced.  Since 0.1. */
int rcvm_rootfs_options_set_missing_source (rcvm_rootfs_options *options, int missing, rcvm_error **err);
/* Since 0.1. */
int rcvm_rootfs_options_set_progress (rcvm_rootfs_options *options, rcvm_progress_fn fn, void *user,
                                      rcvm_error **err);

/* Builds the ext4 image file `image` from the directory `source`, with its exact metadata, in one pass and
   without mounting anything; the same input and options give the same bytes.  `image` must not exist; after a failure it
   does not exist.  `options` may be NULL.  Since 0.1. */
int rcvm_rootfs_build (const char *source, const char *image, const rcvm_rootfs_options *options,
                       rcvm_error **err);

/* The same from the layers of an OCI image: names of files and directories, the lowest first,
   ended by NULL.  A file is a tar, plain or packed by gzip or zstd, with OCI's whiteouts; a
   directory is in the form that overlayfs gives its upper ones.  Files are read twice, and must
   be regular ones.  RCVM_E_IMAGE names the layer and the entry that is damaged or makes no
   sense.  Since 0.1. */
int rcvm_rootfs_build_layers (const char *const *layers, const char *image,
                              const rcvm_rootfs_options *options, rcvm_error **err);

/* Makes an image file that is not mounted larger: to `bytes`, rounded down to what its file
   system can use.  For images of this library, grown or not; RCVM_E_UNSUPPORTED for others. 
   What is in it stays in place.  RCVM_E_INVALID for a size that is smaller, RCVM_E_STATE while
   another process has the file locked.  After an interruption e2fsck is needed, and
   rcvm_rootfs_verify says so.  Since 0.1. */
int rcvm_rootfs_grow (const char *image, uint64_t bytes, rcvm_error **err);

/* Reads all metadata of an unmounted image and checks it: checksums, owners of blocks, names, bitmaps.
   RCVM_E_IMAGE says what is wrong.  Nothing is changed.  Since 0.1. */
int rcvm_rootfs_verify (const char *image, rcvm_error **err);
/* What an image or block device is, as JSON: type (as libblkid names it: ext4, xfs, swap,
   squashfs, ...), usage, uuid, label, size; of ext2 to ext4 also free, blockSize, inodes,
   freeInodes, journal, checksums, clean.  Freed with rcvm_free.  Since 0.1. */
char *rcvm_rootfs_inspect_json (const char *image, rcvm_error **err);

/* Writes what a VM has changed in its root back into the directory `rootfs`: `upper_image` is the ext4 image that was the
   upper layer of the VM's overlay; it is only read, and not mounted.  The VM must have stopped.  What fails, or is killed,
   half-way is done by the same call again; until then UPPER_IMAGE.write-back exists.  Root's rights are needed to set owners.
   RCVM_E_IMAGE: the image is damaged; RCVM_E_NO_SPACE: the host's disk is full; RCVM_E_STATE: an interrupted
   write-back was to another rootfs.  Since 0.1. */
int rcvm_rootfs_write_back (const char *upper_image, const char *rootfs, rcvm_error **err);

#ifdef __cplusplus
}
#endif
#endif
