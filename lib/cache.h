/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of base images: one read-only ext4 image per content key, shared by every VM.  See docs/cache.md.
 *
 *   cache.c          the directory: found, made, checked; its locks
 *   cache-acquire.c  hit, wait, build, publish
 *   cache-record.c   the record behind an image, which ties it to its key; what is checked on every open
 *   cache-evict.c    the size limit; what dead builders left
 *   cache-list.c     list and verify
 *   cache-key.c      keys; cache-walk.c the key of a tree
 */
#ifndef RCVM_LIB_CACHE_H
#define RCVM_LIB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "rootfs.h"

/* Part of every key: raised when the builder's output changes for the same input. */
#define RCVMI_CACHE_FORMAT 1

/* Limits of the allocated bytes of all images together. */
#define RCVMI_CACHE_UNLIMITED UINT64_MAX

enum
{
  RCVMI_CACHE_KEY_MAX = 96 /* bytes of a key: a kind, '-', and 64 hexadecimal digits */
};

/* Plain data, made by rcvmi_cache_open.  It may be used by several threads at once, and survives a fork:
   every call opens its own locks. */
struct rcvmi_cache
{
  char *path;     /* absolute */
  int fd;         /* of the directory */
  uint64_t limit; /* bytes on disk of all images together; those in use may exceed it */
  /* Whether an image is on disk before anybody may use it.  Without, an image counts until the host's
     next boot only, unless rcvmi_cache_settle was called for it. */
  bool sync;
};
#define RCVMI_CACHE_INIT ((struct rcvmi_cache){ .fd = -1, .sync = true })

/* directory NULL: $RUNCVM_CACHE_DIR, else the data directory's "cache".  It is made (0700) where it does
   not exist, and must be the caller's own.  The limit is $RUNCVM_CACHE_SIZE, or a fifth of the file
   system. */
int rcvmi_cache_open (struct rcvmi_cache *cache, const char *directory, rcvm_error **err);
void rcvmi_cache_close (struct rcvmi_cache *cache);

/* Makes the image `path`, which does not exist, and is not left behind on failure: rcvmi_rootfs_build
   and its like.  Called without any lock that a start of another image waits for.  It may be called a
   second time, after RCVM_E_NO_SPACE with ENOSPC or EDQUOT, when unused images have been removed. */
typedef int (*rcvmi_cache_build_fn) (void *user, const char *path, rcvm_error **err);

/* An image that is in use as long as any copy of `fd` is open, in whichever process (an OFD lock, which
   travels by fork, execve and SCM_RIGHTS): it is not evicted, and its contents never change. */
struct rcvmi_cache_entry
{
  char *path;         /* absolute, for QEMU and Firecracker to open read-only */
  int fd;             /* O_RDONLY | O_CLOEXEC */
  uint64_t size;      /* bytes of the file system; the file has a record of 4096 bytes behind it */
  uint64_t allocated; /* bytes on disk */
  bool hit;           /* nothing was built by this call */
  bool durable;       /* on disk: it outlives a power failure */
  char *note;         /* NULL, or a sentence to log: a damaged image was replaced */
};
#define RCVMI_CACHE_ENTRY_INIT ((struct rcvmi_cache_entry){ .fd = -1 })

/* What is known about an image that may have to be built. */
struct rcvmi_cache_build
{
  rcvmi_cache_build_fn build; /* NULL: only a hit will do, a miss is RCVM_E_NOT_FOUND */
  void *user;
  const char *source; /* NULL, or what `list` says it was made from; never part of the image */
  uint64_t expected;  /* bytes that it will need on disk, or 0: makes room beforehand */
};

/* The image of that key: a hit, or built by this call, or by another one that it waits for (a lock, no
   polling).  May block as long as a build takes: for the forked worker.  Errors are the builder's,
   RCVM_E_NO_SPACE, _PERMISSION, _SYSTEM. */
int rcvmi_cache_acquire (const struct rcvmi_cache *cache, const char *key,
                         const struct rcvmi_cache_build *build, struct rcvmi_cache_entry *out,
                         rcvm_error **err);
/* Closes the fd (the image stays in use while other copies of it are open) and frees the rest. */
void rcvmi_cache_entry_clear (struct rcvmi_cache_entry *entry);
/* Puts an image that was made without `sync` on disk, and says so in the image.  May take as long as writing
   it does; the image can be used meanwhile. */
int rcvmi_cache_settle (struct rcvmi_cache_entry *entry, rcvm_error **err);

/* How a base image is to be made: as small as can be, without a journal, unless the caller wants another. */
#define RCVMI_CACHE_ROOTFS_PARAMS                                                                 \
  ((struct rcvmi_rootfs_params){ .headroom = 0, .journal = false, .sync = true })

/* Keys: each to be freed.  `params` NULL: RCVMI_CACHE_ROOTFS_PARAMS.  Params with copies have no key
   (RCVM_E_INVALID): what is bound in is one container's own. */

/* From the metadata of every entry of a tree: equal only if nothing was changed in between.
   RCVM_E_UNSUPPORTED for a tree on FUSE or a network, where that cannot be told; RCVM_E_STATE for one
   that is being changed.  `bytes` (may be NULL): what its files occupy, for `expected`. */
int rcvmi_cache_key_tree (const char *rootfs, const struct rcvmi_rootfs_params *params, char **key,
                          uint64_t *bytes, rcvm_error **err);
/* From the digests ("sha256:<hex>") of layers or of an image, in their order, NULL-terminated. */
int rcvmi_cache_key_digests (const char *const *digests, const struct rcvmi_rootfs_params *params,
                             char **key, rcvm_error **err);
/* From directories that are never changed once they are layers (overlayfs's lowerdir, in its order),
   NULL-terminated: looks at their tops alone.  A directory that is removed and made again is another
   one. */
int rcvmi_cache_key_layers (const char *const *directories,
                            const struct rcvmi_rootfs_params *params, char **key,
                            rcvm_error **err);

/* rcvmi_cache_key_tree and rcvmi_cache_acquire with rcvmi_rootfs_build in one.  `digests` (may be NULL)
   name the contents of the tree instead of its metadata.  `key` may be NULL. */
int rcvmi_cache_acquire_tree (const struct rcvmi_cache *cache, const char *rootfs,
                              const char *const *digests, const struct rcvmi_rootfs_params *params,
                              char **key, struct rcvmi_cache_entry *out, rcvm_error **err);

/* Removes the oldest unused images until all together occupy no more than `limit` bytes (0: every unused
   one), and what dead builders left.  *freed (may be NULL): bytes on disk. */
int rcvmi_cache_prune (const struct rcvmi_cache *cache, uint64_t limit, uint64_t *freed,
                       rcvm_error **err);
/* One of them.  RCVM_E_INVALID, _NOT_FOUND; RCVM_E_STATE: it is in use. */
int rcvmi_cache_take_out (const struct rcvmi_cache *cache, const char *key, rcvm_error **err);
/* JSON arrays, to be freed; see runcvm/cache.h. */
char *rcvmi_cache_list_json (const struct rcvmi_cache *cache, rcvm_error **err);
char *rcvmi_cache_verify_json (const struct rcvmi_cache *cache, bool remove, rcvm_error **err);

#endif
