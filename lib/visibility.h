/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef RCVM_LIB_VISIBILITY_H
#define RCVM_LIB_VISIBILITY_H

/* The library is compiled with -fvisibility=hidden: what has this mark is exported, and must also stand
   in libruncvm.map. */
#define RCVM_PUBLIC __attribute__ ((visibility ("default")))

#endif
