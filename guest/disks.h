/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block devices by locator: "serial:NAME" (virtio-blk serial) or "dev:vda". */
#ifndef RCVM_GUEST_DISKS_H
#define RCVM_GUEST_DISKS_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

bool disk_is_locator (const char *source);
/* Waits for the disk and writes its device node's path. */
int disk_find (const char *locator, char *path, size_t size, struct failure *f);
/* Waits until the kernel has seen that the disk "dev:NAME" has so many bytes, which its VMM has told it by an event; then, with
   `partitions`, has it look for these anew. */
int disk_await_size (const char *locator, const char *bytes, bool partitions, struct failure *f);
/* True if some file system still holds a disk. */
bool disk_any_in_use (char *name, size_t size);

#endif
