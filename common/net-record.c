/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net-record.h"

#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"

/* Of the kernel's headers, which clash with those of a C library. */
enum
{
  TABLE_MAIN = 254,
  TYPE_UNICAST = 1,
  PROTOCOL_STATIC = 4
};

bool
net_name_is_valid (const char *name)
{
  size_t n = strlen (name);

  if (n == 0 || n >= NET_NAME_SIZE || strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
    return false;
  for (; *name; name++)
    if (*name <= ' ' || *name > '~' || *name == '/' || *name == ':' || *name == '%')
      return false;
  return true;
}

/* Reading */

static struct net_ip
get_ip (struct tlv_reader *r, const struct tlv_field *f)
{
  struct net_ip ip = { 0 };

  if (f->len != 4 && f->len != 16)
    r->bad = true;
  else
    {
      ip.len = (uint8_t) f->len;
      memcpy (ip.bytes, f->data, f->len);
    }
  return ip;
}

static uint8_t
get_u8 (struct tlv_reader *r, const struct tlv_field *f, uint32_t max)
{
  uint32_t value = tlv_get_u32 (r, f);

  if (value > max)
    r->bad = true;
  return (uint8_t) value;
}

static void
get_mac (struct tlv_reader *r, const struct tlv_field *f, uint8_t mac[NET_MAC_SIZE])
{
  if (f->len != NET_MAC_SIZE)
    r->bad = true;
  else
    memcpy (mac, f->data, NET_MAC_SIZE);
}

/* Printable, and short enough; else it stays empty. */
static void
get_text (struct tlv_reader *r, const struct tlv_field *f, char *out, size_t size)
{
  const char *s = tlv_get_str (r, f);

  if (strlen (s) >= size)
    {
      r->bad = true;
      return;
    }
  for (const char *p = s; *p; p++)
    if (*p < ' ' || *p > '~')
      {
        r->bad = true;
        return;
      }
  strcpy (out, s);
}

/* Whether another address of the record is one of the same family. */
static bool
fits (const struct net_ip *other, const struct net_ip *own)
{
  return other->len == 0 || other->len == own->len;
}

static bool
parse_address (struct net_interface *n, struct tlv_reader r)
{
  struct net_address a = { .valid = NET_FOREVER, .preferred = NET_FOREVER };
  struct tlv_field f;

  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NA_ADDRESS:
        a.local = get_ip (&r, &f);
        break;
      case NA_PREFIX:
        a.prefix = get_u8 (&r, &f, 128);
        break;
      case NA_PEER:
        a.peer = get_ip (&r, &f);
        break;
      case NA_BROADCAST:
        a.broadcast = get_ip (&r, &f);
        break;
      case NA_SCOPE:
        a.scope = get_u8 (&r, &f, 255);
        break;
      case NA_FLAGS:
        a.flags = tlv_get_u32 (&r, &f);
        break;
      case NA_VALID:
        a.valid = tlv_get_u32 (&r, &f);
        break;
      case NA_PREFERRED:
        a.preferred = tlv_get_u32 (&r, &f);
        break;
      }
  if (r.bad || a.local.len == 0 || a.prefix > a.local.len * 8 || !fits (&a.peer, &a.local)
      || (a.broadcast.len && (a.broadcast.len != 4 || a.local.len != 4)))
    return false;
  return net_interface_add_address (n, &a);
}

static bool
parse_route (struct net_interface *n, struct tlv_reader r)
{
  struct net_route t = { .table = TABLE_MAIN, .type = TYPE_UNICAST, .protocol = PROTOCOL_STATIC };
  struct tlv_field f;

  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NR_DESTINATION:
        t.destination = get_ip (&r, &f);
        break;
      case NR_PREFIX:
        t.prefix = get_u8 (&r, &f, 128);
        break;
      case NR_GATEWAY:
        t.gateway = get_ip (&r, &f);
        break;
      case NR_SOURCE:
        t.source = get_ip (&r, &f);
        break;
      case NR_METRIC:
        t.metric = tlv_get_u32 (&r, &f);
        t.has_metric = true;
        break;
      case NR_SCOPE:
        t.scope = get_u8 (&r, &f, 255);
        break;
      case NR_TABLE:
        t.table = tlv_get_u32 (&r, &f);
        break;
      case NR_TYPE:
        t.type = get_u8 (&r, &f, 255);
        break;
      case NR_FLAGS:
        t.flags = tlv_get_u32 (&r, &f);
        break;
      case NR_MTU:
        t.mtu = tlv_get_u32 (&r, &f);
        break;
      case NR_PROTOCOL:
        t.protocol = get_u8 (&r, &f, 255);
        break;
      }
  if (r.bad || t.destination.len == 0 || t.prefix > t.destination.len * 8
      || !fits (&t.source, &t.destination))
    return false;
  return net_interface_add_route (n, &t);
}

