/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links and their addresses: what is asked of any link, whatever made it. */
#ifndef RCVM_LIB_NET_LINK_H
#define RCVM_LIB_NET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "net-nl.h"
#include "net.h"

/* One link.  -ENODEV where there is none.  By index, or with index 0 by name. */
struct rcvmi_net_link
{
  int index;
  char name[RCVMI_NET_NAME_SIZE];
  char kind[16];
  char alias[64];
  uint8_t mac[6];
  uint32_t mtu;
  unsigned flags;
  int master;
  uint64_t received; /* bytes, by the link */
};

int rcvmi_net_link_get (struct rcvmi_nl *nl, int index, const char *name, struct rcvmi_net_link *link);
/* For dumps: false for a message that is no link. */
bool rcvmi_net_link_parse (struct nlmsghdr *h, struct rcvmi_net_link *link, unsigned *type);
/* Returns 0 or -errno. */
int rcvmi_net_link_delete (struct rcvmi_nl *nl, int index);
int rcvmi_net_link_set_mac (struct rcvmi_nl *nl, int index, const uint8_t mac[6]);
int rcvmi_net_link_set_mtu (struct rcvmi_nl *nl, int index, uint32_t mtu);
int rcvmi_net_link_set_master (struct rcvmi_nl *nl, int index, int master);
/* No IPv6 address of the kernel's own making; nothing to do on a kernel without IPv6. */
int rcvmi_net_link_silence (struct rcvmi_nl *nl, int index);
int rcvmi_net_link_set_up (struct rcvmi_nl *nl, int index, bool up);
/* An IPv4 address of the link, added or taken away. */
int rcvmi_net_address_add (struct rcvmi_nl *nl, int index, const uint8_t address[4], unsigned prefix);
int rcvmi_net_address_delete (struct rcvmi_nl *nl, int index, const uint8_t address[4], unsigned prefix);

#endif
