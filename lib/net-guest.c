/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-guest.h"

#include <arpa/inet.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "net-record.h"

/* To the guest. */

static struct net_ip
to_wire (const struct rcvmi_net_ip *ip)
{
  struct net_ip out = { .len = ip->family == AF_INET ? 4 : ip->family == AF_INET6 ? 16 : 0 };

  memcpy (out.bytes, ip->bytes, out.len);
  return out;
}

static bool
add_address (struct net_interface *n, const struct rcvmi_net_addr *a)
{
  struct net_address out = { .local = to_wire (&a->ip),
                             .peer = to_wire (&a->peer),
                             .broadcast = to_wire (&a->broadcast),
                             .prefix = a->prefix,
                             .scope = a->scope,
                             .flags = a->flags,
                             .valid = a->valid,
                             .preferred = a->preferred };

  /* The host has seen that it is nobody else's. */
  if (a->ip.family == AF_INET6)
    out.flags |= IFA_F_NODAD;
  return net_interface_add_address (n, &out);
}

static bool
add_route (struct net_interface *n, const struct rcvmi_net_route *r)
{
  struct net_route out = { .destination = to_wire (&r->destination),
                           .gateway = to_wire (&r->gateway),
                           .source = to_wire (&r->source),
                           .prefix = r->prefix,
                           .scope = r->scope,
                           .type = RTN_UNICAST,
                           .protocol = r->protocol,
                           .has_metric = r->metric != 0,
                           .metric = r->metric,
                           .table = RT_TABLE_MAIN,
                           .flags = r->onlink ? RTNH_F_ONLINK : 0,
                           .mtu = r->mtu };

  /* These come with the addresses, and with what routers say. */
  if (r->protocol == RTPROT_KERNEL || r->protocol == RTPROT_RA)
    return true;
  out.destination.len = r->family == AF_INET6 ? 16 : 4;
  return net_interface_add_route (n, &out);
}

int
rcvmi_net_guest_put (struct tlv_writer *w, const struct rcvmi_net_if *i, unsigned dhcp, rcvm_error **err)
{
  struct net_interface n = { .has_mac = true, .mtu = i->mtu, .dhcp = dhcp };
  bool ok = true;

  snprintf (n.name, sizeof n.name, "%s", i->name);
  memcpy (n.mac, i->mac, sizeof n.mac);
  for (size_t k = 0; ok && k < i->n_addrs; k++)
    ok = add_address (&n, &i->addrs[k]);
  for (size_t k = 0; ok && k < i->n_routes; k++)
    ok = add_route (&n, &i->routes[k]);
  for (size_t k = 0; ok && k < i->n_neighs; k++)
    {
      struct net_neighbour e = { .ip = to_wire (&i->neighs[k].ip), .state = 0x80 /* NUD_PERMANENT */ };

      memcpy (e.mac, i->neighs[k].mac, sizeof e.mac);
      if (!i->neighs[k].proxy)
        ok = net_interface_add_neighbour (&n, &e);
    }
  if (ok)
    net_interface_put (w, &n, 0);
  net_interface_free (&n);
  if (!ok)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%s' has more than %d addresses or routes", i->name,
                       NET_ENTRIES);
  return w->failed ? rcvmi_fail_nomem (err) : 0;
}

static void
print_words (FILE *f, const char *before, char *const *words)
{
  if (words && *words)
    fputs (before, f);
  for (; words && *words; words++)
    fprintf (f, " %s", *words);
}

