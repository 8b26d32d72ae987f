/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network as JSON: for `runcvm net show` and for the state. */
#include "config.h"

#define RCVMI_STAGE "net"

#include <arpa/inet.h>
#include <json-c/json.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "json.h"
#include "net-parts.h"

static void
put_str (struct rcvmi_json *b, struct json_object *o, const char *key, const char *value)
{
  if (value && *value)
    rcvmi_json_put (b, o, key, json_object_new_string (value));
}

static void
put_true (struct rcvmi_json *b, struct json_object *o, const char *key, bool value)
{
  if (value)
    rcvmi_json_put (b, o, key, json_object_new_boolean (1));
}

static void
put_ip (struct rcvmi_json *b, struct json_object *o, const char *key, const struct rcvmi_net_ip *ip,
        int prefix)
{
  char text[INET6_ADDRSTRLEN], full[INET6_ADDRSTRLEN + 16];

  if (ip->family == AF_UNSPEC)
    return;
  rcvmi_net_ip_text (ip, text);
  if (prefix < 0)
    put_str (b, o, key, text);
  else
    {
      snprintf (full, sizeof full, "%s/%d", text, prefix);
      put_str (b, o, key, full);
    }
}

/* An empty array as a member, and an empty object as an element. */
static struct json_object *
new_list (struct rcvmi_json *b, struct json_object *o, const char *key)
{
  struct json_object *list = json_object_new_array ();

  rcvmi_json_put (b, o, key, list);
  return b->failed ? NULL : list;
}

static struct json_object *
append (struct rcvmi_json *b, struct json_object *list)
{
  struct json_object *o = json_object_new_object ();

  if (!list || !o || json_object_array_add (list, o) < 0)
    {
      json_object_put (o);
      b->failed = true;
      return NULL;
    }
  return o;
}

static void
put_strv (struct rcvmi_json *b, struct json_object *o, const char *key, char *const *words)
{
  struct json_object *list = words && *words ? new_list (b, o, key) : NULL;

  for (; list && !b->failed && *words; words++)
    {
      struct json_object *s = json_object_new_string (*words);

      if (!s || json_object_array_add (list, s) < 0)
        {
          json_object_put (s);
          b->failed = true;
        }
    }
}

static void
put_scope (struct rcvmi_json *b, struct json_object *o, unsigned scope)
{
  static const struct
  {
    unsigned scope;
    const char *name;
  } names[] = { { RT_SCOPE_UNIVERSE, "global" },
                { RT_SCOPE_SITE, "site" },
                { RT_SCOPE_LINK, "link" },
                { RT_SCOPE_HOST, "host" } };

  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].scope == scope)
      {
        put_str (b, o, "scope", names[i].name);
        return;
      }
  rcvmi_json_put_int (b, o, "scope", scope);
}

static void
put_addrs (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_net_if *i)
{
  struct json_object *list = new_list (b, o, "addresses");

  for (size_t k = 0; !b->failed && k < i->n_addrs; k++)
    {
      const struct rcvmi_net_addr *a = &i->addrs[k];
      struct json_object *e = append (b, list);

      put_ip (b, e, "address", &a->ip, a->prefix);
      put_ip (b, e, "peer", &a->peer, -1);
      put_ip (b, e, "broadcast", &a->broadcast, -1);
      put_scope (b, e, a->scope);
      put_true (b, e, "noPrefixRoute", a->flags & IFA_F_NOPREFIXROUTE);
      put_true (b, e, "secondary", a->flags & IFA_F_SECONDARY);
      if (a->valid != UINT32_MAX)
        rcvmi_json_put_int (b, e, "validSeconds", a->valid);
      if (a->preferred != UINT32_MAX)
        rcvmi_json_put_int (b, e, "preferredSeconds", a->preferred);
    }
}

static void
put_routes (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_net_if *i)
{
  struct json_object *list = new_list (b, o, "routes");

  for (size_t k = 0; !b->failed && k < i->n_routes; k++)
    {
      const struct rcvmi_net_route *r = &i->routes[k];
      struct json_object *e = append (b, list);

      rcvmi_json_put_int (b, e, "family", r->family == AF_INET ? 4 : 6);
      if (r->destination.family == AF_UNSPEC)
        put_str (b, e, "destination", "default");
      else
        put_ip (b, e, "destination", &r->destination, r->prefix);
      put_ip (b, e, "gateway", &r->gateway, -1);
      put_ip (b, e, "source", &r->source, -1);
      put_scope (b, e, r->scope);
      put_true (b, e, "onLink", r->onlink);
      put_true (b, e, "fromKernel", r->protocol == RTPROT_KERNEL);
      if (r->metric)
        rcvmi_json_put_int (b, e, "metric", r->metric);
      if (r->mtu)
        rcvmi_json_put_int (b, e, "mtu", r->mtu);
    }
}

