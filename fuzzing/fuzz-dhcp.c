/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What anyone on the container's network may send to the guest's DHCP client. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../guest/dhcp-packet.c"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_name (const char *s, bool list)
{
  if (strlen (s) >= DHCP_TEXT)
    abort ();
  for (; *s; s++)
    if (!is_name_char ((uint8_t) *s) && !(list && *s == ' '))
      abort (); /* would go into resolv.conf */
}

static void
check (const uint8_t *packet, size_t size)
{
  static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
  struct dhcp_answer a;

  if (!dhcp_packet_parse (&a, packet, size, false, mac) || a.type == DHCP_NAK)
    return;
  check_name (a.domain, false);
  check_name (a.hostname, false);
  check_name (a.search, true);
  if (a.prefix < 1 || a.prefix > 32 || a.n_dns > DHCP_DNS || a.n_routers > DHCP_ROUTERS || a.n_routes > DHCP_ROUTES
      || a.renew == 0 || (a.lease != UINT32_MAX && (a.renew >= a.rebind || a.rebind >= a.lease)))
    abort ();
  for (size_t i = 0; i < a.n_routes; i++)
    if (a.routes[i].prefix > 32)
      abort ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  /* As it comes, and behind headers that are sound, so that options are reached at once. */
  uint8_t packet[2048] = { 0x45, [9] = 17, [21] = 67, [23] = 68, [28] = 2, 1, 6, [56] = 2, 0, 0, 0, 0, 1 };

  check (data, size);
  if (size < 8 || size > sizeof packet - 268)
    return 0;
  memcpy (packet + 44, data, 4);
  memcpy (packet + 28 + 44, data, size < 192 ? size : 192);
  memcpy (packet + 28 + FIXED, cookie, COOKIE);
  memcpy (packet + 268, data + 4, size - 4);
  put16 (packet + 2, (unsigned) (264 + size));
  put16 (packet + 24, (unsigned) (244 + size));
  put16 (packet + 10, fold (add_sum (0, packet, IP_HEADER)));
  check (packet, 264 + size);
  return 0;
}
