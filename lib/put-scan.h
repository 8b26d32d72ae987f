/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What others have put into the upper directory of a container's overlay on the host since a time. */
#ifndef RCVM_LIB_PUT_SCAN_H
#define RCVM_LIB_PUT_SCAN_H

#include <time.h>

#include <runcvm/error.h>

struct rcvmi_put_scan
{
  const char *upper, *rootfs; /* the directory, and where the overlay is mounted */
  struct timespec since;      /* what has changed at this time or later is meant */
  int out;                    /* gets the entries (put-wire.h), or nothing at all */
  int list;                   /* a file that gets a record of each (put-list.h) */
  int before;                 /* that of an earlier scan: what it has and has not changed again is left out; or -1 */
};

/* Takes its time, and blocks: for a worker. */
int rcvmi_put_scan (const struct rcvmi_put_scan *scan, rcvm_error **err);

#endif
