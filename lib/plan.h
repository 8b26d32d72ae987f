/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan of one run: everything that can be decided is decided here, from config.json and the
 * caller's options, without touching the world.  The later stages carry it out.
 */
#ifndef RCVM_LIB_PLAN_H
#define RCVM_LIB_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/error.h>

#include "options.h"
#include "plan-scope.h"
#include "spec.h"
#include "tlv.h"
#include "tuning.h"

enum rcvmi_hypervisor
{
  RCVMI_HYPERVISOR_AUTO,
  RCVMI_HYPERVISOR_QEMU,
  RCVMI_HYPERVISOR_FIRECRACKER
};

/* How the VMM's process is confined. */
enum rcvmi_confinement
{
  RCVMI_CONFINEMENT_AUTO, /* by the library where it can be, which takes root */
  RCVMI_CONFINEMENT_OWN,
  RCVMI_CONFINEMENT_OFF,
  RCVMI_CONFINEMENT_JAILER /* by Firecracker's own program for that */
};

/* Whether the VM goes on where another one was saved, before that had anything of a container (docs/templates.md). */
enum rcvmi_plan_template
{
  RCVMI_PLAN_TEMPLATE_OFF,
  RCVMI_PLAN_TEMPLATE_AUTO, /* where it can */
  RCVMI_PLAN_TEMPLATE_ON
};

/* What the container's root lies on. */
/* Whether devices may come to the VM while it runs. */
enum rcvmi_hotplug
{
  RCVMI_HOTPLUG_AUTO, /* where it is likely, and the VMM can */
  RCVMI_HOTPLUG_ON,
  RCVMI_HOTPLUG_OFF
};

enum rcvmi_root_disk
{
  RCVMI_ROOT_OVERLAY, /* a shared base, a disk of its own over it */
  RCVMI_ROOT_SINGLE   /* one disk with a copy of everything */
};

/* What becomes of the container's changes to it. */
enum rcvmi_changes
{
  RCVMI_CHANGES_WRITE_BACK,
  RCVMI_CHANGES_DISCARD,
  RCVMI_CHANGES_KEEP
};

/* When, besides, they are written back while the VM runs. */
enum rcvmi_flush
{
  RCVMI_FLUSH_LOOK,  /* before Docker looks, and when it is paused */
  RCVMI_FLUSH_PAUSE, /* when it is paused */
  RCVMI_FLUSH_ASKED  /* on request alone */
};

/* A bind mount that is copied into a disk. */
struct rcvmi_plan_copy
{
  char *source;      /* absolute, on the host */
  char *destination; /* absolute: in the container (single), or in the disk of binds */
};

/* A directory or file of the host that the guest mounts live: export "/INDEX" of the volume server. */
struct rcvmi_plan_volume
{
  char *source;      /* absolute, on the host */
  char *destination; /* in the container, for listings */
  bool read_only;
  bool squash; /* everyone is uid:gid; else they are who they say */
  uint32_t uid, gid;
  uint32_t cached; /* seconds; 0: strict */
  bool notify;     /* the guest hears of changes by others */
  bool tcp;        /* over the container's network; else through the tunnel */
};

/* What a disk behind those of the root holds. */
enum rcvmi_plan_disk_kind
{
  RCVMI_PLAN_DISK_BINDS, /* copies of bind mounts */
  RCVMI_PLAN_DISK_COPIES, /* those of copy volumes */
  RCVMI_PLAN_DISK_BLOCK, /* a block device or an image of the host */
  RCVMI_PLAN_DISK_SCRATCH /* empty at first */
};

/* In the order in which the guest sees them. */
struct rcvmi_plan_disk
{
  enum rcvmi_plan_disk_kind kind;
  char *source; /* absolute, on the host; NULL: the VM's own */
  char *store;  /* absolute: a directory that VMs may write to, in which the source lies, which is relative then; or NULL */
  char *target; /* in the container; NULL: nowhere by itself */
  char *fstype; /* NULL: what is found on it */
  bool read_only;
  bool raw; /* a device node at the target, not mounted */
  uint64_t size; /* SCRATCH: bytes, of one that has to be made; 0: it is there */
};

