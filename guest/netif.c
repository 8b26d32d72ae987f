/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "netif.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>

#include "array.h"
#include "rtnl.h"

/* net/if.h and linux/if.h clash with each other. */
enum
{
  UP = 1,
  GENERATE_EUI64 = 0,
  GENERATE_NONE = 1
};

static unsigned char
family_of (const struct net_ip *ip)
{
  return ip->len == 16 ? AF_INET6 : AF_INET;
}

static const char *
text_of (const struct net_ip *ip, char out[INET6_ADDRSTRLEN])
{
  return ip->len ? inet_ntop (family_of (ip), ip->bytes, out, INET6_ADDRSTRLEN) : "none";
}

/* Links */

struct search
{
  const uint8_t *mac;
  const char *name;
  int index;
};

static void
look (void *data, const struct nlmsghdr *h)
{
  struct search *s = data;
  const struct rtattr *a[IFLA_IFNAME + 1];
  const struct ifinfomsg *link = NLMSG_DATA (h);
  char name[NET_NAME_SIZE];

  if (h->nlmsg_type != RTM_NEWLINK || !rtnl_attributes (h, sizeof *link, a, IFLA_IFNAME))
    return;
  rtnl_text (a[IFLA_IFNAME], name, sizeof name);
  if (s->mac ? a[IFLA_ADDRESS] && RTA_PAYLOAD (a[IFLA_ADDRESS]) == NET_MAC_SIZE
                   && memcmp (RTA_DATA (a[IFLA_ADDRESS]), s->mac, NET_MAC_SIZE) == 0
             : strcmp (name, s->name) == 0)
    s->index = link->ifi_index;
}

int
netif_find (int rtnl, const uint8_t *mac, const char *name)
{
  struct search s = { .mac = mac, .name = name };
  struct ifinfomsg body = { 0 };
  struct rtnl_request q;

  rtnl_begin (&q, RTM_GETLINK, 0, &body, sizeof body);
  return rtnl_dump (rtnl, &q, look, &s) < 0 ? 0 : s.index;
}

int
netif_up (int rtnl, int index, bool up)
{
  struct ifinfomsg body = { .ifi_index = index, .ifi_flags = up ? UP : 0, .ifi_change = UP };
  struct rtnl_request q;

  rtnl_begin (&q, RTM_NEWLINK, 0, &body, sizeof body);
  return rtnl_talk (rtnl, &q);
}

int
netif_move (int rtnl, int index, int to_namespace, int to_rtnl, const char *name, struct failure *f)
{
  struct ifinfomsg body = { .ifi_index = index, .ifi_change = UP };
  struct rtnl_request q;

  if (netif_find (to_rtnl, NULL, name))
    return fail (f, "net", EEXIST, "the container has a network interface %s already", name);
  rtnl_begin (&q, RTM_NEWLINK, 0, &body, sizeof body);
  rtnl_put_u32 (&q, IFLA_NET_NS_FD, (uint32_t) to_namespace);
  rtnl_put (&q, IFLA_IFNAME, name, strlen (name) + 1);
  if (rtnl_talk (rtnl, &q) < 0)
    return fail (f, "net", errno, "cannot give the container the network interface %s", name);
  /* It may have got another number with the move. */
  index = netif_find (to_rtnl, NULL, name);
  return index ? index : fail (f, "net", ENODEV, "the network interface %s went away", name);
}

int
netif_set_mac (int rtnl, int index, const uint8_t *mac)
{
  struct ifinfomsg body = { .ifi_index = index };
  struct rtnl_request q;

  rtnl_begin (&q, RTM_NEWLINK, 0, &body, sizeof body);
  rtnl_put (&q, IFLA_ADDRESS, mac, NET_MAC_SIZE);
  return rtnl_talk (rtnl, &q);
}

int
netif_set_mtu (int rtnl, int index, uint32_t mtu)
{
  struct ifinfomsg body = { .ifi_index = index };
  struct rtnl_request q;

  rtnl_begin (&q, RTM_NEWLINK, 0, &body, sizeof body);
  rtnl_put_u32 (&q, IFLA_MTU, mtu);
  return rtnl_talk (rtnl, &q);
}

/* The kernel makes a link-local address of its own, which is wanted only where it is what was asked for. */
static int
set_address_generation (int rtnl, int index, const struct net_interface *n)
{
  struct ifinfomsg body = { .ifi_index = index };
  const uint8_t *m = n->mac;
  const uint8_t usual[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5] };
  uint8_t mode = n->dhcp ? GENERATE_EUI64 : GENERATE_NONE;
  size_t all, family;
  struct rtnl_request q;

  for (size_t i = 0; i < n->n_addresses; i++)
    if (n->addresses[i].local.len == 16 && memcmp (n->addresses[i].local.bytes, usual, 16) == 0)
      mode = GENERATE_EUI64;
  rtnl_begin (&q, RTM_NEWLINK, 0, &body, sizeof body);
  all = rtnl_nest (&q, IFLA_AF_SPEC);
  family = rtnl_nest (&q, AF_INET6);
  rtnl_put (&q, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
  rtnl_end_nest (&q, family);
  rtnl_end_nest (&q, all);
  return rtnl_talk (rtnl, &q);
}