char *
rcvmi_net_guest_resolv (const struct rcvmi_net_dns *dns, rcvm_error **err)
{
  char *text = NULL;
  size_t len;
  FILE *f = open_memstream (&text, &len);

  if (f)
    {
      print_words (f, "search", dns->search);
      if (dns->search && *dns->search)
        fputc ('\n', f);
      for (char *const *s = dns->servers; s && *s; s++)
        fprintf (f, "nameserver %s\n", *s);
      print_words (f, "options", dns->options);
      if (dns->options && *dns->options)
        fputc ('\n', f);
    }
  if (!f || fclose (f) != 0)
    {
      free (text);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  return text;
}

/* From the guest. */

static void
put (struct json_object *o, const char *key, struct json_object *value)
{
  if (o && value)
    json_object_object_add (o, key, value);
}

static void
put_ip (struct json_object *o, const char *key, const struct net_ip *ip, int prefix)
{
  char text[INET6_ADDRSTRLEN], both[INET6_ADDRSTRLEN + 8];

  if (!ip->len || !inet_ntop (ip->len == 4 ? AF_INET : AF_INET6, ip->bytes, text, sizeof text))
    return;
  if (prefix >= 0)
    snprintf (both, sizeof both, "%s/%d", text, prefix);
  put (o, key, json_object_new_string (prefix >= 0 ? both : text));
}

static struct json_object *
append (struct json_object *list)
{
  struct json_object *o = json_object_new_object ();

  if (list && o)
    json_object_array_add (list, o);
  return o;
}

static struct json_object *
new_list (struct json_object *o, const char *key)
{
  struct json_object *list = json_object_new_array ();

  put (o, key, list);
  return list;
}

static void
put_interface (struct json_object *o, const struct net_interface *n)
{
  struct json_object *list, *e;
  char mac[18];

  put (o, "name", json_object_new_string (n->name));
  if (n->has_mac)
    {
      snprintf (mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4],
                n->mac[5]);
      put (o, "mac", json_object_new_string (mac));
    }
  put (o, "mtu", json_object_new_int64 (n->mtu));
  put (o, "up", json_object_new_boolean (n->flags & 1 /* IFF_UP */));
  list = new_list (o, "addresses");
  for (size_t i = 0; i < n->n_addresses; i++)
    {
      e = append (list);
      put_ip (e, "address", &n->addresses[i].local, n->addresses[i].prefix);
      put_ip (e, "peer", &n->addresses[i].peer, -1);
      put_ip (e, "broadcast", &n->addresses[i].broadcast, -1);
      if (n->addresses[i].valid != NET_FOREVER)
        put (e, "validSeconds", json_object_new_int64 (n->addresses[i].valid));
    }
  list = new_list (o, "routes");
  for (size_t i = 0; i < n->n_routes; i++)
    {
      const struct net_route *r = &n->routes[i];

      e = append (list);
      put (e, "family", json_object_new_int (r->destination.len == 4 ? 4 : 6));
      if (r->prefix)
        put_ip (e, "destination", &r->destination, r->prefix);
      else
        put (e, "destination", json_object_new_string ("default"));
      put_ip (e, "gateway", &r->gateway, -1);
      put_ip (e, "source", &r->source, -1);
      if (r->has_metric && r->metric)
        put (e, "metric", json_object_new_int64 (r->metric));
      if (r->mtu)
        put (e, "mtu", json_object_new_int64 (r->mtu));
    }
  if (n->has_lease)
    {
      e = json_object_new_object ();
      put (o, "lease", e);
      put_ip (e, "server", &n->lease.server, -1);
      put (e, "seconds", json_object_new_int64 (n->lease.seconds));
      put (e, "age", json_object_new_int64 (n->lease.age));
      put (e, "renewals", json_object_new_int64 (n->lease.renewals));
      if (*n->lease.domain)
        put (e, "domain", json_object_new_string (n->lease.domain));
      if (*n->lease.hostname)
        put (e, "hostname", json_object_new_string (n->lease.hostname));
      list = new_list (e, "dns");
      for (size_t i = 0; i < n->lease.n_dns; i++)
        {
          char text[INET6_ADDRSTRLEN];

          if (list && inet_ntop (n->lease.dns[i].len == 4 ? AF_INET : AF_INET6, n->lease.dns[i].bytes, text, sizeof text))
            json_object_array_add (list, json_object_new_string (text));
        }
    }
  if (n->cut)
    put (o, "cut", json_object_new_boolean (1));
}

char *
rcvmi_net_guest_json (const void *record, size_t len, rcvm_error **err)
{
  struct json_object *o = json_object_new_object (), *list = new_list (o, "interfaces");
  struct tlv_reader r;
  struct tlv_field f;
  bool bad = false;
  char *text = NULL;

  tlv_reader_init (&r, record, len);
  while (!bad && tlv_next (&r, &f))
    if (f.tag == S_NETWORK)
      {
        struct net_interface n;

        bad = !net_interface_parse (&n, tlv_get_record (&f));
        if (!bad)
          put_interface (append (list), &n);
        net_interface_free (&n);
      }
  if (bad || r.bad)
    rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent a malformed record of its network");
  else if (!o || !list
           || !(text = strdup (json_object_to_json_string_ext (o, JSON_C_TO_STRING_PLAIN
                                                                        | JSON_C_TO_STRING_NOSLASHESCAPE))))
    rcvmi_fail_nomem (err);
  json_object_put (o);
  return text;
}

/* From the caller. */

static int
parse_mac (uint8_t mac[6], const char *text)
{
  unsigned m[6];
  int n = 0;

  if (sscanf (text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &n) != 6 || text[n]
      || strlen (text) != 17 || (m[0] & 1))
    return -1;
  for (int i = 0; i < 6; i++)
    mac[i] = (uint8_t) m[i];
  return 0;
}

static int
add_given_address (struct rcvmi_net_if *i, const char *text, rcvm_error **err)
{
  struct rcvmi_net_addr a = { .valid = UINT32_MAX, .preferred = UINT32_MAX }, *grown;
  int code = rcvmi_net_ip_parse (&a.ip, &a.prefix, text, err);

  if (code < 0)
    return code;
  grown = reallocarray (i->addrs, i->n_addrs + 1, sizeof *grown);
  if (!grown)
    return rcvmi_fail_nomem (err);
  i->addrs = grown;
  i->addrs[i->n_addrs++] = a;
  return 0;
}

