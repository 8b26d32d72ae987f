/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The side of a write-back that reads the image: see writeback.h. */
#ifndef RCVM_LIB_WRITEBACK_PARSER_H
#define RCVM_LIB_WRITEBACK_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <runcvm/error.h>

#include "proc.h"

/* What of an image is read. */
struct rcvmi_wb_scope
{
  const char *top; /* the directory of the image's root that overlayfs has written */
  bool repeated;   /* only what has changed since an earlier time; and for a later one, what is there (WB_KNOWN) */
  int done_fd;     /* what the last one knew that came to its end, or -1 */
  int begun_fd;    /* what a later one knew, which may not have, or -1 */
  struct timespec frozen; /* since when nobody writes to the image */
};

/* Takes a piece of the stream of records; negative: no more. */
typedef int (*rcvmi_wb_emit_fn) (void *user, const void *data, size_t len);

/* Reads the image and tells what is in that directory.  `base` is -1 where it is not known.  Touches nothing but
   the two fds and memory. */
int rcvmi_wb_parse (int image, int base, const char *name, const struct rcvmi_wb_scope *scope, rcvmi_wb_emit_fn emit,
                    void *user, rcvm_error **err);

/* The same in a process of its own that may do nothing else; *stream is where its records come out, *error_fd is for
   rcvmi_proc_read_error. */
int rcvmi_wb_parser_start (struct rcvmi_proc *proc, int image, int base, const char *name, const struct rcvmi_wb_scope *scope,
                           int *stream, int *error_fd, rcvm_error **err);

/* writeback-sandbox.c: takes all rights from this process but to read what is open, and to write to it. */
int rcvmi_wb_sandbox (rcvm_error **err);

#endif