static bool
parse_neighbour (struct net_interface *n, struct tlv_reader r)
{
  struct net_neighbour e = { 0 };
  bool has_mac = false;
  struct tlv_field f;

  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NN_ADDRESS:
        e.ip = get_ip (&r, &f);
        break;
      case NN_MAC:
        get_mac (&r, &f, e.mac);
        has_mac = true;
        break;
      case NN_STATE:
        e.state = tlv_get_u32 (&r, &f);
        break;
      case NN_FLAGS:
        e.flags = tlv_get_u32 (&r, &f);
        break;
      }
  return !r.bad && e.ip.len && has_mac && net_interface_add_neighbour (n, &e);
}

static bool
parse_lease (struct net_lease *l, struct tlv_reader r)
{
  struct tlv_field f;

  memset (l, 0, sizeof *l);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case NL_SERVER:
        l->server = get_ip (&r, &f);
        break;
      case NL_SECONDS:
        l->seconds = tlv_get_u32 (&r, &f);
        break;
      case NL_AGE:
        l->age = tlv_get_u32 (&r, &f);
        break;
      case NL_RENEWALS:
        l->renewals = tlv_get_u32 (&r, &f);
        break;
      case NL_DNS:
        if (l->n_dns < NET_LEASE_DNS)
          l->dns[l->n_dns++] = get_ip (&r, &f);
        break;
      case NL_DOMAIN:
        get_text (&r, &f, l->domain, sizeof l->domain);
        break;
      case NL_HOSTNAME:
        get_text (&r, &f, l->hostname, sizeof l->hostname);
        break;
      }
  return !r.bad;
}

bool
net_interface_parse (struct net_interface *n, struct tlv_reader r)
{
  struct tlv_field f;
  bool ok = true;

  memset (n, 0, sizeof *n);
  while (ok && tlv_next (&r, &f))
    switch (f.tag)
      {
      case N_NAME:
        {
          const char *name = tlv_get_str (&r, &f);

          ok = net_name_is_valid (name);
          if (ok)
            strcpy (n->name, name);
        }
        break;
      case N_MAC:
        get_mac (&r, &f, n->mac);
        n->has_mac = true;
        break;
      case N_DEVICE:
        get_mac (&r, &f, n->device);
        n->has_device = true;
        break;
      case N_MTU:
        n->mtu = tlv_get_u32 (&r, &f);
        break;
      case N_DHCP:
        n->dhcp = tlv_get_u32 (&r, &f);
        break;
      case N_ADDRESS:
        ok = parse_address (n, tlv_get_record (&f));
        break;
      case N_ROUTE:
        ok = parse_route (n, tlv_get_record (&f));
        break;
      case N_NEIGHBOUR:
        ok = parse_neighbour (n, tlv_get_record (&f));
        break;
      case N_FLAGS:
        n->flags = tlv_get_u32 (&r, &f);
        break;
      case N_LEASE:
        ok = parse_lease (&n->lease, tlv_get_record (&f));
        n->has_lease = true;
        break;
      case N_CUT:
        n->cut = tlv_get_u32 (&r, &f) != 0;
        break;
      }
  return ok && !r.bad;
}

/* Building */

/* Room for one more: the capacity is the power of two that holds `n`. */
static void *
grow (void *array, size_t n, size_t size)
{
  if (n >= NET_ENTRIES)
    return NULL;
  return n & (n - 1) ? array : realloc (array, (n ? n * 2 : 1) * size);
}

#define APPEND(list, n, element)                                                                  \
  ({                                                                                              \
    __typeof__ (list) grown_ = grow ((list), (n), sizeof *(list));                                \
    if (grown_)                                                                                   \
      {                                                                                           \
        (list) = grown_;                                                                          \
        (list)[(n)++] = *(element);                                                               \
      }                                                                                           \
    grown_ != NULL;                                                                               \
  })

bool
net_interface_add_address (struct net_interface *n, const struct net_address *a)
{
  return APPEND (n->addresses, n->n_addresses, a);
}

bool
net_interface_add_route (struct net_interface *n, const struct net_route *r)
{
  return APPEND (n->routes, n->n_routes, r);
}

bool
net_interface_add_neighbour (struct net_interface *n, const struct net_neighbour *e)
{
  return APPEND (n->neighbours, n->n_neighbours, e);
}

/* Writing */

static void
put_ip (struct tlv_writer *w, uint16_t tag, const struct net_ip *ip)
{
  if (ip->len)
    tlv_put (w, tag, ip->bytes, ip->len);
}

