/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disks that come to a machine that runs, and go again: DISK_ADD and DISK_DEL.
 *
 * Each is the work of a child, for a disk may take its time: it finds the device (hotplug.h), and mounts it, or makes a node for it,
 * in the container's mount namespace.  A node is the bind mount of one that lies in the initramfs: so it cannot be taken away while
 * somebody has it open, which a mknod would not notice, and is usable where the container has a user namespace.
 */
#ifndef RCVM_GUEST_ATTACH_H
#define RCVM_GUEST_ATTACH_H

#include <stddef.h>
#include <stdint.h>

/* The container is set up: the disks that are there now do not come later. */
void attach_begin (void);
/* The frames; what comes of them is sent to the host. */
void attach_add (uint32_t number, const void *record, size_t len);
void attach_remove (uint32_t number, const void *record, size_t len);

#endif
