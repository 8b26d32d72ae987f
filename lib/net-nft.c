/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host mode's rules: one nftables table for each link, made and removed as a whole.
 *
 * A table of its own has no neighbours to get wrong: no counters of users, no rules to find again by their
 * handles, and two VMs never touch the same one.  Where the kernel can (5.12), the table belongs to our
 * socket and goes when this process does, however it ends; `nft flush ruleset` of a firewall that reloads
 * leaves it alone.
 *
 *   table ip runcvm_TAP {
 *     chain guard        prerouting, raw      iif TAP and not from the guest: drop; to 127.0.0.0/8: drop
 *     chain prerouting   prerouting, dstnat   a published port: dnat to the guest
 *     chain output       output, dstnat       the same for this host's own processes
 *     chain postrouting  postrouting, srcnat  from the guest, or from 127.0.0.0/8 out of TAP: masquerade
 *   }
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-parts.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "err.h"
#include "net-nftnl.h"

enum
{
  ROOM = 16 * 1024,
  ROOM_FOR_PORT = 2 * 1024,

  /* Where in an IPv4 header. */
  SOURCE = 12,
  DESTINATION = 16,

  PRIORITY_RAW = -300,
  PRIORITY_DSTNAT = -100,
  PRIORITY_SRCNAT = 100
};

struct batch
{
  char *data;
  size_t used, size;
  uint32_t seq;
  const char *table;
  struct rcvmi_nftnl lib;
  bool failed; /* out of memory */
};

static void *
at_end (struct batch *b)
{
  return b->data + b->used;
}

static void
advance (struct batch *b, const struct nlmsghdr *h)
{
  b->used += NLMSG_ALIGN (h->nlmsg_len);
  b->seq++;
}

static struct nlmsghdr *
begin (struct batch *b, int type, int flags)
{
  return b->lib.nftnl_nlmsg_build_hdr (at_end (b), (uint16_t) type, NFPROTO_IPV4, (uint16_t) flags, b->seq);
}

static void
put_table (struct batch *b, int type, int flags, bool owner)
{
  struct nftnl_table *t = b->lib.nftnl_table_alloc ();
  struct nlmsghdr *h;

  if (!t || b->lib.nftnl_table_set_str (t, NFTNL_TABLE_NAME, b->table) < 0)
    b->failed = true;
  else
    {
      if (owner)
        b->lib.nftnl_table_set_u32 (t, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
      h = begin (b, type, flags);
      b->lib.nftnl_table_nlmsg_build_payload (h, t);
      advance (b, h);
    }
  if (t)
    b->lib.nftnl_table_free (t);
}

static void
put_chain (struct batch *b, const char *name, const char *type, uint32_t hook, int32_t priority)
{
  struct nftnl_chain *c = b->lib.nftnl_chain_alloc ();
  struct nlmsghdr *h;

  if (!c || b->lib.nftnl_chain_set_str (c, NFTNL_CHAIN_TABLE, b->table) < 0
      || b->lib.nftnl_chain_set_str (c, NFTNL_CHAIN_NAME, name) < 0
      || b->lib.nftnl_chain_set_str (c, NFTNL_CHAIN_TYPE, type) < 0)
    b->failed = true;
  else
    {
      b->lib.nftnl_chain_set_u32 (c, NFTNL_CHAIN_HOOKNUM, hook);
      b->lib.nftnl_chain_set_s32 (c, NFTNL_CHAIN_PRIO, priority);
      b->lib.nftnl_chain_set_u32 (c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
      h = begin (b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
      b->lib.nftnl_chain_nlmsg_build_payload (h, c);
      advance (b, h);
    }
  if (c)
    b->lib.nftnl_chain_free (c);
}

/* Rules: expressions in a row, each of which may end it. */

static struct nftnl_rule *
new_rule (struct batch *b, const char *chain)
{
  struct nftnl_rule *r = b->lib.nftnl_rule_alloc ();

  if (r
      && (b->lib.nftnl_rule_set_str (r, NFTNL_RULE_TABLE, b->table) < 0
          || b->lib.nftnl_rule_set_str (r, NFTNL_RULE_CHAIN, chain) < 0))
    {
      b->lib.nftnl_rule_free (r);
      r = NULL;
    }
  if (!r)
    b->failed = true;
  return r;
}

static struct nftnl_expr *
add (struct batch *b, struct nftnl_rule *r, const char *name)
{
  struct nftnl_expr *e = r ? b->lib.nftnl_expr_alloc (name) : NULL;

  if (e)
    b->lib.nftnl_rule_add_expr (r, e);
  else
    b->failed = true;
  return e;
}

static void
finish_rule (struct batch *b, struct nftnl_rule *r)
{
  struct nlmsghdr *h;

  if (!r)
    return;
  if (!b->failed)
    {
      h = begin (b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
      b->lib.nftnl_rule_nlmsg_build_payload (h, r);
      advance (b, h);
    }
  b->lib.nftnl_rule_free (r);
}

static void
compare (struct batch *b, struct nftnl_rule *r, enum nft_cmp_ops op, const void *data, uint32_t size)
{
  struct nftnl_expr *e = add (b, r, "cmp");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_CMP_OP, op);
  if (b->lib.nftnl_expr_set (e, NFTNL_EXPR_CMP_DATA, data, size) < 0)
    b->failed = true;
}

static void
match_meta (struct batch *b, struct nftnl_rule *r, enum nft_meta_keys key, const void *data, uint32_t size)
{
  struct nftnl_expr *e = add (b, r, "meta");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_META_KEY, key);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_META_DREG, NFT_REG_1);
  compare (b, r, NFT_CMP_EQ, data, size);
}

/* The kernel compares names with all their zeros. */
static void
match_interface (struct batch *b, struct nftnl_rule *r, enum nft_meta_keys key, const char *name)
{
  char padded[RCVMI_NET_NAME_SIZE] = "";

  memcpy (padded, name, strlen (name));
  match_meta (b, r, key, padded, sizeof padded);
}

static void
load (struct batch *b, struct nftnl_rule *r, enum nft_payload_bases base, uint32_t offset, uint32_t size)
{
  struct nftnl_expr *e = add (b, r, "payload");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_PAYLOAD_BASE, base);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_PAYLOAD_LEN, size);
}

