/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RCVM_LIB_VOLUME_METRICS_H
#define RCVM_LIB_VOLUME_METRICS_H

#include <stdio.h>

#include <runcvm/error.h>

/* What rcvmi_volume_figures_json says, as Prometheus text; nothing for a VM without volumes. */
int rcvmi_volume_metrics (FILE *f, const char *id, const char *json, rcvm_error **err);

#endif
