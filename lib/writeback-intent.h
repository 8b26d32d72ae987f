/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IMAGE.write-back: the note that the host's tree may be half old and half new, on disk before it is. */
#ifndef RCVM_LIB_WRITEBACK_INTENT_H
#define RCVM_LIB_WRITEBACK_INTENT_H

#include <stdbool.h>
#include <sys/stat.h>

#include <runcvm/error.h>

struct rcvmi_wb_intent
{
  char staging[40]; /* name of the staging directory */
  unsigned long long dev, ino; /* of the rootfs */
  char *rootfs;                /* absolute */
  bool fresh;                  /* no earlier run left it */
  bool written;
};

/* The note of an earlier run, which must have been about the same rootfs, or a new one, to be written. */
int rcvmi_wb_intent_begin (struct rcvmi_wb_intent *intent, const char *image, const char *rootfs,
                           const struct stat *st, rcvm_error **err);
/* Before the first change; nothing where it is there already. */
int rcvmi_wb_intent_write (struct rcvmi_wb_intent *intent, const char *image, rcvm_error **err);
int rcvmi_wb_intent_end (const char *image, rcvm_error **err);
void rcvmi_wb_intent_clear (struct rcvmi_wb_intent *intent);
/* 1, 0 or an error. */
int rcvmi_wb_intent_exists (const char *image, rcvm_error **err);

#endif