/* 127.0.0.0/8 is what its first byte says. */
static void
match_loopback (struct batch *b, struct nftnl_rule *r, uint32_t offset)
{
  static const uint8_t net = 127;

  load (b, r, NFT_PAYLOAD_NETWORK_HEADER, offset, 1);
  compare (b, r, NFT_CMP_EQ, &net, 1);
}

static void
match_ip (struct batch *b, struct nftnl_rule *r, uint32_t offset, enum nft_cmp_ops op,
          const struct rcvmi_net_ip *ip)
{
  load (b, r, NFT_PAYLOAD_NETWORK_HEADER, offset, 4);
  compare (b, r, op, ip->bytes, 4);
}

static void
match_local (struct batch *b, struct nftnl_rule *r)
{
  static const uint32_t local = RTN_LOCAL;
  struct nftnl_expr *e = add (b, r, "fib");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
  compare (b, r, NFT_CMP_EQ, &local, sizeof local);
}

static void
drop (struct batch *b, struct nftnl_rule *r)
{
  struct nftnl_expr *e = add (b, r, "immediate");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_IMM_VERDICT, NF_DROP);
}

static void
immediate (struct batch *b, struct nftnl_rule *r, uint32_t reg, const void *data, uint32_t size)
{
  struct nftnl_expr *e = add (b, r, "immediate");

  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_IMM_DREG, reg);
  if (b->lib.nftnl_expr_set (e, NFTNL_EXPR_IMM_DATA, data, size) < 0)
    b->failed = true;
}

static void
dnat (struct batch *b, struct nftnl_rule *r, const struct rcvmi_net_ip *to, uint16_t port)
{
  uint16_t network = htons (port);
  struct nftnl_expr *e;

  immediate (b, r, NFT_REG_1, to->bytes, 4);
  immediate (b, r, NFT_REG_2, &network, sizeof network);
  e = add (b, r, "nat");
  if (!e)
    return;
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_NAT_FAMILY, NFPROTO_IPV4);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_NAT_REG_PROTO_MIN, NFT_REG_2);
  b->lib.nftnl_expr_set_u32 (e, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
}

static void
put_guard (struct batch *b, const char *tap, const struct rcvmi_net_ip *guest)
{
  struct nftnl_rule *r = new_rule (b, "guard");

  /* A guest that uses another's address would get that one's answers, or get in where only that one may. */
  match_interface (b, r, NFT_META_IIFNAME, tap);
  match_ip (b, r, SOURCE, NFT_CMP_NEQ, guest);
  drop (b, r);
  finish_rule (b, r);
  /* route_localnet (net-private.c) lets this host's 127.0.0.1 reach the guest; never the other way round.
   */
  r = new_rule (b, "guard");
  match_interface (b, r, NFT_META_IIFNAME, tap);
  match_loopback (b, r, DESTINATION);
  drop (b, r);
  finish_rule (b, r);
}

static void
put_masquerade (struct batch *b, const char *tap, const struct rcvmi_net_ip *guest)
{
  struct nftnl_rule *r = new_rule (b, "postrouting");

  match_ip (b, r, SOURCE, NFT_CMP_EQ, guest);
  add (b, r, "masq");
  finish_rule (b, r);
  r = new_rule (b, "postrouting");
  match_interface (b, r, NFT_META_OIFNAME, tap);
  match_loopback (b, r, SOURCE);
  add (b, r, "masq");
  finish_rule (b, r);
}

