/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TAP devices. */
#ifndef RCVM_LIB_NET_TAP_H
#define RCVM_LIB_NET_TAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

#include "net-link.h"
#include "net-nl.h"
#include "net-ns.h"
#include "net.h"

enum
{
  RCVMI_NET_MAX_QUEUES = 64
};

struct rcvmi_net_tap_params
{
  char name[RCVMI_NET_NAME_SIZE]; /* "": a free one */
  uint8_t mac[6];                 /* zero: a random one */
  uint32_t mtu;                   /* 0: 1500 */
  uid_t uid;                      /* -1: no owner */
  gid_t gid;
  unsigned queues; /* more than one: multi-queue */
  bool vnet_hdr;
  bool persistent;
  bool down;
  const char *alias; /* what `ip link` shows as its alias; NULL: none */
  bool silent;       /* without an IPv6 address of the host's, which would speak on the VM's link */
};

#define RCVMI_NET_TAP_PARAMS_INIT                                                                          \
  ((struct rcvmi_net_tap_params){ .uid = (uid_t) -1, .gid = (gid_t) -1, .queues = 1 })

struct rcvmi_net_tap
{
  char name[RCVMI_NET_NAME_SIZE];
  int index;
  uint8_t mac[6];
  int fds[RCVMI_NET_MAX_QUEUES]; /* -1 where there is none */
  unsigned n_fds;
};

/* A socket for rtnetlink in the namespace. */
int rcvmi_net_open_nl (const struct rcvmi_netns *ns, struct rcvmi_nl *nl, rcvm_error **err);

/* After a failure there is no device.  `nl` is a socket of the same namespace. */
int rcvmi_net_tap_make (const struct rcvmi_netns *ns, struct rcvmi_nl *nl,
                        const struct rcvmi_net_tap_params *params, struct rcvmi_net_tap *tap,
                        rcvm_error **err);
/* Closes the fds: a device that is not persistent goes with the last one. */
void rcvmi_net_tap_close (struct rcvmi_net_tap *tap);

/* A name for an interface: 1 to 15 bytes, as the kernel wants them.  RCVM_E_INVALID. */
int rcvmi_net_check_name (const char *name, rcvm_error **err);
/* "02:00:5e:10:00:01"; one that is not a multicast address.  RCVM_E_INVALID. */
int rcvmi_net_mac_parse (uint8_t mac[6], const char *text, rcvm_error **err);
/* `buf` has 18 bytes.  Returns buf. */
const char *rcvmi_net_mac_text (const uint8_t mac[6], char *buf);
/* A random one, locally administered. */
int rcvmi_net_mac_random (uint8_t mac[6], rcvm_error **err);

#endif
