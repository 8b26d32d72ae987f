/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "rootfs-scan.h"

#define OPEN_LEVELS 48

void
rcvmi_dirfd_init (struct rcvmi_dirfd *s, const struct rcvmi_origin *origin)
{
  *s = (struct rcvmi_dirfd){ .origin = origin };
}

void
rcvmi_dirfd_clear (struct rcvmi_dirfd *s)
{
  /* Level 0 is the origin's own. */
  for (size_t i = 1; i < s->n; i++)
    cleanup_close (&s->levels[i].fd);
  free (s->levels);
  *s = (struct rcvmi_dirfd){ 0 };
}

int
rcvmi_origin_openat (const struct rcvmi_origin *origin, int fd, const char *name, int flags,
                     bool *quiet)
{
  int result;

  flags |= O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  *quiet = true;
  if (origin->quiet)
    return openat (fd, name, flags);
  result = openat (fd, name, flags | O_NOATIME);
  if (result < 0 && errno == EPERM)
    {
      *quiet = false;
      result = openat (fd, name, flags);
    }
  return result;
}

static int
open_level (struct rcvmi_dirfd *s, size_t i, rcvm_error **err)
{
  struct rcvmi_dirfd_level *l = &s->levels[i];
  bool quiet;

  l->fd = rcvmi_origin_openat (s->origin, l[-1].fd, l->dir->self->name, O_DIRECTORY, &quiet);
  if (l->fd < 0)
    {
      int errnum = errno;
      autofree char *path = rcvmi_source_path (s->origin, l->dir, NULL);

      return rcvmi_fail_errno (err, errnum, "cannot open the directory '%s'", path ? path : "?");
    }
  if (i > OPEN_LEVELS)
    {
      struct rcvmi_dirfd_level *old = &s->levels[i - OPEN_LEVELS];

      cleanup_close (&old->fd);
      old->fd = -1;
    }
  return 0;
}

int
rcvmi_dirfd_get (struct rcvmi_dirfd *s, struct rcvmi_dir *dir, rcvm_error **err)
{
  size_t top = s->origin->dir->depth, level = dir->depth - top, first;
  struct rcvmi_dir *d = dir;

  if (level >= s->cap)
    {
      size_t cap = level * 2 + 32;
      struct rcvmi_dirfd_level *levels = reallocarray (s->levels, cap, sizeof *levels);

      if (!levels)
        {
          rcvmi_fail_nomem (err);
          return -1;
        }
      s->levels = levels;
      s->cap = cap;
    }
  if (s->n == 0)
    {
      s->levels[0].dir = s->origin->dir;
      s->levels[0].fd = s->origin->fd;
      s->n = 1;
    }
  for (; s->n > level + 1; s->n--)
    cleanup_close (&s->levels[s->n - 1].fd);
  /* Up to where the path that is open and the path wanted are the same. */
  for (first = level; first >= s->n || s->levels[first].dir != d; first--)
    {
      if (first < s->n)
        {
          cleanup_close (&s->levels[first].fd);
          s->n = first;
        }
      s->levels[first].dir = d;
      s->levels[first].fd = -1;
      d = d->parent;
    }
  s->n = level + 1;
  for (first = level; s->levels[first].fd < 0;)
    first--;
  for (size_t i = first + 1; i <= level; i++)
    if (open_level (s, i, err) < 0)
      return -1;
  return s->levels[level].fd;
}
