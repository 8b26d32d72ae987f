/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dhcp-packet.h"

#include <string.h>

enum
{
  IP_HEADER = 20,
  UDP_HEADER = 8,
  FIXED = 236, /* of a BOOTP message, before the cookie */
  COOKIE = 4,
  SNAME = 44,
  SNAME_SIZE = 64,
  FILE_NAME = 108,
  FILE_SIZE = 128,
  /* Relays drop what is shorter than a BOOTP message was. */
  LEAST = 300,
  UDP = 17,
  FOREVER = -1
};

enum option
{
  PAD = 0,
  SUBNET = 1,
  ROUTER = 3,
  DNS = 6,
  HOSTNAME = 12,
  DOMAIN = 15,
  MTU = 26,
  BROADCAST = 28,
  REQUESTED = 50,
  LEASE = 51,
  OVERLOAD = 52,
  TYPE = 53,
  SERVER = 54,
  PARAMETERS = 55,
  MAX_SIZE = 57,
  RENEW = 58,
  REBIND = 59,
  CLIENT = 61,
  SEARCH = 119,
  ROUTES = 121,
  END = 255
};

static const uint8_t cookie[COOKIE] = { 99, 130, 83, 99 };

/* Numbers and sums */

static void
put16 (uint8_t *p, unsigned value)
{
  p[0] = (uint8_t) (value >> 8);
  p[1] = (uint8_t) value;
}

static void
put32 (uint8_t *p, uint32_t value)
{
  put16 (p, value >> 16);
  put16 (p + 2, value & 0xffff);
}

static unsigned
get16 (const uint8_t *p)
{
  return (unsigned) p[0] << 8 | p[1];
}

static uint32_t
get32 (const uint8_t *p)
{
  return (uint32_t) get16 (p) << 16 | get16 (p + 2);
}

/* Adds to a one's complement sum. */
static uint32_t
add_sum (uint32_t sum, const uint8_t *p, size_t len)
{
  for (size_t i = 0; i + 1 < len; i += 2)
    sum += get16 (p + i);
  if (len & 1)
    sum += (uint32_t) p[len - 1] << 8;
  return sum;
}

