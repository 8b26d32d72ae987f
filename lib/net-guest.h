/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's half of the network, as the host tells and hears of it (net-record.h). */
#ifndef RCVM_LIB_NET_GUEST_H
#define RCVM_LIB_NET_GUEST_H

#include <runcvm/error.h>

#include "net.h"
#include "tlv.h"

/* The fields of an interface, for S_NETWORK or NET_ADD; `dhcp` in seconds, 0: none. */
int rcvmi_net_guest_put (struct tlv_writer *w, const struct rcvmi_net_if *i, unsigned dhcp, rcvm_error **err);
/* The text of a resolv.conf; to be freed. */
char *rcvmi_net_guest_resolv (const struct rcvmi_net_dns *dns, rcvm_error **err);
/* The guest's answer, which is not to be trusted, as JSON: {"interfaces":[{...}]}.  To be freed. */
char *rcvmi_net_guest_json (const void *record, size_t len, rcvm_error **err);

/* "eth0,address=192.168.1.7/24,gateway=192.168.1.1,mac=02:...,mtu=1400,route=10.0.0.0/8@192.168.1.9": what the guest
   gets in place of what the interface has.  RCVM_E_INVALID. */
int rcvmi_net_guest_parse_nic (struct rcvmi_net_if *i, const char *text, rcvm_error **err);
/* "8080:80", "8080:80/udp", "192.168.1.1:8080:80/tcp". */
int rcvmi_net_guest_parse_port (struct rcvmi_net_port *port, const char *text, rcvm_error **err);

#endif
