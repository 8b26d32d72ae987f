/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/rtnetlink.h>

#include "agent-wire.h"
#include "array.h"
#include "channel.h"
#include "cleanup.h"
#include "container.h"
#include "dhcp.h"
#include "hotplug.h"
#include "lease.h"
#include "log.h"
#include "loop.h"
#include "modules.h"
#include "net-record.h"
#include "netif.h"
#include "netspace.h"
#include "resolv.h"
#include "rtnl.h"
#include "sysctl.h"

enum
{
  DEVICE_WAIT_S = 30,
  ANSWER_MAX = AGENT_DATA_MAX - 1024
};

struct nic
{
  struct nic *next;
  struct net_interface wanted; /* with DHCP: and what the lease gave */
  int index;                   /* in the container's namespace; 0: its device has not appeared */
  bool ready;
  uint32_t *waiting; /* the numbers of the NET_ADD frames that wait for it */
  size_t n_waiting;
  uint32_t number; /* of the NET_DEL frame */
  struct dhcp *dhcp;
  struct dhcp_answer lease; /* type 0: there is none */
  pid_t removal;            /* the child that takes its device off the bus, or 0 */
  struct watch deadline;
};

static void link_news (struct watch *w, uint32_t events);

static struct
{
  int own_rtnl, container_rtnl;
  struct watch news; /* of links in our own namespace */
  struct nic *nics;
  struct setup_pair *sysctls; /* net.*, copied */
  size_t n_sysctls;
  char *hostname;
  bool resolv_from_dhcp;
  bool ready, failed;
} the = {
  .own_rtnl = -1,
  .container_rtnl = -1,
  .news = { .fd = -1, .ready = link_news },
};

static int
apply_sysctls (struct failure *f)
{
  struct setup s = { .sysctls = the.sysctls, .n_sysctls = the.n_sysctls };
  int result;

  if (!the.n_sysctls)
    return 0;
  if (netspace_enter () < 0)
    return fail (f, "net", errno, "cannot enter the container's network namespace");
  result = sysctl_apply (&s, true, f);
  netspace_leave ();
  return result;
}

/* Answers */

static void
answer_failure (uint32_t number, const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  failure_put (&w, f);
  channel_send_record (AGENT_NET_ANSWER, number, &w);
}

static struct nic *
nic_of (int index)
{
  struct nic *n = the.nics;

  while (n && n->index != index)
    n = n->next;
  return index ? n : NULL;
}

static void
add_lease (struct net_interface *i, const struct nic *n)
{
  struct net_lease *l = &i->lease;

  i->dhcp = n->wanted.dhcp;
  if (!n->lease.type)
    return;
  i->has_lease = true;
  l->server.len = 4;
  memcpy (l->server.bytes, n->lease.server, 4);
  l->seconds = n->lease.lease;
  l->age = dhcp_age (n->dhcp);
  l->renewals = dhcp_renewals (n->dhcp);
  for (size_t k = 0; k < n->lease.n_dns && k < NET_LEASE_DNS; k++)
    {
      l->dns[k].len = 4;
      memcpy (l->dns[k].bytes, n->lease.dns[k], 4);
      l->n_dns = k + 1;
    }
  strcpy (l->domain, n->lease.domain);
  strcpy (l->hostname, n->lease.hostname);
}

static void
put_interface (void *data, int index, struct net_interface *i)
{
  struct tlv_writer *w = data;
  const struct nic *n = nic_of (index);
  size_t mark;

  /* Room for the head of one more. */
  if (w->len + 1024 > ANSWER_MAX)
    return;
  if (n && n->dhcp)
    add_lease (i, n);
  mark = tlv_begin (w, S_NETWORK);
  net_interface_put (w, i, ANSWER_MAX);
  tlv_end (w, mark);
}

static void
answer_state (uint32_t number, int index)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct failure f = { 0 };

  if (netif_read (the.container_rtnl, index, put_interface, &w) == 0)
    {
      channel_send_record (AGENT_NET_ANSWER, number, &w);
      return;
    }
  tlv_writer_free (&w);
  fail (&f, "net", errno, "cannot read the container's network interfaces");
  answer_failure (number, &f);
}

/* Interfaces */

static void
nic_free (struct nic *n)
{
  struct nic **link = &the.nics;

  while (*link && *link != n)
    link = &(*link)->next;
  if (*link)
    *link = n->next;
  dhcp_free (n->dhcp, false);
  loop_close (&n->deadline);
  net_interface_free (&n->wanted);
  free (n->waiting);
  loop_free_later (n);
}

