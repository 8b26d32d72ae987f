/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DHCP messages (RFC 2131, 2132, 3396, 3397, 3442), in and out of IPv4 packets.  Libc only: it is tested and
 * fuzzed on the host.  Addresses are in network byte order.
 */
#ifndef RCVM_GUEST_DHCP_PACKET_H
#define RCVM_GUEST_DHCP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum
{
  DHCP_SERVER_PORT = 67,
  DHCP_CLIENT_PORT = 68,
  DHCP_PACKET_MAX = 1500,
  DHCP_ROUTES = 64,
  DHCP_ROUTERS = 4,
  DHCP_DNS = 8,
  DHCP_TEXT = 256
};

enum dhcp_type
{
  DHCP_DISCOVER = 1,
  DHCP_OFFER = 2,
  DHCP_REQUEST = 3,
  DHCP_DECLINE = 4,
  DHCP_ACK = 5,
  DHCP_NAK = 6,
  DHCP_RELEASE = 7
};

struct dhcp_route
{
  uint8_t destination[4];
  uint8_t prefix;
  uint8_t gateway[4]; /* 0.0.0.0: on the link */
};

/* What a server says. */
struct dhcp_answer
{
  enum dhcp_type type;
  uint32_t xid;
  uint8_t address[4];
  uint8_t source[4]; /* of the IP packet */
  bool has_server;
  uint8_t server[4];
  uint8_t prefix;
  bool has_broadcast;
  uint8_t broadcast[4];
  uint8_t routers[DHCP_ROUTERS][4];
  size_t n_routers;
  bool has_routes; /* then the routers do not count */
  struct dhcp_route routes[DHCP_ROUTES];
  size_t n_routes;
  uint8_t dns[DHCP_DNS][4];
  size_t n_dns;
  /* Letters, digits, '-', '_' and '.'; search has spaces between names. */
  char domain[DHCP_TEXT];
  char search[DHCP_TEXT];
  char hostname[DHCP_TEXT];
  unsigned mtu;                   /* 0: none */
  uint32_t lease, renew, rebind; /* seconds; UINT32_MAX is for ever.  0 < renew < rebind < lease */
};

/* What a client says. */
struct dhcp_query
{
  enum dhcp_type type;
  uint32_t xid;
  unsigned seconds; /* since it began */
  const uint8_t *mac;
  const uint8_t *own;       /* the address that it has and answers to, or NULL */
  const uint8_t *requested; /* or NULL */
  const uint8_t *server;    /* its identifier, or NULL */
  const char *hostname;     /* or NULL */
};

/* The message alone, as a UDP socket takes it; its length, 0 if it does not fit. */
size_t dhcp_message_build (uint8_t *out, size_t size, const struct dhcp_query *q);
/* With IP and UDP headers.  `from` and `to` are addresses (all zeros, all ones). */
size_t dhcp_packet_build (uint8_t *out, size_t size, const struct dhcp_query *q, const uint8_t from[4],
                          const uint8_t to[4]);

/* An IPv4 packet.  False if it is not a whole and sound answer of a server to a client with this MAC.
   `sums`: its UDP checksum has been filled in (a packet of the same machine's may come without). */
bool dhcp_packet_parse (struct dhcp_answer *a, const uint8_t *packet, size_t len, bool sums, const uint8_t mac[6]);

#endif
