/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What becomes of `linux.resources`: the host's cgroup holds the VM with all of its processes, the guest's holds the container's
 * own.  What is about time, disks and pages of the host is the host's to limit; memory and the number of processes are the
 * guest's, and the host's limits leave room for the VMM.
 */
#ifndef RCVM_LIB_PLAN_LIMITS_H
#define RCVM_LIB_PLAN_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "tlv.h"

struct rcvmi_spec;
struct rcvmi_spec_resources;

/* What to write to which file of the host's cgroup, in one version's spelling. */
struct rcvmi_limit
{
  bool v2;
  bool late;     /* the boot shall not be held up by it */
  bool optional; /* older kernels, or ones without swap, lack the file, and nothing is missed */
  const char *what; /* of linux.resources, for messages; both spellings of a limit have the same */
  char *controller;
  char *file;
  char *value;
  char *other_file; /* where the kernel has no `file`, or NULL */
  char *other_value;
};

struct rcvmi_limits
{
  struct rcvmi_limit *list;
  size_t n;
};

struct rcvmi_limits_vm
{
  uint64_t memory;   /* of the guest at most, in bytes */
  uint64_t overhead; /* what the VMM needs beyond that */
  unsigned threads;  /* that the VM's processes may have on the host */
};

/* The host's; with `update`, memory is left alone, which the VM has got already. */
int rcvmi_plan_limits (struct rcvmi_limits *out, const struct rcvmi_spec_resources *r, const struct rcvmi_limits_vm *vm,
                       bool update, rcvm_error **err);
void rcvmi_limits_clear (struct rcvmi_limits *limits);

/* The guest's, as K_NAME and K_VALUE.  At the start a limit that the size of the VM sets anyway is left out.
   RCVM_E_UNSUPPORTED for an update to more memory than the VM can get. */
int rcvmi_plan_guest_limits (struct tlv_writer *w, const struct rcvmi_spec_resources *r, uint64_t memory, uint64_t memory_max,
                             bool update, rcvm_error **err);
/* The share of the CPUs, for a guest whose host cannot limit it. */
void rcvmi_plan_guest_cpu (struct tlv_writer *w, const struct rcvmi_spec_resources *r, unsigned cpus, bool update);

#endif