static void
check_all_ready (void)
{
  struct failure f = { 0 };

  if (the.ready || the.failed)
    return;
  for (const struct nic *n = the.nics; n; n = n->next)
    if (!n->ready && !n->n_waiting)
      return;
  if (apply_sysctls (&f) < 0)
    {
      the.failed = true;
      container_network_failed (&f);
      return;
    }
  the.ready = true;
  container_network_ready ();
}

static void
nic_failed (struct nic *n, const struct failure *f)
{
  bool answers = n->n_waiting > 0;

  for (size_t i = 0; i < n->n_waiting; i++)
    answer_failure (n->waiting[i], f);
  if (n->index)
    netif_up (the.container_rtnl, n->index, false);
  nic_free (n);
  if (!answers && !the.failed)
    {
      the.failed = true;
      container_network_failed (f);
    }
}

static void
nic_ready (struct nic *n)
{
  if (n->ready)
    return;
  n->ready = true;
  if (!n->n_waiting)
    check_all_ready ();
  for (size_t i = 0; i < n->n_waiting; i++)
    answer_state (n->waiting[i], n->index);
  n->n_waiting = 0;
  free (steal_ptr (n->waiting));
}

/* The answer to NET_ADD `number` comes when the interface is ready. */
static int
nic_wait (struct nic *n, uint32_t number, struct failure *f)
{
  uint32_t *w = array_append (n->waiting, n->n_waiting);

  if (!w)
    return fail (f, "net", ENOMEM, "cannot prepare the network interface %s", n->wanted.name);
  *w = number;
  return 0;
}

/* DHCP */

static void
update_resolv (void)
{
  const struct dhcp_answer **leases = NULL;
  size_t n = 0;

  if (!the.resolv_from_dhcp)
    return;
  for (const struct nic *i = the.nics; i; i = i->next)
    if (i->lease.type)
      {
        const struct dhcp_answer **l = array_append (leases, n);

        if (l)
          *l = &i->lease;
      }
  /* What they said last is better than nothing, as long as no one says more. */
  if (n)
    resolv_write (leases, n);
  free (leases);
}

static void
drop_lease (struct nic *n)
{
  for (size_t k = n->wanted.n_routes; k-- > 0;)
    netif_remove_route (the.container_rtnl, n->index, &n->wanted.routes[k]);
  for (size_t k = n->wanted.n_addresses; k-- > 0;)
    netif_remove_address (the.container_rtnl, n->index, &n->wanted.addresses[k]);
  n->wanted.n_routes = n->wanted.n_addresses = 0;
  free (steal_ptr (n->wanted.routes));
  free (steal_ptr (n->wanted.addresses));
  n->lease.type = 0;
}

static void
on_bound (void *data, const struct dhcp_answer *a)
{
  struct nic *n = data;
  struct failure f = { 0 };

  if (!lease_is_same (&n->lease, a))
    {
      drop_lease (n);
      n->lease = *a;
      if (a->mtu && netif_set_mtu (the.container_rtnl, n->index, a->mtu) < 0)
        log_write (LOG_WARNING, "%s: cannot set the MTU to %u: %s", n->wanted.name, a->mtu, strerror (errno));
      else if (a->mtu)
        n->wanted.mtu = a->mtu;
      if (!lease_to_interface (&n->wanted, a))
        fail (&f, "net", ENOMEM, "cannot take the DHCP lease of %s", n->wanted.name);
      else
        netif_configure (the.container_rtnl, n->index, &n->wanted, &f);
      if (f.stage && n->ready)
        log_write (LOG_WARNING, "%s", f.message);
      else if (f.stage)
        {
          nic_failed (n, &f);
          return;
        }
    }
  else
    {
      n->lease = *a;
      n->wanted.addresses[0].valid = n->wanted.addresses[0].preferred = a->lease;
      if (netif_add_address (the.container_rtnl, n->index, &n->wanted.addresses[0]) < 0)
        log_write (LOG_WARNING, "%s: cannot extend the address: %s", n->wanted.name, strerror (errno));
    }
  update_resolv ();
  nic_ready (n);
}

static void
on_lost (void *data)
{
  struct nic *n = data;

  drop_lease (n);
  update_resolv ();
}

static void
on_dhcp_failed (void *data, const struct failure *f)
{
  nic_failed (data, f);
}

