/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is configured in a namespace. */
#ifndef RCVM_LIB_NET_READ_H
#define RCVM_LIB_NET_READ_H

#include "net-nl.h"
#include "net.h"

struct rcvmi_net_found
{
  struct rcvmi_net_if data;
  unsigned type;  /* ARPHRD_... */
  unsigned flags; /* IFF_... */
  int master;     /* index, 0: none */
};

struct rcvmi_net_list
{
  struct rcvmi_net_found *found;
  size_t n;
  char **warnings; /* what could not be taken over, one sentence each */
  /* All IPv4 networks that are in use here: addresses and routes, as (network, prefix). */
  struct rcvmi_net_route *used;
  size_t n_used;
};

/* Every interface of the namespace. */
int rcvmi_net_read (struct rcvmi_nl *nl, struct rcvmi_net_list *list, rcvm_error **err);
void rcvmi_net_list_clear (struct rcvmi_net_list *list);
struct rcvmi_net_found *rcvmi_net_list_find (struct rcvmi_net_list *list, int index);

/* One sentence more.  -1 without memory. */
int rcvmi_net_warn (char ***warnings, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
void rcvmi_net_strv_free (char **list);

/* resolv.conf: name servers, search list, options.  Lines that make no sense are left out, as the C library
   does. */
int rcvmi_net_dns_parse (struct rcvmi_net_dns *dns, const char *text, size_t size, rcvm_error **err);
/* A file that is not there gives an empty one. */
int rcvmi_net_dns_read (struct rcvmi_net_dns *dns, const char *path, rcvm_error **err);
/* Of the namespace at `path`: /etc/netns/NAME/resolv.conf for those of `ip netns`. */
int rcvmi_net_dns_of_netns (struct rcvmi_net_dns *dns, const char *path, rcvm_error **err);
/* Of the host, without servers on its loopback, which the guest cannot reach. */
int rcvmi_net_dns_of_host (struct rcvmi_net_dns *dns, rcvm_error **err);
void rcvmi_net_dns_clear (struct rcvmi_net_dns *dns);

#endif
