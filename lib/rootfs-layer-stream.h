/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a layer's tar, whatever it is packed with. */
#ifndef RCVM_LIB_ROOTFS_LAYER_STREAM_H
#define RCVM_LIB_ROOTFS_LAYER_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

struct rcvmi_layer_stream;

/* `fd` is a regular file and stays the caller's; its position is left alone.  `path` is for messages. */
int rcvmi_layer_stream_open (struct rcvmi_layer_stream **out, int fd, const char *path, rcvm_error **err);
void rcvmi_layer_stream_close (struct rcvmi_layer_stream *s);
/* The next bytes, valid until the next call; 0 at the end, -1 with *err set. */
ssize_t rcvmi_layer_stream_read (struct rcvmi_layer_stream *s, const void **data, rcvm_error **err);
/* Leaves out up to `n` bytes where that costs nothing; returns how many. */
int64_t rcvmi_layer_stream_skip (struct rcvmi_layer_stream *s, int64_t n);
/* Bytes of the file that have been read or left out. */
uint64_t rcvmi_layer_stream_position (const struct rcvmi_layer_stream *s);
/* Whether a checksum or a length tells of a stream that is cut short. */
int rcvmi_layer_stream_is_packed (const struct rcvmi_layer_stream *s);

#endif