/* When the changes of a copy go back to where it came from. */
enum rcvmi_plan_copy_back
{
  RCVMI_PLAN_COPY_NEVER,
  RCVMI_PLAN_COPY_EXIT,
  RCVMI_PLAN_COPY_PERIODIC, /* and while the VM runs, every so many seconds */
  RCVMI_PLAN_COPY_CHANGE    /* so many seconds after something has changed */
};

/* A directory or file of the host that is copied into the disk of copies: number N of them is "/N" in it, and what the VM
   changes of it is in "/upperN". */
struct rcvmi_plan_copy_volume
{
  char *source; /* absolute, on the host */
  enum rcvmi_plan_copy_back back;
  unsigned seconds;
};

/* A directory of the host that the VMM shares with the guest by virtiofs, under the tag "volumeN". */
struct rcvmi_plan_share
{
  char *source; /* absolute, on the host */
  char *target;
  bool read_only;
  uint32_t cached; /* seconds; 0: strict */
};

/* A directory of the host that a server of 9P shares, through a tunnel. */
struct rcvmi_plan_diod
{
  char *source; /* absolute, on the host */
  char *target;
  bool read_only;
};

enum rcvmi_plan_net_mode
{
  RCVMI_PLAN_NET_NONE,
  RCVMI_PLAN_NET_OWN,   /* a fresh namespace, which others may fill */
  RCVMI_PLAN_NET_NETNS, /* one that is there, by path or pid */
  RCVMI_PLAN_NET_HOST   /* the host's, by a link with NAT */
};

struct rcvmi_plan_net
{
  enum rcvmi_plan_net_mode mode;
  bool asked;     /* not by config.json's namespaces alone */
  char *path;     /* NETNS: NULL if it is by pid */
  pid_t pid;
  bool bridge;    /* join by a bridge instead of tc */
  unsigned dhcp;  /* seconds for a server to answer; 0: no DHCP */
  char *tap_name; /* of the first NIC; may be NULL */
  char **nics;    /* what the guest gets in place of what an interface has: "eth0,address=..." */
  char **ports;   /* HOST: "8080:80/tcp" */
  bool resolv;    /* /etc/resolv.conf is the guest's to make: no mount covers it */
};

struct rcvmi_plan
{
  char *id;
  char *bundle; /* NULL where there is none */
  char *rootfs; /* absolute directory on the host */
  char **annotations; /* KEY=VALUE, for the state */

  enum rcvmi_hypervisor hypervisor;
  enum rcvmi_confinement confinement;
  char *kernel;
  char *initramfs;
  char *kernel_args; /* what is appended; may be NULL */
  uint64_t memory;   /* bytes */
  unsigned cpus;
  enum rcvmi_hotplug hotplug;
  uint64_t memory_max; /* bytes: what the memory may grow to while the VM runs; at least `memory` */
  bool balloon; /* what the guest frees goes back to the host */
  struct rcvmi_tuning tuning;
  struct rcvmi_scope scope; /* unit is NULL: systemd has no part in the cgroup */
  enum rcvmi_plan_template from_template;

  enum rcvmi_root_disk root_disk;
  enum rcvmi_changes changes;
  enum rcvmi_flush flush;
  bool root_is_readonly; /* on the host, so that nothing could be written back */
  char **digests;       /* what names the contents of rootfs; NULL: nothing does */
  uint64_t rootfs_size; /* bytes; 0: as large as needed (single) */
  struct rcvmi_plan_copy *copies;
  size_t n_copies;
  bool binds_are_live;
  struct rcvmi_plan_disk *disks; /* those of the root are not among them */
  size_t n_disks;
  struct rcvmi_plan_copy_volume *copy_volumes;
  size_t n_copy_volumes;
  struct rcvmi_plan_share *shares;
  size_t n_shares;
  struct rcvmi_plan_diod *diods;
  size_t n_diods;
  struct rcvmi_plan_volume *volumes;
  size_t n_volumes;
  unsigned binds_transport; /* enum rcvmi_transport, of bind mounts */
  bool tcp;   /* there are some by TCP */
  bool link, tunnel; /* there are some for which that was asked */
  bool unfsd; /* serves them, in place of our own server */
  uint16_t first_port, last_port; /* where the volume server listens for those by TCP; 0: the kernel chooses */

