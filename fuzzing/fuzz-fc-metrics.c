/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a Firecracker that is no longer ours may say of its metrics. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>

#include "vmm-firecracker-metrics.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_fc_metrics m = RCVMI_FC_METRICS_INIT;
  size_t half = size / 2;
  char *text;

  rcvmi_fc_metrics_take (&m, (const char *) data, half);
  rcvmi_fc_metrics_take (&m, (const char *) data + half, size - half);
  rcvmi_fc_metrics_take (&m, "\n", 1);
  if (m.len > RCVMI_FC_METRICS_LINE || m.line)
    abort ();
  text = rcvmi_fc_metrics_text (&m, "x", NULL);
  if (!text)
    abort ();
  free (text);
  rcvmi_fc_metrics_close (&m);
  return 0;
}
