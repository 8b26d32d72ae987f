/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last steps of a process of the container, from within it, to its execve. */
#ifndef RCVM_GUEST_PROGRAM_H
#define RCVM_GUEST_PROGRAM_H

#include <stdbool.h>

#include "request.h"

struct program
{
  const struct request *request;
  int handoff;
  int stdio[3];       /* -1 each for a terminal */
  bool first;         /* the container's first process */
  bool root_readonly; /* with `first`: its mounts_enter made the root read-only */
};

/* In the container's namespaces and root.  Returns only after a failure. */
void program_run (const struct program *p, struct failure *f);

#endif
