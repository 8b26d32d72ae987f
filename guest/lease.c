/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease.h"

#include <string.h>

#include <linux/rtnetlink.h>

enum
{
  PROTOCOL_DHCP = 16
};

static void
set_ip (struct net_ip *ip, const uint8_t bytes[4])
{
  ip->len = 4;
  memcpy (ip->bytes, bytes, 4);
}

static bool
is_zero (const uint8_t a[4])
{
  return !(a[0] | a[1] | a[2] | a[3]);
}

static bool
add_lease_route (struct net_interface *i, const struct dhcp_answer *a, const struct dhcp_route *from)
{
  struct net_route r
      = { .prefix = from->prefix, .type = RTN_UNICAST, .table = RT_TABLE_MAIN, .protocol = PROTOCOL_DHCP };

  set_ip (&r.destination, from->destination);
  set_ip (&r.source, a->address);
  if (is_zero (from->gateway))
    r.scope = RT_SCOPE_LINK;
  else
    {
      set_ip (&r.gateway, from->gateway);
      /* A router outside of the subnet is on the link all the same. */
      for (unsigned bit = 0; bit < a->prefix; bit++)
        if ((from->gateway[bit / 8] ^ a->address[bit / 8]) & (0x80 >> bit % 8))
          r.flags = RTNH_F_ONLINK;
    }
  return net_interface_add_route (i, &r);
}

bool
lease_to_interface (struct net_interface *i, const struct dhcp_answer *a)
{
  struct net_address own
      = { .prefix = a->prefix, .valid = a->lease, .preferred = a->lease, .scope = RT_SCOPE_UNIVERSE };
  bool ok;

  set_ip (&own.local, a->address);
  if (a->has_broadcast)
    set_ip (&own.broadcast, a->broadcast);
  ok = net_interface_add_address (i, &own);
  if (a->has_routes)
    for (size_t k = 0; k < a->n_routes; k++)
      ok = ok && add_lease_route (i, a, &a->routes[k]);
  else if (a->n_routers && !is_zero (a->routers[0]))
    {
      struct dhcp_route all = { .prefix = 0 };

      memcpy (all.gateway, a->routers[0], 4);
      ok = ok && add_lease_route (i, a, &all);
    }
  return ok;
}

/* Nothing is taken away that stays. */
bool
lease_is_same (const struct dhcp_answer *a, const struct dhcp_answer *b)
{
  return a->type && memcmp (a->address, b->address, 4) == 0 && a->prefix == b->prefix
         && a->n_routers == b->n_routers && memcmp (a->routers, b->routers, sizeof a->routers) == 0
         && a->n_routes == b->n_routes && memcmp (a->routes, b->routes, sizeof a->routes) == 0;
}