/* Addresses */

static void
put_ip (struct rtnl_request *q, uint16_t type, const struct net_ip *ip)
{
  if (ip->len)
    rtnl_put (q, type, ip->bytes, ip->len);
}

static int
talk_address (int rtnl, uint16_t type, uint16_t flags, int index, const struct net_address *a)
{
  struct ifaddrmsg body = { .ifa_family = family_of (&a->local),
                            .ifa_prefixlen = a->prefix,
                            .ifa_scope = a->scope,
                            .ifa_index = (unsigned) index };
  uint32_t kept = a->flags & (IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE
                              | IFA_F_MCAUTOJOIN);
  struct ifa_cacheinfo life = { .ifa_prefered = a->preferred, .ifa_valid = a->valid };
  struct rtnl_request q;

  rtnl_begin (&q, type, flags, &body, sizeof body);
  put_ip (&q, IFA_LOCAL, &a->local);
  put_ip (&q, IFA_ADDRESS, a->peer.len ? &a->peer : &a->local);
  put_ip (&q, IFA_BROADCAST, &a->broadcast);
  rtnl_put_u32 (&q, IFA_FLAGS, kept);
  if (a->valid != NET_FOREVER)
    rtnl_put (&q, IFA_CACHEINFO, &life, sizeof life);
  return rtnl_talk (rtnl, &q);
}

int
netif_add_address (int rtnl, int index, const struct net_address *a)
{
  return talk_address (rtnl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, a);
}

int
netif_remove_address (int rtnl, int index, const struct net_address *a)
{
  return talk_address (rtnl, RTM_DELADDR, 0, index, a);
}

/* Routes */

static int
talk_route (int rtnl, uint16_t type, uint16_t flags, int index, const struct net_route *r)
{
  struct rtmsg body = { .rtm_family = family_of (&r->destination),
                        .rtm_dst_len = r->prefix,
                        .rtm_table = r->table < 256 ? (unsigned char) r->table : RT_TABLE_UNSPEC,
                        .rtm_protocol = r->protocol,
                        .rtm_scope = r->scope,
                        .rtm_type = r->type,
                        .rtm_flags = r->flags & RTNH_F_ONLINK };
  struct rtnl_request q;

  rtnl_begin (&q, type, flags, &body, sizeof body);
  if (r->prefix)
    put_ip (&q, RTA_DST, &r->destination);
  if (r->gateway.len == r->destination.len)
    put_ip (&q, RTA_GATEWAY, &r->gateway);
  else if (r->gateway.len)
    {
      struct
      {
        uint16_t family;
        uint8_t bytes[16];
      } via = { .family = family_of (&r->gateway) };

      memcpy (via.bytes, r->gateway.bytes, r->gateway.len);
      rtnl_put (&q, RTA_VIA, &via, sizeof via.family + r->gateway.len);
    }
  put_ip (&q, RTA_PREFSRC, &r->source);
  if (r->type == RTN_UNICAST || r->type == RTN_LOCAL || r->type == RTN_BROADCAST || r->type == RTN_MULTICAST
      || r->type == RTN_ANYCAST)
    rtnl_put_u32 (&q, RTA_OIF, (uint32_t) index);
  if (r->has_metric)
    rtnl_put_u32 (&q, RTA_PRIORITY, r->metric);
  rtnl_put_u32 (&q, RTA_TABLE, r->table);
  if (r->mtu)
    {
      size_t metrics = rtnl_nest (&q, RTA_METRICS);

      rtnl_put_u32 (&q, RTAX_MTU, r->mtu);
      rtnl_end_nest (&q, metrics);
    }
  return rtnl_talk (rtnl, &q);
}

int
netif_add_route (int rtnl, int index, const struct net_route *r)
{
  /* Behind others to the same place.  The kernel may have made it already, with the address. */
  return talk_route (rtnl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND, index, r) == 0 || errno == EEXIST ? 0 : -1;
}

int
netif_remove_route (int rtnl, int index, const struct net_route *r)
{
  return talk_route (rtnl, RTM_DELROUTE, 0, index, r);
}

static int
add_routes (int rtnl, int index, const struct net_interface *n, bool with_gateway, struct failure *f)
{
  for (size_t i = 0; i < n->n_routes; i++)
    {
      const struct net_route *r = &n->routes[i];

      if ((r->gateway.len != 0) == with_gateway && netif_add_route (rtnl, index, r) < 0)
        {
          char to[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];

          return fail (f, "net", errno, "cannot add the route to %s/%u via %s on %s", text_of (&r->destination, to),
                       r->prefix, text_of (&r->gateway, via), n->name);
        }
    }
  return 0;
}

