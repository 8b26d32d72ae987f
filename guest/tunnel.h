/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tunnels: what connects to a port of 127.0.0.1 in the agent's own network namespace, which is not the container's,
 * is carried to the host.  The kernel's NFS client is who does.
 */
#ifndef RCVM_GUEST_TUNNEL_H
#define RCVM_GUEST_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

/* The kernel chooses the port. */
int tunnel_listen (struct failure *f);
int tunnel_port (void);

/* Frames of the host.  False: it sent more than it may. */
bool tunnel_data (uint32_t number, const unsigned char *data, size_t len);
void tunnel_credit (uint32_t number, uint32_t bytes);
void tunnel_closed (uint32_t number);

#endif
