/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Five dumps: links, addresses, routes of both families, neighbours. */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-read.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "err.h"
#include "net-tap.h"

enum
{
  /* States of the moment: another look may show others. */
  PASSING_FLAGS = IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED,
  READ_TRIES = 50,
  CHANGED = 1 /* something changed while it was read */
};

struct reader
{
  struct rcvmi_net_list *list;
  bool failed; /* out of memory */
};

void
rcvmi_net_strv_free (char **list)
{
  for (char **s = list; s && *s; s++)
    free (*s);
  free (list);
}

int
rcvmi_net_warn (char ***warnings, const char *fmt, ...)
{
  size_t n = 0;
  char **list, *text;
  va_list ap;
  int r;

  while (*warnings && (*warnings)[n])
    n++;
  va_start (ap, fmt);
  r = vasprintf (&text, fmt, ap);
  va_end (ap);
  if (r < 0)
    return -1;
  list = reallocarray (*warnings, n + 2, sizeof *list);
  if (!list)
    {
      free (text);
      return -1;
    }
  list[n] = text;
  list[n + 1] = NULL;
  *warnings = list;
  return 0;
}

void
rcvmi_net_if_clear (struct rcvmi_net_if *i)
{
  free (i->addrs);
  free (i->routes);
  free (i->neighs);
  *i = (struct rcvmi_net_if){ .index = 0 };
}

static void *
duplicate (const void *p, size_t n, size_t size, bool *ok)
{
  void *copy = n ? malloc (n * size) : NULL;

  if (copy)
    memcpy (copy, p, n * size);
  else if (n)
    *ok = false;
  return copy;
}

int
rcvmi_net_if_copy (struct rcvmi_net_if *to, const struct rcvmi_net_if *from, rcvm_error **err)
{
  bool ok = true;

  *to = *from;
  to->addrs = duplicate (from->addrs, from->n_addrs, sizeof *to->addrs, &ok);
  to->routes = duplicate (from->routes, from->n_routes, sizeof *to->routes, &ok);
  to->neighs = duplicate (from->neighs, from->n_neighs, sizeof *to->neighs, &ok);
  if (ok)
    return 0;
  rcvmi_net_if_clear (to);
  return rcvmi_fail_nomem (err);
}

void
rcvmi_net_list_clear (struct rcvmi_net_list *list)
{
  for (size_t i = 0; i < list->n; i++)
    rcvmi_net_if_clear (&list->found[i].data);
  free (list->found);
  free (list->used);
  rcvmi_net_strv_free (list->warnings);
  *list = (struct rcvmi_net_list){ .n = 0 };
}

struct rcvmi_net_found *
rcvmi_net_list_find (struct rcvmi_net_list *list, int index)
{
  for (size_t i = 0; i < list->n; i++)
    if (list->found[i].data.index == index)
      return &list->found[i];
  return NULL;
}

/* Room for one more at the end of an array; NULL without memory. */
#define grow(array, n, failed)                                                                             \
  ({                                                                                                       \
    __typeof__ (array) grown_ = reallocarray ((array), (n) + 1, sizeof *grown_);                           \
    if (grown_)                                                                                            \
      {                                                                                                    \
        (array) = grown_;                                                                                  \
        memset (&grown_[n], 0, sizeof *grown_);                                                            \
      }                                                                                                    \
    else                                                                                                   \
      (failed) = true;                                                                                     \
    grown_ ? &grown_[(n)++] : NULL;                                                                        \
  })

static void
get_ip (struct rcvmi_net_ip *ip, uint8_t family, struct nlattr *a)
{
  int size = family == AF_INET ? 4 : 16;

  if (!a || nla_len (a) < size || (family != AF_INET && family != AF_INET6))
    return;
  ip->family = family;
  memcpy (ip->bytes, nla_data (a), (size_t) size);
}

static uint32_t
get_u32 (struct nlattr *a, uint32_t otherwise)
{
  return a && nla_len (a) >= 4 ? nla_get_u32 (a) : otherwise;
}

