/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Becoming the process's user, with its capabilities and its seccomp filter. */
#ifndef RCVM_GUEST_CREDS_H
#define RCVM_GUEST_CREDS_H

#include "request.h"
#include "users.h"

/* Up to the user and groups.  The process keeps, until creds_seal, what creds_seal needs. */
int creds_assume (const struct request *q, const struct user *u, struct failure *f);
/* The rest; only execve may follow. */
int creds_seal (const struct request *q, struct failure *f);

#endif
