/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the volume server counts, as JSON. */
#ifndef RCVM_LIB_VOLUME_FIGURES_H
#define RCVM_LIB_VOLUME_FIGURES_H

#include <runcvm/error.h>

#include "plan.h"
#include "tlv.h"

/* `figures`: a record of nfs_figures_tag.  To be freed; NULL: no memory, or the record is malformed. */
char *rcvmi_volume_figures_json (const struct rcvmi_plan *plan, const struct tlv_field *figures, unsigned restarts,
                                 uint64_t refused, rcvm_error **err);

#endif
