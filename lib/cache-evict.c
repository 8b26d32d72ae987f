/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes: unused images, the one that was not used for the longest time first, and what dead builders
   left. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"

void
rcvmi_cache_images_clear (struct rcvmi_cache_images *images)
{
  free (images->image);
  *images = (struct rcvmi_cache_images){ 0 };
}

static void
close_dir (DIR **dir)
{
  if (*dir)
    closedir (*dir);
}
#define autoclosedir __attribute__ ((cleanup (close_dir)))

/* With a position of its own. */
static DIR *
open_dir (const struct rcvmi_cache *cache)
{
  autoclose int fd = openat (cache->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir (fd);

  if (dir)
    steal_fd (&fd);
  return dir;
}

static int
compare (const void *a, const void *b)
{
  const struct rcvmi_cache_image *x = a, *y = b;

  if (x->used.tv_sec != y->used.tv_sec)
    return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
  if (x->used.tv_nsec != y->used.tv_nsec)
    return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
  return strcmp (x->key, y->key);
}

static int
add_image (struct rcvmi_cache_images *list, size_t *cap, const char *name, size_t len,
           const struct stat *st)
{
  struct rcvmi_cache_image *image;

  if (list->n == *cap)
    {
      size_t n = *cap ? *cap * 2 : 32;

      image = reallocarray (list->image, n, sizeof *image);
      if (!image)
        return -1;
      list->image = image;
      *cap = n;
    }
  image = &list->image[list->n++];
  *image = (struct rcvmi_cache_image){ .used = st->st_atim,
                                       .size = (uint64_t) st->st_size,
                                       .allocated = (uint64_t) st->st_blocks * 512 };
  memcpy (image->key, name, len);
  list->allocated += image->allocated;
  return 0;
}

int
rcvmi_cache_images_read (const struct rcvmi_cache *cache, struct rcvmi_cache_images *out,
                         rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_images_clear))) struct rcvmi_cache_images list = { 0 };
  autoclosedir DIR *dir = open_dir (cache);
  struct dirent *d;
  struct stat st;
  size_t cap = 0;

  if (!dir)
    return rcvmi_fail_errno (err, errno, "cannot read the cache directory '%s'", cache->path);
  while ((errno = 0, d = readdir (dir)))
    {
      size_t len = rcvmi_cache_image_key (d->d_name);

      /* What went in between is not there, and what is no file is not ours. */
      if (len == 0 || fstatat (cache->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG (st.st_mode))
        continue;
      if (add_image (&list, &cap, d->d_name, len, &st) < 0)
        return rcvmi_fail_nomem (err);
    }
  if (errno)
    return rcvmi_fail_errno (err, errno, "cannot read the cache directory '%s'", cache->path);
  if (list.n)
    qsort (list.image, list.n, sizeof *list.image, compare);
  *out = list;
  list = (struct rcvmi_cache_images){ 0 };
  return 0;
}

