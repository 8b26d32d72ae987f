/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Filling a tmpfs with the tree that it covers. */
#ifndef RCVM_GUEST_COPYUP_H
#define RCVM_GUEST_COPYUP_H

/* Copies what is in the O_PATH directory `from`, and its own attributes, to the directory `to`.
   -1 and errno. */
int copy_up (int from, const char *to);

#endif
