/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/fs.h>

#include "cleanup.h"
#include "uevent.h"

enum
{
  WAIT_MS = 30000
};

struct search
{
  const char *serial; /* NULL: by name */
  const char *name;
  char *path;
  size_t size;
};

bool
disk_is_locator (const char *source)
{
  return strncmp (source, "serial:", 7) == 0 || strncmp (source, "dev:", 4) == 0;
}

static bool
has_serial (const char *disk, const char *serial)
{
  char path[PATH_MAX], text[64];
  autoclose int fd = -1;
  ssize_t n;

  snprintf (path, sizeof path, "/sys/block/%s/serial", disk);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
  if (n < 0)
    return false;
  while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
    n--;
  text[n] = 0;
  /* A virtio-blk serial has 20 bytes; QEMU cuts a longer one off. */
  return strncmp (text, serial, 20) == 0;
}

static bool
look (void *data)
{
  struct search *s = data;
  struct dirent *entry;
  DIR *dir;
  bool found = false;

  if (!s->serial)
    {
      snprintf (s->path, s->size, "/dev/%s", s->name);
      return access (s->path, F_OK) == 0;
    }
  dir = opendir ("/sys/block");
  if (!dir)
    return false;
  while (!found && (entry = readdir (dir)))
    if (entry->d_name[0] != '.' && has_serial (entry->d_name, s->serial))
      {
        snprintf (s->path, s->size, "/dev/%s", entry->d_name);
        found = access (s->path, F_OK) == 0;
      }
  closedir (dir);
  return found;
}

int
disk_find (const char *locator, char *path, size_t size, struct failure *f)
{
  struct search s = { .path = path, .size = size };
  const char *value = strchr (locator, ':');

  value = value ? value + 1 : "";
  if (!disk_is_locator (locator) || !*value || strchr (value, '/'))
    return fail (f, "disk", EINVAL, "\"%s\" names no disk", locator);
  if (locator[0] == 's')
    s.serial = value;
  else
    s.name = value;
  if (uevent_wait (look, &s, WAIT_MS) < 0)
    return fail (f, "disk", errno, "the disk \"%s\" did not appear", locator);
  return 0;
}

struct growth
{
  const char *name;
  uint64_t sectors;
};

static bool
has_grown (void *data)
{
  const struct growth *g = data;
  char path[PATH_MAX], text[32];
  autoclose int fd = -1;
  ssize_t n;

  snprintf (path, sizeof path, "/sys/block/%.32s/size", g->name);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  n = fd < 0 ? -1 : read (fd, text, sizeof text - 1);
  if (n <= 0)
    return false;
  text[n] = 0;
  return strtoull (text, NULL, 10) == g->sectors;
}

int
disk_await_size (const char *locator, const char *bytes, bool partitions, struct failure *f)
{
  struct growth g = { .name = locator + 4, .sectors = strtoull (bytes, NULL, 10) / 512 };
  char path[PATH_MAX];
  autoclose int fd = -1;

  if (strncmp (locator, "dev:", 4) != 0 || strchr (g.name, '/'))
    return fail (f, "disk", EINVAL, "\"%s\" names no disk", locator);
  if (uevent_wait (has_grown, &g, WAIT_MS) < 0)
    return fail (f, "disk", errno, "the kernel did not see that the disk \"%s\" has %s bytes", locator, bytes);
  if (!partitions)
    return 0;
  /* The kernel has looked for them when there was another disk. */
  snprintf (path, sizeof path, "/dev/%.32s", g.name);
  fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || (ioctl (fd, BLKRRPART, 0) < 0 && errno != EINVAL))
    return fail (f, "disk", errno, "cannot read the partitions of the disk \"%s\"", locator);
  return 0;
}

struct arrival
{
  const char *serial;
  bool (*is_known) (const char *name);
  uint64_t sectors;
  char *name;
  size_t size;
};

static bool
has_come (void *data)
{
  struct arrival *a = data;
  DIR *dir = opendir ("/sys/block");
  struct dirent *entry;
  bool found = false;

  while (dir && !found && (entry = readdir (dir)))
    {
      struct growth g = { .name = entry->d_name, .sectors = a->sectors };
      char node[64];

      if (strncmp (entry->d_name, "vd", 2) != 0 || strlen (entry->d_name) >= a->size
          || (a->serial ? !has_serial (entry->d_name, a->serial) : a->is_known (entry->d_name)) || !has_grown (&g))
        continue;
      snprintf (node, sizeof node, "/dev/%.32s", entry->d_name);
      found = access (node, F_OK) == 0;
      if (found)
        strcpy (a->name, entry->d_name);
    }
  if (dir)
    closedir (dir);
  return found;
}

int
disk_await_new (const char *serial, bool (*is_known) (const char *name), uint64_t bytes, char *name, size_t size,
                struct failure *f)
{
  struct arrival a = { .serial = serial, .is_known = is_known, .sectors = bytes / 512, .name = name, .size = size };

  if (uevent_wait (has_come, &a, WAIT_MS) < 0)
    return fail (f, "disk", errno, "the disk that was attached did not appear");
  return 0;
}

void
disk_list (void (*take) (const char *name))
{
  DIR *dir = opendir ("/sys/block");
  struct dirent *entry;

  while (dir && (entry = readdir (dir)))
    if (strncmp (entry->d_name, "vd", 2) == 0)
      take (entry->d_name);
  if (dir)
    closedir (dir);
}

bool
disk_any_in_use (char *name, size_t size)
{
  struct dirent *entry;
  DIR *dir = opendir ("/sys/block");
  bool busy = false;

  while (dir && !busy && (entry = readdir (dir)))
    if (strncmp (entry->d_name, "vd", 2) == 0)
      {
        char path[PATH_MAX];
        int fd;

        /* A mounted file system has claimed its device. */
        snprintf (path, sizeof path, "/dev/%s", entry->d_name);
        fd = open (path, O_RDONLY | O_EXCL | O_CLOEXEC);
        if (fd >= 0)
          close (fd);
        else if (errno == EBUSY)
          {
            snprintf (name, size, "%s", path);
            busy = true;
          }
      }
  if (dir)
    closedir (dir);
  return busy;
}