int
rcvmi_cache_remove (const struct rcvmi_cache *cache, const char *key, rcvm_error **err)
{
  char name[RCVMI_CACHE_NAME_SIZE];
  autounlock int lock = -1;
  autoclose int fd = -1;
  int r;

  /* Or a builder could give the name to another image between our last look and the unlink. */
  r = rcvmi_cache_lock (cache, key, false, &lock, err);
  if (r < 0 || lock < 0)
    return r;
  rcvmi_cache_name (key, name);
  /* An exclusive lock needs a file that could be written to. */
  fd = openat (cache->fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT)
    return 0;
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the cached image '%s/%s'", cache->path, name);
  r = rcvmi_cache_lock_byte (fd, F_WRLCK, RCVMI_CACHE_USE_BYTE, false);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot lock the cached image '%s/%s'", cache->path, name);
  if (r > 0 || !rcvmi_cache_is_current (cache, key, fd))
    return 0;
  if (unlinkat (cache->fd, name, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot remove the cached image '%s/%s'", cache->path, name);
  return 1;
}

int
rcvmi_cache_take_out (const struct rcvmi_cache *cache, const char *key, rcvm_error **err)
{
  char name[RCVMI_CACHE_NAME_SIZE];
  struct stat st;
  int r;

  if (!rcvmi_cache_key_valid (key, strlen (key)))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.100s' is no key of the cache", key);
  r = rcvmi_cache_remove (cache, key, err);
  if (r)
    return r < 0 ? r : 0;
  rcvmi_cache_name (key, name);
  if (fstatat (cache->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the cache '%s' has no '%s'", cache->path, key);
  return rcvmi_fail (err, RCVM_E_STATE, 0, "'%s' is in use: a VM has to stop before it can be removed from the cache", key);
}

void
rcvmi_cache_remove_temporaries (const struct rcvmi_cache *cache, const char *key)
{
  autoclosedir DIR *dir = open_dir (cache);
  struct dirent *d;

  if (!dir)
    return;
  while ((d = readdir (dir)))
    {
      size_t len = rcvmi_cache_tmp_key (d->d_name);

      if (len && strlen (key) == len && memcmp (d->d_name + strlen (RCVMI_CACHE_TMP), key, len) == 0)
        unlinkat (cache->fd, d->d_name, 0);
    }
}

/* Whoever builds holds the lock of the key: what nobody holds one for is left over. */
static void
remove_left (const struct rcvmi_cache *cache, uint64_t *freed)
{
  autoclosedir DIR *dir = open_dir (cache);
  struct dirent *d;

  while (dir && (d = readdir (dir)))
    {
      size_t len = rcvmi_cache_tmp_key (d->d_name);
      char key[RCVMI_CACHE_KEY_MAX + 1] = "";
      autounlock int lock = -1;
      struct stat st;

      if (!len)
        continue;
      memcpy (key, d->d_name + strlen (RCVMI_CACHE_TMP), len);
      if (rcvmi_cache_lock (cache, key, false, &lock, NULL) < 0 || lock < 0)
        continue;
      if (fstatat (cache->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
          && unlinkat (cache->fd, d->d_name, 0) == 0)
        *freed += (uint64_t) st.st_blocks * 512;
    }
}

struct goal
{
  uint64_t limit; /* of what is kept */
  uint64_t room;  /* that the file system must have; 0: whatever */
};

static bool
has_room (const struct rcvmi_cache *cache, uint64_t bytes)
{
  struct statvfs fs;

  return fstatvfs (cache->fd, &fs) < 0 || (uint64_t) fs.f_bavail * fs.f_frsize >= bytes;
}

/* One at a time, so that two do not remove twice as much as is needed. */
static int
evict (const struct rcvmi_cache *cache, struct goal goal, uint64_t *freed, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_images_clear))) struct rcvmi_cache_images list = { 0 };
  autounlock int lock = -1;
  rcvm_error *first = NULL;
  uint64_t sum = 0;
  int r = rcvmi_cache_lock (cache, NULL, true, &lock, err);

  if (r < 0)
    return r;
  remove_left (cache, &sum);
  r = rcvmi_cache_images_read (cache, &list, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < list.n; i++)
    {
      rcvm_error *e = NULL;

      if (goal.room ? has_room (cache, goal.room) : list.allocated <= goal.limit)
        break;
      r = rcvmi_cache_remove (cache, list.image[i].key, &e);
      if (r > 0)
        {
          list.allocated -= list.image[i].allocated;
          sum += list.image[i].allocated;
        }
      /* One that cannot be removed must not keep the others. */
      if (e && !first)
        first = e;
      else
        rcvm_error_free (e);
    }
  if (freed)
    *freed = sum;
  return rcvmi_error_pass (err, first);
}

int
rcvmi_cache_prune (const struct rcvmi_cache *cache, uint64_t limit, uint64_t *freed,
                   rcvm_error **err)
{
  return evict (cache, (struct goal){ .limit = limit }, freed, err);
}

int
rcvmi_cache_make_room (const struct rcvmi_cache *cache, uint64_t bytes, uint64_t *freed,
                       rcvm_error **err)
{
  if (has_room (cache, bytes))
    {
      if (freed)
        *freed = 0;
      return 0;
    }
  return evict (cache, (struct goal){ .room = bytes }, freed, err);
}
