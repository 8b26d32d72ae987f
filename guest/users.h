/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users of the container, by its own /etc/passwd and /etc/group.  Runs with its root as "/". */
#ifndef RCVM_GUEST_USERS_H
#define RCVM_GUEST_USERS_H

#include "request.h"

struct user
{
  uid_t uid;
  gid_t gid;
  gid_t *groups; /* additional ones */
  size_t n_groups;
  char home[4096]; /* "/" if it is not known */
};

/* What the request says; a user whom /etc/passwd knows gets its groups as well. */
int user_resolve (struct user *u, const struct request *q, struct failure *f);

#endif
