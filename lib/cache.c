/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "defaults.h"
#include "err.h"
#include "plan.h"

#define LOCK_FILE "lock"
/* Of the file system that the cache is on. */
#define DEFAULT_SHARE 5

bool
rcvmi_cache_key_valid (const char *key, size_t len)
{
  return len > 0 && len <= RCVMI_CACHE_KEY_MAX && key[0] != '-'
         && strspn (key, "abcdefghijklmnopqrstuvwxyz0123456789-") >= len;
}

const char *
rcvmi_cache_suffix (const char *key)
{
  return strncmp (key, RCVMI_CACHE_MACHINE, strlen (RCVMI_CACHE_MACHINE)) == 0 ? RCVMI_CACHE_MACHINE_SUFFIX : RCVMI_CACHE_SUFFIX;
}

void
rcvmi_cache_name (const char *key, char name[RCVMI_CACHE_NAME_SIZE])
{
  snprintf (name, RCVMI_CACHE_NAME_SIZE, "%s%s", key, rcvmi_cache_suffix (key));
}

size_t
rcvmi_cache_image_key (const char *name)
{
  size_t len = strcspn (name, ".");

  return strcmp (name + len, rcvmi_cache_suffix (name)) == 0 && rcvmi_cache_key_valid (name, len) ? len : 0;
}

size_t
rcvmi_cache_tmp_key (const char *name)
{
  size_t prefix = strlen (RCVMI_CACHE_TMP), len;

  if (strncmp (name, RCVMI_CACHE_TMP, prefix) != 0)
    return 0;
  len = strcspn (name + prefix, ".");
  return rcvmi_cache_key_valid (name + prefix, len) ? len : 0;
}