static unsigned
fold (uint32_t sum)
{
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

static unsigned
udp_sum (const uint8_t *ip, const uint8_t *udp, size_t len)
{
  return fold (add_sum (add_sum (UDP + (uint32_t) len, ip + 12, 8), udp, len));
}

/* What a client says */

struct writer
{
  uint8_t *p, *end;
  bool full;
};

static void
put_option (struct writer *w, enum option code, const void *data, size_t len)
{
  if (w->full || len > 255 || (size_t) (w->end - w->p) < len + 2)
    {
      w->full = true;
      return;
    }
  *w->p++ = (uint8_t) code;
  *w->p++ = (uint8_t) len;
  memcpy (w->p, data, len);
  w->p += len;
}

size_t
dhcp_message_build (uint8_t *out, size_t size, const struct dhcp_query *q)
{
  static const uint8_t wanted[] = { SUBNET,    ROUTER, DNS,   HOSTNAME, DOMAIN, MTU,
                                    BROADCAST, RENEW,  REBIND, SEARCH,   ROUTES };
  uint8_t client[7] = { 1 }, type = (uint8_t) q->type, max[2];
  struct writer w = { out + FIXED + COOKIE, out + size - 1, false };
  size_t n;

  if (size < LEAST)
    return 0;
  memset (out, 0, size);
  out[0] = 1; /* a request */
  out[1] = 1; /* Ethernet */
  out[2] = 6;
  put32 (out + 4, q->xid);
  put16 (out + 8, q->seconds > 0xffff ? 0xffff : q->seconds);
  if (q->own)
    memcpy (out + 12, q->own, 4);
  memcpy (out + 28, q->mac, 6);
  memcpy (out + FIXED, cookie, COOKIE);
  put_option (&w, TYPE, &type, 1);
  memcpy (client + 1, q->mac, 6);
  put_option (&w, CLIENT, client, sizeof client);
  if (q->requested)
    put_option (&w, REQUESTED, q->requested, 4);
  if (q->server)
    put_option (&w, SERVER, q->server, 4);
  if (q->type == DHCP_DISCOVER || q->type == DHCP_REQUEST)
    {
      put16 (max, DHCP_PACKET_MAX);
      put_option (&w, MAX_SIZE, max, sizeof max);
      put_option (&w, PARAMETERS, wanted, sizeof wanted);
      n = q->hostname ? strlen (q->hostname) : 0;
      if (n && n <= 255)
        put_option (&w, HOSTNAME, q->hostname, n);
    }
  if (w.full)
    return 0;
  *w.p++ = END;
  n = (size_t) (w.p - out);
  return n < LEAST ? LEAST : n;
}

size_t
dhcp_packet_build (uint8_t *out, size_t size, const struct dhcp_query *q, const uint8_t from[4],
                   const uint8_t to[4])
{
  size_t n = size < IP_HEADER + UDP_HEADER
                 ? 0
                 : dhcp_message_build (out + IP_HEADER + UDP_HEADER, size - IP_HEADER - UDP_HEADER, q);
  uint8_t *udp = out + IP_HEADER;
  unsigned sum;

  if (n == 0)
    return 0;
  memset (out, 0, IP_HEADER + UDP_HEADER);
  put16 (udp, DHCP_CLIENT_PORT);
  put16 (udp + 2, DHCP_SERVER_PORT);
  put16 (udp + 4, (unsigned) (n += UDP_HEADER));
  memcpy (out + 12, from, 4);
  memcpy (out + 16, to, 4);
  sum = udp_sum (out, udp, n);
  put16 (udp + 6, sum ? sum : 0xffff);
  out[0] = 0x45;
  put16 (out + 2, (unsigned) (n += IP_HEADER));
  out[8] = 64;
  out[9] = UDP;
  put16 (out + 10, fold (add_sum (0, out, IP_HEADER)));
  return n;
}

/* What a server says */

/* Where options are: the end of the message, and perhaps two fields of its fixed part. */
struct areas
{
  struct
  {
    const uint8_t *p;
    size_t len;
  } area[3];
  size_t n;
};

/* The option's bytes: one that comes several times is one that was too long for one piece.  -1 if it is not there,
   or is longer than `size`. */
static int
get_option (const struct areas *areas, enum option code, uint8_t *out, size_t size)
{
  size_t n = 0;
  bool found = false;

  for (size_t i = 0; i < areas->n; i++)
    {
      const uint8_t *p = areas->area[i].p, *end = p + areas->area[i].len;

      while (p < end && *p != END)
        {
          size_t len;

          if (*p == PAD)
            {
              p++;
              continue;
            }
          if (end - p < 2 || (size_t) (end - p - 2) < p[1])
            break;
          len = p[1];
          if (*p == code)
            {
              if (len > size - n)
                return -1;
              memcpy (out + n, p + 2, len);
              n += len;
              found = true;
            }
          p += 2 + len;
        }
    }
  return found ? (int) n : -1;
}

static bool
is_name_char (uint8_t c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'
         || c == '.';
}

/* A name that can go into a file, or nothing. */
static void
get_name (const struct areas *areas, enum option code, char out[DHCP_TEXT])
{
  uint8_t text[DHCP_TEXT - 1];
  int n = get_option (areas, code, text, sizeof text);

  while (n > 0 && text[n - 1] == 0)
    n--;
  out[0] = 0;
  if (n <= 0 || text[0] == '-')
    return;
  for (int i = 0; i < n; i++)
    if (!is_name_char (text[i]))
      return;
  memcpy (out, text, (size_t) n);
  out[n] = 0;
}

/* One name of a compressed list, at *at; appended to `out`.  Pointers lead backwards only, so it ends. */
static bool
get_search_name (const uint8_t *data, size_t len, size_t *at, char *out, size_t *used)
{
  size_t p = *at, before = p, start = *used;
  bool jumped = false;

  if (start)
    {
      if (start + 1 >= DHCP_TEXT)
        return false;
      out[(*used)++] = ' ';
    }
  for (;;)
    {
      uint8_t n;

      if (p >= len)
        return false;
      n = data[p];
      if ((n & 0xc0) == 0xc0)
        {
          size_t to = p + 1 < len ? ((size_t) (n & 0x3f) << 8 | data[p + 1]) : len;

          if (to >= before)
            return false;
          if (!jumped)
            *at = p + 2;
          jumped = true;
          before = p = to;
          continue;
        }
      if (n & 0xc0)
        return false;
      p++;
      if (n == 0)
        break;
      if (n > len - p || *used + n + 2 > DHCP_TEXT)
        return false;
      for (uint8_t i = 0; i < n; i++)
        if (!is_name_char (data[p + i]) || data[p + i] == '.')
          return false;
      if (*used > start && out[*used - 1] != ' ')
        out[(*used)++] = '.';
      memcpy (out + *used, data + p, n);
      *used += n;
      p += n;
    }
  if (!jumped)
    *at = p;
  return *used > start + (start ? 1 : 0);
}

static void
get_search (const struct areas *areas, char out[DHCP_TEXT])
{
  uint8_t data[1024];
  int n = get_option (areas, SEARCH, data, sizeof data);
  size_t at = 0, used = 0, good = 0;

  while (n > 0 && at < (size_t) n && get_search_name (data, (size_t) n, &at, out, &used))
    good = used;
  out[good] = 0;
}

static uint32_t
get_seconds (const struct areas *areas, enum option code)
{
  uint8_t value[4];

  return get_option (areas, code, value, sizeof value) == 4 ? get32 (value) : 0;
}

static size_t
get_addresses (const struct areas *areas, enum option code, uint8_t (*out)[4], size_t max)
{
  uint8_t data[1024];
  int n = get_option (areas, code, data, sizeof data);
  size_t count = n < 0 || n % 4 ? 0 : (size_t) n / 4;

  if (count > max)
    count = max;
  memcpy (out, data, count * 4);
  return count;
}

static void
get_routes (struct dhcp_answer *a, const struct areas *areas)
{
  uint8_t data[1024];
  int n = get_option (areas, ROUTES, data, sizeof data);
  size_t at = 0, len = n < 0 ? 0 : (size_t) n;

  while (at < len && a->n_routes < DHCP_ROUTES)
    {
      struct dhcp_route *r = &a->routes[a->n_routes];
      size_t significant = (data[at] + 7U) / 8;

      if (data[at] > 32 || len - at < 1 + significant + 4)
        break;
      r->prefix = data[at];
      memset (r->destination, 0, 4);
      memcpy (r->destination, data + at + 1, significant);
      if (r->prefix % 8)
        r->destination[significant - 1] &= (uint8_t) (0xff << (8 - r->prefix % 8));
      memcpy (r->gateway, data + at + 1 + significant, 4);
      at += 1 + significant + 4;
      a->n_routes++;
    }
  a->has_routes = a->n_routes > 0;
}

/* The mask's length; that of the address's class if there is no sound mask. */
static uint8_t
get_prefix (const struct areas *areas, const uint8_t address[4])
{
  uint8_t mask[4];

  if (get_option (areas, SUBNET, mask, sizeof mask) == 4)
    {
      uint32_t m = get32 (mask);
      uint8_t n = 0;

      while (n < 32 && (m & (UINT32_C (1) << (31 - n))))
        n++;
      if (n > 0 && (n == 32 || (m << n) == 0))
        return n;
    }
  return address[0] < 128 ? 8 : address[0] < 192 ? 16 : 24;
}

static void
get_times (struct dhcp_answer *a, const struct areas *areas)
{
  a->lease = get_seconds (areas, LEASE);
  a->renew = get_seconds (areas, RENEW);
  a->rebind = get_seconds (areas, REBIND);
  if (a->lease == (uint32_t) FOREVER)
    {
      a->renew = a->rebind = a->lease;
      return;
    }
  if (a->lease < 4)
    a->lease = a->lease ? 4 : 3600; /* a server has to say one */
  if (a->rebind < 2 || a->rebind >= a->lease)
    a->rebind = (uint32_t) ((uint64_t) a->lease * 7 / 8);
  if (a->renew < 1 || a->renew >= a->rebind)
    a->renew = a->lease / 2 < a->rebind ? a->lease / 2 : a->rebind - 1;
}

/* An address that a host can have. */
static bool
is_host (const uint8_t a[4])
{
  return a[0] != 0 && a[0] != 127 && a[0] < 224;
}

static bool
parse_message (struct dhcp_answer *a, const uint8_t *m, size_t len, const uint8_t mac[6])
{
  struct areas areas = { .n = 1 };
  uint8_t value;

  if (len < FIXED + COOKIE || m[0] != 2 || m[1] != 1 || m[2] != 6 || memcmp (m + 28, mac, 6) != 0
      || memcmp (m + FIXED, cookie, COOKIE) != 0)
    return false;
  areas.area[0].p = m + FIXED + COOKIE;
  areas.area[0].len = len - FIXED - COOKIE;
  if (get_option (&areas, OVERLOAD, &value, 1) == 1)
    {
      if (value & 1)
        {
          areas.area[areas.n].p = m + FILE_NAME;
          areas.area[areas.n++].len = FILE_SIZE;
        }
      if (value & 2)
        {
          areas.area[areas.n].p = m + SNAME;
          areas.area[areas.n++].len = SNAME_SIZE;
        }
    }
  if (get_option (&areas, TYPE, &value, 1) != 1
      || (value != DHCP_OFFER && value != DHCP_ACK && value != DHCP_NAK))
    return false;
  a->type = value;
  a->xid = get32 (m + 4);
  a->has_server = get_option (&areas, SERVER, a->server, 4) == 4;
  if (a->type == DHCP_NAK)
    return true;
  memcpy (a->address, m + 16, 4);
  if (!is_host (a->address))
    return false;
  a->prefix = get_prefix (&areas, a->address);
  a->has_broadcast = get_option (&areas, BROADCAST, a->broadcast, 4) == 4;
  a->n_routers = get_addresses (&areas, ROUTER, a->routers, DHCP_ROUTERS);
  a->n_dns = get_addresses (&areas, DNS, a->dns, DHCP_DNS);
  get_routes (a, &areas);
  get_name (&areas, DOMAIN, a->domain);
  get_name (&areas, HOSTNAME, a->hostname);
  get_search (&areas, a->search);
  {
    uint8_t mtu[2];

    if (get_option (&areas, MTU, mtu, 2) == 2 && get16 (mtu) >= 68)
      a->mtu = get16 (mtu);
  }
  get_times (a, &areas);
  return true;
}

bool
dhcp_packet_parse (struct dhcp_answer *a, const uint8_t *packet, size_t len, bool sums, const uint8_t mac[6])
{
  size_t header, total, udp_len;
  const uint8_t *udp;

  memset (a, 0, sizeof *a);
  if (len < IP_HEADER || packet[0] >> 4 != 4)
    return false;
  header = (packet[0] & 15U) * 4;
  total = get16 (packet + 2);
  if (header < IP_HEADER || total < header + UDP_HEADER || total > len || packet[9] != UDP
      || (get16 (packet + 6) & 0x3fff) /* a fragment */
      || fold (add_sum (0, packet, header)) != 0)
    return false;
  udp = packet + header;
  udp_len = get16 (udp + 4);
  if (get16 (udp) != DHCP_SERVER_PORT || get16 (udp + 2) != DHCP_CLIENT_PORT || udp_len < UDP_HEADER
      || udp_len > total - header)
    return false;
  if (sums && get16 (udp + 6) && udp_sum (packet, udp, udp_len) != 0)
    return false;
  memcpy (a->source, packet + 12, 4);
  return parse_message (a, udp + UDP_HEADER, udp_len - UDP_HEADER, mac);
}