static int
add_neighbours (int rtnl, int index, const struct net_interface *n, struct failure *f)
{
  for (size_t i = 0; i < n->n_neighbours; i++)
    {
      const struct net_neighbour *e = &n->neighbours[i];
      struct ndmsg body = { .ndm_family = family_of (&e->ip),
                            .ndm_ifindex = index,
                            .ndm_state = (uint16_t) (e->state ? e->state : NUD_PERMANENT),
                            .ndm_flags = (uint8_t) e->flags };
      struct rtnl_request q;
      char text[INET6_ADDRSTRLEN];

      rtnl_begin (&q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
      put_ip (&q, NDA_DST, &e->ip);
      rtnl_put (&q, NDA_LLADDR, e->mac, sizeof e->mac);
      if (rtnl_talk (rtnl, &q) < 0)
        return fail (f, "net", errno, "cannot add the neighbour %s on %s", text_of (&e->ip, text), n->name);
    }
  return 0;
}

int
netif_configure (int rtnl, int index, const struct net_interface *n, struct failure *f)
{
  if (n->mtu && netif_set_mtu (rtnl, index, n->mtu) < 0)
    return fail (f, "net", errno, "cannot set the MTU of %s to %u", n->name, n->mtu);
  /* Not without IPv6, where nothing is generated either. */
  if (set_address_generation (rtnl, index, n) < 0 && errno != EAFNOSUPPORT && errno != EOPNOTSUPP)
    return fail (f, "net", errno, "cannot prepare %s for IPv6", n->name);
  for (size_t i = 0; i < n->n_addresses; i++)
    if (netif_add_address (rtnl, index, &n->addresses[i]) < 0)
      {
        char text[INET6_ADDRSTRLEN];

        return fail (f, "net", errno, "cannot give %s the address %s/%u", n->name,
                     text_of (&n->addresses[i].local, text), n->addresses[i].prefix);
      }
  if (netif_up (rtnl, index, true) < 0)
    return fail (f, "net", errno, "cannot bring %s up", n->name);
  /* A gateway has to be reachable first. */
  if (add_routes (rtnl, index, n, false, f) < 0 || add_routes (rtnl, index, n, true, f) < 0)
    return -1;
  return add_neighbours (rtnl, index, n, f);
}

/* What there is */

struct reading
{
  int only;
  struct net_interface *list;
  int *indices;
  size_t n;
  bool failed;
};

static void
read_link (void *data, const struct nlmsghdr *h)
{
  struct reading *all = data;
  const struct rtattr *a[IFLA_MTU + 1];
  const struct ifinfomsg *link = NLMSG_DATA (h);
  size_t n = all->n;
  struct net_interface *i;
  int *index;

  if (h->nlmsg_type != RTM_NEWLINK || !rtnl_attributes (h, sizeof *link, a, IFLA_MTU)
      || (all->only && link->ifi_index != all->only))
    return;
  index = array_append (all->indices, n);
  i = array_append (all->list, all->n);
  if (!index || !i)
    {
      all->n = i ? all->n - 1 : all->n;
      all->failed = true;
      return;
    }
  *index = link->ifi_index;
  rtnl_text (a[IFLA_IFNAME], i->name, sizeof i->name);
  if (a[IFLA_ADDRESS] && RTA_PAYLOAD (a[IFLA_ADDRESS]) == NET_MAC_SIZE && link->ifi_type == 1)
    {
      memcpy (i->mac, RTA_DATA (a[IFLA_ADDRESS]), NET_MAC_SIZE);
      i->has_mac = true;
    }
  i->mtu = rtnl_u32 (a[IFLA_MTU]);
  i->flags = link->ifi_flags;
}

static struct net_interface *
reading_of (struct reading *all, int index)
{
  for (size_t i = 0; i < all->n; i++)
    if (all->indices[i] == index)
      return &all->list[i];
  return NULL;
}

static void
read_address (void *data, const struct nlmsghdr *h)
{
  struct reading *all = data;
  const struct rtattr *a[IFA_FLAGS + 1];
  const struct ifaddrmsg *body = NLMSG_DATA (h);
  struct net_address out = { .valid = NET_FOREVER, .preferred = NET_FOREVER };
  struct net_interface *i;

  if (h->nlmsg_type != RTM_NEWADDR || !rtnl_attributes (h, sizeof *body, a, IFA_FLAGS)
      || !(i = reading_of (all, (int) body->ifa_index)))
    return;
  out.local = rtnl_ip (a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS]);
  if (a[IFA_LOCAL] && a[IFA_ADDRESS])
    {
      out.peer = rtnl_ip (a[IFA_ADDRESS]);
      if (memcmp (&out.peer, &out.local, sizeof out.peer) == 0)
        out.peer.len = 0;
    }
  out.broadcast = rtnl_ip (a[IFA_BROADCAST]);
  out.prefix = body->ifa_prefixlen;
  out.scope = body->ifa_scope;
  out.flags = a[IFA_FLAGS] ? rtnl_u32 (a[IFA_FLAGS]) : body->ifa_flags;
  if (a[IFA_CACHEINFO] && RTA_PAYLOAD (a[IFA_CACHEINFO]) >= sizeof (struct ifa_cacheinfo))
    {
      const struct ifa_cacheinfo *life = RTA_DATA (a[IFA_CACHEINFO]);

      out.valid = life->ifa_valid;
      out.preferred = life->ifa_prefered;
    }
  if (out.local.len && !net_interface_add_address (i, &out))
    i->cut = true;
}

