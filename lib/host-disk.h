/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A block device or an image file of the host that a VM is to have: opened so that nobody else has it meanwhile.
 *
 * One that the VM may write to is for this VM alone; any number of VMs may read one.  The host must not have it mounted
 * in either case: two kernels that do not know of each other ruin a file system, or read nonsense.
 */
#ifndef RCVM_LIB_HOST_DISK_H
#define RCVM_LIB_HOST_DISK_H

#include <stdbool.h>

#include <runcvm/error.h>

struct rcvmi_host_disk
{
  int fd;      /* the claim lasts as long as it is open */
  char *path;  /* for the VMM, as long as this process lives */
  bool device; /* a block device, no file */
};

#define RCVMI_HOST_DISK_INIT ((struct rcvmi_host_disk){ .fd = -1 })

/* What a path that VMs may have a hand in leads to: an O_PATH fd of what lies beneath `dir`, by no symlink.  With `parent`, of
   the directory that the last component is in, or is to be in. */
int rcvmi_host_disk_find (const char *dir, const char *path, bool parent, rcvm_error **err);
/* RCVM_E_STATE where the host or another VM has it. */
int rcvmi_host_disk_open (struct rcvmi_host_disk *d, const char *path, bool read_only, rcvm_error **err);
/* One that was found beneath a directory; a regular file.  `place` stays the caller's. */
int rcvmi_host_disk_open_found (struct rcvmi_host_disk *d, int place, const char *path, rcvm_error **err);
void rcvmi_host_disk_close (struct rcvmi_host_disk *d);

#endif
