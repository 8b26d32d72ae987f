/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What went wrong, on its way to a FAILED frame. */
#ifndef RCVM_GUEST_FAILURE_H
#define RCVM_GUEST_FAILURE_H

#include "tlv.h"

enum
{
  EXIT_SETUP = 125,      /* the container or process could not be prepared */
  EXIT_NOT_RUNNABLE = 126,
  EXIT_NOT_FOUND = 127
};

struct failure
{
  const char *stage;
  int errnum;
  unsigned exit_code;
  char message[400];
};

/* Fills in `f`, adds the text of `errnum` (unless 0) to the message, and returns -1. */
int fail (struct failure *f, const char *stage, int errnum, const char *fmt, ...)
    __attribute__ ((format (printf, 4, 5)));
/* The same for what keeps a program from running: the exit code is the one that a shell reports. */
int fail_exec (struct failure *f, const char *stage, int errnum, const char *fmt, ...)
    __attribute__ ((format (printf, 4, 5)));

/* The payload of a FAILED frame. */
void failure_put (struct tlv_writer *w, const struct failure *f);

#endif
