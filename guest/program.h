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

/* Whether its program is there, as far as that can be said before anybody is its user.  Only that it is not is a failure: what else
   may be wrong is the business of program_run.  In the container's namespaces and root. */
int program_check (const struct request *q, struct failure *f);

#endif