static int
start_dhcp (struct nic *n, struct failure *f)
{
  static const struct dhcp_user user = { .bound = on_bound, .lost = on_lost, .failed = on_dhcp_failed };

  if (modules_load ("af_packet") < 0)
    log_write (LOG_WARNING, "cannot load the kernel module af_packet: %s", strerror (errno));
  n->dhcp = dhcp_new (n->index, n->wanted.name, n->wanted.mac, the.hostname, n->wanted.dhcp, &user, n, f);
  return n->dhcp ? 0 : -1;
}

/* Its device, with its MAC, or with its own, which that replaces: a machine that goes on from a template has the template's. */
static int
find_device (const struct net_interface *i)
{
  int index = i->has_device ? netif_find (the.own_rtnl, i->device, NULL) : 0;

  return index ? index : netif_find (the.own_rtnl, i->mac, NULL);
}

/* Its device may not be there yet: then nothing happens.  It may free `n`. */
static void
nic_try (struct nic *n)
{
  struct failure f = { 0 };
  int here = find_device (&n->wanted), there;

  if (!here)
    return;
  loop_close (&n->deadline);
  there = netif_move (the.own_rtnl, here, netspace_container (), the.container_rtnl, n->wanted.name, &f);
  if (there > 0)
    n->index = there;
  if (there > 0 && n->wanted.has_device && netif_set_mac (the.container_rtnl, there, n->wanted.mac) < 0)
    fail (&f, "net", errno, "cannot set the MAC of %s", n->wanted.name);
  if (there < 0 || f.stage || netif_configure (the.container_rtnl, there, &n->wanted, &f) < 0
      || (n->wanted.dhcp && start_dhcp (n, &f) < 0))
    nic_failed (n, &f);
  else if (!n->wanted.dhcp)
    nic_ready (n);
}

static void
try_all (void)
{
  struct nic *next;

  for (struct nic *n = the.nics; n; n = next)
    {
      next = n->next;
      if (!n->index && !n->removal)
        nic_try (n);
    }
}

static void
link_news (struct watch *w, uint32_t events)
{
  char news[8192];

  (void) events;
  /* What they say does not matter; ENOBUFS (news were lost) is as good as news. */
  while (recv (w->fd, news, sizeof news, 0) > 0)
    ;
  try_all ();
}

static void
on_deadline (struct watch *w, uint32_t events)
{
  struct nic *n = owner_of (w, struct nic, deadline);
  const uint8_t *m = n->wanted.has_device ? n->wanted.device : n->wanted.mac;
  struct failure f = { 0 };

  (void) events;
  fail (&f, "net", ETIMEDOUT, "the network device %02x:%02x:%02x:%02x:%02x:%02x of %s did not appear", m[0], m[1],
        m[2], m[3], m[4], m[5], n->wanted.name);
  nic_failed (n, &f);
}

/* Waits for its device, if that is not there.  It may free `n`. */
static void
nic_start (struct nic *n)
{
  struct itimerspec wait = { .it_value = { .tv_sec = DEVICE_WAIT_S } };
  struct failure f = { 0 };
  int timer, news;

  if (the.news.fd < 0)
    {
      news = rtnl_open (RTMGRP_LINK);
      if (news < 0 || loop_add (&the.news, news, EPOLLIN) < 0)
        fatal ("cannot watch network devices: %s", strerror (errno));
    }
  if (modules_load ("virtio_net") < 0)
    log_write (LOG_WARNING, "cannot load the kernel module virtio_net: %s", strerror (errno));
  if (!find_device (&n->wanted))
    {
      timer = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC);
      if (timer < 0 || timerfd_settime (timer, 0, &wait, NULL) < 0 || loop_add (&n->deadline, timer, EPOLLIN) < 0)
        {
          if (timer >= 0)
            close (timer);
          fail (&f, "net", errno, "cannot wait for the network device of %s", n->wanted.name);
          nic_failed (n, &f);
          return;
        }
    }
  nic_try (n);
}

/* Takes over what `i` has. */
static struct nic *
nic_new (struct net_interface *i, struct failure *f)
{
  struct nic *n, **last = &the.nics;

  if (!i->has_mac || !*i->name)
    {
      fail (f, "net", EINVAL, "a network interface lacks its name or its MAC");
      return NULL;
    }
  n = calloc (1, sizeof *n);
  if (!n)
    {
      fail (f, "net", ENOMEM, "cannot prepare the network interface %s", i->name);
      return NULL;
    }
  n->wanted = *i;
  memset (i, 0, sizeof *i);
  n->deadline = WATCH_INIT;
  n->deadline.ready = on_deadline;
  while (*last)
    last = &(*last)->next;
  *last = n;
  return n;
}

/* SETUP */

