/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

int
rcvmi_plan_seccomp (struct rcvmi_spec *spec, const struct rcvmi_spec_seccomp *seccomp,
                    struct tlv_writer *w, rcvm_error **err)
{
  (void) seccomp;
  (void) w;
  return rcvmi_spec_warn (spec, err,
                          "'linux.seccomp' has no effect: the VM's boundary stands in for the filter");
}
