/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A TAP belongs to the namespace in which /dev/net/tun was opened, whoever configures it later: the child
 * of net-ns.c opens that file and a netlink socket, and all the rest is done from here.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "err.h"

#define TUN_PATH "/dev/net/tun"

_Static_assert((int) RCVMI_NET_NAME_SIZE == IFNAMSIZ, "the kernel's size of names");

int
rcvmi_net_check_name (const char *name, rcvm_error **err)
{
  size_t n = strlen (name);

  if (n == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "an interface needs a name that is not empty");
  if (n >= IFNAMSIZ)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the interface name '%.64s' is too long: it has %zu bytes, and %d is the most", name,
                       n, IFNAMSIZ - 1);
  if (!strcmp (name, ".") || !strcmp (name, ".."))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%s' cannot be the name of an interface", name);
  for (const char *c = name; *c; c++)
    if (*c <= ' ' || *c == 0x7f || strchr ("/:%", *c))
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "the interface name '%s' has a character that the kernel does not take there",
                         name);
  return 0;
}

int
rcvmi_net_mac_parse (uint8_t mac[6], const char *text, rcvm_error **err)
{
  unsigned b[6];
  char end;

  if (strlen (text) != 17
      || sscanf (text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.32s' is not a MAC address like 02:00:5e:10:00:01", text);
  for (int i = 0; i < 6; i++)
    mac[i] = (uint8_t) b[i];
  if (mac[0] & 1)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "the MAC address %s is for groups; its first byte must be even", text);
  if (!memcmp (mac, (uint8_t[6]){ 0 }, 6))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the MAC address of an interface must not be all zero");
  return 0;
}

const char *
rcvmi_net_mac_text (const uint8_t mac[6], char *buf)
{
  snprintf (buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  return buf;
}

int
rcvmi_net_mac_random (uint8_t mac[6], rcvm_error **err)
{
  if (getrandom (mac, 6, 0) != 6)
    return rcvmi_fail_errno (err, errno, "cannot get random numbers");
  mac[0] = (uint8_t) ((mac[0] & 0xfc) | 2);
  return 0;
}

/* TAPs. */

static int
open_nl (void *user, int *fds)
{
  (void) user;
  fds[0] = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  return fds[0] < 0 ? -errno : 0;
}

int
rcvmi_net_open_nl (const struct rcvmi_netns *ns, struct rcvmi_nl *nl, rcvm_error **err)
{
  int fds[RCVMI_NETNS_FDS], one = 1;
  int r = rcvmi_netns_run (ns, open_nl, NULL, fds, err);

  *nl = RCVMI_NL_INIT;
  if (r > 0)
    return -r;
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot make a netlink socket");
  nl->fd = fds[0];
  /* Sentences in place of numbers, where the kernel has any. */
  (void) setsockopt (nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  return 0;
}

static int
open_tun (void *user, int *fds)
{
  const bool *with_nl = user;

  fds[0] = open (TUN_PATH, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fds[0] < 0)
    return -errno;
  if (!*with_nl)
    return 0;
  fds[1] = socket (AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  return fds[1] < 0 ? -errno : 0;
}

static int
open_in_ns (const struct rcvmi_netns *ns, struct rcvmi_nl *nl, int *tun, rcvm_error **err)
{
  bool with_nl = nl->fd < 0;
  int fds[RCVMI_NETNS_FDS];
  int r = rcvmi_netns_run (ns, open_tun, &with_nl, fds, err), one = 1;

  if (r == 0)
    {
      *tun = fds[0];
      if (with_nl)
        {
          nl->fd = fds[1];
          (void) setsockopt (nl->fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
        }
      return 0;
    }
  for (int i = 0; i < RCVMI_NETNS_FDS; i++)
    cleanup_close (&fds[i]);
  if (r > 0)
    return -r;
  switch (-r)
    {
    case ENOENT:
    case ENXIO:
    case ENODEV:
    case ENOTDIR:
      return rcvmi_fail (err, RCVM_E_HOST, -r,
                         "there is no " TUN_PATH
                         "; load the module tun, or give the device to this container");
    case EPERM:
    case EACCES:
      return rcvmi_fail (err, RCVM_E_PERMISSION, -r, "this process may not open " TUN_PATH);
    default:
      return rcvmi_fail_errno (err, -r, "cannot open " TUN_PATH);
    }
}

static int
fail_create (int errnum, const char *name, rcvm_error **err)
{
  switch (errnum)
    {
    case EBUSY:
    case EEXIST:
      return rcvmi_fail (
          err, RCVM_E_EXISTS, errnum,
          "the network namespace already has an interface '%s'; choose another name, or remove it", name);
    case EPERM:
      return rcvmi_fail (
          err, RCVM_E_PERMISSION, errnum,
          "making a TAP needs CAP_NET_ADMIN in the network namespace, which this process has not");
    default:
      return rcvmi_fail_errno (err, errnum, "cannot make the TAP '%s'", name);
    }
}

/* A queue of the device; the first one makes it. */
static int
attach (int tun, const struct rcvmi_net_tap_params *p, struct rcvmi_net_tap *tap, rcvm_error **err)
{
  struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
  const char *name = tap->n_fds > 0 ? tap->name : p->name[0] ? p->name : "rcvm%d";

  if (p->vnet_hdr)
    ifr.ifr_flags |= IFF_VNET_HDR;
  if (p->queues > 1)
    ifr.ifr_flags |= IFF_MULTI_QUEUE;
  /* Without it, a device of that name that nobody has open would be taken over in silence. */
  if (tap->n_fds == 0)
    ifr.ifr_flags |= (short) IFF_TUN_EXCL;
  snprintf (ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
  if (ioctl (tun, TUNSETIFF, &ifr) < 0)
    return fail_create (errno, name, err);
  snprintf (tap->name, sizeof tap->name, "%s", ifr.ifr_name);
  return 0;
}

/* Addresses, size and state in one message. */
static int
configure (struct rcvmi_nl *nl, const struct rcvmi_net_tap_params *p, const struct rcvmi_net_tap *tap)
{
  struct ifinfomsg m = { .ifi_index = tap->index, .ifi_change = IFF_UP, .ifi_flags = p->down ? 0 : IFF_UP };
  struct nl_msg *msg = rcvmi_nl_new (RTM_NEWLINK, 0, &m, sizeof m);
  bool ok = msg != NULL;

  if (ok && memcmp (p->mac, (uint8_t[6]){ 0 }, 6))
    ok = nla_put (msg, IFLA_ADDRESS, 6, p->mac) == 0;
  if (ok && p->mtu)
    ok = nla_put_u32 (msg, IFLA_MTU, p->mtu) == 0;
  if (ok && p->alias)
    ok = nla_put_string (msg, IFLA_IFALIAS, p->alias) == 0;
  if (!ok)
    {
      nlmsg_free (msg);
      return -ENOMEM;
    }
  return rcvmi_nl_request (nl, msg, NULL, NULL);
}

static int
set_up (struct rcvmi_nl *nl, const struct rcvmi_net_tap_params *p, struct rcvmi_net_tap *tap,
        rcvm_error **err)
{
  struct ifreq ifr = { 0 };
  int tun = tap->fds[0], hdr_size = 12, r; /* virtio_net_hdr_v1, which every VMM of today wants */

  memcpy (ifr.ifr_name, tap->name, sizeof ifr.ifr_name);
  if (ioctl (nl->fd, SIOCGIFINDEX, &ifr) < 0)
    return rcvmi_fail_errno (err, errno, "cannot find the TAP '%s' that was just made", tap->name);
  tap->index = ifr.ifr_ifindex;
  if ((p->uid != (uid_t) -1 && ioctl (tun, TUNSETOWNER, (unsigned long) p->uid) < 0)
      || (p->gid != (gid_t) -1 && ioctl (tun, TUNSETGROUP, (unsigned long) p->gid) < 0))
    return rcvmi_fail_errno (err, errno, "cannot set the owner of the TAP '%s'", tap->name);
  if (p->vnet_hdr && ioctl (tun, TUNSETVNETHDRSZ, &hdr_size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot set the header size of the TAP '%s'", tap->name);
  r = p->silent ? rcvmi_net_link_silence (nl, tap->index) : 0;
  if (r == 0)
    r = configure (nl, p, tap);
  if (r == -EINVAL && p->mtu)
    return rcvmi_fail (err, RCVM_E_INVALID, -r, "the TAP '%s' cannot have an MTU of %u%s", tap->name,
                       p->mtu, nl->text);
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot configure the TAP '%s'%s", tap->name, nl->text);
  memcpy (tap->mac, p->mac, 6);
  if (!memcmp (p->mac, (uint8_t[6]){ 0 }, 6))
    {
      if (ioctl (nl->fd, SIOCGIFHWADDR, &ifr) < 0)
        return rcvmi_fail_errno (err, errno, "cannot read the address of the TAP '%s'", tap->name);
      memcpy (tap->mac, ifr.ifr_hwaddr.sa_data, 6);
    }
  return 0;
}

int
rcvmi_net_tap_make (const struct rcvmi_netns *ns, struct rcvmi_nl *nl, const struct rcvmi_net_tap_params *p,
                    struct rcvmi_net_tap *tap, rcvm_error **err)
{
  int code = 0;

  *tap = (struct rcvmi_net_tap){ .index = 0 };
  memset (tap->fds, -1, sizeof tap->fds);
  for (unsigned i = 0; code == 0 && i < p->queues; i++)
    {
      int tun = -1;

      code = open_in_ns (ns, nl, &tun, err);
      if (code < 0)
        break;
      code = attach (tun, p, tap, err);
      if (code == 0)
        tap->fds[tap->n_fds++] = tun;
      else
        close (tun);
    }
  if (code == 0)
    code = set_up (nl, p, tap, err);
  /* Last: until then the device goes by itself, whatever happens to this process. */
  if (code == 0 && p->persistent && ioctl (tap->fds[0], TUNSETPERSIST, 1UL) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot make the TAP '%s' persistent", tap->name);
  if (code < 0 || p->persistent)
    rcvmi_net_tap_close (tap);
  return code;
}

void
rcvmi_net_tap_close (struct rcvmi_net_tap *tap)
{
  for (unsigned i = 0; i < tap->n_fds; i++)
    {
      cleanup_close (&tap->fds[i]);
      tap->fds[i] = -1;
    }
  tap->n_fds = 0;
}