static int
copy_sysctls (const struct setup *s)
{
  for (size_t i = 0; i < s->n_sysctls; i++)
    if (strncmp (s->sysctls[i].name, "net.", 4) == 0)
      {
        struct setup_pair *p = array_append (the.sysctls, the.n_sysctls);

        if (!p || !(p->name = strdup (s->sysctls[i].name)) || !(p->value = strdup (s->sysctls[i].value)))
          return -1;
      }
  return 0;
}

int
net_setup (struct setup *s, struct failure *f)
{
  if (resolv_prepare (s, f) < 0)
    return -1;
  the.resolv_from_dhcp = s->resolv && !*s->resolv;
  the.hostname = s->hostname ? strdup (s->hostname) : NULL;
  if (copy_sysctls (s) < 0)
    return fail (f, "net", ENOMEM, "cannot prepare the network");
  for (size_t i = 0; i < s->n_interfaces; i++)
    if (!nic_new (&s->interfaces[i], f))
      return -1;
  return 0;
}

void
net_begin (int namespace_fd)
{
  struct failure f = { 0 };
  struct nic *next;
  int lo;

  the.own_rtnl = rtnl_open (0);
  if (netspace_begin (namespace_fd) < 0 || the.own_rtnl < 0 || netspace_enter () < 0)
    {
      the.failed = true;
      fail (&f, "net", errno, "cannot enter the container's network namespace");
      container_network_failed (&f);
      return;
    }
  the.container_rtnl = rtnl_open (0);
  netspace_leave ();
  lo = the.container_rtnl < 0 ? 0 : netif_find (the.container_rtnl, NULL, "lo");
  if (!lo || netif_up (the.container_rtnl, lo, true) < 0)
    log_write (LOG_WARNING, "cannot bring the loopback interface up: %s", strerror (errno));
  for (struct nic *n = the.nics; n; n = next)
    {
      next = n->next;
      nic_start (n);
    }
  check_all_ready ();
}

bool
net_is_ready (void)
{
  return the.ready;
}

void
net_release (void)
{
  for (struct nic *n = the.nics; n; n = n->next)
    dhcp_free (steal_ptr (n->dhcp), true);
}

/* Later */

static struct nic *
nic_of_mac (const uint8_t mac[NET_MAC_SIZE])
{
  struct nic *n = the.nics;

  while (n && (n->removal || memcmp (n->wanted.mac, mac, NET_MAC_SIZE) != 0))
    n = n->next;
  return n;
}

/* The interface is to have what `i` says, in place of what it was given. */
static int
nic_change (struct nic *n, struct net_interface *i, struct failure *f)
{
  /* Whoever asks the DHCP server goes on with what it says. */
  if (n->dhcp)
    return i->mtu && netif_set_mtu (the.container_rtnl, n->index, i->mtu) < 0
               ? fail (f, "net", errno, "cannot set the MTU of %s to %u", n->wanted.name, i->mtu)
               : 0;
  drop_lease (n);
  strcpy (i->name, n->wanted.name);
  net_interface_free (&n->wanted);
  n->wanted = *i;
  memset (i, 0, sizeof *i);
  return netif_configure (the.container_rtnl, n->index, &n->wanted, f);
}

void
net_set_hostname (const char *name)
{
  free (the.hostname);
  the.hostname = *name ? strdup (name) : NULL;
}

int
net_exchange (struct tlv_reader record, struct failure *f)
{
  struct net_interface i;
  struct nic *n = NULL;
  uint8_t mac[NET_MAC_SIZE];
  bool has_dhcp;

  if (!net_interface_parse (&i, record) || !i.has_mac || !i.has_device)
    fail (f, "net", EPROTO, "the record of a network interface is malformed");
  else if (!(n = nic_of_mac (i.device)) || !n->index || !n->ready)
    fail (f, "net", ENODEV, "the container has no network interface of this number");
  else
    {
      memcpy (mac, i.mac, sizeof mac);
      has_dhcp = i.dhcp > 0;
      /* Down: what it had of addresses and routes is not to be seen with the new MAC. */
      if (n->dhcp)
        {
          dhcp_free (steal_ptr (n->dhcp), false);
          drop_lease (n);
        }
      netif_up (the.container_rtnl, n->index, false);
      if (netif_set_mac (the.container_rtnl, n->index, mac) < 0)
        fail (f, "net", errno, "cannot set the MAC of %s", n->wanted.name);
      else if (nic_change (n, &i, f) == 0 && has_dhcp)
        start_dhcp (n, f);
    }
  net_interface_free (&i);
  return f->stage ? -1 : 0;
}

