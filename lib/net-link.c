/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libnl-route composes the requests.  Two are made by hand, because it has no way to say them: to change some of a
 * link's flags and leave the others, and to set an attribute of one address family.  Answers are taken apart by
 * libnl alone: libnl-route has no public way to parse one message.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-link.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/addr.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <string.h>

bool
rcvmi_net_link_parse (struct nlmsghdr *h, struct rcvmi_net_link *link, unsigned *type)
{
  struct nlattr *a[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
  const struct ifinfomsg *m = NLMSG_DATA (h);
  struct rtnl_link_stats64 stats;

  if (h->nlmsg_type != RTM_NEWLINK || nlmsg_parse (h, sizeof *m, a, IFLA_MAX, NULL) < 0 || !a[IFLA_IFNAME])
    return false;
  *link = (struct rcvmi_net_link){ .index = m->ifi_index, .flags = m->ifi_flags };
  if (type)
    *type = m->ifi_type;
  nla_strlcpy (link->name, a[IFLA_IFNAME], sizeof link->name);
  if (a[IFLA_ADDRESS] && nla_len (a[IFLA_ADDRESS]) == 6)
    memcpy (link->mac, nla_data (a[IFLA_ADDRESS]), 6);
  if (a[IFLA_MTU])
    link->mtu = nla_get_u32 (a[IFLA_MTU]);
  if (a[IFLA_MASTER])
    link->master = (int) nla_get_u32 (a[IFLA_MASTER]);
  if (a[IFLA_STATS64] && nla_len (a[IFLA_STATS64]) >= (int) sizeof stats)
    {
      memcpy (&stats, nla_data (a[IFLA_STATS64]), sizeof stats);
      link->received = stats.rx_bytes;
    }
  if (a[IFLA_IFALIAS])
    nla_strlcpy (link->alias, a[IFLA_IFALIAS], sizeof link->alias);
  if (a[IFLA_LINKINFO] && nla_parse_nested (info, IFLA_INFO_MAX, a[IFLA_LINKINFO], NULL) == 0
      && info[IFLA_INFO_KIND])
    nla_strlcpy (link->kind, info[IFLA_INFO_KIND], sizeof link->kind);
  return true;
}

struct found
{
  struct rcvmi_net_link *link;
  bool found;
};

static void
on_link (void *user, struct nlmsghdr *h)
{
  struct found *f = user;

  f->found = rcvmi_net_link_parse (h, f->link, NULL);
}

/* Sends what libnl has composed. */
static int
request (struct rcvmi_nl *nl, int composed, struct nl_msg **msg, rcvmi_nl_fn fn, void *user)
{
  if (composed < 0)
    return -ENOMEM;
  /* libnl's own way of sending would say so. */
  nlmsg_hdr (*msg)->nlmsg_flags |= NLM_F_REQUEST;
  return rcvmi_nl_request (nl, *msg, fn, user);
}

int
rcvmi_net_link_get (struct rcvmi_nl *nl, int index, const char *name, struct rcvmi_net_link *link)
{
  struct found f = { .link = link };
  struct nl_msg *msg = NULL;
  int r = request (nl, rtnl_link_build_get_request (index, index ? NULL : name, &msg), &msg, on_link, &f);

  return r < 0 ? r : f.found ? 0 : -ENODEV;
}

int
rcvmi_net_link_delete (struct rcvmi_nl *nl, int index)
{
  struct rtnl_link *l = rtnl_link_alloc ();
  struct nl_msg *msg = NULL;
  int r;

  if (!l)
    return -ENOMEM;
  rtnl_link_set_ifindex (l, index);
  r = request (nl, rtnl_link_build_delete_request (l, &msg), &msg, NULL, NULL);
  rtnl_link_put (l);
  return r;
}

/* `changes` is let go of; NULL is what could not be made. */
static int
change (struct rcvmi_nl *nl, int index, struct rtnl_link *changes)
{
  struct rtnl_link *l = rtnl_link_alloc ();
  struct nl_msg *msg = NULL;
  int r = -ENOMEM;

  if (l && changes)
    {
      rtnl_link_set_ifindex (l, index);
      r = request (nl, rtnl_link_build_change_request (l, changes, 0, &msg), &msg, NULL, NULL);
    }
  rtnl_link_put (l);
  rtnl_link_put (changes);
  return r;
}

int
rcvmi_net_link_set_mac (struct rcvmi_nl *nl, int index, const uint8_t mac[6])
{
  struct nl_addr *address = nl_addr_build (AF_LLC, mac, 6);
  struct rtnl_link *changes = address ? rtnl_link_alloc () : NULL;

  if (changes)
    rtnl_link_set_addr (changes, address);
  nl_addr_put (address);
  return change (nl, index, changes);
}

int
rcvmi_net_link_set_mtu (struct rcvmi_nl *nl, int index, uint32_t mtu)
{
  struct rtnl_link *changes = rtnl_link_alloc ();

  if (changes)
    rtnl_link_set_mtu (changes, mtu);
  return change (nl, index, changes);
}

int
rcvmi_net_link_set_master (struct rcvmi_nl *nl, int index, int master)
{
  struct rtnl_link *changes = rtnl_link_alloc ();

  if (changes)
    rtnl_link_set_master (changes, master);
  return change (nl, index, changes);
}

int
rcvmi_net_link_silence (struct rcvmi_nl *nl, int index)
{
  struct ifinfomsg m = { .ifi_index = index };
  struct nl_msg *msg = rcvmi_nl_new (RTM_NEWLINK, 0, &m, sizeof m);
  struct nlattr *spec = msg ? nla_nest_start (msg, IFLA_AF_SPEC) : NULL;
  struct nlattr *inet6 = spec ? nla_nest_start (msg, AF_INET6) : NULL;
  int r;

  if (!inet6 || nla_put_u8 (msg, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE) < 0)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  nla_nest_end (msg, inet6);
  nla_nest_end (msg, spec);
  r = rcvmi_nl_request (nl, msg, NULL, NULL);
  return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

int
rcvmi_net_link_set_up (struct rcvmi_nl *nl, int index, bool up)
{
  struct ifinfomsg m = { .ifi_index = index, .ifi_change = IFF_UP, .ifi_flags = up ? IFF_UP : 0 };

  return rcvmi_nl_request (nl, rcvmi_nl_new (RTM_SETLINK, 0, &m, sizeof m), NULL, NULL);
}

static struct rtnl_addr *
make_address (int index, const uint8_t address[4], unsigned prefix)
{
  struct nl_addr *local = nl_addr_build (AF_INET, address, 4);
  struct rtnl_addr *a = local ? rtnl_addr_alloc () : NULL;

  if (a)
    {
      nl_addr_set_prefixlen (local, (int) prefix);
      rtnl_addr_set_ifindex (a, index);
      if (rtnl_addr_set_local (a, local) < 0)
        {
          rtnl_addr_put (a);
          a = NULL;
        }
    }
  nl_addr_put (local);
  return a;
}

int
rcvmi_net_address_add (struct rcvmi_nl *nl, int index, const uint8_t address[4], unsigned prefix)
{
  struct rtnl_addr *a = make_address (index, address, prefix);
  struct nl_msg *msg = NULL;
  int r;

  if (!a)
    return -ENOMEM;
  r = request (nl, rtnl_addr_build_add_request (a, NLM_F_CREATE | NLM_F_EXCL, &msg), &msg, NULL, NULL);
  rtnl_addr_put (a);
  return r;
}

int
rcvmi_net_address_delete (struct rcvmi_nl *nl, int index, const uint8_t address[4], unsigned prefix)
{
  struct rtnl_addr *a = make_address (index, address, prefix);
  struct nl_msg *msg = NULL;
  int r;

  if (!a)
    return -ENOMEM;
  r = request (nl, rtnl_addr_build_delete_request (a, 0, &msg), &msg, NULL, NULL);
  rtnl_addr_put (a);
  return r;
}
