/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host mode: a link between the host and this VM alone, four addresses out of 169.254.0.0/16, NAT to the
 * outside, and the ports that were asked for.
 *
 * Which four is agreed upon without a lock, by the addresses themselves: one takes a free network on a link
 * that is still down, looks again, and gives it back if somebody else has taken the same meanwhile.  Of two
 * that come at once at least one sees the other.  A lock would have to be a file that everybody can reach
 * and nobody can hold up.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cleanup.h"
#include "err.h"

enum
{
  LINK_PREFIX = 30,
  TRIES = 64
};

static uint32_t
mask (unsigned prefix)
{
  return prefix ? ~UINT32_C (0) << (32 - prefix) : 0;
}

static uint32_t
to_number (const struct rcvmi_net_ip *ip)
{
  uint32_t n;

  memcpy (&n, ip->bytes, 4);
  return ntohl (n);
}

static struct rcvmi_net_ip
to_ip (uint32_t n)
{
  struct rcvmi_net_ip ip = { .family = AF_INET };

  n = htonl (n);
  memcpy (ip.bytes, &n, 4);
  return ip;
}

/* Parts of 169.254.0.0/16 that have a meaning: reserved by RFC 3927 (0 and 255), bridges of RunCVM's way
   (1), name servers on nodes of Kubernetes (20), the clouds' metadata (169, 170). */
static bool
reserved (uint32_t n)
{
  uint32_t third = n >> 8 & 0xff;

  return n >> 16 == 0xa9fe
         && (third == 0 || third == 1 || third == 20 || third == 169 || third == 170 || third == 255);
}

static bool
in_use (const struct rcvmi_net *net, const struct rcvmi_net_list *list, uint32_t n)
{
  for (size_t i = 0; i < list->n_used; i++)
    {
      const struct rcvmi_net_route *u = &list->used[i];
      uint32_t other = to_number (&u->destination);
      uint32_t both = mask (u->prefix < LINK_PREFIX ? u->prefix : LINK_PREFIX);

      if ((other & mask (LINK_PREFIX)) == n)
        return true;
      /* One that is as wide as the range (169.254.0.0/16 on some host's eth0) is for others than we take
         out of it. */
      if (u->prefix > net->range_prefix && ((other ^ n) & both) == 0)
        return true;
    }
  return false;
}

static int
choose_network (const struct rcvmi_net *net, const struct rcvmi_net_list *list, uint32_t *network,
                rcvm_error **err)
{
  uint32_t first = to_number (&net->range) & mask (net->range_prefix), start, count;
  char text[INET6_ADDRSTRLEN];

  count = UINT32_C (1) << (LINK_PREFIX - net->range_prefix);
  /* Anywhere, so that those who come at once seldom meet. */
  if (getrandom (&start, sizeof start, 0) != sizeof start)
    return rcvmi_fail_errno (err, errno, "cannot get random numbers");
  for (uint32_t i = 0; i < count; i++)
    {
      uint32_t n = first + ((start + i) % count) * 4;

      if (!reserved (n) && !in_use (net, list, n))
        {
          *network = n;
          return 0;
        }
    }
  return rcvmi_fail (err, RCVM_E_HOST, 0,
                     "there is no free network left in %s/%u for a VM's link; choose another range",
                     rcvmi_net_ip_text (&net->range, text), net->range_prefix);
}

/* Whether another interface has an address in that network. */
static bool
met (const struct rcvmi_net_list *list, int index, uint32_t network)
{
  for (size_t i = 0; i < list->n; i++)
    for (size_t k = 0; list->found[i].data.index != index && k < list->found[i].data.n_addrs; k++)
      {
        const struct rcvmi_net_addr *a = &list->found[i].data.addrs[k];

        if (a->ip.family == AF_INET && (to_number (&a->ip) & mask (LINK_PREFIX)) == network)
          return true;
      }
  return false;
}

