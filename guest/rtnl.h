/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rtnetlink: what the agent needs to ask the kernel about interfaces, addresses, routes and neighbours. */
#ifndef RCVM_GUEST_RTNL_H
#define RCVM_GUEST_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "net-record.h"

struct rtnl_request
{
  union
  {
    struct nlmsghdr header;
    unsigned char bytes[1024];
  };
  bool full;
};

/* A socket in the calling process's namespace, for the multicast `groups` (RTMGRP_*, or 0); -1 and errno. */
int rtnl_open (uint32_t groups);

/* A request of `type` with the family's structure `body`. */
void rtnl_begin (struct rtnl_request *q, uint16_t type, uint16_t flags, const void *body, size_t len);
void rtnl_put (struct rtnl_request *q, uint16_t type, const void *data, size_t len);
void rtnl_put_u32 (struct rtnl_request *q, uint16_t type, uint32_t value);
size_t rtnl_nest (struct rtnl_request *q, uint16_t type);
void rtnl_end_nest (struct rtnl_request *q, size_t mark);
/* Sends it and waits for the kernel's word, which comes at once: 0, or -1 and errno. */
int rtnl_talk (int fd, struct rtnl_request *q);
/* The same for a dump: `each` gets every message of the answer. */
int rtnl_dump (int fd, struct rtnl_request *q, void (*each) (void *data, const struct nlmsghdr *h), void *data);

/* The attributes behind the family's structure of `size` bytes, by type; those above `max` are left out.
   False if the message is too short. */
bool rtnl_attributes (const struct nlmsghdr *h, size_t size, const struct rtattr **table, unsigned max);
/* The value of an attribute; 0 if there is none or it is too short. */
uint32_t rtnl_u32 (const struct rtattr *a);
/* As a string of at most `size` - 1 bytes. */
void rtnl_text (const struct rtattr *a, char *out, size_t size);
struct net_ip rtnl_ip (const struct rtattr *a);

#endif
