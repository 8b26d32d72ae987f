/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RunCVM's way of joining: a bridge in the namespace, with the interface and the TAP as its ports and
 * 169.254.1.1 on it, so that what runs in the namespace (a name server, a file server) and the guest reach
 * each other.
 *
 * A bridge takes frames for its ports' own addresses as its own.  So the interface lends its MAC address to
 * the guest, has another one meanwhile, and its IPv4 addresses go (they would be answered for from here):
 * the only way of joining that changes what the namespace's owner has set.  All of it is saved first, as
 * the kernel's own messages, and given back by sending them again.  IPv6 addresses stay: the kernel answers
 * for them on their own interface only, and that hears nothing any more.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "err.h"

static const uint8_t host_end[4] = { 169, 254, 1, 1 };

/* Saving: "TTTT" (the message's type) and its payload, in hexadecimal. */

struct saver
{
  struct rcvmi_net_done *done;
  bool failed;
};

static void
save (struct saver *s, int type, const void *payload, size_t size)
{
  const unsigned char *bytes = payload;
  autofree char *text = malloc (4 + 2 * size + 1);

  if (text)
    {
      snprintf (text, 5, "%04x", (unsigned) type);
      for (size_t i = 0; i < size; i++)
        snprintf (text + 4 + 2 * i, 3, "%02x", bytes[i]);
    }
  if (!text || rcvmi_net_warn (&s->done->saved, "%s", text) < 0)
    s->failed = true;
}

static void
on_addr (void *user, struct nlmsghdr *h)
{
  struct saver *s = user;
  const struct ifaddrmsg *m = NLMSG_DATA (h);

  if (h->nlmsg_type == RTM_NEWADDR && nlmsg_datalen (h) >= (int) sizeof *m && m->ifa_family == AF_INET
      && (int) m->ifa_index == s->done->index)
    save (s, RTM_NEWADDR, m, (size_t) nlmsg_datalen (h));
}

static void
on_route (void *user, struct nlmsghdr *h)
{
  struct saver *s = user;
  struct rtmsg *m = NLMSG_DATA (h);
  struct nlattr *a[RTA_MAX + 1];

  if (h->nlmsg_type != RTM_NEWROUTE || nlmsg_parse (h, sizeof *m, a, RTA_MAX, NULL) < 0 || !a[RTA_OIF]
      || (int) nla_get_u32 (a[RTA_OIF]) != s->done->index)
    return;
  /* What the kernel makes by itself comes back with its address. */
  if (m->rtm_table == RT_TABLE_LOCAL || m->rtm_protocol == RTPROT_KERNEL || m->rtm_flags & RTM_F_CLONED)
    return;
  m->rtm_flags &= RTNH_F_ONLINK;
  save (s, RTM_NEWROUTE, m, (size_t) nlmsg_datalen (h));
}

static void
on_neigh (void *user, struct nlmsghdr *h)
{
  struct saver *s = user;
  struct ndmsg *m = NLMSG_DATA (h);
  struct nlattr *a[NDA_MAX + 1];
  struct nl_msg *msg;

  if (h->nlmsg_type != RTM_NEWNEIGH || nlmsg_parse (h, sizeof *m, a, NDA_MAX, NULL) < 0
      || m->ndm_ifindex != s->done->index || !(m->ndm_state & NUD_PERMANENT) || !a[NDA_DST]
      || !a[NDA_LLADDR])
    return;
  /* Of its attributes only those that may be sent. */
  msg = rcvmi_nl_new (RTM_NEWNEIGH, 0, m, sizeof *m);
  if (msg && nla_put (msg, NDA_DST, nla_len (a[NDA_DST]), nla_data (a[NDA_DST])) == 0
      && nla_put (msg, NDA_LLADDR, nla_len (a[NDA_LLADDR]), nla_data (a[NDA_LLADDR])) == 0)
    save (s, RTM_NEWNEIGH, nlmsg_data (nlmsg_hdr (msg)), (size_t) nlmsg_datalen (nlmsg_hdr (msg)));
  else
    s->failed = true;
  nlmsg_free (msg);
}

