/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network interface as the two sides of the agent protocol tell each other about it (enum agent_net_tag).
 * Addresses are in network byte order.
 */
#ifndef RCVM_COMMON_NET_RECORD_H
#define RCVM_COMMON_NET_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tlv.h"

enum
{
  NET_NAME_SIZE = 16,
  NET_MAC_SIZE = 6,
  NET_ENTRIES = 4096, /* addresses, routes or neighbours of one interface */
  NET_LEASE_DNS = 8,
  NET_LEASE_TEXT = 256,
  NET_FOREVER = 0xffffffff /* seconds */
};

/* `len` is 4 or 16, or 0: there is none. */
struct net_ip
{
  uint8_t len;
  uint8_t bytes[16];
};

struct net_address
{
  struct net_ip local, peer, broadcast;
  uint8_t prefix;
  uint8_t scope;
  uint32_t flags;
  uint32_t valid, preferred; /* seconds */
};

struct net_route
{
  struct net_ip destination, gateway, source;
  uint8_t prefix;
  uint8_t scope;
  uint8_t type;
  uint8_t protocol;
  bool has_metric;
  uint32_t metric;
  uint32_t table;
  uint32_t flags;
  uint32_t mtu; /* 0: none */
};

struct net_neighbour
{
  struct net_ip ip;
  uint8_t mac[NET_MAC_SIZE];
  uint32_t state;
  uint32_t flags;
};

struct net_lease
{
  struct net_ip server;
  uint32_t seconds, age, renewals;
  struct net_ip dns[NET_LEASE_DNS];
  size_t n_dns;
  char domain[NET_LEASE_TEXT];
  char hostname[NET_LEASE_TEXT];
};

struct net_interface
{
  char name[NET_NAME_SIZE];
  uint8_t mac[NET_MAC_SIZE];
  bool has_mac;
  uint8_t device[NET_MAC_SIZE]; /* the device's own MAC, where it is another */
  bool has_device;
  uint32_t mtu; /* 0: not given */
  uint32_t dhcp; /* seconds for a first answer; 0: no DHCP */
  bool cut;
  uint32_t flags;
  struct net_address *addresses;
  struct net_route *routes;
  struct net_neighbour *neighbours;
  size_t n_addresses, n_routes, n_neighbours;
  bool has_lease;
  struct net_lease lease;
};

/* A name that a Linux kernel takes for an interface, and that has only printable characters. */
bool net_name_is_valid (const char *name);

/* Fills in `n`, which is to be freed in any case.  False if the record is malformed, or without memory. */
bool net_interface_parse (struct net_interface *n, struct tlv_reader r);
/* One field of the record: an address, route or neighbour goes to the end of its list. */
bool net_interface_add_address (struct net_interface *n, const struct net_address *a);
bool net_interface_add_route (struct net_interface *n, const struct net_route *r);
bool net_interface_add_neighbour (struct net_interface *n, const struct net_neighbour *e);
/* The fields of the record, at the end of `w`.  Lists stop, and N_CUT is set, where `w` would grow past
   `limit` bytes (0: there is no limit). */
void net_interface_put (struct tlv_writer *w, const struct net_interface *n, size_t limit);
void net_interface_free (struct net_interface *n);

#endif
