/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VM's devices and memory are driven: what a VMM may have or not. */
#ifndef RCVM_LIB_TUNING_H
#define RCVM_LIB_TUNING_H

#include <stdbool.h>
#include <stdint.h>

#include <runcvm/error.h>

struct rcvmi_tuning
{
  uint64_t disk_bandwidth; /* bytes a second for each disk; 0: no limit */
  uint64_t disk_ops;       /* requests a second for each disk; 0: no limit */
  uint64_t net_bandwidth;  /* bytes a second, for each interface and direction; 0: no limit */
  bool huge_pages;         /* the guest's memory is of pages of 2 MiB, reserved on the host */
  bool async_io;           /* disks by io_uring */
  bool track_memory;       /* the VMM notes what the guest writes to, for snapshots that are differences */
  char *cpu_template;      /* Firecracker's: a name, or the path of a JSON file; NULL: none */
};

void rcvmi_tuning_clear (struct rcvmi_tuning *t);
/* RCVM_E_HOST where the host has not reserved enough pages of 2 MiB for so many bytes. */
int rcvmi_tuning_check_huge_pages (uint64_t memory, rcvm_error **err);

#endif
