/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a bundle's root is made of where it is a mounted overlayfs, as Docker and containerd leave it: directories
 * that many containers share, and one that is its own.
 */
#ifndef RCVM_LIB_OVERLAY_MOUNT_H
#define RCVM_LIB_OVERLAY_MOUNT_H

#include <runcvm/error.h>

struct rcvmi_overlay_mount
{
  char **lower; /* absolute, the lowest first; NULL: the directory is no overlayfs that can be taken apart */
  char *upper;  /* NULL: it is read-only */
  /* Docker's layer of mount points, the uppermost of the lower ones, which each container has for itself; or NULL. */
  char *init;
};

/* Takes `rootfs` apart.  What cannot be is no error: it is a tree like any other. */
int rcvmi_overlay_mount_find (const char *rootfs, struct rcvmi_overlay_mount *out, rcvm_error **err);
/* The same of one line of /proc/self/mountinfo, `base` being the directory that relative names start from; 1 if the
   line is that of an overlayfs at `place`, 0 if not. */
int rcvmi_overlay_mount_parse (const char *line, const char *place, const char *base, struct rcvmi_overlay_mount *out,
                         rcvm_error **err);
void rcvmi_overlay_mount_clear (struct rcvmi_overlay_mount *o);

#endif
