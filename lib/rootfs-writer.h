/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gathers what goes to neighbouring places of the image into large writes. */
#ifndef RCVM_LIB_ROOTFS_WRITER_H
#define RCVM_LIB_ROOTFS_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

struct rcvmi_writer
{
  int fd;
  unsigned char *data;
  size_t used, cap;
  uint64_t offset; /* of data[0] in the image */
};

int rcvmi_writer_init (struct rcvmi_writer *w, int fd, size_t cap, rcvm_error **err);
void rcvmi_writer_clear (struct rcvmi_writer *w);
/* How much can be put at offset at once: what the buffer has left, or all of it. */
size_t rcvmi_writer_room (const struct rcvmi_writer *w, uint64_t offset);
/* Like put, but not zeroed. */
void *rcvmi_writer_reserve (struct rcvmi_writer *w, uint64_t offset, size_t len, rcvm_error **err);
/* `len` bytes for offset, zeroed; valid until the next call.  NULL with *err set after a failed write.
   len must not exceed the capacity. */
void *rcvmi_writer_put (struct rcvmi_writer *w, uint64_t offset, size_t len, rcvm_error **err);
int rcvmi_writer_flush (struct rcvmi_writer *w, rcvm_error **err);
/* Writes past the buffer. */
int rcvmi_image_write (int fd, uint64_t offset, const void *data, size_t len, rcvm_error **err);

#endif
