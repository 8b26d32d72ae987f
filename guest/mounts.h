/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container's file systems.
 *
 * They are made in two steps.  mounts_prepare runs with all rights in the initial user namespace:
 * it mounts the disks and whatever else the kernel lets only real root mount, and keeps each as a
 * detached tree.  mounts_attach runs in the container's namespaces and puts everything together,
 * in the order of the SETUP record.
 *
 * A destination "stage:NAME" is mounted where only binds with a source "stage:NAME/PATH" see it.
 */
#ifndef RCVM_GUEST_MOUNTS_H
#define RCVM_GUEST_MOUNTS_H

#include "setup.h"

/* *root becomes the tree of the root file system. */
int mounts_prepare (struct setup *s, int *root, struct failure *f);
/* Takes the tree over; returns an O_PATH fd of the container's root directory, or -1. */
int mounts_attach (struct setup *s, int root, struct failure *f);
/* Propagation and read-only root, then "/" becomes the container's. */
int mounts_enter (const struct setup *s, int root, struct failure *f);

/* Whether it is of a volume by TCP, which mounts_prepare leaves out (netmounts.h), or a bind of one. */
bool mount_needs_network (const struct setup *s, const struct setup_mount *m);
/* One that mounts_prepare has left out: m->tree, or a stage. */
int mount_prepare (const struct setup *s, struct setup_mount *m, struct failure *f);
/* Whether it comes through a tunnel. */
bool mount_is_volume (const struct setup_mount *m);
/* By 9P. */
bool mount_is_share (const struct setup_mount *m);

/* A directory of the initramfs that was mounted for a "stage:NAME", while these are in sight. */
int mounts_open_stage (const char *name);
/* Mounts the disk "/dev/NAME" and takes it off its place again: the detached tree, or -1.  In a mount namespace of the caller's own. */
int mount_disk (const char *device, const char *type, uint64_t flags, struct failure *f);
/* A detached copy of what the O_PATH fd `from` sees, with MS_* flags of `flags`; -1 and errno. */
int mount_clone (int from, uint64_t flags);

#endif
