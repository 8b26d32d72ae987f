/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container's network.  Its namespace is made by the container's helper (container.c); the agent's own keeps
 * what belongs to the machine.  The agent moves each interface of the SETUP record into the container's namespace
 * when its device is there, and configures it; DHCP (dhcp.c) may take its time.
 */
#ifndef RCVM_GUEST_NET_H
#define RCVM_GUEST_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "setup.h"
#include "tlv.h"

/* Takes over what the record says of the network. */
int net_setup (struct setup *s, struct failure *f);
/* The container's network namespace, which becomes the agent's to hold.  container_network_ready or
   container_network_failed follows, perhaps at once. */
void net_begin (int namespace_fd);
bool net_is_ready (void);
/* Of a machine that goes on as another one: a record of an interface, which it has by its N_DEVICE. */
int net_exchange (struct tlv_reader record, struct failure *f);
/* What DHCP says of it from now on. */
void net_set_hostname (const char *name);
/* Gives leases back: the machine goes down. */
void net_release (void);

/* A child was reaped. */
void net_reaped (pid_t pid, int status);

/* The frames NET_ADD, NET_DEL and NET_QUERY; each is answered. */
void net_add (uint32_t number, const void *record, size_t len);
void net_del (uint32_t number, const void *record, size_t len);
void net_query (uint32_t number);

#endif