/* `to` NULL: everywhere. */
static int
add_given_route (struct rcvmi_net_if *i, const char *to, const char *gateway, rcvm_error **err)
{
  struct rcvmi_net_route r = { .protocol = RTPROT_STATIC }, *grown;
  int code = gateway ? rcvmi_net_ip_parse (&r.gateway, NULL, gateway, err) : 0;

  if (code == 0 && to)
    code = rcvmi_net_ip_parse (&r.destination, &r.prefix, to, err);
  if (code < 0)
    return code;
  r.family = to ? r.destination.family : r.gateway.family;
  if (!gateway)
    r.scope = RT_SCOPE_LINK;
  grown = reallocarray (i->routes, i->n_routes + 1, sizeof *grown);
  if (!grown)
    return rcvmi_fail_nomem (err);
  i->routes = grown;
  /* What needs no gateway comes first. */
  if (!gateway)
    {
      memmove (grown + 1, grown, i->n_routes * sizeof *grown);
      grown[0] = r;
    }
  else
    grown[i->n_routes] = r;
  i->n_routes++;
  return 0;
}

static int
parse_field (struct rcvmi_net_if *i, char *field, const char *text, rcvm_error **err)
{
  char *value = strchr (field, '='), *end;

  if (value)
    *value++ = 0;
  if (!value)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%.100s' has '%.40s', which is no NAME=VALUE", text, field);
  if (strcmp (field, "address") == 0)
    return add_given_address (i, value, err);
  if (strcmp (field, "gateway") == 0)
    return add_given_route (i, NULL, value, err);
  if (strcmp (field, "route") == 0)
    {
      char *gateway = strchr (value, '@');

      if (gateway)
        *gateway++ = 0;
      return add_given_route (i, value, gateway, err);
    }
  if (strcmp (field, "mac") == 0)
    return parse_mac (i->mac, value) == 0
               ? 0
               : rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%.100s' has the MAC '%.40s', which is none of one host",
                             text, value);
  if (strcmp (field, "mtu") == 0)
    {
      unsigned long mtu = strtoul (value, &end, 10);

      if (*value < '0' || *value > '9' || *end || mtu < 68 || mtu > 65521)
        return rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%.100s' has the MTU '%.40s', and it must be 68 to 65521",
                           text, value);
      i->mtu = (uint32_t) mtu;
      return 0;
    }
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "the interface '%.100s' has a '%.40s', and only address, gateway, route, mac and mtu are known", text,
                     field);
}

int
rcvmi_net_guest_parse_nic (struct rcvmi_net_if *i, const char *text, rcvm_error **err)
{
  autofree char *copy = strdup (text);
  char *save = NULL, *word;
  int code = 0;

  memset (i, 0, sizeof *i);
  if (!copy)
    return rcvmi_fail_nomem (err);
  word = strtok_r (copy, ",", &save);
  if (!word || !net_name_is_valid (word))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the interface '%.100s' does not begin with a name like eth0", text);
  snprintf (i->name, sizeof i->name, "%s", word);
  while (code == 0 && (word = strtok_r (NULL, ",", &save)))
    code = parse_field (i, word, text, err);
  if (code < 0)
    rcvmi_net_if_clear (i);
  return code;
}

static int
parse_port_number (const char *text, uint16_t *port)
{
  char *end;
  unsigned long value = strtoul (text, &end, 10);

  if (*text < '0' || *text > '9' || *end || value < 1 || value > 65535)
    return -1;
  *port = (uint16_t) value;
  return 0;
}

int
rcvmi_net_guest_parse_port (struct rcvmi_net_port *port, const char *text, rcvm_error **err)
{
  autofree char *copy = strdup (text);
  char *slash, *guest, *host;

  memset (port, 0, sizeof *port);
  if (!copy)
    return rcvmi_fail_nomem (err);
  port->protocol = IPPROTO_TCP;
  slash = strchr (copy, '/');
  if (slash)
    {
      *slash++ = 0;
      port->protocol = strcmp (slash, "udp") == 0 ? IPPROTO_UDP : strcmp (slash, "tcp") == 0 ? IPPROTO_TCP : 0;
    }
  guest = strrchr (copy, ':');
  if (guest)
    *guest++ = 0;
  host = guest ? strrchr (copy, ':') : NULL;
  if (host)
    *host++ = 0;
  if (!guest || !port->protocol || parse_port_number (guest, &port->guest_port) < 0
      || parse_port_number (host ? host : copy, &port->host_port) < 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the port '%.60s' is not like 8080:80, 8080:80/udp or 192.168.1.1:8080:80", text);
  return host ? rcvmi_net_ip_parse (&port->host_ip, NULL, copy, err) : 0;
}
