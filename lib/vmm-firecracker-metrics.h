/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What Firecracker counts, read from a FIFO as it comes. */
#ifndef RCVM_LIB_VMM_FIRECRACKER_METRICS_H
#define RCVM_LIB_VMM_FIRECRACKER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

#include "ev.h"

enum
{
  RCVMI_FC_METRICS = 19,
  RCVMI_FC_METRICS_LINE = 128 * 1024 /* bytes; with 24 drives and 20 interfaces it is 60 KiB */
};

/* In Firecracker's working directory. */
#define RCVMI_FC_METRICS_FIFO "metrics"

struct rcvmi_fc_metrics
{
  int fd;
  struct rcvmi_ev_source *source;
  char *line; /* what has come of one */
  size_t len;
  bool too_long;
  uint64_t totals[RCVMI_FC_METRICS];
  uint64_t lost; /* lines that made no sense */
};

#define RCVMI_FC_METRICS_INIT ((struct rcvmi_fc_metrics){ .fd = -1 })

/* Makes the FIFO, `owner`'s ((uid_t) -1: the caller's), and reads it from then on. */
int rcvmi_fc_metrics_open (struct rcvmi_fc_metrics *m, struct rcvmi_ev *ev, int dir_fd, uid_t owner, rcvm_error **err);
/* What is in the FIFO now. */
void rcvmi_fc_metrics_read (struct rcvmi_fc_metrics *m);
/* Bytes that have been read. */
void rcvmi_fc_metrics_take (struct rcvmi_fc_metrics *m, const char *data, size_t n);
/* As Prometheus text, to be freed. */
char *rcvmi_fc_metrics_text (const struct rcvmi_fc_metrics *m, const char *id, rcvm_error **err);
void rcvmi_fc_metrics_close (struct rcvmi_fc_metrics *m);

#endif