  struct rcvmi_plan_net net;
  int log_level; /* enum rcvm_log_level, for the agent and the monitor */

  bool terminal;
  struct tlv_writer setup; /* the agent's SETUP record, without S_CLOCK_NSEC, S_ENTROPY */
  struct tlv_writer exec;  /* the EXEC record of the container's process */

  char **warnings; /* fields that were accepted and have no effect, one sentence each */

  struct rcvmi_spec *spec; /* owned; rcvmi_plan_exec goes back to it */
};

/* Whether network interfaces will probably come to the VM while it runs: where that was said, or where an engine has made an empty
   namespace, which it fills between create and start. */
bool rcvmi_plan_expects_nics (const struct rcvmi_plan *plan);

/* What the host offers where nothing was asked for; NULL members: it has none. */
struct rcvmi_defaults
{
  const char *kernel;
  const char *initramfs;
  const char *hypervisor; /* what the environment says */
  const char *confinement;
  const char *from_template;
};

/* Where the guest finds its disks: by their order, since Firecracker's have no serial. */
#define RCVMI_PLAN_ROOT_DISK "dev:vda"
#define RCVMI_PLAN_UPPER_DISK "dev:vdb"
#define RCVMI_PLAN_DISK "dev:vd%c"
#define RCVMI_PLAN_BINDS_STAGE "stage:binds"
#define RCVMI_PLAN_VOLUME_STAGE "stage:volume%zu"
#define RCVMI_PLAN_SHARE_TAG "volume%zu"
/* What a server of 9P calls its directory. */
#define RCVMI_PLAN_DIOD_NAME "/volume"

/* Whether anything has to be written back of the copy volumes. */
/* Whether it goes back while the VM runs. */
bool rcvmi_plan_copy_is_live (const struct rcvmi_plan_copy_volume *c);
bool rcvmi_plan_copies_go_back (const struct rcvmi_plan *plan);

/* RCVM_E_INVALID unless `id` is 1 to 128 characters out of A-Z a-z 0-9 _ + - . and neither "." nor
   "..". */
int rcvmi_plan_check_id (const char *id, rcvm_error **err);

/* Where the guest finds plan->disks[index]. */
void rcvmi_plan_disk_locator (const struct rcvmi_plan *plan, size_t index, char locator[16]);

/* Takes `spec` over, also on failure.  The options win over annotations ("org.runcvm.mem-size"),
   which win over RUNCVM_* variables of process.env, which win over linux.resources and the
   defaults.  `defaults` may be NULL for a plan that nobody carries out: kernel and initramfs may
   then stay NULL. */
struct rcvmi_plan *rcvmi_plan_new (struct rcvmi_spec *spec, const struct rcvmi_options *options,
                                   const struct rcvmi_defaults *defaults, rcvm_error **err);
void rcvmi_plan_free (struct rcvmi_plan *plan);

/* The EXEC record of a further process; *terminal says whether it has one. */
int rcvmi_plan_exec (const struct rcvmi_plan *plan, const struct rcvmi_exec_options *options,
                     struct tlv_writer *record, bool *terminal, rcvm_error **err);

/* "512M", "2G", "1073741824", "512MiB", as RUNCVM_MEM_SIZE and --memory take it; 0 if it is no
   size. */
uint64_t rcvmi_plan_parse_size (const char *text);

#endif
