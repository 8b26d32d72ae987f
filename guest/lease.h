/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a DHCP lease means for an interface. */
#ifndef RCVM_GUEST_LEASE_H
#define RCVM_GUEST_LEASE_H

#include <stdbool.h>

#include "dhcp-packet.h"
#include "net-record.h"

/* Adds its address and routes; false without memory. */
bool lease_to_interface (struct net_interface *i, const struct dhcp_answer *a);
/* Whether both mean the same address and routes.  `a` may be none (type 0). */
bool lease_is_same (const struct dhcp_answer *a, const struct dhcp_answer *b);

#endif
