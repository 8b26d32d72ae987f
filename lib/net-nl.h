/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Netlink: one request and its answers, on a socket that may belong to another namespace.  libnl composes
   and takes apart. */
#ifndef RCVM_LIB_NET_NL_H
#define RCVM_LIB_NET_NL_H

#include <stdbool.h>
#include <stdint.h>

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <runcvm/error.h>

struct rcvmi_nl
{
  int fd;
  uint32_t seq;
  char text[160]; /* what the kernel said about the last failure: " (...)", or "" */
};

#define RCVMI_NL_INIT ((struct rcvmi_nl){ .fd = -1 })

void rcvmi_nl_close (struct rcvmi_nl *nl);

/* A message with its family's header; NULL without memory. */
struct nl_msg *rcvmi_nl_new (int type, int flags, const void *header, size_t size);

/* Called for each answer. */
typedef void (*rcvmi_nl_fn) (void *user, struct nlmsghdr *h);

/* Sends `msg`, frees it, and takes the answers until the kernel's last word.  Returns 0 or -errno; -EAGAIN
   for a dump (NLM_F_DUMP) that something changed under.  A NULL msg is one for which there was no memory.
 */
int rcvmi_nl_request (struct rcvmi_nl *nl, struct nl_msg *msg, rcvmi_nl_fn fn, void *user);

/* Sends several messages at once, as nftables wants them: all or nothing.  At least one must ask for an
   acknowledgement. Returns 0 or the first failure. */
int rcvmi_nl_batch (struct rcvmi_nl *nl, const void *messages, size_t size);

#endif
