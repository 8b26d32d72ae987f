/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the spec demands beyond the types of properties. */
#ifndef RCVM_LIB_SPEC_CHECK_H
#define RCVM_LIB_SPEC_CHECK_H

#include "spec-types.h"

int rcvmi_spec_check (struct rcvmi_spec *spec, const struct rcvmi_spec_given *given,
                      rcvm_error **err);
/* Whether the container is to have each device of the host, as with Docker's --privileged. */
bool rcvmi_spec_has_all_devices (const struct rcvmi_spec_lx *lx);
/* `name` is what messages call the process object. */
int rcvmi_spec_check_process (const struct rcvmi_spec_process *p,
                              const struct rcvmi_spec_given *given, const char *name,
                              rcvm_error **err);

#endif
