/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Block devices by locator: "serial:NAME" (virtio-blk serial) or "dev:vda". */
#ifndef RCVM_GUEST_DISKS_H
#define RCVM_GUEST_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

bool disk_is_locator (const char *source);
/* Waits for the disk and writes its device node's path. */
int disk_find (const char *locator, char *path, size_t size, struct failure *f);
/* Waits until the kernel has seen that the disk "dev:NAME" has so many bytes, which its VMM has told it by an event; then, with
   `partitions`, has it look for these anew. */
int disk_await_size (const char *locator, const char *bytes, bool partitions, struct failure *f);
/* Waits for a disk ("vdc") that came to a machine that runs, of so many bytes: the one with that serial, or without one, any for which
   `is_known` is false. */
int disk_await_new (const char *serial, bool (*is_known) (const char *name), uint64_t bytes, char *name, size_t size,
                    struct failure *f);
/* Calls `take` for each disk of virtio. */
void disk_list (void (*take) (const char *name));
/* True if some file system still holds a disk. */
bool disk_any_in_use (char *name, size_t size);

#endif
