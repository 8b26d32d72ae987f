/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes by TCP: the monitor listens at the address at which the guest reaches this host over its network, for connections of the
 * VM's own kernel.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "net-ns.h"

static bool
is_the_vms (const struct rcvmi_run *run, const struct in_addr *peer)
{
  for (size_t i = 0; run->net && i < rcvmi_net_count (run->net); i++)
    {
      const struct rcvmi_net_if *guest = &rcvmi_net_get (run->net, i)->guest;

      for (size_t k = 0; k < guest->n_addrs; k++)
        if (guest->addrs[k].ip.family == AF_INET && memcmp (guest->addrs[k].ip.bytes, peer, 4) == 0)
          return true;
    }
  return false;
}

static const struct rcvmi_net_ip *
first_ipv4 (const struct rcvmi_net_if *i)
{
  for (size_t k = 0; k < i->n_addrs; k++)
    if (i->addrs[k].ip.family == AF_INET)
      return &i->addrs[k].ip;
  return NULL;
}

/* The guest's default gateway: on a container bridge that is the host. */
static const struct rcvmi_net_ip *
find_gateway (const struct rcvmi_run *run)
{
  for (size_t i = 0; i < rcvmi_net_count (run->net); i++)
    {
      const struct rcvmi_net_if *guest = &rcvmi_net_get (run->net, i)->guest;

      for (size_t k = 0; first_ipv4 (guest) && k < guest->n_routes; k++)
        if (guest->routes[k].family == AF_INET && guest->routes[k].prefix == 0
            && guest->routes[k].gateway.family == AF_INET)
          return &guest->routes[k].gateway;
    }
  return NULL;
}

/* A socket in the namespace that has the address at which the guest reaches it; *at is that address. */
static int
open_socket (struct rcvmi_run *run, const char *volume, struct sockaddr_in *at, rcvm_error **err)
{
  static const struct rcvmi_net_ip bridge = { .family = AF_INET, .bytes = { 169, 254, 1, 1 } };
  const struct rcvmi_plan_net *p = &run->plan->net;
  const struct rcvmi_net_ip *ip = NULL;
  struct rcvmi_netns ns = RCVMI_NETNS_INIT;
  int fd;

  if (p->dhcp)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the volume at '%.200s' cannot be reached by TCP, since nobody knows yet which address a DHCP "
                       "server gives to the VM: use transport=tunnel",
                       volume);
  if (run->net && p->mode == RCVMI_PLAN_NET_HOST && rcvmi_net_count (run->net))
    ip = first_ipv4 (&rcvmi_net_get (run->net, 0)->outside);
  else if (run->net && p->bridge && rcvmi_net_count (run->net))
    ip = &bridge;
  else if (run->net)
    ip = find_gateway (run);
  if (!ip)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the volume at '%.200s' cannot be reached by TCP, since the VM has no network with an IPv4 "
                       "address and a gateway: give it one, or use transport=tunnel",
                       volume);
  memcpy (&at->sin_addr, ip->bytes, 4);
  if (p->mode == RCVMI_PLAN_NET_HOST || ip == &bridge)
    return rcvmi_net_socket (run->net, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, err);
  if (rcvmi_netns_open (&ns, NULL, 0, run->host_netns_fd, err) < 0)
    return RCVM_E_SYSTEM;
  fd = rcvmi_netns_socket (&ns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, err);
  rcvmi_netns_close (&ns);
  return fd;
}

/* The kernel says which port is free; from anywhere in the range, so that those who come at once seldom meet.
   Connections of a VM that has ended do not keep theirs (SO_REUSEADDR).  So two may bind to the same, of whom the first
   that listens has it, and the other gets 1: it needs another socket. */
static int
bind_somewhere (int fd, struct sockaddr_in *at, unsigned first, unsigned last)
{
  unsigned n = first ? last - first + 1 : 1, start = 0;
  int one = 1;

  if ((n > 1 && getrandom (&start, sizeof start, 0) != sizeof start)
      || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
    return -1;
  for (unsigned i = 0; i < n; i++)
    {
      at->sin_port = htons ((uint16_t) (first + (start % n + i) % n));
      if (bind (fd, (struct sockaddr *) at, sizeof *at) == 0)
        return listen (fd, AGENT_TUNNELS_MAX) == 0 ? 0 : errno == EADDRINUSE ? 1 : -1;
      if (errno != EADDRINUSE)
        return -1;
    }
  return -1;
}

static int
listen_there (struct rcvmi_run *run, const char *volume, struct sockaddr_in *at, rcvm_error **err)
{
  const struct rcvmi_plan *plan = run->plan;
  char text[INET_ADDRSTRLEN];
  socklen_t len = sizeof *at;

  for (int code = 1; code > 0;)
    {
      autoclose int fd = open_socket (run, volume, at, err);

      if (fd < 0)
        return fd;
      code = bind_somewhere (fd, at, plan->first_port, plan->last_port);
      if (code == 0 && getsockname (fd, (struct sockaddr *) at, &len) == 0)
        return steal_fd (&fd);
    }
  inet_ntop (AF_INET, &at->sin_addr, text, sizeof text);
  if (errno == EADDRNOTAVAIL)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, errno,
                       "the volume at '%.200s' cannot be reached by TCP, since the VM's gateway %s is no address of "
                       "this host: use transport=tunnel",
                       volume, text);
  if (errno == EADDRINUSE && plan->first_port)
    return rcvmi_fail (err, RCVM_E_HOST, errno,
                       "all ports from %u to %u of %s are taken, and the volumes need one: name a wider range",
                       plan->first_port, plan->last_port, text);
  return rcvmi_fail_errno (err, errno, "cannot listen at %s for the connections of the VM to its volumes", text);
}

int
rcvmi_run_listen_volumes (struct rcvmi_run *run, rcvm_error **err)
{
  struct tlv_writer *w = &run->plan->setup;
  struct sockaddr_in at = { .sin_family = AF_INET };
  char text[INET_ADDRSTRLEN];
  size_t i = 0;
  int fd;

  while (i < run->plan->n_volumes && !run->plan->volumes[i].tcp)
    i++;
  if (i == run->plan->n_volumes)
    return 0;
  fd = listen_there (run, run->plan->volumes[i].destination, &at, err);
  if (fd < 0)
    return fd;
  run->listener = rcvmi_run_listener_new (run, fd, is_the_vms, err);
  if (!run->listener)
    return RCVM_E_SYSTEM;
  tlv_put_str (w, S_SERVER, inet_ntop (AF_INET, &at.sin_addr, text, sizeof text));
  tlv_put_u32 (w, S_SERVER_PORT, ntohs (at.sin_port));
  rcvmi_log_at (run->log, RCVM_LOG_INFO, "volumes", "the VM reaches its volumes at %s, port %u", text,
                (unsigned) ntohs (at.sin_port));
  return w->failed ? rcvmi_fail_nomem (err) : 0;
}
