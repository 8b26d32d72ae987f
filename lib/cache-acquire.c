/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One image: a hit, or waited for, or built and published.
 *
 * A builder is killed at any point, and nothing is wrong: until the rename there is at most a temporary
 * file that the next one removes, and the rename gives a complete image its name.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"

void
rcvmi_cache_entry_clear (struct rcvmi_cache_entry *entry)
{
  cleanup_close (&entry->fd);
  free (entry->path);
  free (entry->note);
  *entry = RCVMI_CACHE_ENTRY_INIT;
}

bool
rcvmi_cache_is_current (const struct rcvmi_cache *cache, const char *key, int fd)
{
  char name[RCVMI_CACHE_NAME_SIZE];
  struct stat mine, named;

  rcvmi_cache_name (key, name);
  return fstat (fd, &mine) == 0 && fstatat (cache->fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0
         && mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

int
rcvmi_cache_open_image (const struct rcvmi_cache *cache, const char *key, int *out,
                        rcvm_error **err)
{
  char name[RCVMI_CACHE_NAME_SIZE];

  rcvmi_cache_name (key, name);
  for (;;)
    {
      autoclose int fd = openat (cache->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      int r;

      if (fd < 0 && errno == ENOENT)
        return 0;
      if (fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot open the cached image '%s/%s'", cache->path, name);
      /* Waits for whoever is about to remove it. */
      r = rcvmi_cache_lock_byte (fd, F_RDLCK, RCVMI_CACHE_USE_BYTE, true);
      if (r < 0)
        return rcvmi_fail_errno (err, -r, "cannot lock the cached image '%s/%s'", cache->path, name);
      if (rcvmi_cache_is_current (cache, key, fd))
        {
          *out = steal_fd (&fd);
          return 1;
        }
    }
}

/* The time of the last use is the file's access time. */
static void
touch (int fd)
{
  struct timespec times[2] = { { 0 }, { .tv_nsec = UTIME_OMIT } };

  /* A cache that cannot be written to serves as well. */
  if (clock_gettime (CLOCK_REALTIME, &times[0]) == 0)
    futimens (fd, times);
}

static int
fill_entry (const struct rcvmi_cache *cache, const char *key, int *fd,
            const struct rcvmi_cache_record *record, struct rcvmi_cache_entry *out, rcvm_error **err)
{
  char name[RCVMI_CACHE_NAME_SIZE];
  struct stat st;

  rcvmi_cache_name (key, name);
  if (fstat (*fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the cached image '%s/%s'", cache->path, name);
  if (asprintf (&out->path, "%s/%s", cache->path, name) < 0)
    {
      out->path = NULL;
      return rcvmi_fail_nomem (err);
    }
  out->fd = steal_fd (fd);
  out->size = record->size;
  out->allocated = (uint64_t) st.st_blocks * 512;
  out->durable = record->durable;
  return 0;
}

/* 1: a hit; 0: there is none, or a damaged one: *why. */
static int
try_hit (const struct rcvmi_cache *cache, const char *key, struct rcvmi_cache_entry *out,
         const char **why, rcvm_error **err)
{
  struct rcvmi_cache_record record;
  autoclose int fd = -1;
  int r;

  *why = NULL;
  r = rcvmi_cache_open_image (cache, key, &fd, err);
  if (r <= 0)
    return r;
  r = rcvmi_cache_record_check (fd, key, &record, why);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot read the cached image '%s/%s%s'", cache->path, key,
                             rcvmi_cache_suffix (key));
  if (r > 0)
    return 0;
  touch (fd);
  r = fill_entry (cache, key, &fd, &record, out, err);
  if (r < 0)
    return r;
  out->hit = true;
  return 1;
}

static int
sync_directory (const struct rcvmi_cache *cache, rcvm_error **err)
{
  if (fsync (cache->fd) < 0 && errno != EINVAL)
    return rcvmi_fail_errno (err, errno, "cannot write the cache directory '%s' to disk", cache->path);
  return 0;
}

static int
seal (const struct rcvmi_cache *cache, const char *key, const char *tmp, const char *source,
      rcvm_error **err)
{
  autoclose int fd = openat (cache->fd, tmp, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  int r;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the new image '%s/%s'", cache->path, tmp);
  if (fchmod (fd, 0600) < 0)
    return rcvmi_fail_errno (err, errno, "cannot set the mode of the new image '%s/%s'", cache->path, tmp);
  /* For people alone; a file system without attributes has none. */
  if (source)
    fsetxattr (fd, RCVMI_CACHE_SOURCE, source, strlen (source), 0);
  r = rcvmi_cache_record_write (fd, key, cache->sync, err);
  if (r < 0)
    return r;
  if (cache->sync && fsync (fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the new image to disk");
  return 0;
}

/* The image is in use before it has its name: nobody can remove it in between. */
static int
publish (const struct rcvmi_cache *cache, const char *key, const char *tmp,
         struct rcvmi_cache_entry *out, rcvm_error **err)
{
  autoclose int fd = openat (cache->fd, tmp, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  char name[RCVMI_CACHE_NAME_SIZE];
  struct rcvmi_cache_record record;
  const char *why;
  int r;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the new image '%s/%s'", cache->path, tmp);
  r = rcvmi_cache_lock_byte (fd, F_RDLCK, RCVMI_CACHE_USE_BYTE, false);
  if (r == 0)
    r = rcvmi_cache_record_check (fd, key, &record, &why);
  if (r > 0)
    return rcvmi_fail (err, RCVM_E_IMAGE, 0, "somebody touched the new image '%s/%s': %s", cache->path,
                       tmp, why);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot read the new image '%s/%s'", cache->path, tmp);
  touch (fd);
  rcvmi_cache_name (key, name);
  if (renameat (cache->fd, tmp, cache->fd, name) < 0)
    return rcvmi_fail_errno (err, errno, "cannot give the image its name '%s/%s'", cache->path, name);
  if (!rcvmi_cache_is_current (cache, key, fd))
    return rcvmi_fail (err, RCVM_E_STATE, 0, "somebody removed files from the cache '%s' in use; try again",
                       cache->path);
  r = cache->sync ? sync_directory (cache, err) : 0;
  return r < 0 ? r : fill_entry (cache, key, &fd, &record, out, err);
}

static int
build_once (const struct rcvmi_cache *cache, const char *key, const struct rcvmi_cache_build *b,
            struct rcvmi_cache_entry *out, rcvm_error **err)
{
  char tmp[RCVMI_CACHE_NAME_SIZE];
  autofree char *path = NULL;
  int r;

  snprintf (tmp, sizeof tmp, RCVMI_CACHE_TMP "%s", key);
  if (asprintf (&path, "%s/%s", cache->path, tmp) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  rcvmi_cache_remove_temporaries (cache, key);
  r = b->build (b->user, path, err);
  if (r >= 0)
    r = seal (cache, key, tmp, b->source, err);
  if (r >= 0)
    r = publish (cache, key, tmp, out, err);
  if (r < 0)
    rcvmi_cache_remove_temporaries (cache, key);
  return r < 0 ? r : 0;
}

static bool
is_disk_full (const rcvm_error *e)
{
  int errnum = rcvm_error_get_errno (e);

  return rcvm_error_get_code (e) == RCVM_E_NO_SPACE && (errnum == ENOSPC || errnum == EDQUOT);
}

/* The caller holds the key's lock. */
static int
build_image (const struct rcvmi_cache *cache, const char *key, const struct rcvmi_cache_build *b,
             struct rcvmi_cache_entry *out, rcvm_error **err)
{
  rcvm_error *e = NULL;
  uint64_t freed;
  int r = 0;

  if (b->expected)
    r = rcvmi_cache_make_room (cache, b->expected, NULL, &e);
  if (r == 0)
    r = build_once (cache, key, b, out, &e);
  if (r == 0 || !is_disk_full (e))
    return rcvmi_error_pass (err, e);
  /* What it needs is not known well enough: it must not fail while there are images that nobody uses. */
  if (rcvmi_cache_prune (cache, 0, &freed, NULL) == 0 && freed > 0)
    {
      rcvm_error_free (e);
      e = NULL;
      r = build_once (cache, key, b, out, &e);
      if (r == 0 || !is_disk_full (e))
        return rcvmi_error_pass (err, e);
    }
  r = rcvmi_fail (err, RCVM_E_NO_SPACE, rcvm_error_get_errno (e),
                  "the image '%s' does not fit into the cache '%s', which has no unused image left to remove",
                  key, cache->path);
  rcvm_error_free (e);
  return r;
}

static int
set_note (struct rcvmi_cache_entry *out, const struct rcvmi_cache *cache, const char *key,
          const char *why, rcvm_error **err)
{
  if (asprintf (&out->note,
                "the cached image '%s/%s%s' was built again, for %s", cache->path, key, rcvmi_cache_suffix (key), why) < 0)
    {
      out->note = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

/* The caller holds the key's lock. */
static int
hit_or_build (const struct rcvmi_cache *cache, const char *key, const struct rcvmi_cache_build *b,
              struct rcvmi_cache_entry *out, rcvm_error **err)
{
  const char *why;
  int r = try_hit (cache, key, out, &why, err);

  if (r)
    return r < 0 ? r : 0;
  if (why)
    {
      /* It goes at once: its space may be needed, and whoever has it open keeps it. */
      char name[RCVMI_CACHE_NAME_SIZE];

      rcvmi_cache_name (key, name);
      if (unlinkat (cache->fd, name, 0) < 0 && errno != ENOENT)
        return rcvmi_fail_errno (err, errno, "cannot remove the damaged image '%s/%s'", cache->path, name);
    }
  r = build_image (cache, key, b, out, err);
  return r == 0 && why ? set_note (out, cache, key, why, err) : r;
}

int
rcvmi_cache_acquire (const struct rcvmi_cache *cache, const char *key,
                     const struct rcvmi_cache_build *build, struct rcvmi_cache_entry *out,
                     rcvm_error **err)
{
  struct rcvmi_cache_entry entry = RCVMI_CACHE_ENTRY_INIT;
  const char *why;
  int r;

  if (!rcvmi_cache_key_valid (key, strlen (key)))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.100s' is no key of a cached image", key);
  r = try_hit (cache, key, &entry, &why, err);
  if (r == 0 && !build->build)
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the cache '%s' has no image '%s'%s%s", cache->path, key,
                       why ? " that can be used: " : "", why ? why : "");
  if (r == 0)
    {
      autounlock int lock = -1;

      r = rcvmi_cache_lock (cache, key, true, &lock, err);
      if (r == 0)
        r = hit_or_build (cache, key, build, &entry, err);
      /* What it costs to hold the limit, those who wait for this image need not wait for. */
    }
  if (r >= 0 && !entry.hit)
    {
      rcvmi_cache_prune (cache, cache->limit, NULL, NULL);
      r = 0;
    }
  if (r < 0)
    {
      rcvmi_cache_entry_clear (&entry);
      return r;
    }
  *out = entry;
  return 0;
}

int
rcvmi_cache_settle (struct rcvmi_cache_entry *entry, rcvm_error **err)
{
  int r;

  if (entry->durable)
    return 0;
  if (fsync (entry->fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the image '%s' to disk", entry->path);
  r = rcvmi_cache_record_set_durable (entry->fd);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot mark the image '%s' as written to disk", entry->path);
  if (fsync (entry->fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot write the image '%s' to disk", entry->path);
  entry->durable = true;
  return 0;
}
