/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A second look at the namespace: what came, changed and went since the first. */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "err.h"

static bool
same_addr (const struct rcvmi_net_addr *a, const struct rcvmi_net_addr *b)
{
  /* Lifetimes run down; a lease that is renewed is no change. */
  return rcvmi_net_same_ip (&a->ip, &b->ip) && a->prefix == b->prefix && a->scope == b->scope
         && a->flags == b->flags && rcvmi_net_same_ip (&a->peer, &b->peer)
         && rcvmi_net_same_ip (&a->broadcast, &b->broadcast);
}

static bool
same_if (const struct rcvmi_net_if *a, const struct rcvmi_net_if *b)
{
  if (a->mtu != b->mtu || memcmp (a->mac, b->mac, 6) || a->n_addrs != b->n_addrs
      || a->n_routes != b->n_routes || a->n_neighs != b->n_neighs)
    return false;
  for (size_t i = 0; i < a->n_addrs; i++)
    if (!same_addr (&a->addrs[i], &b->addrs[i]))
      return false;
  return (!a->n_routes || !memcmp (a->routes, b->routes, a->n_routes * sizeof *a->routes))
         && (!a->n_neighs || !memcmp (a->neighs, b->neighs, a->n_neighs * sizeof *a->neighs));
}

static int
refresh (struct rcvmi_net *net, struct rcvmi_net_nic *nic, const struct rcvmi_net_found *f,
         rcvm_error **err)
{
  struct rcvmi_net_if outside, guest;
  int code;

  nic->state = RCVMI_NET_NIC_SAME;
  /* A bridge's port has lost what it had, to us: there is nothing to compare. */
  if (nic->priv->done.bridge[0] || same_if (&nic->outside, &f->data))
    return 0;
  code = rcvmi_net_if_copy (&outside, &f->data, err);
  if (code < 0)
    return code;
  code = rcvmi_net_derive_guest (net, &outside, &guest, err);
  if (code < 0)
    {
      rcvmi_net_if_clear (&outside);
      return code;
    }
  if (outside.mtu != nic->outside.mtu)
    (void) rcvmi_net_link_set_mtu (&net->nl, nic->tap_index, outside.mtu);
  if (!same_if (&guest, &nic->guest))
    nic->state = RCVMI_NET_NIC_CHANGED;
  rcvmi_net_if_clear (&nic->outside);
  rcvmi_net_if_clear (&nic->guest);
  nic->outside = outside;
  nic->guest = guest;
  return 0;
}

static int
add_nic (struct rcvmi_net *net, const struct rcvmi_net_list *list, const struct rcvmi_net_found *f,
         rcvm_error **err)
{
  struct rcvmi_net_nic *nic = rcvmi_net_nic_plan (net, list, f, err);
  int code;

  if (!nic)
    return RCVM_E_SYSTEM;
  code = rcvmi_net_check_guests (net, err);
  if (code == 0)
    code = rcvmi_net_save_record (net, err);
  if (code == 0)
    code = rcvmi_net_nic_make (net, nic, err);
  if (code == 0)
    {
      nic->state = RCVMI_NET_NIC_ADDED;
      return 0;
    }
  rcvmi_net_nic_undo (net, nic);
  rcvmi_net_nic_forget (net, nic);
  return code;
}

static bool
is_known (const struct rcvmi_net *net, int index)
{
  for (size_t i = 0; i < net->n; i++)
    if (net->nics[i]->state != RCVMI_NET_NIC_REMOVED && net->nics[i]->priv->done.index == index)
      return true;
  return false;
}

int
rcvmi_net_rescan (struct rcvmi_net *net, rcvm_error **err)
{
  struct rcvmi_net_list list;
  int code, news = 0;

  if (net->mode != RCVMI_NET_NETNS)
    return 0;
  code = rcvmi_net_read (&net->nl, &list, err);
  if (code < 0)
    return code;
  for (size_t i = net->n; i-- > 0;)
    if (net->nics[i]->state == RCVMI_NET_NIC_REMOVED)
      rcvmi_net_nic_forget (net, net->nics[i]);
  for (size_t i = 0; code == 0 && i < net->n; i++)
    {
      struct rcvmi_net_nic *nic = net->nics[i];
      const struct rcvmi_net_found *f = rcvmi_net_list_find (&list, nic->priv->done.index);

      if (f)
        code = refresh (net, nic, f, err);
      else
        {
          rcvmi_net_nic_undo (net, nic);
          nic->state = RCVMI_NET_NIC_REMOVED;
        }
    }
  for (size_t i = 0; code == 0 && i < list.n; i++)
    {
      const struct rcvmi_net_found *f = &list.found[i];

      if (rcvmi_net_wanted (net, f) && f->flags & IFF_UP && !rcvmi_net_lacks_address (net, f)
          && !is_known (net, f->data.index))
        code = add_nic (net, &list, f, err);
    }
  rcvmi_net_list_clear (&list);
  for (size_t i = 0; i < net->n; i++)
    news += net->nics[i]->state != RCVMI_NET_NIC_SAME;
  if (code == 0 && news > 0)
    code = rcvmi_net_save_record (net, err);
  return code < 0 ? code : news;
}
