/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* New files of the host, made in the staging directory where nobody sees them. */
#ifndef RCVM_LIB_WRITEBACK_FILE_H
#define RCVM_LIB_WRITEBACK_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "writeback-wire.h"

struct rcvmi_wb_file
{
  int staging;
  int fd; /* of a regular file */
  int image;
  char name[32]; /* in staging */
  bool no_clone, no_copy;
  unsigned char *buffer;
};

/* Makes the file that the record describes, but for its contents and metadata.  All of these: 0 or -errno. */
int rcvmi_wb_file_make (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *record);
int rcvmi_wb_file_copy (struct rcvmi_wb_file *f, const struct rcvmi_wb_extent *x);
int rcvmi_wb_file_write (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *data);
/* Sets the metadata and closes it. */
int rcvmi_wb_file_finish (struct rcvmi_wb_file *f, const struct rcvmi_wb_record *record);
void rcvmi_wb_file_clear (struct rcvmi_wb_file *f);

/* Makes the metadata of a directory those of the record; what is right already is not touched. */
int rcvmi_wb_dir_finish (int fd, const struct rcvmi_wb_record *record);

#endif
