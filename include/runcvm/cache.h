/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cache of base images: one read-only ext4 image per content, shared by every VM of this host. */
#ifndef RUNCVM_CACHE_H
#define RUNCVM_CACHE_H

#include <stdint.h>

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_cache rcvm_cache;

/* The cache in `directory`, which is made (mode 0700) where it does not exist and must be the caller's
   own.  NULL: $RUNCVM_CACHE_DIR, or "cache" in the data directory, as VMs have it.  Its limit is
   $RUNCVM_CACHE_SIZE (20G, or "unlimited"), or a fifth of its file system.  Freed with rcvm_cache_free.
   Since 0.1. */
rcvm_cache *rcvm_cache_open (const char *directory, rcvm_error **err);
/* Since 0.1. */
void rcvm_cache_free (rcvm_cache *cache);
/* Its directory; lives as long as the cache's handle.  "" for NULL.  Since 0.1. */
const char *rcvm_cache_get_path (const rcvm_cache *cache);
/* What rcvm_cache_add_json through this handle keeps to: bytes on disk of all images together.  The images
   that were not used for the longest time go first; one in use never does.  UINT64_MAX: no limit.
   Since 0.1. */
int rcvm_cache_set_limit (rcvm_cache *cache, uint64_t bytes, rcvm_error **err);

/* Has an image of the directory `rootfs` in the cache: finds it, waits for who is building it, or builds
   it.  `digests` (NULL-terminated, "sha256:...", of the layers or the image in their order) name the
   contents, and nothing of the tree is looked at if they are known; with NULL its metadata do, and any
   change of the tree makes another key.  *fd (may be NULL) holds the image in use, which is never removed
   while a copy of this fd is open anywhere; the caller closes it.  Returns JSON: key, path, size (bytes
   of the file system), allocated (bytes on disk), hit; and note if a damaged image was replaced.  Freed
   with rcvm_free.  Since 0.1. */
char *rcvm_cache_add_json (rcvm_cache *cache, const char *rootfs, char *const digests[], int *fd,
                           rcvm_error **err);
/* The images, and the machines from which VMs start (keys that begin with "template-"), as a JSON array, the one used last first: key, path, size, allocated, created and lastUsed
   (seconds since 1970), inUse, durable (survives a power failure), damaged (what is wrong with it, else
   absent), source (what it was made from, if known).  Freed with rcvm_free.  Since 0.1. */
char *rcvm_cache_list_json (rcvm_cache *cache, rcvm_error **err);
/* Removes unused images, the one that was not used for the longest time first, until all together have
   no more than `limit` bytes on disk (0: all unused ones), and what killed builders left.  *freed (may
   be NULL): bytes.  Since 0.1. */
int rcvm_cache_prune (rcvm_cache *cache, uint64_t limit, uint64_t *freed, rcvm_error **err);
/* Removes the image or the template that has the key.  RCVM_E_NOT_FOUND; RCVM_E_STATE where it is in use, or being made.
   Since 0.1. */
int rcvm_cache_remove (rcvm_cache *cache, const char *key, rcvm_error **err);
/* Reads all metadata of all images, as rcvm_rootfs_verify does.  JSON array: key, good, and for one that
   is not, problem.  With `remove`, those are removed unless they are in use (removed); whoever needs one
   builds it again.  Freed with rcvm_free.  Since 0.1. */
char *rcvm_cache_verify_json (rcvm_cache *cache, int remove, rcvm_error **err);

#ifdef __cplusplus
}
#endif
#endif
