/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TAP devices in network namespaces.  Usable alone, without a VM. */
#ifndef RUNCVM_NET_H
#define RUNCVM_NET_H

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_net_ns rcvm_net_ns;
typedef struct rcvm_net_tap_options rcvm_net_tap_options;
typedef struct rcvm_net_tap rcvm_net_tap;

/* The network namespace at `path` ("/var/run/netns/ID", "/proc/PID/ns/net"), or the calling thread's own for NULL.
   Opening needs no privilege, and the caller does not enter it.  RCVM_E_NOT_FOUND; RCVM_E_INVALID if it is no
   namespace of the network.  Since 0.1. */
rcvm_net_ns *rcvm_net_ns_open (const char *path, rcvm_error **err);
/* That of a process.  Since 0.1. */
rcvm_net_ns *rcvm_net_ns_open_pid (int pid, rcvm_error **err);
/* That of an fd, which stays the caller's.  Since 0.1. */
rcvm_net_ns *rcvm_net_ns_open_fd (int fd, rcvm_error **err);
/* Since 0.1. */
void rcvm_net_ns_free (rcvm_net_ns *ns);

/* Options of a TAP, all at their defaults.  Since 0.1. */
rcvm_net_tap_options *rcvm_net_tap_options_new (rcvm_error **err);
/* Since 0.1. */
void rcvm_net_tap_options_free (rcvm_net_tap_options *options);
/* 1 to 15 bytes, as the kernel takes them; NULL (default): a free name, "rcvm0", "rcvm1" ...  Since 0.1. */
int rcvm_net_tap_options_set_name (rcvm_net_tap_options *options, const char *name, rcvm_error **err);
/* "02:00:5e:10:00:01", the host's end; NULL (default): a random one.  Since 0.1. */
int rcvm_net_tap_options_set_mac (rcvm_net_tap_options *options, const char *mac, rcvm_error **err);
/* In bytes, 68 to 65521; 0 (default): 1500.  Since 0.1. */
int rcvm_net_tap_options_set_mtu (rcvm_net_tap_options *options, unsigned mtu, rcvm_error **err);
/* Who may open the device beside root: a uid and a gid, -1 (default) for none.  Since 0.1. */
int rcvm_net_tap_options_set_owner (rcvm_net_tap_options *options, long uid, long gid, rcvm_error **err);
/* 1 (default) to 64 queues, each with an fd; more than one makes it a multi-queue device.  Since 0.1. */
int rcvm_net_tap_options_set_queues (rcvm_net_tap_options *options, unsigned queues, rcvm_error **err);
/* Whether each frame has a virtio_net_hdr of 12 bytes before it, as VMMs want it (default 1).  Since 0.1. */
int rcvm_net_tap_options_set_vnet_hdr (rcvm_net_tap_options *options, int on, rcvm_error **err);
/* Whether the device stays until it is deleted, for a VMM that opens it by name (default 0: it goes with its last
   fd).  Since 0.1. */
int rcvm_net_tap_options_set_persistent (rcvm_net_tap_options *options, int on, rcvm_error **err);
/* Whether the device is set up (default 1).  Since 0.1. */
int rcvm_net_tap_options_set_up (rcvm_net_tap_options *options, int on, rcvm_error **err);

/* Makes a TAP in the namespace `ns` (NULL: the calling thread's own); nothing else there is touched.  `options` may be
   NULL.  After a failure there is no device.  RCVM_E_EXISTS: the name is taken; RCVM_E_HOST: no /dev/net/tun;
   RCVM_E_PERMISSION: CAP_NET_ADMIN, or CAP_SYS_ADMIN for a namespace not the caller's own.  Since 0.1. */
rcvm_net_tap *rcvm_net_tap_in_netns (const rcvm_net_ns *ns, const rcvm_net_tap_options *options, rcvm_error **err);
/* Frees the object and closes its fds: a device that is not persistent goes, unless an fd was taken.  Since 0.1. */
void rcvm_net_tap_free (rcvm_net_tap *tap);
/* The name that it got.  Since 0.1. */
const char *rcvm_net_tap_get_name (const rcvm_net_tap *tap);
/* Its index in the namespace.  Since 0.1. */
int rcvm_net_tap_get_index (const rcvm_net_tap *tap);
/* Its MAC address, as text.  Since 0.1. */
const char *rcvm_net_tap_get_mac (const rcvm_net_tap *tap);
/* The fd of a queue (0, 1 ...), non-blocking and close-on-exec; it stays the object's.  -1 for a persistent device, or where
   there is none.  Since 0.1. */
int rcvm_net_tap_get_fd (const rcvm_net_tap *tap, unsigned queue);
/* The same, but the fd is the caller's from now on; rcvm_net_tap_get_fd says -1 then.  Since 0.1. */
int rcvm_net_tap_take_fd (rcvm_net_tap *tap, unsigned queue);
/* Deletes the TAP of that name from a namespace (NULL: the calling thread's own), persistent or in use.
   RCVM_E_NOT_FOUND: there is none; RCVM_E_INVALID: what has that name is no TAP.  Since 0.1. */
int rcvm_net_tap_delete (const rcvm_net_ns *ns, const char *name, rcvm_error **err);

#ifdef __cplusplus
}
#endif
#endif
