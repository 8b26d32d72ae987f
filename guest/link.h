/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The interface that leads to the host's volumes alone: it stays in the agent's network namespace, which is not the container's. */
#ifndef RCVM_GUEST_LINK_H
#define RCVM_GUEST_LINK_H

#include "failure.h"
#include "net-record.h"

int link_bring_up (const struct net_interface *i, struct failure *f);

#endif
