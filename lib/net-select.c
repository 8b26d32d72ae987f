/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which interfaces of a namespace are the container's, and what the guest is to have of them. */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "err.h"

static bool
named (const struct rcvmi_net *net, const char *name)
{
  for (char **s = net->interfaces; s && *s; s++)
    if (!strcmp (*s, name))
      return true;
  return false;
}

static bool
has_address (const struct rcvmi_net_if *i)
{
  for (size_t k = 0; k < i->n_addrs; k++)
    if (i->addrs[k].ip.family == AF_INET || i->addrs[k].scope != RT_SCOPE_LINK)
      return true;
  return false;
}

static const struct rcvmi_net_if *
find_static (const struct rcvmi_net *net, const char *name)
{
  for (size_t i = 0; i < net->n_statics; i++)
    if (!strcmp (net->statics[i].name, name))
      return &net->statics[i];
  return NULL;
}

/* Of the namespace's interfaces, those that are the container's: not loopback, TAPs, bridges (ours among
   them) and their ports, and not what lies around unused, like the kernel's own tunl0. */
bool
rcvmi_net_wanted (const struct rcvmi_net *net, const struct rcvmi_net_found *f)
{
  if (f->type != ARPHRD_ETHER || f->flags & IFF_LOOPBACK || f->master || !strcmp (f->data.kind, "tun")
      || !strcmp (f->data.kind, "bridge"))
    return false;
  for (char **x = net->excluded; x && *x; x++)
    if (!strcmp (*x, f->data.name))
      return false;
  if (net->interfaces)
    return named (net, f->data.name);
  return f->flags & IFF_UP || f->data.n_addrs > 0;
}

int
rcvmi_net_check_interfaces (struct rcvmi_net *net, const struct rcvmi_net_list *list, rcvm_error **err)
{
  for (char **s = net->interfaces; s && *s; s++)
    {
      bool found = false;

      for (size_t i = 0; i < list->n; i++)
        if (!strcmp (list->found[i].data.name, *s))
          {
            found = true;
            if (!rcvmi_net_wanted (net, &list->found[i]))
              return rcvmi_fail (
                  err, RCVM_E_INVALID, 0,
                  "the interface '%s' cannot be taken over: it is no Ethernet, or a bridge's", *s);
          }
      if (!found)
        return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the network namespace has no interface '%s'", *s);
    }
  for (size_t i = 0; i < net->n_statics; i++)
    {
      bool found = false;

      for (size_t k = 0; k < list->n; k++)
        found |= rcvmi_net_wanted (net, &list->found[k])
                 && !strcmp (list->found[k].data.name, net->statics[i].name);
      if (!found)
        return rcvmi_fail (
            err, RCVM_E_NOT_FOUND, 0,
            "addresses were given for '%s', but the network namespace has no such interface to take over",
            net->statics[i].name);
    }
  for (size_t i = 0; i < list->n; i++)
    {
      const struct rcvmi_net_found *f = &list->found[i];

      if (!rcvmi_net_wanted (net, f) && !net->interfaces && !(f->flags & IFF_LOOPBACK) && !f->master
          && f->data.n_addrs > 0 && strcmp (f->data.kind, "tun") != 0
          && rcvmi_net_warn (&net->warnings,
                             "the interface '%s' (%s) is no Ethernet and stays outside of the VM",
                             f->data.name, f->data.kind[0] ? f->data.kind : "of an unknown kind")
                 < 0)
        return rcvmi_fail_nomem (err);
    }
  return 0;
}

bool
rcvmi_net_same_ip (const struct rcvmi_net_ip *a, const struct rcvmi_net_ip *b)
{
  return a->family == b->family && !memcmp (a->bytes, b->bytes, sizeof a->bytes);
}

static bool
is_link_local (const struct rcvmi_net_route *r)
{
  return r->family == AF_INET6
         && ((r->destination.bytes[0] == 0xfe && (r->destination.bytes[1] & 0xc0) == 0x80)
             || r->destination.bytes[0] == 0xff);
}

/* Two ways to one destination, and nothing that says which: who knows where packets go. */
static int
check_overlap (const struct rcvmi_net_if *a, const struct rcvmi_net_if *b, rcvm_error **err)
{
  char text[INET6_ADDRSTRLEN];

  for (size_t i = 0; i < a->n_routes; i++)
    for (size_t k = 0; k < b->n_routes; k++)
      {
        const struct rcvmi_net_route *x = &a->routes[i], *y = &b->routes[k];

        if (x->family != y->family || x->prefix != y->prefix || x->metric != y->metric
            || !rcvmi_net_same_ip (&x->destination, &y->destination) || is_link_local (x)
            || x->protocol == RTPROT_RA)
          continue;
        return rcvmi_fail (
            err, RCVM_E_INVALID, 0,
            "the interfaces '%s' and '%s' have overlapping routes, both to %s%s%u with metric %u; give "
            "one of them another metric",
            a->name, b->name, x->prefix ? rcvmi_net_ip_text (&x->destination, text) : "default", "/",
            x->prefix, x->metric);
      }
  return 0;
}

int
rcvmi_net_check_guests (const struct rcvmi_net *net, rcvm_error **err)
{
  int code = 0;

  for (size_t i = 0; i < net->n; i++)
    for (size_t k = i + 1; code == 0 && k < net->n; k++)
      if (net->nics[i]->state != RCVMI_NET_NIC_REMOVED && net->nics[k]->state != RCVMI_NET_NIC_REMOVED)
        code = check_overlap (&net->nics[i]->guest, &net->nics[k]->guest, err);
  return code;
}

/* What the guest is to have, from what was found and what was asked for. */
int
rcvmi_net_derive_guest (const struct rcvmi_net *net, const struct rcvmi_net_if *outside,
                        struct rcvmi_net_if *guest, rcvm_error **err)
{
  const struct rcvmi_net_if *given = find_static (net, outside->name);
  struct rcvmi_net_if bare = *outside;

  if (given)
    {
      bare = *given;
      if (!bare.mtu)
        bare.mtu = outside->mtu;
      if (!memcmp (bare.mac, (uint8_t[6]){ 0 }, 6))
        memcpy (bare.mac, outside->mac, 6);
    }
  else if (net->dhcp)
    {
      bare.addrs = NULL;
      bare.routes = NULL;
      bare.neighs = NULL;
      bare.n_addrs = bare.n_routes = bare.n_neighs = 0;
    }
  bare.index = 0;
  bare.up = true;
  memcpy (bare.name, outside->name, sizeof bare.name);
  memcpy (bare.kind, outside->kind, sizeof bare.kind);
  return rcvmi_net_if_copy (guest, &bare, err);
}

bool
rcvmi_net_lacks_address (const struct rcvmi_net *net, const struct rcvmi_net_found *f)
{
  return !net->dhcp && !find_static (net, f->data.name) && !has_address (&f->data);
}

int
rcvmi_net_exclude (struct rcvmi_net *net, const char *name, bool exclude, rcvm_error **err)
{
  size_t n = 0, at = SIZE_MAX;

  for (; net->excluded && net->excluded[n]; n++)
    if (!strcmp (net->excluded[n], name))
      at = n;
  if ((at != SIZE_MAX) == exclude)
    return 0;
  if (exclude)
    return rcvmi_net_warn (&net->excluded, "%s", name) < 0 ? rcvmi_fail_nomem (err) : 0;
  free (net->excluded[at]);
  net->excluded[at] = net->excluded[n - 1];
  net->excluded[n - 1] = NULL;
  return 0;
}