void
net_add (uint32_t number, const void *record, size_t len)
{
  struct net_interface i;
  struct failure f = { 0 };
  struct tlv_reader r;
  struct nic *n = NULL;
  bool known = false;

  tlv_reader_init (&r, record, len);
  if (!net_interface_parse (&i, r))
    fail (&f, "net", EPROTO, "the NET_ADD record is malformed");
  else if (the.container_rtnl < 0 || !the.ready)
    fail (&f, "net", ESRCH, "the container's network is not there");
  else if (i.has_mac && (n = nic_of_mac (i.mac)))
    {
      known = true;
      if (n->index && n->ready)
        nic_change (n, &i, &f);
      else if (n->index)
        nic_wait (n, number, &f);
      else if (nic_wait (n, number, &f) == 0)
        {
          /* It comes as it is to be by now. */
          strcpy (i.name, n->wanted.name);
          i.has_device = n->wanted.has_device;
          memcpy (i.device, n->wanted.device, sizeof i.device);
          net_interface_free (&n->wanted);
          n->wanted = i;
          memset (&i, 0, sizeof i);
        }
    }
  else
    n = nic_new (&i, &f);
  net_interface_free (&i);
  if (f.stage || known)
    {
      if (f.stage)
        answer_failure (number, &f);
      else if (n->ready)
        answer_state (number, n->index);
      return;
    }
  if (nic_wait (n, number, &f) < 0)
    {
      nic_free (n);
      answer_failure (number, &f);
      return;
    }
  hotplug_rescan ();
  nic_start (n);
}

/* Out of the container's sight, quiet, and then off the bus.  It may free `n`. */
static void
nic_detach (struct nic *n, uint32_t number)
{
  char name[NET_NAME_SIZE];
  struct failure f = { 0 };
  int index;

  snprintf (name, sizeof name, "gone%u", number % 100000000);
  dhcp_free (steal_ptr (n->dhcp), true);
  n->lease.type = 0;
  netif_up (the.container_rtnl, n->index, false);
  index = netif_move (the.container_rtnl, n->index, netspace_own (), the.own_rtnl, name, &f);
  n->index = 0;
  n->removal = index < 0 ? -1 : hotplug_remove (name);
  if (index > 0 && n->removal < 0)
    fail (&f, "net", errno, "cannot take the network device of %s off the bus", n->wanted.name);
  if (n->removal > 0)
    {
      n->number = number;
      return; /* net_reaped answers */
    }
  nic_free (n);
  if (f.stage)
    answer_failure (number, &f);
  else
    channel_send (AGENT_NET_ANSWER, number, NULL, 0);
}

void
net_reaped (pid_t pid, int status)
{
  struct nic *n = the.nics;
  struct failure f = { 0 };
  uint32_t number;

  while (n && n->removal != pid)
    n = n->next;
  if (!n)
    return;
  number = n->number;
  if (!WIFEXITED (status) || WEXITSTATUS (status))
    fail (&f, "net", WIFEXITED (status) ? WEXITSTATUS (status) : EINTR,
          "cannot take the network device of %s off the bus", n->wanted.name);
  nic_free (n);
  if (f.stage)
    answer_failure (number, &f);
  else
    channel_send (AGENT_NET_ANSWER, number, NULL, 0);
}

void
net_del (uint32_t number, const void *record, size_t len)
{
  struct net_interface i;
  struct failure f = { 0 };
  struct tlv_reader r;
  struct nic *n;

  tlv_reader_init (&r, record, len);
  if (!net_interface_parse (&i, r) || !i.has_mac)
    {
      net_interface_free (&i);
      fail (&f, "net", EPROTO, "the NET_DEL record is malformed");
      answer_failure (number, &f);
      return;
    }
  n = nic_of_mac (i.mac);
  net_interface_free (&i);
  if (n && n->n_waiting)
    {
      fail (&f, "net", ECANCELED, "the network interface %s was detached", n->wanted.name);
      for (size_t k = 0; k < n->n_waiting; k++)
        answer_failure (n->waiting[k], &f);
      n->n_waiting = 0;
    }
  if (n && n->index)
    {
      nic_detach (n, number);
      update_resolv ();
      return;
    }
  if (n)
    nic_free (n);
  channel_send (AGENT_NET_ANSWER, number, NULL, 0);
}

void
net_query (uint32_t number)
{
  struct failure f = { 0 };

  if (the.container_rtnl >= 0)
    {
      answer_state (number, 0);
      return;
    }
  fail (&f, "net", ESRCH, "the container's network is not there");
  answer_failure (number, &f);
}