static void
put_address (struct tlv_writer *w, const struct net_address *a)
{
  size_t mark = tlv_begin (w, N_ADDRESS);

  put_ip (w, NA_ADDRESS, &a->local);
  tlv_put_u32 (w, NA_PREFIX, a->prefix);
  put_ip (w, NA_PEER, &a->peer);
  put_ip (w, NA_BROADCAST, &a->broadcast);
  tlv_put_u32 (w, NA_SCOPE, a->scope);
  tlv_put_u32 (w, NA_FLAGS, a->flags);
  if (a->valid != NET_FOREVER)
    {
      tlv_put_u32 (w, NA_VALID, a->valid);
      tlv_put_u32 (w, NA_PREFERRED, a->preferred);
    }
  tlv_end (w, mark);
}

static void
put_route (struct tlv_writer *w, const struct net_route *r)
{
  size_t mark = tlv_begin (w, N_ROUTE);

  put_ip (w, NR_DESTINATION, &r->destination);
  tlv_put_u32 (w, NR_PREFIX, r->prefix);
  put_ip (w, NR_GATEWAY, &r->gateway);
  put_ip (w, NR_SOURCE, &r->source);
  if (r->has_metric)
    tlv_put_u32 (w, NR_METRIC, r->metric);
  tlv_put_u32 (w, NR_SCOPE, r->scope);
  tlv_put_u32 (w, NR_TABLE, r->table);
  tlv_put_u32 (w, NR_TYPE, r->type);
  tlv_put_u32 (w, NR_FLAGS, r->flags);
  if (r->mtu)
    tlv_put_u32 (w, NR_MTU, r->mtu);
  tlv_put_u32 (w, NR_PROTOCOL, r->protocol);
  tlv_end (w, mark);
}

static void
put_neighbour (struct tlv_writer *w, const struct net_neighbour *e)
{
  size_t mark = tlv_begin (w, N_NEIGHBOUR);

  put_ip (w, NN_ADDRESS, &e->ip);
  tlv_put (w, NN_MAC, e->mac, sizeof e->mac);
  tlv_put_u32 (w, NN_STATE, e->state);
  tlv_put_u32 (w, NN_FLAGS, e->flags);
  tlv_end (w, mark);
}

static void
put_lease (struct tlv_writer *w, const struct net_lease *l)
{
  size_t mark = tlv_begin (w, N_LEASE);

  put_ip (w, NL_SERVER, &l->server);
  tlv_put_u32 (w, NL_SECONDS, l->seconds);
  tlv_put_u32 (w, NL_AGE, l->age);
  tlv_put_u32 (w, NL_RENEWALS, l->renewals);
  for (size_t i = 0; i < l->n_dns; i++)
    put_ip (w, NL_DNS, &l->dns[i]);
  if (*l->domain)
    tlv_put_str (w, NL_DOMAIN, l->domain);
  if (*l->hostname)
    tlv_put_str (w, NL_HOSTNAME, l->hostname);
  tlv_end (w, mark);
}

void
net_interface_put (struct tlv_writer *w, const struct net_interface *n, size_t limit)
{
  enum
  {
    LARGEST = 256 /* more than any entry takes */
  };
  bool cut = n->cut;

#define ROOM(w) (limit == 0 || (w)->len + LARGEST <= limit || !(cut = true))
  if (*n->name)
    tlv_put_str (w, N_NAME, n->name);
  if (n->has_mac)
    tlv_put (w, N_MAC, n->mac, sizeof n->mac);
  if (n->has_device)
    tlv_put (w, N_DEVICE, n->device, sizeof n->device);
  if (n->mtu)
    tlv_put_u32 (w, N_MTU, n->mtu);
  if (n->dhcp)
    tlv_put_u32 (w, N_DHCP, n->dhcp);
  if (n->flags)
    tlv_put_u32 (w, N_FLAGS, n->flags);
  if (n->has_lease)
    put_lease (w, &n->lease);
  for (size_t i = 0; i < n->n_addresses && ROOM (w); i++)
    put_address (w, &n->addresses[i]);
  for (size_t i = 0; i < n->n_routes && ROOM (w); i++)
    put_route (w, &n->routes[i]);
  for (size_t i = 0; i < n->n_neighbours && ROOM (w); i++)
    put_neighbour (w, &n->neighbours[i]);
#undef ROOM
  if (cut)
    tlv_put_u32 (w, N_CUT, 1);
}

void
net_interface_free (struct net_interface *n)
{
  free (n->addresses);
  free (n->routes);
  free (n->neighbours);
  memset (n, 0, sizeof *n);
}
