/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TAP in a network namespace that nobody else is in: the guest's agent keeps the other end to itself, the monitor listens here, and
 * that is all that there is.  What a tunnel carries through a process of the guest and a port of the VMM, the guest's kernel
 * sends itself.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "net-guest.h"
#include "net-link.h"
#include "net-ns.h"
#include "net-tap.h"

enum
{
  PREFIX = 30,
  MTU = 65520 /* less than what a TAP can have by the Ethernet header: all of a call in few packets */
};

/* IPv4 link-local (RFC 3927): the namespace has no others. */
static const unsigned char here[4] = { 169, 254, 2, 1 }, there[4] = { 169, 254, 2, 2 };

struct rcvmi_run_link
{
  struct rcvmi_netns ns;
  struct rcvmi_nl nl;
  struct rcvmi_net_tap tap;
  uint8_t mac[6];
  uint64_t received;
  struct rcvmi_run_listener *listener;
};

static bool
is_the_vms (const struct rcvmi_run *run, const struct in_addr *peer)
{
  (void) run;
  return memcmp (peer, there, sizeof there) == 0;
}

static void
link_free (struct rcvmi_run_link *l)
{
  rcvmi_run_listener_free (l->listener);
  rcvmi_net_tap_close (&l->tap);
  rcvmi_nl_close (&l->nl);
  rcvmi_netns_close (&l->ns);
  free (l);
}

static int
listen_at (const struct rcvmi_run_link *l, struct sockaddr_in *at, rcvm_error **err)
{
  socklen_t len = sizeof *at;
  autoclose int fd = rcvmi_netns_socket (&l->ns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, err);

  if (fd < 0)
    return fd;
  memcpy (&at->sin_addr, here, sizeof here);
  if (bind (fd, (struct sockaddr *) at, sizeof *at) < 0 || listen (fd, AGENT_TUNNELS_MAX) < 0
      || getsockname (fd, (struct sockaddr *) at, &len) < 0)
    return rcvmi_fail_errno (err, errno, "cannot listen at the link to the volumes");
  return steal_fd (&fd);
}

static int
make (struct rcvmi_run *run, struct rcvmi_run_link *l, struct sockaddr_in *at, rcvm_error **err)
{
  struct rcvmi_net_tap_params params = RCVMI_NET_TAP_PARAMS_INIT;
  int code = rcvmi_netns_new (&l->ns, err), fd;

  params.vnet_hdr = params.silent = true;
  params.mtu = MTU;
  if (code == 0)
    code = rcvmi_net_tap_make (&l->ns, &l->nl, &params, &l->tap, err);
  if (code == 0)
    code = rcvmi_net_mac_random (l->mac, err);
  if (code < 0)
    return code;
  code = rcvmi_net_address_add (&l->nl, l->tap.index, here, PREFIX);
  if (code < 0)
    return rcvmi_fail_errno (err, -code, "cannot give the link to the volumes an address%s", l->nl.text);
  fd = listen_at (l, at, err);
  if (fd < 0)
    return fd;
  l->listener = rcvmi_run_listener_new (run, fd, is_the_vms, err);
  return l->listener ? 0 : RCVM_E_SYSTEM;
}

static int
tell_guest (struct rcvmi_run *run, const struct rcvmi_run_link *l, const struct sockaddr_in *at, rcvm_error **err)
{
  struct tlv_writer *w = &run->plan->setup;
  struct rcvmi_net_addr address = { .ip = { .family = AF_INET }, .prefix = PREFIX, .valid = UINT32_MAX, .preferred = UINT32_MAX };
  struct rcvmi_net_if guest = { .name = "volumes", .mtu = MTU, .up = true, .addrs = &address, .n_addrs = 1 };
  char text[INET_ADDRSTRLEN];
  size_t mark;
  int code;

  memcpy (guest.mac, l->mac, sizeof guest.mac);
  memcpy (address.ip.bytes, there, sizeof there);
  mark = tlv_begin (w, S_LINK);
  code = rcvmi_net_guest_put (w, &guest, 0, err);
  tlv_end (w, mark);
  tlv_put_str (w, S_LINK_SERVER, inet_ntop (AF_INET, here, text, sizeof text));
  tlv_put_u32 (w, S_LINK_PORT, ntohs (at->sin_port));
  return code < 0 ? code : w->failed ? rcvmi_fail_nomem (err) : 0;
}

static bool
is_wanted (const struct rcvmi_run *run)
{
  const struct rcvmi_plan *plan = run->plan;
  bool wanted = false;

  for (size_t i = 0; i < plan->n_volumes; i++)
    wanted = wanted || !plan->volumes[i].tcp;
  return wanted && !plan->tunnel && !plan->unfsd;
}

int
rcvmi_run_make_link (struct rcvmi_run *run, rcvm_error **err)
{
  struct sockaddr_in at = { .sin_family = AF_INET };
  struct rcvmi_run_link *l;
  rcvm_error *e = NULL;
  int code = 0;

  if (!is_wanted (run))
    return 0;
  if (!run->vmm.ops->has_link)
    return run->plan->link ? rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                                         "the VMM driver '%s' has no link to volumes: leave out 'transport=link', or use QEMU",
                                         run->vmm.ops->name)
                           : 0;
  l = calloc (1, sizeof *l);
  if (!l)
    return rcvmi_fail_nomem (err);
  l->ns = RCVMI_NETNS_INIT;
  l->nl = RCVMI_NL_INIT;
  code = make (run, l, &at, &e);
  if (code == 0)
    {
      run->link = l;
      return tell_guest (run, l, &at, err);
    }
  link_free (l);
  if (run->plan->link)
    code = rcvmi_fail (err, code, 0, "the volumes cannot have the link that 'transport=link' asks for (%s): leave that out, or use the tunnel",
                       rcvm_error_get_message (e));
  else
    {
      rcvmi_log_at (run->log, RCVM_LOG_INFO, "volumes", "the volumes go through the tunnel, for there can be no link: %s",
                    rcvm_error_get_message (e));
      code = 0;
    }
  rcvm_error_free (e);
  return code;
}

void
rcvmi_run_undo_link (struct rcvmi_run *run)
{
  if (run->link)
    link_free (steal_ptr (run->link));
}

void
rcvmi_run_put_link (const struct rcvmi_run *run, struct rcvmi_vmm_config *config)
{
  const struct rcvmi_run_link *l = run->link;

  if (!l)
    return;
  config->link = (struct rcvmi_vmm_nic){ .tap_fd = l->tap.fds[0], .tap_name = l->tap.name, .mtu = MTU };
  memcpy (config->link.mac, l->mac, sizeof l->mac);
}

bool
rcvmi_run_link_is_used (struct rcvmi_run *run)
{
  struct rcvmi_run_link *l = run->link;
  struct rcvmi_net_link link;
  bool used;

  if (!l || rcvmi_net_link_get (&l->nl, l->tap.index, NULL, &link) < 0)
    return false;
  used = link.received != l->received;
  l->received = link.received;
  return used;
}
