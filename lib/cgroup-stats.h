/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RCVM_LIB_CGROUP_STATS_H
#define RCVM_LIB_CGROUP_STATS_H

#include "cgroup.h"
#include "tlv.h"

/* The files of the guest's cgroup that rcvmi_cgroup_stats takes, for a CGROUP_GET. */
void rcvmi_cgroup_ask_guest (struct tlv_writer *w);
/* The `data` of runc's statistics events, as JSON; to be freed.  `record` is the guest's answer, or NULL. */
char *rcvmi_cgroup_stats (const struct rcvmi_cgroup *c, const unsigned char *record, size_t len, uint64_t oom_kills,
                          rcvm_error **err);

#endif
