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
  char *path;  /* without symlinks */
  bool device; /* a block device, no file */
};

#define RCVMI_HOST_DISK_INIT ((struct rcvmi_host_disk){ .fd = -1 })

/* RCVM_E_STATE where the host or another VM has it. */
int rcvmi_host_disk_open (struct rcvmi_host_disk *d, const char *path, bool read_only, rcvm_error **err);
void rcvmi_host_disk_close (struct rcvmi_host_disk *d);

#endif
