/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Out of memory without being told so. */
#ifndef RCVM_GUEST_OOM_H
#define RCVM_GUEST_OOM_H

/* Does nothing, with a message, in a kernel that does not count how long tasks wait for memory. */
void oom_watch_pressure (void);

#endif
