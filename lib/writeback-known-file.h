/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where what is known of earlier write-backs is kept, beside the image:
 *
 *   NOTE.known        of the last one that came to its end
 *   NOTE.known.begun  of a later one; there before the first change of the host's tree is made
 *   NOTE.known.new    of one that reads the image yet
 */
#ifndef RCVM_LIB_WRITEBACK_KNOWN_FILE_H
#define RCVM_LIB_WRITEBACK_KNOWN_FILE_H

#include <stddef.h>

#include <runcvm/error.h>

struct rcvmi_wb_known_file
{
  char *done, *begun, *new_path;
  int done_fd, begun_fd; /* -1: there is none */
  int fd;                /* being written; -1: nothing has come yet */
};

#define RCVMI_WB_KNOWN_FILE_INIT ((struct rcvmi_wb_known_file){ .done_fd = -1, .begun_fd = -1, .fd = -1 })

int rcvmi_wb_known_file_open (struct rcvmi_wb_known_file *f, const char *note, rcvm_error **err);
int rcvmi_wb_known_file_add (struct rcvmi_wb_known_file *f, const void *data, size_t len, rcvm_error **err);
/* All has come: on the disk.  The directory is synced by what comes next. */
int rcvmi_wb_known_file_begin (struct rcvmi_wb_known_file *f, rcvm_error **err);
int rcvmi_wb_known_file_done (struct rcvmi_wb_known_file *f, rcvm_error **err);
void rcvmi_wb_known_file_clear (struct rcvmi_wb_known_file *f);

#endif
