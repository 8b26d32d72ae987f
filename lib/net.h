/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The network of one VM, the host's half.
 *
 *   net-ns.c       a network namespace, checked; what has to be done inside it, without moving the caller
 *   net-nl.c       netlink requests and dumps on a socket of that namespace
 *   net-tap.c      TAP devices: rcvm_net_tap_in_netns
 *   net-read.c     what the namespace's owner has configured: rcvmi_net_if
 *   net-json.c     the same as JSON, for the state and `runcvm net show`
 *   net-redirect.c joining an interface to its TAP by tc
 *   net-bridge.c   the same by a bridge
 *   net-private.c  host mode: a link of the VM's own, with NAT (net-nft.c, net-nftnl.c)
 *   net-record.c   what was done, so that it can be undone by another process
 *   net-select.c   which interfaces, and what the guest has of them
 *   net-rescan.c   what came, changed and went
 *   net-watch.c    that something did
 *   net.c          prepare, undo
 *
 * Everything is made, asked and undone through sockets that were opened in the namespace: a socket stays
 * where it was made, so the caller's thread never moves.
 */
#ifndef RCVM_LIB_NET_H
#define RCVM_LIB_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

enum
{
  RCVMI_NET_NAME_SIZE = 16, /* IFNAMSIZ */
  RCVMI_NET_MAX_NICS = 32
};

/* Data: what an interface has, and what the guest is to have. */

struct rcvmi_net_ip
{
  uint8_t family;    /* AF_INET, AF_INET6; AF_UNSPEC: none */
  uint8_t bytes[16]; /* network order; the first 4 for AF_INET */
};

struct rcvmi_net_addr
{
  struct rcvmi_net_ip ip;
  uint8_t prefix;
  uint8_t scope;                 /* RT_SCOPE_... */
  uint32_t flags;                /* IFA_F_...: NOPREFIXROUTE, NODAD, ... as they were, without TENTATIVE */
  struct rcvmi_net_ip peer;      /* of a point-to-point address */
  struct rcvmi_net_ip broadcast; /* AF_INET; AF_UNSPEC: none */
  uint32_t valid, preferred;     /* seconds; UINT32_MAX: for ever */
};

struct rcvmi_net_route
{
  uint8_t family;
  uint8_t prefix;
  struct rcvmi_net_ip destination; /* AF_UNSPEC: default (prefix 0) */
  struct rcvmi_net_ip gateway;     /* AF_UNSPEC: on the link; may be AF_INET6 for an AF_INET route */
  struct rcvmi_net_ip source;      /* preferred source, or AF_UNSPEC */
  uint8_t scope;                   /* RT_SCOPE_... */
  uint8_t protocol; /* RTPROT_...: RTPROT_KERNEL routes come by themselves with their address */
  bool onlink;
  uint32_t metric; /* 0: none */
  uint32_t mtu;    /* 0: the interface's */
};

/* A permanent neighbour entry. */
struct rcvmi_net_neigh
{
  struct rcvmi_net_ip ip;
  uint8_t mac[6];
  bool proxy; /* `mac` is not used */
};

struct rcvmi_net_dns
{
  char **servers; /* text, "1.1.1.1"; NULL-terminated lists, NULL: empty */
  char **search;
  char **options;
};

/* Plain data with owned members: rcvmi_net_if_clear. */
struct rcvmi_net_if
{
  int index; /* in the namespace */
  char name[RCVMI_NET_NAME_SIZE];
  char kind[16]; /* "veth", "macvlan", ...; "" for hardware */
  uint8_t mac[6];
  uint32_t mtu;
  bool up;
  struct rcvmi_net_addr *addrs;
  size_t n_addrs;
  struct rcvmi_net_route *routes; /* main table, in an order in which they can be added */
  size_t n_routes;
  struct rcvmi_net_neigh *neighs;
  size_t n_neighs;
};

void rcvmi_net_if_clear (struct rcvmi_net_if *i);
int rcvmi_net_if_copy (struct rcvmi_net_if *to, const struct rcvmi_net_if *from, rcvm_error **err);
/* "192.168.1.7", "fe80::1"; "" for AF_UNSPEC.  `buf` has INET6_ADDRSTRLEN bytes.  Returns buf. */
const char *rcvmi_net_ip_text (const struct rcvmi_net_ip *ip, char *buf);
/* Of "192.168.1.7" or "fe80::1"; with `prefix` also "192.168.1.7/24" (without: 32 or 128).  RCVM_E_INVALID.
 */
