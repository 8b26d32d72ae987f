/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the cache share. */
#ifndef RCVM_LIB_CACHE_PRIV_H
#define RCVM_LIB_CACHE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "cache.h"
#include "digest.h"

/* cache.c: names and locks. */

#define RCVMI_CACHE_SUFFIX ".ext4"
/* Of keys that begin so: no image, but a machine (template.h). */
#define RCVMI_CACHE_MACHINE "template-"
#define RCVMI_CACHE_MACHINE_SUFFIX ".vm"
#define RCVMI_CACHE_TMP "tmp."
/* The attribute that says what an image was made from. */
#define RCVMI_CACHE_SOURCE "user.runcvm.source"

enum
{
  RCVMI_CACHE_NAME_SIZE = RCVMI_CACHE_KEY_MAX + 16
};

const char *rcvmi_cache_suffix (const char *key);
bool rcvmi_cache_key_valid (const char *key, size_t len);
void rcvmi_cache_name (const char *key, char name[RCVMI_CACHE_NAME_SIZE]);
/* The length of the key in the name of an image, or of a temporary file; 0: it is none. */
size_t rcvmi_cache_image_key (const char *name);
size_t rcvmi_cache_tmp_key (const char *name);

/* In-use locks are on the image itself: shared by users, exclusive for whoever removes it.  QEMU locks
   bytes 100 to 203 of what it opens. */
#define RCVMI_CACHE_USE_BYTE (INT64_C (1) << 62)
/* In the file "lock": byte 0 for whoever decides what goes, and a byte for each key for its builder. */
#define RCVMI_CACHE_EVICT_BYTE INT64_C (0)

/* F_RDLCK or F_WRLCK on one byte, as an open file description lock.  0; 1: somebody has it (wait false);
   negative errno. */
int rcvmi_cache_lock_byte (int fd, int type, off_t byte, bool wait);
/* Opens "lock" and locks it for a key, or with key NULL for eviction; closing the fd unlocks.  *fd stays
   -1 where wait is false and somebody has it. */
int rcvmi_cache_lock (const struct rcvmi_cache *cache, const char *key, bool wait, int *fd,
                      rcvm_error **err);
void rcvmi_cache_unlock (const int *fd);
#define autounlock __attribute__ ((cleanup (rcvmi_cache_unlock)))

/* cache-record.c */

enum
{
  RCVMI_CACHE_RECORD_SIZE = 4096
};

struct rcvmi_cache_record
{
  uint64_t size; /* of the file system */
  int64_t created;
  bool durable;
};

/* Puts the record behind the image, and the time of the last change to what it must be.  Neither is
   synced. */
int rcvmi_cache_record_write (int fd, const char *key, bool durable, rcvm_error **err);
/* 0: the image is what it was made as, as far as its record, head, size and times tell.  1: not; *why
   (static) says what is wrong.  Negative errno: it cannot be read. */
int rcvmi_cache_record_check (int fd, const char *key, struct rcvmi_cache_record *record,
                              const char **why);
/* Of an image that is on disk. */
int rcvmi_cache_record_set_durable (int fd);

/* cache-acquire.c */

/* Opens an image with a shared lock.  0: there is none; 1: *fd; negative: an RCVM_E_ code. */
int rcvmi_cache_open_image (const struct rcvmi_cache *cache, const char *key, int *fd,
                            rcvm_error **err);
/* The name `key` has leads to the file that is open as fd. */
bool rcvmi_cache_is_current (const struct rcvmi_cache *cache, const char *key, int fd);

/* cache-evict.c */

struct rcvmi_cache_image
{
  char key[RCVMI_CACHE_KEY_MAX + 1];
  struct timespec used;
  uint64_t size;
  uint64_t allocated;
};

struct rcvmi_cache_images
{
  struct rcvmi_cache_image *image; /* the one that was not used for the longest time first */
  size_t n;
  uint64_t allocated; /* by all together */
};

int rcvmi_cache_images_read (const struct rcvmi_cache *cache, struct rcvmi_cache_images *out,
                             rcvm_error **err);
void rcvmi_cache_images_clear (struct rcvmi_cache_images *images);
/* Removes the image unless it is in use.  1: done; 0: in use, being built, or gone; negative: an RCVM_E_
   code. */
int rcvmi_cache_remove (const struct rcvmi_cache *cache, const char *key, rcvm_error **err);
/* Removes unused images, the oldest first, until the file system has that many bytes free. */
int rcvmi_cache_make_room (const struct rcvmi_cache *cache, uint64_t bytes, uint64_t *freed,
                           rcvm_error **err);
/* What builders of this key left; the caller holds its lock. */
void rcvmi_cache_remove_temporaries (const struct rcvmi_cache *cache, const char *key);

/* cache-walk.c: digests a tree's metadata.  *bytes: what its image will occupy. */
int rcvmi_cache_walk (const char *rootfs, struct rcvmi_sha256 *sha, uint64_t *bytes,
                      rcvm_error **err);

#endif
