/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the volume server counts, as JSON. */
#ifndef RCVM_LIB_VOLUME_FIGURES_H
#define RCVM_LIB_VOLUME_FIGURES_H

#include <runcvm/error.h>

#include "plan.h"
#include "tlv.h"

/* `linked`: those that are not by TCP are by the link, and not the tunnel; `figures`: a record of nfs_figures_tag.  To be freed; NULL: no memory, or the record is malformed. */
char *rcvmi_volume_figures_json (const struct rcvmi_plan *plan, bool linked, const struct tlv_field *figures, unsigned restarts,
                                 uint64_t refused, rcvm_error **err);
/* A disk of the host that a VM has. */
struct rcvmi_volume_disk
{
  const char *source, *target;
  const char *fstype; /* NULL: what was found */
  bool read_only;
  bool attached; /* while the VM was running */
};

/* Of these, a JSON array, to be freed. */
char *rcvmi_volume_disks_json (const struct rcvmi_volume_disk *list, size_t n, rcvm_error **err);

#endif
