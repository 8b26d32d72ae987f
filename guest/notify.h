/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What others have changed in a volume: makes the guest's kernel tell whoever watches there. */
#ifndef RCVM_GUEST_NOTIFY_H
#define RCVM_GUEST_NOTIFY_H

#include <stddef.h>

/* A NOTIFY record of the host.  Does not wait: what cannot be dealt with at once is forgotten. */
void notify_take (const void *record, size_t len);

#endif