static void
put_port (struct batch *b, const char *chain, const struct rcvmi_net_port *p,
          const struct rcvmi_net_ip *guest)
{
  struct nftnl_rule *r = new_rule (b, chain);
  uint16_t port = htons (p->host_port);

  match_meta (b, r, NFT_META_L4PROTO, &p->protocol, 1);
  if (p->host_ip.family == AF_INET)
    match_ip (b, r, DESTINATION, NFT_CMP_EQ, &p->host_ip);
  else
    match_local (b, r);
  load (b, r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2); /* of TCP and UDP alike */
  compare (b, r, NFT_CMP_EQ, &port, sizeof port);
  dnat (b, r, guest, p->guest_port);
  finish_rule (b, r);
}

static int
compose (struct batch *b, const struct rcvmi_net *net, const char *tap, const struct rcvmi_net_ip *guest,
         bool owner)
{
  b->used = 0;
  b->seq = 1;
  advance (b, b->lib.nftnl_batch_begin (at_end (b), b->seq));
  put_table (b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, owner);
  put_chain (b, "guard", "filter", NF_INET_PRE_ROUTING, PRIORITY_RAW);
  put_chain (b, "prerouting", "nat", NF_INET_PRE_ROUTING, PRIORITY_DSTNAT);
  put_chain (b, "output", "nat", NF_INET_LOCAL_OUT, PRIORITY_DSTNAT);
  put_chain (b, "postrouting", "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT);
  put_guard (b, tap, guest);
  put_masquerade (b, tap, guest);
  for (size_t i = 0; i < net->n_ports; i++)
    {
      put_port (b, "prerouting", &net->ports[i], guest);
      put_port (b, "output", &net->ports[i], guest);
    }
  advance (b, b->lib.nftnl_batch_end (at_end (b), b->seq));
  return b->failed ? -ENOMEM : 0;
}

static int
open_socket (const struct rcvmi_netns *ns, struct rcvmi_nl *nft, rcvm_error **err)
{
  int fd = rcvmi_netns_socket (ns, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, err), one = 1;

  if (fd < 0)
    return fd;
  nft->fd = fd;
  (void) setsockopt (fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  return 0;
}

int
rcvmi_net_nft_make (struct rcvmi_net *net, const char *tap, const struct rcvmi_net_ip *guest,
                    rcvm_error **err)
{
  struct batch b = { .size = ROOM + net->n_ports * ROOM_FOR_PORT, .table = net->table };
  autofree char *data = calloc (1, b.size);
  int r, code;

  b.data = data;
  if (!data)
    return rcvmi_fail_nomem (err);
  code = rcvmi_nftnl_load (&b.lib, err);
  if (code == 0)
    code = open_socket (&net->ns, &net->nft, err);
  if (code < 0)
    return code;
  r = compose (&b, net, tap, guest, true);
  if (r == 0)
    r = rcvmi_nl_batch (&net->nft, b.data, b.used);
  if (r == -EOPNOTSUPP || r == -EINVAL)
    {
      /* Perhaps a kernel that knows no owners. */
      r = compose (&b, net, tap, guest, false);
      if (r == 0)
        r = rcvmi_nl_batch (&net->nft, b.data, b.used);
    }
  if (r == -EOPNOTSUPP || r == -ENOENT || r == -EINVAL)
    return rcvmi_fail (
        err, RCVM_E_HOST, -r,
        "cannot make the nftables table '%s'%s; the kernel needs nf_tables with nat, masq, fib and meta",
        net->table, net->nft.text);
  if (r == -EPERM)
    return rcvmi_fail (err, RCVM_E_PERMISSION, -r, "making an nftables table needs CAP_NET_ADMIN");
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot make the nftables table '%s'%s", net->table, net->nft.text);
  return 0;
}

int
rcvmi_net_nft_delete (const struct rcvmi_netns *ns, struct rcvmi_nl *nft, const char *table)
{
  struct batch b = { .size = ROOM, .table = table };
  autofree char *data = calloc (1, b.size);
  int r;

  b.data = data;
  if (!data)
    return -ENOMEM;
  if (rcvmi_nftnl_load (&b.lib, NULL) < 0 || (nft->fd < 0 && open_socket (ns, nft, NULL) < 0))
    return 0; /* a host that cannot have made one */
  b.seq = 1;
  advance (&b, b.lib.nftnl_batch_begin (at_end (&b), b.seq));
  put_table (&b, NFT_MSG_DELTABLE, NLM_F_ACK, false);
  advance (&b, b.lib.nftnl_batch_end (at_end (&b), b.seq));
  r = b.failed ? -ENOMEM : rcvmi_nl_batch (nft, b.data, b.used);
  return r == -ENOENT ? 0 : r;
}