static void
on_link (void *user, struct nlmsghdr *h)
{
  struct reader *r = user;
  struct rcvmi_net_link link;
  struct rcvmi_net_found *f;
  unsigned type = 0;

  if (!rcvmi_net_link_parse (h, &link, &type))
    return;
  f = grow (r->list->found, r->list->n, r->failed);
  if (!f)
    return;
  f->type = type;
  f->flags = link.flags;
  f->master = link.master;
  f->data.index = link.index;
  f->data.mtu = link.mtu;
  f->data.up = link.flags & IFF_UP;
  memcpy (f->data.name, link.name, sizeof f->data.name);
  memcpy (f->data.kind, link.kind, sizeof f->data.kind);
  memcpy (f->data.mac, link.mac, sizeof f->data.mac);
}

static void
use (struct reader *r, const struct rcvmi_net_ip *ip, uint8_t prefix)
{
  struct rcvmi_net_route *u;

  if (ip->family != AF_INET)
    return;
  u = grow (r->list->used, r->list->n_used, r->failed);
  if (!u)
    return;
  u->family = AF_INET;
  u->destination = *ip;
  u->prefix = prefix;
}

static void
on_addr (void *user, struct nlmsghdr *h)
{
  struct reader *r = user;
  const struct ifaddrmsg *m = NLMSG_DATA (h);
  struct nlattr *a[IFA_MAX + 1];
  struct rcvmi_net_found *f;
  struct rcvmi_net_addr *addr;

  if (h->nlmsg_type != RTM_NEWADDR || nlmsg_parse (h, sizeof *m, a, IFA_MAX, NULL) < 0)
    return;
  f = rcvmi_net_list_find (r->list, (int) m->ifa_index);
  if (!f || (m->ifa_family != AF_INET && m->ifa_family != AF_INET6))
    return;
  addr = grow (f->data.addrs, f->data.n_addrs, r->failed);
  if (!addr)
    return;
  addr->prefix = m->ifa_prefixlen;
  addr->scope = m->ifa_scope;
  addr->flags = get_u32 (a[IFA_FLAGS], m->ifa_flags) & ~(uint32_t) PASSING_FLAGS;
  addr->valid = addr->preferred = UINT32_MAX;
  get_ip (&addr->ip, m->ifa_family, a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS]);
  get_ip (&addr->broadcast, m->ifa_family, a[IFA_BROADCAST]);
  if (a[IFA_LOCAL])
    get_ip (&addr->peer, m->ifa_family, a[IFA_ADDRESS]);
  if (!memcmp (&addr->peer, &addr->ip, sizeof addr->ip))
    addr->peer = (struct rcvmi_net_ip){ .family = AF_UNSPEC };
  if (a[IFA_CACHEINFO] && nla_len (a[IFA_CACHEINFO]) >= (int) sizeof (struct ifa_cacheinfo))
    {
      struct ifa_cacheinfo ci;

      memcpy (&ci, nla_data (a[IFA_CACHEINFO]), sizeof ci);
      addr->valid = ci.ifa_valid;
      addr->preferred = ci.ifa_prefered;
    }
  use (r, &addr->ip, addr->prefix);
}

/* The first hop of several: one path is what a guest is given. */
static void
take_hop (struct reader *r, struct nlattr *multipath, struct rcvmi_net_route *route, uint32_t *oif)
{
  const struct rtnexthop *hop = nla_data (multipath);
  struct nlattr *a[RTA_MAX + 1];

  if (nla_len (multipath) < (int) sizeof *hop || hop->rtnh_len < sizeof *hop
      || hop->rtnh_len > nla_len (multipath))
    return;
  if (nla_parse (a, RTA_MAX, (struct nlattr *) RTNH_DATA (hop), hop->rtnh_len - (int) sizeof *hop, NULL)
      < 0)
    return;
  *oif = (uint32_t) hop->rtnh_ifindex;
  route->onlink = hop->rtnh_flags & RTNH_F_ONLINK;
  get_ip (&route->gateway, route->family, a[RTA_GATEWAY]);
  if (rcvmi_net_warn (&r->list->warnings, "a route has several next hops; the VM uses the first one alone")
      < 0)
    r->failed = true;
}