int rcvmi_net_ip_parse (struct rcvmi_net_ip *ip, uint8_t *prefix, const char *text, rcvm_error **err);

/* What is asked for. */

enum rcvmi_net_mode
{
  RCVMI_NET_NONE,  /* loopback only: rcvmi_net_prepare makes nothing */
  RCVMI_NET_NETNS, /* take over the interfaces of a namespace */
  RCVMI_NET_HOST   /* a private link with NAT */
};

enum rcvmi_net_join
{
  RCVMI_NET_JOIN_TC,    /* tc redirect both ways */
  RCVMI_NET_JOIN_BRIDGE /* RunCVM's way: a bridge in the namespace with 169.254.1.1 */
};

struct rcvmi_net_port
{
  uint8_t protocol;            /* IPPROTO_TCP, IPPROTO_UDP */
  struct rcvmi_net_ip host_ip; /* AF_UNSPEC: every address of the host */
  uint16_t host_port, guest_port;
};

/* Borrowed members: the caller's, for the time of the call. */
struct rcvmi_net_config
{
  enum rcvmi_net_mode mode;
  enum rcvmi_net_join join;

  /* The namespace (NETNS: whose interfaces are taken; HOST: where the link's host end is).  The first that
     is set counts: fd >= 0, pid > 0, path; else the caller's own. */
  const char *netns_path;
  pid_t netns_pid;
  int netns_fd;

  /* NETNS: interfaces by name; NULL: all that are up or have addresses. */
  const char *const *interfaces;
  /* NETNS: the guest asks by DHCP, so an interface needs no address (and what it has is not handed on). */
  bool dhcp;
  /* NETNS: what the guest gets in place of what the interface `name` has.  Of each, `mtu` 0 and an all-zero
     `mac` keep the interface's. */
  const struct rcvmi_net_if *statics;
  size_t n_statics;

  /* Of the TAPs.  tap_name is for the first NIC (NULL: "rcvm<N>"), e.g. beta9's "b9fc_12345678"; at
     most 15. */
  const char *tap_name;
  bool persistent; /* for a VMM that opens its TAP by name (Firecracker); there is no tap_fd then */
  uid_t owner_uid; /* who may open it, (uid_t) -1: root alone; likewise the group */
  gid_t owner_gid;
  bool vnet_hdr; /* QEMU and Firecracker both want it: large packets pass unsegmented */

  /* HOST: range of the links, NULL: 169.254.0.0/16; published ports; name servers come from the host. */
  const char *range;
  const struct rcvmi_net_port *ports;
  size_t n_ports;
  /* HOST: turn net.ipv4.ip_forward on if it is off (it stays on, as with Docker); false: RCVM_E_HOST says
     so. */
  bool enable_forwarding;
};

#define RCVMI_NET_CONFIG_INIT                                                                              \
  ((struct rcvmi_net_config){                                                                              \
      .netns_fd = -1, .owner_uid = (uid_t) -1, .owner_gid = (gid_t) -1, .vnet_hdr = true })

/* What there is then. */

enum rcvmi_net_nic_state
{
  RCVMI_NET_NIC_SAME,
  RCVMI_NET_NIC_ADDED,   /* by the last rescan */
  RCVMI_NET_NIC_CHANGED, /* other addresses, routes, MTU ...: `guest` is up to date */
  RCVMI_NET_NIC_REMOVED  /* its interface is gone, the TAP too; the slot goes at the next rescan */
};

/* One NIC of the VM.  Belongs to the rcvmi_net. */
struct rcvmi_net_nic
{
  unsigned number; /* never reused in the life of the VM */
  enum rcvmi_net_nic_state state;
  char tap_name[RCVMI_NET_NAME_SIZE];
  int tap_index;
  int tap_fd; /* -1 if persistent.  For the VMM; the caller may take it with steal_fd, or let it be: undo
                 closes it */
  bool vnet_hdr;
  bool dhcp;
  struct rcvmi_net_if
      outside;               /* what was found in the namespace (NETNS) or made (HOST: the TAP's own end) */
  struct rcvmi_net_if guest; /* what the guest is to have: name, MAC, MTU, addresses, routes, neighbours */
  struct rcvmi_net_nic_private *priv;
};

