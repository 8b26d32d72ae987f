/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's end of the guest's tunnels (agent-wire.h): each is relayed to a socket.  Bounded are their number and, by
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
  /* A new one: a stream socket that leads to who is to be reached, which becomes the tunnel's; -1: it is refused. */
  int (*connect) (void *user);
  /* The guest sends. */
  void (*progress) (void *user);
  /* Called when the link broke while sending; `err` is the callee's. */
  void (*broken) (void *user, rcvm_error *err);
};

struct rcvmi_tunnels *rcvmi_tunnels_new (struct rcvmi_ev *ev, struct rcvmi_link *link,
                                         const struct rcvmi_tunnels_ops *ops, void *user, rcvm_error **err);
void rcvmi_tunnels_free (struct rcvmi_tunnels *t);

/* A CONNECT or TUNNEL frame. */
int rcvmi_tunnels_frame (struct rcvmi_tunnels *t, const struct agent_header *h, const unsigned char *payload,
                         rcvm_error **err);

#endif
