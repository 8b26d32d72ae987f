/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCI's startContainer hooks: programs of the container that run before its own. */
#ifndef RCVM_GUEST_HOOKS_H
#define RCVM_GUEST_HOOKS_H

#include "request.h"

/* Runs them, one after the other, as what this process is by now.  -1 if one fails. */
int hooks_run (const struct request *q, struct failure *f);

#endif
