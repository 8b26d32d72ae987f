/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-writer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

int
rcvmi_writer_init (struct rcvmi_writer *w, int fd, size_t cap, rcvm_error **err)
{
  *w = (struct rcvmi_writer){ .fd = fd, .cap = cap };
  w->data = malloc (cap);
  return w->data ? 0 : rcvmi_fail_nomem (err);
}

void
rcvmi_writer_clear (struct rcvmi_writer *w)
{
  free (w->data);
  *w = (struct rcvmi_writer){ .fd = -1 };
}

int
rcvmi_image_write (int fd, uint64_t offset, const void *data, size_t len, rcvm_error **err)
{
  const char *p = data;

  while (len)
    {
      ssize_t n = pwrite (fd, p, len, (off_t) offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return rcvmi_fail_errno (err, n < 0 ? errno : EIO, "cannot write the image");
      p += n;
      offset += (uint64_t) n;
      len -= (size_t) n;
    }
  return 0;
}

int
rcvmi_writer_flush (struct rcvmi_writer *w, rcvm_error **err)
{
  size_t used = w->used;

  w->used = 0;
  return used ? rcvmi_image_write (w->fd, w->offset, w->data, used, err) : 0;
}

size_t
rcvmi_writer_room (const struct rcvmi_writer *w, uint64_t offset)
{
  if (w->used == 0 || w->used == w->cap || offset != w->offset + w->used)
    return w->cap;
  return w->cap - w->used;
}

void *
rcvmi_writer_reserve (struct rcvmi_writer *w, uint64_t offset, size_t len, rcvm_error **err)
{
  unsigned char *p;

  if ((w->used && offset != w->offset + w->used) || w->cap - w->used < len)
    if (rcvmi_writer_flush (w, err) < 0)
      return NULL;
  if (!w->used)
    w->offset = offset;
  p = w->data + w->used;
  w->used += len;
  return p;
}

void *
rcvmi_writer_put (struct rcvmi_writer *w, uint64_t offset, size_t len, rcvm_error **err)
{
  void *p = rcvmi_writer_reserve (w, offset, len, err);

  return p ? memset (p, 0, len) : NULL;
}
