/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's /etc/resolv.conf, where it is the guest's to make: a file of the initramfs, bound over the
   container's, so that the image stays as it is and a DHCP server's word can be written at any time. */
#ifndef RCVM_GUEST_RESOLV_H
#define RCVM_GUEST_RESOLV_H

#include "dhcp-packet.h"
#include "setup.h"

/* Before the container's namespaces are made. */
int resolv_prepare (const struct setup *s, struct failure *f);
/* In the container's mount namespace. */
void resolv_attach (const struct setup *s, int root);

/* Writes what the leases say. */
void resolv_write (const struct dhcp_answer *const *leases, size_t n);

#endif
