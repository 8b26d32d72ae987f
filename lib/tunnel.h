/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's end of the guest's tunnels (agent-wire.h), on a stream of their own: each is relayed to a socket.  Bounded are their number and, by
 * the credit windows, what waits in each; a guest that goes beyond breaks the protocol.
 */
#ifndef RCVM_LIB_TUNNEL_H
#define RCVM_LIB_TUNNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "ev.h"
#include "link.h"

struct rcvmi_tunnels;

struct rcvmi_tunnels_ops
{
  /* A new one: a stream socket that leads to who is to be reached (A_SHARE), which becomes the tunnel's; -1: it is refused. */
  int (*connect) (void *user, uint32_t share);
  /* The guest sends. */
  void (*progress) (void *user);
  /* The stream broke, or the guest broke the protocol; nothing else is called after it.  `err` is the callee's. */
  void (*broken) (void *user, rcvm_error *err);
};

/* Takes the stream's fd over in any case. */
struct rcvmi_tunnels *rcvmi_tunnels_new (struct rcvmi_ev *ev, int fd, const struct rcvmi_tunnels_ops *ops, void *user,
                                         rcvm_error **err);
void rcvmi_tunnels_free (struct rcvmi_tunnels *t);

#endif
