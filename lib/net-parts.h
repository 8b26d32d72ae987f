/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the network share. */
#ifndef RCVM_LIB_NET_PARTS_H
#define RCVM_LIB_NET_PARTS_H

#include "net-read.h"
#include "net-redirect.h"
#include "net-tap.h"
#include "net.h"

/* What was, or is about to be, done for one NIC: all that undoing needs.  It goes into the record. */
struct rcvmi_net_done
{
  int index; /* of the interface that is taken over; 0: none */
  char name[RCVMI_NET_NAME_SIZE];
  char tap[RCVMI_NET_NAME_SIZE];
  bool qdisc; /* the interface's ingress qdisc is ours */

  /* Joined by a bridge: */
  char bridge[RCVMI_NET_NAME_SIZE]; /* "": not */
  uint8_t old_mac[6], new_mac[6];   /* of the interface */
  char **saved;                     /* its IPv4 addresses and routes: netlink messages in hexadecimal */
};

struct rcvmi_net_record
{
  char *path; /* of the namespace; may be NULL */
  uint64_t dev, ino;
  uint8_t cookie[RCVMI_NET_COOKIE_SIZE];
  char table[32]; /* of nftables; "": none */
  struct rcvmi_net_done *nics;
  size_t n;
};

struct rcvmi_net_nic_private
{
  struct rcvmi_net_done done;
};

struct rcvmi_net
{
  enum rcvmi_net_mode mode;
  enum rcvmi_net_join join;
  bool dhcp, persistent, vnet_hdr, enable_forwarding;
  uid_t uid;
  gid_t gid;
  char tap_name[RCVMI_NET_NAME_SIZE];
  char **interfaces; /* NULL: all */
  char **excluded;   /* detached by request */
  struct rcvmi_net_if *statics;
  size_t n_statics;
  struct rcvmi_net_port *ports;
  size_t n_ports;
  struct rcvmi_net_ip range;
  uint8_t range_prefix;

  struct rcvmi_netns ns;
  char *ns_path;
  struct rcvmi_nl nl;
  struct rcvmi_nl nft; /* owns the table, where the kernel can do that */
  char table[32];
  uint8_t cookie[RCVMI_NET_COOKIE_SIZE];
  char alias[48];
  unsigned next_number;

  struct rcvmi_net_nic **nics;
  size_t n;
  struct rcvmi_net_dns dns;
  char **warnings;

  int watch_fd, watch_nl, watch_name; /* epoll of the other two */
  bool deleted;
  rcvmi_net_save_fn save;
  void *save_user;
};

/* net-record.c */
char *rcvmi_net_record_to_json (const struct rcvmi_net *net, rcvm_error **err);
int rcvmi_net_record_parse (struct rcvmi_net_record *r, const char *json, rcvm_error **err);
void rcvmi_net_record_clear (struct rcvmi_net_record *r);
void rcvmi_net_done_clear (struct rcvmi_net_done *d);
void rcvmi_net_alias (const uint8_t *cookie, char *buf, size_t size);
/* Takes back what one NIC needed; -errno of the first failure, or 0. */
int rcvmi_net_undo_done (struct rcvmi_nl *nl, const struct rcvmi_net_done *d, const uint8_t *cookie);

/* net-bridge.c: the interface `done->index`, its TAP and a bridge `done->bridge` that is made. */
int rcvmi_net_bridge_save (struct rcvmi_nl *nl, struct rcvmi_net_done *done, rcvm_error **err);
int rcvmi_net_bridge_join (struct rcvmi_nl *nl, const struct rcvmi_net_done *done,
                           const struct rcvmi_net_nic *nic, const char *alias, rcvm_error **err);
/* The guest's way to 169.254.1.1. */
int rcvmi_net_bridge_guest (struct rcvmi_net_if *guest, rcvm_error **err);
/* Both 0 or -errno. */
int rcvmi_net_bridge_part (struct rcvmi_nl *nl, const struct rcvmi_net_done *done, const char *alias);
/* One saved message back; what is there already is no failure. */
int rcvmi_net_replay (struct rcvmi_nl *nl, const char *hex);

/* net-private.c: mode HOST. */
int rcvmi_net_private_prepare (struct rcvmi_net *net, rcvm_error **err);

/* net-nft.c */
/* Makes the table: masquerading for what comes from the link, and the ports.  `nft` is a socket of the
   namespace. */
int rcvmi_net_nft_make (struct rcvmi_net *net, const char *tap, const struct rcvmi_net_ip *guest,
                        rcvm_error **err);
/* 0 or -errno; a table that is not there is no failure. */
int rcvmi_net_nft_delete (const struct rcvmi_netns *ns, struct rcvmi_nl *nft, const char *table);

/* net.c */
struct rcvmi_net_nic *rcvmi_net_nic_new (struct rcvmi_net *net, rcvm_error **err);
void rcvmi_net_nic_free (struct rcvmi_net_nic *nic);
int rcvmi_net_save_record (struct rcvmi_net *net, rcvm_error **err);
/* Out of the list, and freed. */
void rcvmi_net_nic_forget (struct rcvmi_net *net, struct rcvmi_net_nic *nic);
/* Everything about one NIC that can be decided before anything is changed; then the doing, and its undoing
   (0 or -errno). */
struct rcvmi_net_nic *rcvmi_net_nic_plan (struct rcvmi_net *net, const struct rcvmi_net_list *list,
                                          const struct rcvmi_net_found *f, rcvm_error **err);
int rcvmi_net_nic_make (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err);
int rcvmi_net_nic_undo (struct rcvmi_net *net, struct rcvmi_net_nic *nic);
/* The TAP of a NIC whose tap_name is set. */
int rcvmi_net_nic_make_tap (struct rcvmi_net *net, struct rcvmi_net_nic *nic, rcvm_error **err);

/* net-select.c */
bool rcvmi_net_wanted (const struct rcvmi_net *net, const struct rcvmi_net_found *f);
/* It has no address, and none comes from elsewhere. */
bool rcvmi_net_lacks_address (const struct rcvmi_net *net, const struct rcvmi_net_found *f);
/* What was asked for by name is there, and can be taken. */
int rcvmi_net_check_interfaces (struct rcvmi_net *net, const struct rcvmi_net_list *list, rcvm_error **err);
/* No two NICs have a route to the same place. */
int rcvmi_net_check_guests (const struct rcvmi_net *net, rcvm_error **err);
int rcvmi_net_derive_guest (const struct rcvmi_net *net, const struct rcvmi_net_if *outside,
                            struct rcvmi_net_if *guest, rcvm_error **err);
bool rcvmi_net_same_ip (const struct rcvmi_net_ip *a, const struct rcvmi_net_ip *b);

/* net-watch.c */
int rcvmi_net_watch_open (struct rcvmi_net *net, rcvm_error **err);
void rcvmi_net_watch_close (struct rcvmi_net *net);

#endif
