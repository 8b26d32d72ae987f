/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The filter is u32's "everything": of the classifiers that can say so it is the one that all kernels have.
 * Its action carries a cookie of 16 bytes, new for each VM, by which it is known again: by this process, by
 * the one that cleans up after it died, and by nobody by mistake.
 *
 * Filters of others at the same place come first: ours has a later priority than any of them.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-redirect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

enum
{
  PRIORITY = 65000,
  LAST_PRIORITY = 65535
};

/* Both "ingress" and "clsact" know this parent. */
#define PARENT TC_H_MAKE (TC_H_CLSACT, TC_H_MIN_INGRESS)

struct look
{
  int index;
  const uint8_t *cookie;
  struct rcvmi_net_ingress *ingress;
};

static void
on_qdisc (void *user, struct nlmsghdr *h)
{
  struct look *l = user;
  const struct tcmsg *m = NLMSG_DATA (h);
  struct nlattr *a[TCA_MAX + 1];

  if (h->nlmsg_type != RTM_NEWQDISC || nlmsg_parse (h, sizeof *m, a, TCA_MAX, NULL) < 0)
    return;
  if (m->tcm_ifindex != l->index || m->tcm_parent != TC_H_INGRESS)
    return;
  l->ingress->qdisc = true;
  l->ingress->shared_block = a[TCA_INGRESS_BLOCK] && nla_get_u32 (a[TCA_INGRESS_BLOCK]) != 0;
}

enum owner
{
  OURS,
  DEAD,
  THEIRS
};

/* By the filter's first action.  DEAD is a VM's of which nobody has cleaned up: it has a cookie like ours,
   and leads to a TAP that is gone. */
static enum owner
find_owner (struct nlattr *options, const uint8_t *cookie)
{
  struct nlattr *o[TCA_U32_MAX + 1], *actions[2], *act[TCA_ACT_MAX + 1], *m[TCA_MIRRED_MAX + 1];
  struct tc_mirred mirred;

  if (nla_parse_nested (o, TCA_U32_MAX, options, NULL) < 0 || !o[TCA_U32_ACT]
      || nla_parse_nested (actions, 1, o[TCA_U32_ACT], NULL) < 0 || !actions[1]
      || nla_parse_nested (act, TCA_ACT_MAX, actions[1], NULL) < 0 || !act[TCA_ACT_COOKIE]
      || nla_len (act[TCA_ACT_COOKIE]) != RCVMI_NET_COOKIE_SIZE)
    return THEIRS;
  if (!memcmp (nla_data (act[TCA_ACT_COOKIE]), cookie, RCVMI_NET_COOKIE_SIZE))
    return OURS;
  if (!act[TCA_ACT_OPTIONS] || nla_parse_nested (m, TCA_MIRRED_MAX, act[TCA_ACT_OPTIONS], NULL) < 0
      || !m[TCA_MIRRED_PARMS] || nla_len (m[TCA_MIRRED_PARMS]) < (int) sizeof mirred)
    return THEIRS;
  memcpy (&mirred, nla_data (m[TCA_MIRRED_PARMS]), sizeof mirred);
  return mirred.ifindex == 0 ? DEAD : THEIRS;
}

static void
on_filter (void *user, struct nlmsghdr *h)
{
  struct look *l = user;
  const struct tcmsg *m = NLMSG_DATA (h);
  struct nlattr *a[TCA_MAX + 1], *o[TCA_U32_MAX + 1];
  enum owner owner = THEIRS;
  bool u32;

  if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_parse (h, sizeof *m, a, TCA_MAX, NULL) < 0)
    return;
  if (m->tcm_ifindex != l->index && m->tcm_ifindex != (int) TCM_IFINDEX_MAGIC_BLOCK)
    return;
  u32 = a[TCA_KIND] && !nla_strcmp (a[TCA_KIND], "u32");
  if (u32 && a[TCA_OPTIONS])
    owner = find_owner (a[TCA_OPTIONS], l->cookie);
  if (owner != THEIRS)
    {
      l->ingress->ours += owner == OURS;
      l->ingress->dead += owner == DEAD;
      l->ingress->handle = m->tcm_handle;
      l->ingress->info = m->tcm_info;
    }
  else if (!a[TCA_OPTIONS]
           || (u32 && nla_parse_nested (o, TCA_U32_MAX, a[TCA_OPTIONS], NULL) == 0 && !o[TCA_U32_SEL]))
    return; /* the head of a list, or a table of u32: no filter */
  else
    {
      unsigned priority = TC_H_MAJ (m->tcm_info) >> 16;

      l->ingress->others++;
      l->ingress->others_here += l->ingress->ours + l->ingress->dead > 0 && m->tcm_info == l->ingress->info;
      if (priority > l->ingress->last)
        l->ingress->last = priority;
    }
}

int
rcvmi_net_ingress_read (struct rcvmi_nl *nl, int index, const uint8_t *cookie,
                        struct rcvmi_net_ingress *ingress)
{
  struct look l = { index, cookie, ingress };
  struct tcmsg m = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index };
  int r;

  do
    {
      *ingress = (struct rcvmi_net_ingress){ .qdisc = false };
      m.tcm_parent = 0;
      r = rcvmi_nl_request (nl, rcvmi_nl_new (RTM_GETQDISC, NLM_F_DUMP, &m, sizeof m), on_qdisc, &l);
      m.tcm_parent = PARENT;
      if (r == 0 && ingress->qdisc)
        r = rcvmi_nl_request (nl, rcvmi_nl_new (RTM_GETTFILTER, NLM_F_DUMP, &m, sizeof m), on_filter, &l);
    }
  while (r == -EAGAIN);
  return r;
}

