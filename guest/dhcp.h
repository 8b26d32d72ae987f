/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A DHCP client for one interface of the container, within the agent's loop.  It gets a lease, renews it, and
 * begins anew when it is lost.  What an address means for the interface is its user's.
 */
#ifndef RCVM_GUEST_DHCP_H
#define RCVM_GUEST_DHCP_H

#include <stdbool.h>
#include <stdint.h>

#include "dhcp-packet.h"
#include "failure.h"

struct dhcp;

struct dhcp_user
{
  /* A lease: the first, or one that differs from, or extends, the one before. */
  void (*bound) (void *data, const struct dhcp_answer *lease);
  /* It has run out, or was taken back; the search goes on. */
  void (*lost) (void *data);
  /* There was no first lease in time; the client has stopped. */
  void (*failed) (void *data, const struct failure *f);
};

/* Starts; the interface is up.  NULL and the reason in `f`.  `hostname` may be NULL; a first lease has to come
   within `patience` seconds. */
struct dhcp *dhcp_new (int index, const char *interface, const uint8_t mac[6], const char *hostname,
                       unsigned patience, const struct dhcp_user *user, void *data, struct failure *f);
/* Gives the lease back, if `release`, and stops. */
void dhcp_free (struct dhcp *d, bool release);

/* Seconds since the lease was granted last, and how often it was granted again. */
uint32_t dhcp_age (const struct dhcp *d);
uint32_t dhcp_renewals (const struct dhcp *d);

#endif