static void
put_neighs (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_net_if *i)
{
  struct json_object *list = i->n_neighs ? new_list (b, o, "neighbours") : NULL;
  char mac[18];

  for (size_t k = 0; list && !b->failed && k < i->n_neighs; k++)
    {
      struct json_object *e = append (b, list);

      put_ip (b, e, "address", &i->neighs[k].ip, -1);
      if (i->neighs[k].proxy)
        put_true (b, e, "proxy", true);
      else
        put_str (b, e, "mac", rcvmi_net_mac_text (i->neighs[k].mac, mac));
    }
}

static void
put_if (struct rcvmi_json *b, struct json_object *o, const char *key, const struct rcvmi_net_if *i)
{
  struct json_object *e = json_object_new_object ();
  char mac[18];

  rcvmi_json_put (b, o, key, e);
  if (b->failed)
    return;
  put_str (b, e, "name", i->name);
  if (i->index)
    rcvmi_json_put_int (b, e, "index", i->index);
  put_str (b, e, "kind", i->kind);
  put_str (b, e, "mac", rcvmi_net_mac_text (i->mac, mac));
  rcvmi_json_put_int (b, e, "mtu", i->mtu);
  rcvmi_json_put (b, e, "up", json_object_new_boolean (i->up));
  put_addrs (b, e, i);
  put_routes (b, e, i);
  put_neighs (b, e, i);
}

static void
put_nic (struct rcvmi_json *b, struct json_object *e, const struct rcvmi_net *net,
         const struct rcvmi_net_nic *nic)
{
  rcvmi_json_put_int (b, e, "number", nic->number);
  put_str (b, e, "tap", nic->tap_name);
  rcvmi_json_put_int (b, e, "tapIndex", nic->tap_index);
  put_str (b, e, "bridge", nic->priv->done.bridge);
  put_true (b, e, "dhcp", nic->dhcp);
  put_true (b, e, "removed", nic->state == RCVMI_NET_NIC_REMOVED);
  put_if (b, e, net->mode == RCVMI_NET_HOST ? "link" : "outside", &nic->outside);
  put_if (b, e, "guest", &nic->guest);
}

static void
put_ports (struct rcvmi_json *b, struct json_object *o, const struct rcvmi_net *net)
{
  struct json_object *list = net->n_ports ? new_list (b, o, "ports") : NULL;

  for (size_t i = 0; list && !b->failed && i < net->n_ports; i++)
    {
      const struct rcvmi_net_port *p = &net->ports[i];
      struct json_object *e = append (b, list);

      put_str (b, e, "protocol", p->protocol == IPPROTO_UDP ? "udp" : "tcp");
      put_ip (b, e, "hostAddress", &p->host_ip, -1);
      rcvmi_json_put_int (b, e, "hostPort", p->host_port);
      rcvmi_json_put_int (b, e, "guestPort", p->guest_port);
    }
}

char *
rcvmi_net_to_json (const struct rcvmi_net *net, rcvm_error **err)
{
  static const char *const modes[] = { "none", "netns", "host" };
  struct json_object *o = json_object_new_object (), *list, *dns;
  struct rcvmi_json b = { .failed = !o };
  const char *text = NULL;
  char *copy = NULL;

  put_str (&b, o, "mode", modes[net->mode]);
  put_str (&b, o, "netns", net->ns_path);
  if (net->mode == RCVMI_NET_NETNS)
    put_str (&b, o, "join", net->join == RCVMI_NET_JOIN_TC ? "tc" : "bridge");
  put_str (&b, o, "table", net->table);
  put_ports (&b, o, net);
  list = new_list (&b, o, "nics");
  for (size_t i = 0; !b.failed && i < net->n; i++)
    put_nic (&b, append (&b, list), net, net->nics[i]);
  if (net->dns.servers || net->dns.search || net->dns.options)
    {
      dns = json_object_new_object ();
      rcvmi_json_put (&b, o, "dns", dns);
      if (!b.failed)
        {
          put_strv (&b, dns, "servers", net->dns.servers);
          put_strv (&b, dns, "search", net->dns.search);
          put_strv (&b, dns, "options", net->dns.options);
        }
    }
  put_strv (&b, o, "warnings", net->warnings);
  if (!b.failed)
    text = json_object_to_json_string_ext (o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
  if (text)
    copy = strdup (text);
  json_object_put (o);
  if (!copy)
    rcvmi_fail_nomem (err);
  return copy;
}