static void
on_route (void *user, struct nlmsghdr *h)
{
  struct reader *r = user;
  const struct rtmsg *m = NLMSG_DATA (h);
  struct nlattr *a[RTA_MAX + 1], *metrics[RTAX_MAX + 1];
  struct rcvmi_net_route route = { 0 }, *slot;
  struct rcvmi_net_found *f;
  uint32_t oif;

  if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse (h, sizeof *m, a, RTA_MAX, NULL) < 0)
    return;
  if (m->rtm_flags & RTM_F_CLONED || (m->rtm_family != AF_INET && m->rtm_family != AF_INET6))
    return;
  route.family = m->rtm_family;
  route.prefix = m->rtm_dst_len;
  get_ip (&route.destination, m->rtm_family, a[RTA_DST]);
  if (route.prefix > 0)
    use (r, &route.destination, route.prefix);
  if (get_u32 (a[RTA_TABLE], m->rtm_table) != RT_TABLE_MAIN)
    return;
  if (m->rtm_type != RTN_UNICAST || m->rtm_tos != 0 || m->rtm_src_len != 0 || a[RTA_ENCAP])
    {
      if (m->rtm_type != RTN_MULTICAST && m->rtm_type != RTN_ANYCAST && m->rtm_type != RTN_LOCAL
          && rcvmi_net_warn (&r->list->warnings, "a route of an unusual kind was left out: type %u, TOS %u",
                             m->rtm_type, m->rtm_tos)
                 < 0)
        r->failed = true;
      return;
    }
  oif = get_u32 (a[RTA_OIF], 0);
  route.scope = m->rtm_scope;
  route.protocol = m->rtm_protocol;
  route.onlink = m->rtm_flags & RTNH_F_ONLINK;
  route.metric = get_u32 (a[RTA_PRIORITY], 0);
  get_ip (&route.gateway, m->rtm_family, a[RTA_GATEWAY]);
  if (a[RTA_VIA] && nla_len (a[RTA_VIA]) >= 2 + 16)
    {
      route.gateway.family = AF_INET6;
      memcpy (route.gateway.bytes, (char *) nla_data (a[RTA_VIA]) + 2, 16);
    }
  get_ip (&route.source, m->rtm_family, a[RTA_PREFSRC]);
  if (a[RTA_MULTIPATH])
    take_hop (r, a[RTA_MULTIPATH], &route, &oif);
  if (a[RTA_METRICS] && nla_parse_nested (metrics, RTAX_MAX, a[RTA_METRICS], NULL) == 0)
    route.mtu = get_u32 (metrics[RTAX_MTU], 0);
  f = rcvmi_net_list_find (r->list, (int) oif);
  slot = f ? grow (f->data.routes, f->data.n_routes, r->failed) : NULL;
  if (slot)
    *slot = route;
}

static void
on_neigh (void *user, struct nlmsghdr *h)
{
  struct reader *r = user;
  const struct ndmsg *m = NLMSG_DATA (h);
  struct nlattr *a[NDA_MAX + 1];
  struct rcvmi_net_found *f;
  struct rcvmi_net_neigh *n;
  bool proxy;

  if (h->nlmsg_type != RTM_NEWNEIGH || nlmsg_parse (h, sizeof *m, a, NDA_MAX, NULL) < 0)
    return;
  proxy = m->ndm_flags & NTF_PROXY;
  if ((!proxy && !(m->ndm_state & NUD_PERMANENT))
      || (m->ndm_family != AF_INET && m->ndm_family != AF_INET6))
    return;
  f = rcvmi_net_list_find (r->list, m->ndm_ifindex);
  if (!f || !a[NDA_DST] || (!proxy && (!a[NDA_LLADDR] || nla_len (a[NDA_LLADDR]) != 6)))
    return;
  n = grow (f->data.neighs, f->data.n_neighs, r->failed);
  if (!n)
    return;
  get_ip (&n->ip, m->ndm_family, a[NDA_DST]);
  n->proxy = proxy;
  if (!proxy)
    memcpy (n->mac, nla_data (a[NDA_LLADDR]), 6);
}

/* A gateway must be reachable when its route is added: what is on the link comes first. */
static int
compare_routes (const void *one, const void *two)
{
  const struct rcvmi_net_route *a = one, *b = two;
  bool x = a->gateway.family != AF_UNSPEC, y = b->gateway.family != AF_UNSPEC;

  if (x != y)
    return x - y;
  if (a->prefix != b->prefix)
    return (int) b->prefix - (int) a->prefix;
  return memcmp (a, b, sizeof *a);
}

