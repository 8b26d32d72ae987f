/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tunnels: what connects to a socket of the guest is carried to the host. */
#ifndef RCVM_GUEST_TUNNEL_H
#define RCVM_GUEST_TUNNEL_H

/* Serves the listening socket, and the sockets that come from the agent (HANDOFF_SHARE), for ever. */
_Noreturn void tunnel_serve (int fd, int agent);

#endif
