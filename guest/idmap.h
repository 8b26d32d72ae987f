/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The user namespace. */
#ifndef RCVM_GUEST_IDMAP_H
#define RCVM_GUEST_IDMAP_H

#include "setup.h"

/* The calling process becomes root of a new user namespace with the maps of `s`. */
int idmap_enter (const struct setup *s, struct failure *f);

#endif
