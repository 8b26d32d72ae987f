/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes in at one interface goes out at another: tc's ingress, one filter with one action. */
#ifndef RCVM_LIB_NET_REDIRECT_H
#define RCVM_LIB_NET_REDIRECT_H

#include <stdbool.h>
#include <stdint.h>

#include "net-nl.h"

enum
{
  RCVMI_NET_COOKIE_SIZE = 16 /* TC_COOKIE_MAX_SIZE */
};

/* What there is at an interface's ingress. */
struct rcvmi_net_ingress
{
  bool qdisc;        /* any */
  bool shared_block; /* ... whose filters are those of other interfaces too */
  unsigned ours;     /* filters with our cookie */
  unsigned dead;     /* and of a VM that nobody has cleaned up after; the last of either: */
  uint32_t handle, info;
  unsigned others;      /* and without */
  unsigned others_here; /* ... of the same priority as ours */
  unsigned last;        /* the others' last priority */
  bool buried;          /* by rcvmi_net_ingress_bury: there was a dead one */
};

/* Returns 0 or -errno, like all of these. */
int rcvmi_net_ingress_read (struct rcvmi_nl *nl, int index, const uint8_t *cookie,
                            struct rcvmi_net_ingress *ingress);
/* Removes what dead VMs have left, and says what there is then. */
int rcvmi_net_ingress_bury (struct rcvmi_nl *nl, int index, const uint8_t *cookie,
                            struct rcvmi_net_ingress *ingress);
/* -EEXIST if there is one. */
int rcvmi_net_ingress_make_qdisc (struct rcvmi_nl *nl, int index);
/* All that comes in there goes out at `to`, unless one of the `others` says otherwise. */
int rcvmi_net_ingress_redirect (struct rcvmi_nl *nl, int index, int to, const uint8_t *cookie);
/* Removes our filter, and the qdisc too if that is ours and nobody else has come to use it.  What is not
   there is no failure. */
int rcvmi_net_ingress_restore (struct rcvmi_nl *nl, int index, const uint8_t *cookie, bool qdisc_is_ours);

#endif
