/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The SETUP record, read.  Strings point into the record. */
#ifndef RCVM_GUEST_SETUP_H
#define RCVM_GUEST_SETUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "net-record.h"

struct setup_mount
{
  const char *destination;
  const char *type;
  const char *source;
  const char *data;
  uint64_t flags;
  uint64_t propagation;
  bool optional;
  bool copy_up;
  int tree; /* mounted, and not attached yet; or -1 */
};

struct setup_device
{
  const char *path;
  uint32_t type, major, minor, mode, uid, gid;
  const char *disk; /* locator, or NULL */
};

struct setup_pair
{
  const char *name;
  const char *value;
};

struct setup_idmap
{
  uint32_t container, host, size;
};

struct setup
{
  const char *hostname;
  const char *domainname;
  const char *root_disk;
  const char *root_fstype;
  const char *root_data;
  bool root_disk_readonly;
  const char *upper_disk;
  bool root_readonly;
  uint64_t root_propagation;
  uint64_t namespaces;
  uint64_t clock_nsec;
  const unsigned char *entropy;
  size_t entropy_len;
  int log_level; /* -1: not given */

  struct setup_mount *mounts;
  struct setup_device *devices;
  struct setup_pair *sysctls;
  struct setup_pair *cgroup;
  struct setup_pair *disk_types;
  struct setup_pair *disk_sizes;
  struct setup_idmap *uid_map;
  struct setup_idmap *gid_map;
  struct net_interface *interfaces;
  struct net_interface link; /* to the volumes; without a server there is none */
  const char *link_server;
  uint32_t link_port;
  const char *server; /* where volumes by TCP are served; NULL: there are none */
  uint32_t server_port;
  const unsigned char *program; /* a record of EXEC's fields: what has to be there; or NULL */
  size_t program_len;
  const char *resolv; /* NULL: /etc/resolv.conf is not ours; "": DHCP's */
  const char **masked;
  const char **readonly;
  const char **file_stages;
  bool memory_comes;        /* by virtio-mem */
  bool copies_live;         /* the disk of copies is read by the host while it is in use */
  uint32_t *copies_watched; /* numbers of copies of which changes are told */
  size_t n_mounts, n_devices, n_sysctls, n_cgroup, n_uid_map, n_gid_map, n_masked, n_readonly, n_interfaces,
      n_file_stages, n_disk_types, n_disk_sizes, n_copies_watched;
};

int setup_parse (struct setup *s, const void *record, size_t len, struct failure *f);
void setup_free (struct setup *s);

#endif
