/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the functions that attach volumes share. */
#ifndef RCVM_LIB_API_VOLUME_H
#define RCVM_LIB_API_VOLUME_H

#include <runcvm/volume.h>

struct rcvm_volume_options
{
  int readonly;
  long uid, gid; /* -1: not squashed */
  unsigned cached;
  int notify;
  char *fstype; /* NULL: not said */
  char *write_back;
  char *transport;
  char *server;
};

/* `path` from the working directory; NULL and an error. */
char *rcvmi_volume_absolute (const char *path, rcvm_error **err);
/* Whether these mean something to a disk; they may be NULL. */
int rcvmi_volume_check_block (const rcvm_volume_options *options, rcvm_error **err);
/* Adds one to the VM's options.  `text`: as in options.h. */
int rcvmi_volume_append (rcvm_vm *vm, const char *source, const char *target, const char *text, rcvm_error **err);

#endif
