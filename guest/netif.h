/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interfaces: found, moved, configured and read, by an rtnetlink socket of their namespace. */
#ifndef RCVM_GUEST_NETIF_H
#define RCVM_GUEST_NETIF_H

#include "failure.h"
#include "net-record.h"
#include "tlv.h"

/* The index of the interface that has this MAC (or, with `mac` NULL, this name); 0: there is none. */
int netif_find (int rtnl, const uint8_t *mac, const char *name);
/* Moves it, gives it a name there, and returns its index there; -1. */
int netif_move (int rtnl, int index, int to_namespace, int to_rtnl, const char *name, struct failure *f);
int netif_up (int rtnl, int index, bool up);
/* MTU, addresses, up, routes and neighbours, as `n` says. */
int netif_configure (int rtnl, int index, const struct net_interface *n, struct failure *f);

/* -1 and errno. */
int netif_set_mac (int rtnl, int index, const uint8_t *mac); /* of one that is down */
int netif_set_mtu (int rtnl, int index, uint32_t mtu);
int netif_add_address (int rtnl, int index, const struct net_address *a);
int netif_remove_address (int rtnl, int index, const struct net_address *a);
int netif_add_route (int rtnl, int index, const struct net_route *r);
int netif_remove_route (int rtnl, int index, const struct net_route *r);

/* What the namespace has: all interfaces, or the one with the index.  `each` gets them one by one.  -1 and errno. */
int netif_read (int rtnl, int index, void (*each) (void *data, int index, struct net_interface *n), void *data);

#endif
