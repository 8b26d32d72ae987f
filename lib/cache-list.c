/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in the cache, and whether it is what it was made as. */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"
#include "json.h"
#include "template.h"

static char *
print (struct rcvmi_json *b, struct json_object *array, rcvm_error **err)
{
  const char *text = b->failed ? NULL
                               : json_object_to_json_string_ext (array, JSON_C_TO_STRING_PRETTY
                                                                            | JSON_C_TO_STRING_NOSLASHESCAPE);
  char *copy = NULL;

  if (!text || asprintf (&copy, "%s\n", text) < 0)
    {
      copy = NULL;
      rcvmi_fail_nomem (err);
    }
  return copy;
}

/* Somebody has a shared lock: an exclusive one would not be had. */
static bool
is_used (int fd)
{
  struct flock lock
      = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = RCVMI_CACHE_USE_BYTE, .l_len = 1 };

  return fcntl (fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* What the image was made from may be a name in any bytes. */
static void
put_source (struct rcvmi_json *b, struct json_object *o, int fd)
{
  char source[4096];
  ssize_t n = fgetxattr (fd, RCVMI_CACHE_SOURCE, source, sizeof source);

  if (n > 0)
    rcvmi_json_put (b, o, "source", json_object_new_string_len (source, (int) n));
}

static void
put_image (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_cache *cache,
           const struct rcvmi_cache_image *image, int fd)
{
  struct rcvmi_cache_record record;
  autofree char *path = NULL;
  const char *why = NULL;
  int r = rcvmi_cache_record_check (fd, image->key, &record, &why);

  if (asprintf (&path, "%s/%s%s", cache->path, image->key, rcvmi_cache_suffix (image->key)) < 0)
    path = NULL;
  rcvmi_json_put (b, o, "key", json_object_new_string (image->key));
  rcvmi_json_put (b, o, "path", path ? json_object_new_string (path) : NULL);
  rcvmi_json_put (b, o, "size", json_object_new_int64 ((int64_t) (r == 0 ? record.size : image->size)));
  rcvmi_json_put (b, o, "allocated", json_object_new_int64 ((int64_t) image->allocated));
  if (r == 0)
    rcvmi_json_put (b, o, "created", json_object_new_int64 (record.created));
  rcvmi_json_put (b, o, "lastUsed", json_object_new_int64 (image->used.tv_sec));
  rcvmi_json_put (b, o, "inUse", json_object_new_boolean (is_used (fd)));
  if (r == 0)
    rcvmi_json_put (b, o, "durable", json_object_new_boolean (record.durable));
  else
    rcvmi_json_put (b, o, "damaged", json_object_new_string (r < 0 ? "it cannot be read" : why));
  put_source (b, o, fd);
}

char *
rcvmi_cache_list_json (const struct rcvmi_cache *cache, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_images_clear))) struct rcvmi_cache_images list = { 0 };
  struct json_object *array = json_object_new_array ();
  struct rcvmi_json b = { !array };
  char *text = NULL;

  if (rcvmi_cache_images_read (cache, &list, err) < 0)
    goto out;
  /* Used last, first. */
  for (size_t i = list.n; i-- > 0 && !b.failed;)
    {
      char name[RCVMI_CACHE_NAME_SIZE];
      autoclose int fd = -1;

      rcvmi_cache_name (list.image[i].key, name);
      /* Looking is no use: no lock, and no new time of access. */
      fd = openat (cache->fd, name, O_RDONLY | O_NOATIME | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      if (fd < 0 && errno == EPERM)
        fd = openat (cache->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
      if (fd >= 0)
        put_image (&b, rcvmi_json_append_object (&b, array), cache, &list.image[i], fd);
      else if (errno != ENOENT)
        {
          rcvmi_fail_errno (err, errno, "cannot open the cached image '%s/%s'", cache->path, name);
          goto out;
        }
    }
  text = print (&b, array, err);
out:
  json_object_put (array);
  return text;
}

/* The image that is open as fd, so that nobody removes it.  1: *problem says what is wrong. */
static int
verify_image (const struct rcvmi_cache *cache, const char *key, int fd, char **problem)
{
  struct rcvmi_cache_record record;
  const char *why;
  autofree char *path = NULL;
  rcvm_error *e = NULL;
  int r = rcvmi_cache_record_check (fd, key, &record, &why);

  if (r < 0)
    why = strerrordesc_np (-r);
  if (r == 0)
    {
      if (asprintf (&path, "%s/%s%s", cache->path, key, rcvmi_cache_suffix (key)) < 0)
        {
          path = NULL;
          return 1;
        }
      if (strncmp (key, RCVMI_CACHE_MACHINE, strlen (RCVMI_CACHE_MACHINE)) == 0)
        return rcvmi_template_check (fd, record.size, NULL, &why) == 0 ? 0 : (*problem = strdup (why), 1);
      if (rcvm_rootfs_verify (path, &e) < 0)
        why = rcvm_error_get_message (e);
      else
        return 0;
    }
  *problem = strdup (why);
  rcvm_error_free (e);
  return 1;
}

static int
remove_image (const struct rcvmi_cache *cache, const char *key, int *fd, struct rcvmi_json *b,
              struct json_object *o, rcvm_error **err)
{
  int r;

  /* Our own lock would keep it. */
  cleanup_close (fd);
  *fd = -1;
  r = rcvmi_cache_remove (cache, key, err);
  rcvmi_json_put (b, o, "removed", json_object_new_boolean (r > 0));
  return r;
}

char *
rcvmi_cache_verify_json (const struct rcvmi_cache *cache, bool remove, rcvm_error **err)
{
  __attribute__ ((cleanup (rcvmi_cache_images_clear))) struct rcvmi_cache_images list = { 0 };
  struct json_object *array = json_object_new_array ();
  struct rcvmi_json b = { !array };
  char *text = NULL;

  if (rcvmi_cache_images_read (cache, &list, err) < 0)
    goto out;
  for (size_t i = list.n; i-- > 0 && !b.failed;)
    {
      const char *key = list.image[i].key;
      struct timespec times[2] = { { 0 }, { .tv_nsec = UTIME_OMIT } };
      autofree char *problem = NULL;
      struct json_object *o;
      autoclose int fd = -1;
      int r = rcvmi_cache_open_image (cache, key, &fd, err);

      if (r < 0)
        goto out;
      if (r == 0)
        continue;
      times[0] = list.image[i].used;
      o = rcvmi_json_append_object (&b, array);
      rcvmi_json_put (&b, o, "key", json_object_new_string (key));
      r = verify_image (cache, key, fd, &problem);
      /* Nor is that a use. */
      futimens (fd, times);
      rcvmi_json_put (&b, o, "good", json_object_new_boolean (r == 0));
      if (r == 0)
        continue;
      rcvmi_json_put (&b, o, "problem", problem ? json_object_new_string (problem) : NULL);
      if (remove && remove_image (cache, key, &fd, &b, o, err) < 0)
        goto out;
    }
  text = print (&b, array, err);
out:
  json_object_put (array);
  return text;
}