/* Returns 0, CHANGED, or fails. */
static int
dump (struct rcvmi_nl *nl, struct reader *r, int type, const void *header, size_t size, rcvmi_nl_fn fn,
      const char *what, rcvm_error **err)
{
  int code = rcvmi_nl_request (nl, rcvmi_nl_new (type, NLM_F_DUMP, header, size), fn, r);

  if (r->failed)
    return rcvmi_fail_nomem (err);
  if (code == -EOPNOTSUPP || code == -EAFNOSUPPORT)
    return 0; /* a kernel without IPv6 */
  if (code < 0 && code != -EAGAIN)
    return rcvmi_fail_errno (err, -code, "cannot read the namespace's %s%s", what, nl->text);
  return code < 0 ? CHANGED : 0;
}

static int
read_once (struct rcvmi_nl *nl, struct reader *r, rcvm_error **err)
{
  static const uint8_t families[] = { AF_INET, AF_INET6 };
  struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
  struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
  int code = dump (nl, r, RTM_GETLINK, &link, sizeof link, on_link, "interfaces", err);

  if (code == 0)
    code = dump (nl, r, RTM_GETADDR, &addr, sizeof addr, on_addr, "addresses", err);
  for (size_t i = 0; i < 2; i++)
    {
      struct rtmsg route = { .rtm_family = families[i] };
      struct ndmsg neigh = { .ndm_family = families[i] };

      if (code == 0)
        code = dump (nl, r, RTM_GETROUTE, &route, sizeof route, on_route, "routes", err);
      if (code == 0)
        code = dump (nl, r, RTM_GETNEIGH, &neigh, sizeof neigh, on_neigh, "neighbours", err);
      neigh.ndm_flags = NTF_PROXY;
      if (code == 0)
        code = dump (nl, r, RTM_GETNEIGH, &neigh, sizeof neigh, on_neigh, "neighbours", err);
    }
  return code;
}

int
rcvmi_net_read (struct rcvmi_nl *nl, struct rcvmi_net_list *list, rcvm_error **err)
{
  struct reader r = { .list = list };
  int code;

  *list = (struct rcvmi_net_list){ .n = 0 };
  for (int i = 0;; i++)
    {
      code = read_once (nl, &r, err);
      if (code == CHANGED && i == READ_TRIES)
        code = rcvmi_fail (err, RCVM_E_SYSTEM, EAGAIN,
                           "the network namespace changes faster than it can be read");
      if (code == 0)
        break;
      rcvmi_net_list_clear (list);
      if (code != CHANGED)
        return code;
    }
  for (size_t i = 0; i < list->n; i++)
    if (list->found[i].data.n_routes)
      qsort (list->found[i].data.routes, list->found[i].data.n_routes, sizeof *list->found[i].data.routes,
             compare_routes);
  return 0;
}

/* Text. */

const char *
rcvmi_net_ip_text (const struct rcvmi_net_ip *ip, char *buf)
{
  buf[0] = '\0';
  if (ip->family == AF_INET || ip->family == AF_INET6)
    inet_ntop (ip->family, ip->bytes, buf, INET6_ADDRSTRLEN);
  return buf;
}

int
rcvmi_net_ip_parse (struct rcvmi_net_ip *ip, uint8_t *prefix, const char *text, rcvm_error **err)
{
  char address[INET6_ADDRSTRLEN];
  const char *slash = prefix ? strchr (text, '/') : NULL;
  size_t n = slash ? (size_t) (slash - text) : strlen (text);
  unsigned bits;

  *ip = (struct rcvmi_net_ip){ .family = AF_UNSPEC };
  if (n < sizeof address)
    {
      memcpy (address, text, n);
      address[n] = '\0';
      if (inet_pton (AF_INET, address, ip->bytes) == 1)
        ip->family = AF_INET;
      else if (inet_pton (AF_INET6, address, ip->bytes) == 1)
        ip->family = AF_INET6;
    }
  if (ip->family == AF_UNSPEC)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.64s' is not an IP address%s", text,
                       prefix ? " with a prefix" : "");
  bits = ip->family == AF_INET ? 32 : 128;
  if (slash)
    {
      char *end;
      unsigned long v = strtoul (slash + 1, &end, 10);

      if (slash[1] < '0' || slash[1] > '9' || *end || v > bits)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.64s' has no prefix length of 0 to %u", text, bits);
      bits = (unsigned) v;
    }
  if (prefix)
    *prefix = (uint8_t) bits;
  return 0;
}