static void
read_route (void *data, const struct nlmsghdr *h)
{
  struct reading *all = data;
  const struct rtattr *a[RTA_VIA + 1], *metrics[RTAX_MTU + 1];
  const struct rtmsg *body = NLMSG_DATA (h);
  struct net_route out = { 0 };
  struct net_interface *i;

  if (h->nlmsg_type != RTM_NEWROUTE || !rtnl_attributes (h, sizeof *body, a, RTA_VIA)
      || (body->rtm_family != AF_INET && body->rtm_family != AF_INET6)
      /* Those come with the addresses. */
      || body->rtm_table == RT_TABLE_LOCAL || (body->rtm_flags & RTM_F_CLONED)
      || !(i = reading_of (all, (int) rtnl_u32 (a[RTA_OIF]))))
    return;
  out.destination = rtnl_ip (a[RTA_DST]);
  out.destination.len = body->rtm_family == AF_INET6 ? 16 : 4;
  out.prefix = body->rtm_dst_len;
  out.gateway = rtnl_ip (a[RTA_GATEWAY]);
  if (a[RTA_VIA] && (RTA_PAYLOAD (a[RTA_VIA]) == 6 || RTA_PAYLOAD (a[RTA_VIA]) == 18))
    {
      out.gateway.len = (uint8_t) (RTA_PAYLOAD (a[RTA_VIA]) - 2);
      memcpy (out.gateway.bytes, (const unsigned char *) RTA_DATA (a[RTA_VIA]) + 2, out.gateway.len);
    }
  out.source = rtnl_ip (a[RTA_PREFSRC]);
  out.has_metric = a[RTA_PRIORITY];
  out.metric = rtnl_u32 (a[RTA_PRIORITY]);
  out.table = a[RTA_TABLE] ? rtnl_u32 (a[RTA_TABLE]) : body->rtm_table;
  out.scope = body->rtm_scope;
  out.type = body->rtm_type;
  out.protocol = body->rtm_protocol;
  out.flags = body->rtm_flags & RTNH_F_ONLINK;
  if (a[RTA_METRICS])
    {
      const struct rtattr *m = RTA_DATA (a[RTA_METRICS]);
      size_t left = RTA_PAYLOAD (a[RTA_METRICS]);

      memset (metrics, 0, sizeof metrics);
      for (; RTA_OK (m, left); m = RTA_NEXT (m, left))
        if (m->rta_type <= RTAX_MTU)
          metrics[m->rta_type] = m;
      out.mtu = rtnl_u32 (metrics[RTAX_MTU]);
    }
  if (!net_interface_add_route (i, &out))
    i->cut = true;
}

int
netif_read (int rtnl, int index, void (*each) (void *data, int index, struct net_interface *n), void *data)
{
  struct ifinfomsg link = { 0 };
  struct ifaddrmsg address = { 0 };
  struct rtmsg route = { 0 };
  struct reading all = { .only = index };
  struct rtnl_request q;
  int result;

  rtnl_begin (&q, RTM_GETLINK, 0, &link, sizeof link);
  result = rtnl_dump (rtnl, &q, read_link, &all);
  if (result == 0)
    {
      rtnl_begin (&q, RTM_GETADDR, 0, &address, sizeof address);
      result = rtnl_dump (rtnl, &q, read_address, &all);
    }
  if (result == 0)
    {
      rtnl_begin (&q, RTM_GETROUTE, 0, &route, sizeof route);
      result = rtnl_dump (rtnl, &q, read_route, &all);
    }
  if (result == 0 && all.failed)
    {
      errno = ENOMEM;
      result = -1;
    }
  for (size_t i = 0; i < all.n; i++)
    {
      if (result == 0)
        each (data, all.indices[i], &all.list[i]);
      net_interface_free (&all.list[i]);
    }
  free (all.list);
  free (all.indices);
  return result;
}