static int
take_network (struct rcvmi_net *net, const struct rcvmi_net_nic *nic, uint32_t *network, rcvm_error **err)
{
  struct rcvmi_net_list list;
  int code = rcvmi_net_read (&net->nl, &list, err);

  for (int i = 0; code == 0; i++)
    {
      struct rcvmi_net_ip host;
      int r;

      code = choose_network (net, &list, network, err);
      rcvmi_net_list_clear (&list);
      if (code < 0)
        return code;
      host = to_ip (*network + 1);
      r = rcvmi_net_address_add (&net->nl, nic->tap_index, host.bytes, LINK_PREFIX);
      if (r < 0)
        return rcvmi_fail_errno (err, -r, "cannot give the TAP '%s' an address%s", nic->tap_name,
                                 net->nl.text);
      code = rcvmi_net_read (&net->nl, &list, err);
      if (code < 0 || !met (&list, nic->tap_index, *network))
        break;
      (void) rcvmi_net_address_delete (&net->nl, nic->tap_index, host.bytes, LINK_PREFIX);
      if (i == TRIES)
        code = rcvmi_fail (err, RCVM_E_HOST, 0, "others take every network for a VM's link first");
    }
  rcvmi_net_list_clear (&list);
  return code;
}

static int
set_sysctl (struct rcvmi_net *net, const char *tap, const char *key, rcvm_error **err)
{
  char path[96];
  int r;

  snprintf (path, sizeof path, "/proc/sys/net/ipv4/conf/%s/%s", tap, key);
  r = rcvmi_netns_sysctl_set (&net->ns, path, "1", err);
  if (r > 0)
    return -r;
  return r < 0 ? rcvmi_fail_errno (err, -r, "cannot set '%s'", path) : 0;
}

static int
check_forwarding (struct rcvmi_net *net, rcvm_error **err)
{
  static const char path[] = "/proc/sys/net/ipv4/ip_forward";
  int value = 0, r = rcvmi_netns_sysctl_get (&net->ns, path, &value, err);

  if (r > 0)
    return -r;
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot read '%s'", path);
  if (value)
    return 0;
  if (!net->enable_forwarding)
    return rcvmi_fail (
        err, RCVM_E_HOST, 0,
        "this host does not forward packets, so a VM with a private link reaches nothing; set "
        "net.ipv4.ip_forward=1");
  r = rcvmi_netns_sysctl_set (&net->ns, path, "1", err);
  if (r > 0)
    return -r;
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot turn on net.ipv4.ip_forward");
  if (rcvmi_net_warn (&net->warnings, "net.ipv4.ip_forward was turned on for host networking; it stays on")
      < 0)
    return rcvmi_fail_nomem (err);
  return 0;
}

static int
check_config (const struct rcvmi_net *net, rcvm_error **err)
{
  char text[INET6_ADDRSTRLEN];

  if (net->range.family != AF_INET || net->range_prefix < 8 || net->range_prefix > LINK_PREFIX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the range %s/%u for VMs' links is not IPv4 with a prefix of 8 to %d",
                       rcvmi_net_ip_text (&net->range, text), net->range_prefix, LINK_PREFIX);
  for (size_t i = 0; i < net->n_ports; i++)
    {
      const struct rcvmi_net_port *p = &net->ports[i];

      if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "a published port must be of TCP or UDP");
      if (!p->host_port || !p->guest_port)
        return rcvmi_fail (err, RCVM_E_INVALID, 0,
                           "a published port must be 1 to 65535, on the host and in the VM");
      if (p->host_ip.family == AF_INET6)
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "a port cannot be published at the IPv6 address %s: host mode is IPv4",
                           rcvmi_net_ip_text (&p->host_ip, text));
    }
  return 0;
}

/* The way out has a size, and the guest should not have to find it out. */
static uint32_t
uplink_mtu (const struct rcvmi_net_list *list)
{
  for (size_t i = 0; i < list->n; i++)
    for (size_t k = 0; k < list->found[i].data.n_routes; k++)
      if (list->found[i].data.routes[k].family == AF_INET && list->found[i].data.routes[k].prefix == 0)
        return list->found[i].data.mtu;
  return 1500;
}