int
rcvmi_net_bridge_save (struct rcvmi_nl *nl, struct rcvmi_net_done *done, rcvm_error **err)
{
  struct saver s = { .done = done };
  struct ifaddrmsg addr = { .ifa_family = AF_INET };
  struct rtmsg route = { .rtm_family = AF_INET };
  struct ndmsg neigh = { .ndm_family = AF_UNSPEC };
  int r;

  do
    {
      rcvmi_net_strv_free (steal_ptr (done->saved));
      r = rcvmi_nl_request (nl, rcvmi_nl_new (RTM_GETADDR, NLM_F_DUMP, &addr, sizeof addr), on_addr, &s);
      if (r == 0)
        r = rcvmi_nl_request (nl, rcvmi_nl_new (RTM_GETROUTE, NLM_F_DUMP, &route, sizeof route), on_route,
                              &s);
      /* A new MAC address makes the kernel forget them. */
      if (r == 0)
        r = rcvmi_nl_request (nl, rcvmi_nl_new (RTM_GETNEIGH, NLM_F_DUMP, &neigh, sizeof neigh), on_neigh,
                              &s);
    }
  while (r == -EAGAIN);
  if (s.failed)
    return rcvmi_fail_nomem (err);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot save the addresses of '%s'%s", done->name, nl->text);
  return 0;
}

/* NULL for what is none, or without memory. */
static struct nl_msg *
decode (const char *text, int flags, int *type)
{
  size_t n = strlen (text);
  struct nl_msg *msg;
  char word[5] = "";
  unsigned char *bytes;

  if (n < 4 || n % 2 || n > 2 * 4096 || strspn (text, "0123456789abcdef") != n)
    return NULL;
  memcpy (word, text, 4);
  *type = (int) strtoul (word, NULL, 16);
  n = (n - 4) / 2;
  bytes = malloc (n + 1);
  if (!bytes)
    return NULL;
  for (size_t i = 0; i < n; i++)
    {
      memcpy (word, text + 4 + 2 * i, 2);
      word[2] = '\0';
      bytes[i] = (unsigned char) strtoul (word, NULL, 16);
    }
  msg = rcvmi_nl_new (*type, flags, bytes, n);
  free (bytes);
  return msg;
}

int
rcvmi_net_replay (struct rcvmi_nl *nl, const char *text)
{
  int type = 0, r;
  struct nl_msg *msg = decode (text, NLM_F_CREATE | NLM_F_EXCL, &type);

  if (!msg)
    return -EINVAL;
  if (type != RTM_NEWADDR && type != RTM_NEWROUTE && type != RTM_NEWNEIGH)
    {
      nlmsg_free (msg);
      return -EINVAL;
    }
  r = rcvmi_nl_request (nl, msg, NULL, NULL);
  return r == -EEXIST ? 0 : r;
}

static int
remove_addresses (struct rcvmi_nl *nl, const struct rcvmi_net_done *done)
{
  for (char **s = done->saved; s && *s; s++)
    {
      int type = 0, r;
      struct nl_msg *msg = decode (*s, 0, &type);

      if (!msg)
        return -ENOMEM;
      if (type != RTM_NEWADDR)
        {
          nlmsg_free (msg);
          continue;
        }
      nlmsg_hdr (msg)->nlmsg_type = RTM_DELADDR;
      r = rcvmi_nl_request (nl, msg, NULL, NULL);
      /* A secondary one goes with its primary. */
      if (r < 0 && r != -EADDRNOTAVAIL)
        return r;
    }
  return 0;
}

/* Ours is known again by this: an alias can be given only afterwards. */
static void
bridge_mac (const char *alias, uint8_t mac[6])
{
  const char *digits = strchr (alias, ' ');

  mac[0] = 2;
  for (int i = 1; i < 6; i++)
    {
      char two[3] = { digits[2 * i + 1], digits[2 * i + 2], '\0' };

      mac[i] = (uint8_t) strtoul (two, NULL, 16);
    }
}