/* A save: `record` (JSON) is what rcvmi_net_undo_record needs if this process dies from now on; the caller
   makes it durable.  It is called before anything is changed, and again whenever the record has changed. */
typedef int (*rcvmi_net_save_fn) (void *user, const char *record, rcvm_error **err);

struct rcvmi_net;

/* Opens the namespace, reads it, makes the TAPs and joins them.  After a failure nothing is left.  Mode
   NONE gives an object without NICs.  `save` may be NULL.  Takes milliseconds, and waits for nothing.
   RCVM_E_NOT_FOUND, _INVALID (not a network namespace, a bad name, an interface without address,
   overlapping routes), _EXISTS (name taken), _HOST (no /dev/net/tun, no forwarding, the kernel lacks ...),
   _PERMISSION (CAP_NET_ADMIN). */
struct rcvmi_net *rcvmi_net_prepare (const struct rcvmi_net_config *config, rcvmi_net_save_fn save,
                                     void *user, rcvm_error **err);
/* Frees the object.  What was made stays: rcvmi_net_undo comes first.  NULL is allowed. */
void rcvmi_net_free (struct rcvmi_net *net);
/* Takes back all that was done, as far as it is still there: closes TAP fds that are left, removes what is
   ours from the namespace, and does nothing where the namespace or an interface is gone.  May be called
   twice.  Goes on after a failure; reports the first. */
int rcvmi_net_undo (struct rcvmi_net *net, rcvm_error **err);
/* The same from a record, for a process that died.  A record of a namespace that is gone is no error. */
int rcvmi_net_undo_record (const char *record, rcvm_error **err);

size_t rcvmi_net_count (const struct rcvmi_net *net);
struct rcvmi_net_nic *rcvmi_net_get (struct rcvmi_net *net, size_t index);
/* resolv.conf of the namespace (/etc/netns/NAME) or, in mode HOST, of the host with loopback servers left
   out. */
const struct rcvmi_net_dns *rcvmi_net_get_dns (const struct rcvmi_net *net);
/* Sentences for the log; NULL-terminated, NULL: none. */
char *const *rcvmi_net_get_warnings (const struct rcvmi_net *net);
/* The namespace, for a VMM that opens its TAP by name: its child does setns (fd, CLONE_NEWNET) before exec.
   -1: the caller's own.  Stays the object's. */
int rcvmi_net_get_ns_fd (const struct rcvmi_net *net);
/* A socket (socket(2)) in the namespace, close-on-exec; e.g. for a relay to Docker's DNS at 127.0.0.11. */
int rcvmi_net_socket (const struct rcvmi_net *net, int domain, int type, int protocol, rcvm_error **err);

/* The network as JSON, for `runcvm net show` and the state: {"mode":, "netns":, "join":, "nics":[{"tap":,
   "outside":{…}, "guest":{…}}], "dns":{…}}.  To be freed. */
char *rcvmi_net_to_json (const struct rcvmi_net *net, rcvm_error **err);

/* Polls readable when links, addresses, routes or the namespace's name have changed.  -1 in mode NONE.
   Stays the object's. */
int rcvmi_net_get_watch_fd (const struct rcvmi_net *net);

enum
{
  RCVMI_NET_EVENT_CHANGED = 1, /* call rcvmi_net_rescan */
  RCVMI_NET_EVENT_DELETED
  = 2 /* the namespace's name was removed (`ip netns del`); the VM keeps it until it ends */
};

/* Takes what the watch fd has; returns a set of RCVMI_NET_EVENT_..., 0 for nothing, or an error. */
int rcvmi_net_read_events (struct rcvmi_net *net, rcvm_error **err);

/* Mode NETNS: reads the namespace again; NICs' `state` says what came of it.  An interface counts as added
   once it is up and has an address (or `dhcp`), as whoever fills a namespace does it step by step: what is
   not ready is left for a later event.  New ones get a TAP and are joined; at a failure the rest stays as
   it was.  Returns the number of NICs whose state is not SAME.  Also for namespaces that are filled late:
   prepare may find nothing. */
int rcvmi_net_rescan (struct rcvmi_net *net, rcvm_error **err);
/* An interface that rescans leave alone from now on (or no longer), as it was detached by request. */
int rcvmi_net_exclude (struct rcvmi_net *net, const char *name, bool exclude, rcvm_error **err);
/* Takes one NIC back (detach): its TAP and join. */
int rcvmi_net_remove (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err);

#endif
