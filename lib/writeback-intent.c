/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "writeback-intent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

#define FORMAT "runcvm write-back 1\nstaging %39s\nrootfs-dev %llu\nrootfs-ino %llu\nrootfs %n"

static int
intent_path (const char *image, const char *suffix, char path[PATH_MAX], rcvm_error **err)
{
  if (snprintf (path, PATH_MAX, "%s.write-back%s", image, suffix) >= PATH_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, ENAMETOOLONG, "cannot use the image '%s'", image);
  return 0;
}

static int
sync_dir (const char *image, rcvm_error **err)
{
  const char *slash = strrchr (image, '/');
  autofree char *dir = slash ? strndup (image, (size_t) (slash - image) + 1) : strdup (".");
  autoclose int fd = dir ? open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

  if (!dir)
    return rcvmi_fail_nomem (err);
  if (fd < 0 || fsync (fd) < 0)
    return rcvmi_fail_errno (err, errno, "cannot sync the directory '%s'", dir);
  return 0;
}

/* 1: read, 0: there is none. */
static int
read_intent (struct rcvmi_wb_intent *intent, const char *path, rcvm_error **err)
{
  char text[PATH_MAX + 256];
  autoclose int fd = open (path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  size_t len = 0;
  int end = 0;

  if (fd < 0 && errno == ENOENT)
    return 0;
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s'", path);
  while (len < sizeof text - 1)
    {
      ssize_t n = read (fd, text + len, sizeof text - 1 - len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "cannot read '%s'", path);
      if (n == 0)
        break;
      len += (size_t) n;
    }
  text[len] = 0;
  /* The rest is the path, whatever it holds, and a newline. */
  if (strlen (text) != len
      || sscanf (text, FORMAT, intent->staging, &intent->dev, &intent->ino, &end) != 3 || end == 0
      || strncmp (intent->staging, ".runcvm-", 8) != 0 || strchr (intent->staging, '/')
      || text[len - 1] != '\n' || len - 1 <= (size_t) end)
    return rcvmi_fail (err, RCVM_E_STATE, 0,
                       "'%s' is no note of a write-back; remove it if the rootfs is known to be whole", path);
  intent->rootfs = strndup (text + end, len - 1 - (size_t) end);
  return intent->rootfs ? 1 : rcvmi_fail_nomem (err);
}

static int
write_intent (const struct rcvmi_wb_intent *intent, const char *image, rcvm_error **err)
{
  char path[PATH_MAX], new_path[PATH_MAX];
  autoclose int fd = -1;
  int code = intent_path (image, "", path, err), saved;

  if (code == 0)
    code = intent_path (image, ".new", new_path, err);
  if (code < 0)
    return code;
  if (unlink (new_path) < 0 && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot remove '%s'", new_path);
  fd = open (new_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot make '%s'", new_path);
  if (dprintf (fd, "runcvm write-back 1\nstaging %s\nrootfs-dev %llu\nrootfs-ino %llu\nrootfs %s\n",
               intent->staging, intent->dev, intent->ino, intent->rootfs)
          < 0
      || fsync (fd) < 0 || rename (new_path, path) < 0)
    {
      saved = errno;
      unlink (new_path);
      return rcvmi_fail_errno (err, saved, "cannot write '%s'", path);
    }
  return sync_dir (image, err);
}

/* A mount has another device number the next time, a moved directory another path: one of both will do. */
static int
check_same (const struct rcvmi_wb_intent *old, const char *rootfs, const struct stat *st,
            const char *path, rcvm_error **err)
{
  if (strcmp (old->rootfs, rootfs) == 0 || (old->dev == st->st_dev && old->ino == st->st_ino))
    return 0;
  return rcvmi_fail (err, RCVM_E_STATE, 0,
                     "a write-back of this image to '%s' was interrupted: repeat that one, or remove '%s' if that "
                     "directory does not matter any more",
                     old->rootfs, path);
}

int
rcvmi_wb_intent_begin (struct rcvmi_wb_intent *intent, const char *image, const char *rootfs,
                       const struct stat *st, rcvm_error **err)
{
  autofree char *absolute = realpath (rootfs, NULL);
  unsigned char random[8];
  char path[PATH_MAX];
  int code;

  *intent = (struct rcvmi_wb_intent){ 0 };
  if (!absolute)
    return rcvmi_fail_errno (err, errno, "cannot find the rootfs '%s'", rootfs);
  code = intent_path (image, "", path, err);
  if (code == 0)
    code = read_intent (intent, path, err);
  if (code < 0)
    return code;
  intent->written = code == 1;
  if (code == 1)
    return check_same (intent, absolute, st, path, err);
  if (getrandom (random, sizeof random, 0) != sizeof random)
    return rcvmi_fail_errno (err, errno, "cannot get random bytes");
  strcpy (intent->staging, ".runcvm-");
  for (size_t i = 0; i < sizeof random; i++)
    sprintf (intent->staging + strlen (intent->staging), "%02x", random[i]);
  intent->fresh = true;
  intent->dev = st->st_dev;
  intent->ino = st->st_ino;
  intent->rootfs = steal_ptr (absolute);
  return 0;
}

int
rcvmi_wb_intent_write (struct rcvmi_wb_intent *intent, const char *image, rcvm_error **err)
{
  int code = intent->written ? 0 : write_intent (intent, image, err);

  intent->written = intent->written || code == 0;
  return code;
}

int
rcvmi_wb_intent_end (const char *image, rcvm_error **err)
{
  char path[PATH_MAX];
  int code = intent_path (image, "", path, err);

  if (code < 0)
    return code;
  if (unlink (path) < 0 && errno != ENOENT)
    return rcvmi_fail_errno (err, errno, "cannot remove '%s'", path);
  return sync_dir (image, err);
}

void
rcvmi_wb_intent_clear (struct rcvmi_wb_intent *intent)
{
  free (intent->rootfs);
  intent->rootfs = NULL;
}

int
rcvmi_wb_intent_exists (const char *image, rcvm_error **err)
{
  char path[PATH_MAX];
  int code = intent_path (image, "", path, err);

  if (code < 0)
    return code;
  if (access (path, F_OK) == 0)
    return 1;
  return errno == ENOENT ? 0 : rcvmi_fail_errno (err, errno, "cannot look for '%s'", path);
}