static int
make_bridge (struct rcvmi_nl *nl, const struct rcvmi_net_done *done, const uint8_t mac[6], uint32_t mtu)
{
  struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
  struct nl_msg *msg = rcvmi_nl_new (RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
  struct nlattr *info = NULL, *data = NULL;
  bool ok
      = msg && nla_put_string (msg, IFLA_IFNAME, done->bridge) == 0
        && nla_put (msg, IFLA_ADDRESS, 6, mac) == 0 && nla_put_u32 (msg, IFLA_MTU, mtu) == 0
        && (info = nla_nest_start (msg, IFLA_LINKINFO))
        && nla_put_string (msg, IFLA_INFO_KIND, "bridge") == 0
        && (data = nla_nest_start (msg, IFLA_INFO_DATA)) && nla_put_u32 (msg, IFLA_BR_FORWARD_DELAY, 0) == 0
        && nla_put_u32 (msg, IFLA_BR_STP_STATE, 0) == 0 && nla_put_u8 (msg, IFLA_BR_MCAST_SNOOPING, 0) == 0;

  if (!ok)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  nla_nest_end (msg, data);
  nla_nest_end (msg, info);
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

/* The namespace's way to the guest. */
static int
add_route (struct rcvmi_nl *nl, int bridge, const struct rcvmi_net_ip *guest)
{
  struct rtmsg m = { .rtm_family = AF_INET,
                     .rtm_dst_len = 32,
                     .rtm_table = RT_TABLE_MAIN,
                     .rtm_protocol = RTPROT_BOOT,
                     .rtm_scope = RT_SCOPE_LINK,
                     .rtm_type = RTN_UNICAST };
  struct nl_msg *msg = rcvmi_nl_new (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);

  if (msg
      && (nla_put (msg, RTA_DST, 4, guest->bytes) < 0 || nla_put_u32 (msg, RTA_OIF, (uint32_t) bridge) < 0
          || nla_put (msg, RTA_PREFSRC, 4, host_end) < 0))
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

int
rcvmi_net_bridge_guest (struct rcvmi_net_if *guest, rcvm_error **err)
{
  struct rcvmi_net_route *routes = reallocarray (guest->routes, guest->n_routes + 1, sizeof *routes);

  if (!routes)
    return rcvmi_fail_nomem (err);
  /* Before those by gateways. */
  memmove (&routes[1], routes, guest->n_routes++ * sizeof *routes);
  guest->routes = routes;
  routes[0] = (struct rcvmi_net_route){ .family = AF_INET,
                                        .prefix = 32,
                                        .destination = { .family = AF_INET },
                                        .scope = RT_SCOPE_LINK,
                                        .protocol = RTPROT_STATIC };
  memcpy (routes[0].destination.bytes, host_end, sizeof host_end);
  return 0;
}

static int
join (struct rcvmi_nl *nl, const struct rcvmi_net_done *done, const struct rcvmi_net_nic *nic,
      const char *alias)
{
  struct rcvmi_net_link bridge;
  uint8_t mac[6];
  int r;

  bridge_mac (alias, mac);
  r = make_bridge (nl, done, mac, nic->outside.mtu);
  if (r == 0)
    r = rcvmi_net_link_get (nl, 0, done->bridge, &bridge);
  /* It has nothing to say on the VM's link. */
  if (r == 0)
    r = rcvmi_net_link_silence (nl, bridge.index);
  if (r == 0)
    r = rcvmi_net_link_set_up (nl, bridge.index, true);
  if (r == 0)
    r = rcvmi_net_link_set_mac (nl, done->index, done->new_mac);
  if (r == 0)
    r = remove_addresses (nl, done);
  if (r == 0)
    r = rcvmi_net_link_set_master (nl, nic->tap_index, bridge.index);
  if (r == 0)
    r = rcvmi_net_link_set_master (nl, done->index, bridge.index);
  /* One 169.254.1.1 is enough for a namespace. */
  if (r < 0 || nic->number > 0)
    return r;
  r = rcvmi_net_address_add (nl, bridge.index, host_end, 32);
  for (size_t i = 0; r == 0 && i < nic->guest.n_addrs; i++)
    if (nic->guest.addrs[i].ip.family == AF_INET)
      r = add_route (nl, bridge.index, &nic->guest.addrs[i].ip);
  return r;
}

int
rcvmi_net_bridge_join (struct rcvmi_nl *nl, const struct rcvmi_net_done *done,
                       const struct rcvmi_net_nic *nic, const char *alias, rcvm_error **err)
{
  int r = join (nl, done, nic, alias);

  if (r == -EOPNOTSUPP)
    return rcvmi_fail (err, RCVM_E_HOST, -r,
                       "cannot join '%s' to its TAP by a bridge%s; the kernel lacks bridges", done->name,
                       nl->text);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot join '%s' to its TAP by a bridge%s", done->name, nl->text);
  return 0;
}

int
rcvmi_net_bridge_part (struct rcvmi_nl *nl, const struct rcvmi_net_done *done, const char *alias)
{
  struct rcvmi_net_link link;
  uint8_t mac[6];
  int first = 0, r;

  bridge_mac (alias, mac);
  if (rcvmi_net_link_get (nl, 0, done->bridge, &link) == 0 && !strcmp (link.kind, "bridge")
      && !memcmp (link.mac, mac, sizeof mac))
    first = rcvmi_net_link_delete (nl, link.index);
  if (rcvmi_net_link_get (nl, done->index, NULL, &link) < 0 || strcmp (link.name, done->name) != 0)
    return first;
  if (!memcmp (link.mac, done->new_mac, sizeof link.mac))
    {
      r = rcvmi_net_link_set_mac (nl, done->index, done->old_mac);
      if (first == 0)
        first = r;
    }
  for (char **s = done->saved; s && *s; s++)
    {
      r = rcvmi_net_replay (nl, *s);
      if (first == 0)
        first = r;
    }
  return first == -ENODEV ? 0 : first;
}