static int
fill_guest (struct rcvmi_net_nic *nic, uint32_t network, rcvm_error **err)
{
  struct rcvmi_net_if *g = &nic->guest, *o = &nic->outside;

  g->addrs = calloc (1, sizeof *g->addrs);
  g->routes = calloc (1, sizeof *g->routes);
  o->addrs = calloc (1, sizeof *o->addrs);
  if (!g->addrs || !g->routes || !o->addrs)
    return rcvmi_fail_nomem (err);
  g->n_addrs = g->n_routes = o->n_addrs = 1;
  o->addrs[0] = g->addrs[0] = (struct rcvmi_net_addr){
    .ip = to_ip (network + 2), .prefix = LINK_PREFIX, .valid = UINT32_MAX, .preferred = UINT32_MAX
  };
  g->addrs[0].broadcast = to_ip (network + 3);
  o->addrs[0].ip = to_ip (network + 1);
  g->routes[0] = (struct rcvmi_net_route){
    .family = AF_INET, .gateway = to_ip (network + 1), .scope = RT_SCOPE_UNIVERSE, .protocol = RTPROT_STATIC
  };
  snprintf (g->name, sizeof g->name, "eth0");
  memcpy (o->name, nic->tap_name, sizeof o->name);
  snprintf (o->kind, sizeof o->kind, "tun");
  o->index = nic->tap_index;
  g->mtu = o->mtu;
  g->up = o->up = true;
  return rcvmi_net_mac_random (g->mac, err);
}

static int
make_link (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err)
{
  struct rcvmi_net_link link;
  uint32_t network = 0;
  int code, r;

  code = rcvmi_net_nic_make_tap (net, nic, err);
  if (code == 0 && rcvmi_net_link_get (&net->nl, nic->tap_index, NULL, &link) == 0)
    memcpy (nic->outside.mac, link.mac, sizeof link.mac);
  if (code == 0)
    code = take_network (net, nic, &network, err);
  if (code == 0)
    code = fill_guest (nic, network, err);
  if (code == 0)
    code = set_sysctl (net, nic->tap_name, "forwarding", err);
  if (code == 0 && net->n_ports)
    code = set_sysctl (net, nic->tap_name, "route_localnet", err);
  if (code == 0)
    code = rcvmi_net_nft_make (net, nic->tap_name, &nic->guest.addrs[0].ip, err);
  if (code < 0)
    return code;
  r = rcvmi_net_link_set_up (&net->nl, nic->tap_index, true);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot set the TAP '%s' up%s", nic->tap_name, net->nl.text);
  return 0;
}

int
rcvmi_net_private_prepare (struct rcvmi_net *net, rcvm_error **err)
{
  struct rcvmi_net_nic *nic;
  struct rcvmi_net_list list;
  uint32_t random;
  int code = check_config (net, err);

  if (code == 0)
    code = check_forwarding (net, err);
  if (code == 0)
    code = rcvmi_net_dns_of_host (&net->dns, err);
  if (code == 0 && !net->dns.servers
      && rcvmi_net_warn (&net->warnings, "the host has no name server that a VM can reach") < 0)
    code = rcvmi_fail_nomem (err);
  if (code < 0)
    return code;
  nic = rcvmi_net_nic_new (net, err);
  if (!nic)
    return RCVM_E_NOMEM;
  code = rcvmi_net_read (&net->nl, &list, err);
  if (code < 0)
    return code;
  nic->outside.mtu = uplink_mtu (&list);
  rcvmi_net_list_clear (&list);
  nic->dhcp = false;
  if (getrandom (&random, sizeof random, 0) != sizeof random)
    return rcvmi_fail_errno (err, errno, "cannot get random numbers");
  if (net->tap_name[0])
    memcpy (nic->tap_name, net->tap_name, sizeof nic->tap_name);
  else
    snprintf (nic->tap_name, sizeof nic->tap_name, "rcvm%08x", random);
  memcpy (nic->priv->done.tap, nic->tap_name, sizeof nic->tap_name);
  snprintf (net->table, sizeof net->table, "runcvm_%s", nic->tap_name);
  code = rcvmi_net_save_record (net, err);
  if (code == 0)
    code = make_link (net, nic, err);
  return code;
}