int
rcvmi_cache_lock_byte (int fd, int type, off_t byte, bool wait)
{
  struct flock lock = { .l_type = (short) type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

  while (fcntl (fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock) < 0)
    {
      if (!wait && (errno == EAGAIN || errno == EACCES))
        return 1;
      if (errno != EINTR)
        return -errno;
    }
  return 0;
}

/* Two keys that share a byte wait for each other for no reason, and that is all. */
static off_t
key_byte (const char *key)
{
  uint64_t hash = UINT64_C (0xcbf29ce484222325);

  for (; *key; key++)
    hash = (hash ^ (unsigned char) *key) * UINT64_C (0x100000001b3);
  return (off_t) (1 + (hash >> 3));
}

/* -1 where the lock is not had, without an error where somebody has it; else 0, or 1: the file is not the one
   that others lock any more. */
static int
try_lock (const struct rcvmi_cache *cache, off_t byte, bool wait, int *out, rcvm_error **err)
{
  autoclose int fd = openat (cache->fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  struct stat mine, theirs;
  int r;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '" LOCK_FILE "' in the cache '%s'", cache->path);
  r = rcvmi_cache_lock_byte (fd, F_WRLCK, byte, wait);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot lock '" LOCK_FILE "' in the cache '%s'", cache->path);
  if (r > 0)
    return 0;
  /* Somebody may have emptied the directory while this one waited. */
  if (fstat (fd, &mine) < 0 || fstatat (cache->fd, LOCK_FILE, &theirs, AT_SYMLINK_NOFOLLOW) < 0
      || mine.st_ino != theirs.st_ino || mine.st_dev != theirs.st_dev)
    return 1;
  *out = steal_fd (&fd);
  return 0;
}

int
rcvmi_cache_lock (const struct rcvmi_cache *cache, const char *key, bool wait, int *fd,
                  rcvm_error **err)
{
  off_t byte = key ? key_byte (key) : RCVMI_CACHE_EVICT_BYTE;
  int r;

  *fd = -1;
  do
    r = try_lock (cache, byte, wait, fd, err);
  while (r > 0);
  return r;
}

void
rcvmi_cache_unlock (const int *fd)
{
  struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

  if (*fd < 0)
    return;
  /* A child that another thread forked at the wrong moment may still have a copy. */
  fcntl (*fd, F_OFD_SETLK, &lock);
  close (*fd);
}

static int
find_directory (const char *directory, char **path, rcvm_error **err)
{
  autofree char *found = directory && *directory ? strdup (directory) : rcvmi_default_cache_dir ();
  autofree char *cwd = NULL;

  if (!found)
    return rcvmi_fail_nomem (err);
  if (found[0] == '/')
    {
      *path = steal_ptr (found);
      return 0;
    }
  /* A VM's monitor has another working directory than who started it. */
  if (!directory || !*directory)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the cache directory '%s' is relative: RUNCVM_CACHE_DIR and RUNCVM_DATA_DIR have to begin with /",
                       found);
  cwd = get_current_dir_name ();
  if (!cwd)
    return rcvmi_fail_errno (err, errno, "cannot tell what the cache '%s' is relative to", found);
  if (asprintf (path, "%s/%s", cwd, found) < 0)
    {
      *path = NULL;
      return rcvmi_fail_nomem (err);
    }
  return 0;
}

static int
make_directory (const char *directory, rcvm_error **err)
{
  autofree char *path = strdup (directory);
  struct stat st;

  if (!path)
    return rcvmi_fail_nomem (err);
  if (stat (path, &st) == 0)
    return 0;
  for (char *p = path + 1;; p++)
    if (*p == '/' || *p == 0)
      {
        char c = *p;

        *p = 0;
        if (mkdir (path, c ? 0755 : 0700) < 0 && errno != EEXIST)
          return rcvmi_fail_errno (err, errno, "cannot make the cache directory '%s'", path);
        *p = c;
        if (c == 0)
          return 0;
      }
}

/* Who can write there decides what VMs boot. */
static int
check_directory (const struct rcvmi_cache *cache, rcvm_error **err)
{
  struct stat st;

  if (fstat (cache->fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the cache directory '%s'", cache->path);
  if (st.st_uid != geteuid ())
    return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                       "the cache directory '%s' belongs to user %lu; use one of your own (RUNCVM_CACHE_DIR)",
                       cache->path, (unsigned long) st.st_uid);
  if (st.st_mode & 022)
    return rcvmi_fail (err, RCVM_E_PERMISSION, 0,
                       "others can write to the cache directory '%s'; make it mode 0700", cache->path);
  return 0;
}

static int
find_limit (struct rcvmi_cache *cache, rcvm_error **err)
{
  const char *text = secure_getenv ("RUNCVM_CACHE_SIZE");
  struct statvfs fs;

  if (text && strcmp (text, "unlimited") == 0)
    cache->limit = RCVMI_CACHE_UNLIMITED;
  else if (text && *text)
    {
      cache->limit = rcvmi_plan_parse_size (text);
      if (cache->limit == 0)
        return rcvmi_fail (err, RCVM_E_INVALID, 0,
                           "RUNCVM_CACHE_SIZE is '%.40s', which is no size like 20G, nor 'unlimited'", text);
    }
  else if (fstatvfs (cache->fd, &fs) < 0)
    return rcvmi_fail_errno (err, errno, "cannot tell how large the file system of the cache '%s' is",
                             cache->path);
  else
    cache->limit = (uint64_t) fs.f_blocks * fs.f_frsize / DEFAULT_SHARE;
  return 0;
}

int
rcvmi_cache_open (struct rcvmi_cache *cache, const char *directory, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_close))) struct rcvmi_cache c = RCVMI_CACHE_INIT;
  int r = find_directory (directory, &c.path, err);

  if (r == 0)
    r = make_directory (c.path, err);
  if (r < 0)
    return r;
  c.fd = open (c.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (c.fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the cache directory '%s'", c.path);
  r = check_directory (&c, err);
  if (r == 0)
    r = find_limit (&c, err);
  if (r < 0)
    return r;
  *cache = c;
  c = RCVMI_CACHE_INIT;
  return 0;
}

void
rcvmi_cache_close (struct rcvmi_cache *cache)
{
  cleanup_close (&cache->fd);
  free (cache->path);
  *cache = RCVMI_CACHE_INIT;
}