int
rcvmi_net_ingress_make_qdisc (struct rcvmi_nl *nl, int index)
{
  struct tcmsg m = { .tcm_family = AF_UNSPEC,
                     .tcm_ifindex = index,
                     .tcm_handle = TC_H_MAKE (TC_H_INGRESS, 0),
                     .tcm_parent = TC_H_INGRESS };
  struct nl_msg *msg = rcvmi_nl_new (RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);

  if (msg && nla_put_string (msg, TCA_KIND, "ingress") < 0)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

static bool
put_action (struct nl_msg *msg, int to, const uint8_t *cookie)
{
  struct tc_mirred mirred
      = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t) to };
  struct nlattr *list = nla_nest_start (msg, TCA_U32_ACT), *first, *options;

  first = list ? nla_nest_start (msg, 1) : NULL;
  if (!first || nla_put_string (msg, TCA_ACT_KIND, "mirred") < 0
      || nla_put (msg, TCA_ACT_COOKIE, RCVMI_NET_COOKIE_SIZE, cookie) < 0)
    return false;
  options = nla_nest_start (msg, TCA_ACT_OPTIONS);
  if (!options || nla_put (msg, TCA_MIRRED_PARMS, sizeof mirred, &mirred) < 0)
    return false;
  nla_nest_end (msg, options);
  nla_nest_end (msg, first);
  nla_nest_end (msg, list);
  return true;
}

int
rcvmi_net_ingress_redirect (struct rcvmi_nl *nl, int index, int to, const uint8_t *cookie)
{
  struct tcmsg m = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = PARENT };
  /* One key that follows: no bit of the first word has to be anything. */
  struct tc_u32_sel sel = { .flags = TC_U32_TERMINAL, .nkeys = 1 };
  char match[sizeof sel + sizeof (struct tc_u32_key)] = { 0 };
  struct rcvmi_net_ingress ingress;
  struct nlattr *options = NULL;
  unsigned priority;
  struct nl_msg *msg;
  int r = rcvmi_net_ingress_read (nl, index, cookie, &ingress);

  if (r < 0)
    return r;
  memcpy (match, &sel, sizeof sel);
  if (ingress.last >= LAST_PRIORITY)
    return -EBUSY;
  priority = ingress.last >= PRIORITY ? ingress.last + 1 : PRIORITY;
  m.tcm_info = TC_H_MAKE (priority << 16, htons (ETH_P_ALL));
  msg = rcvmi_nl_new (RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
  if (msg && nla_put_string (msg, TCA_KIND, "u32") == 0)
    options = nla_nest_start (msg, TCA_OPTIONS);
  if (!options || !put_action (msg, to, cookie) || nla_put (msg, TCA_U32_SEL, sizeof match, match) < 0)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  nla_nest_end (msg, options);
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

/* With its priority, as u32 leaves an empty one behind; but that one alone where somebody else has come to
   the same. */
static int
remove_filter (struct rcvmi_nl *nl, int index, const struct rcvmi_net_ingress *ingress)
{
  struct tcmsg m = { .tcm_family = AF_UNSPEC,
                     .tcm_ifindex = index,
                     .tcm_parent = PARENT,
                     .tcm_handle = ingress->others_here ? ingress->handle : 0,
                     .tcm_info = ingress->info };
  struct nl_msg *msg = rcvmi_nl_new (RTM_DELTFILTER, 0, &m, sizeof m);

  if (msg && nla_put_string (msg, TCA_KIND, "u32") < 0)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

int
rcvmi_net_ingress_bury (struct rcvmi_nl *nl, int index, const uint8_t *cookie,
                        struct rcvmi_net_ingress *ingress)
{
  int r = rcvmi_net_ingress_read (nl, index, cookie, ingress);

  while (r == 0 && ingress->dead > 0 && ingress->ours == 0)
    {
      r = remove_filter (nl, index, ingress);
      if (r == 0)
        r = rcvmi_net_ingress_read (nl, index, cookie, ingress);
      ingress->buried = true;
    }
  return r;
}

static int
remove_qdisc (struct rcvmi_nl *nl, int index)
{
  struct tcmsg m = { .tcm_family = AF_UNSPEC,
                     .tcm_ifindex = index,
                     .tcm_handle = TC_H_MAKE (TC_H_INGRESS, 0),
                     .tcm_parent = TC_H_INGRESS };
  struct nl_msg *msg = rcvmi_nl_new (RTM_DELQDISC, 0, &m, sizeof m);

  if (msg && nla_put_string (msg, TCA_KIND, "ingress") < 0)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

int
rcvmi_net_ingress_restore (struct rcvmi_nl *nl, int index, const uint8_t *cookie, bool qdisc_is_ours)
{
  struct rcvmi_net_ingress ingress;
  int r = rcvmi_net_ingress_read (nl, index, cookie, &ingress);

  if (r == 0 && ingress.ours > 0)
    r = remove_filter (nl, index, &ingress);
  if (r == 0 && qdisc_is_ours && ingress.qdisc && ingress.others + ingress.dead == 0)
    r = remove_qdisc (nl, index);
  return r == -ENODEV || r == -ENOENT || r == -EINVAL ? 0 : r;
}
