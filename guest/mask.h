/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths that the container must not see, or not write. */
#ifndef RCVM_GUEST_MASK_H
#define RCVM_GUEST_MASK_H

#include "setup.h"

int mask_apply (const struct setup *s, int root, struct failure *f);

#endif
