/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Firecracker, in parts:
 *
 *   vmm-firecracker.c         the driver: its process, what it is told and when
 *   vmm-firecracker-config.c  a VM's configuration as requests of Firecracker's API
 *   vmm-firecracker-confine.c what a confined one sees
 *   vmm-firecracker-metrics.c what it counts
 *   vmm-firecracker-snapshot.c  one that is written into files, and one that goes on from there
 *   vmm-firecracker-api.c     carrying requests out: HTTP over a UNIX socket
 */
#ifndef RCVM_LIB_VMM_FIRECRACKER_H
#define RCVM_LIB_VMM_FIRECRACKER_H

#include "vmm.h"

enum
{
  RCVMI_FC_REQUESTS = RCVMI_VMM_DISKS + RCVMI_VMM_NICS + 8,
  RCVMI_FC_CPUS_MAX = 32,
  /* That of the agent, the volumes' is the next.  The host's ends are sockets with these numbers at the end of their names. */
  RCVMI_FC_AGENT_PORT = 1024,
  RCVMI_FC_GUEST_CID = 3
};

/* In Firecracker's working directory: the VM's, or a place of its own where it is confined. */
#define RCVMI_FC_API_SOCKET "firecracker.sock"
#define RCVMI_FC_VSOCK "vsock"
#define RCVMI_FC_AGENT_SOCKET RCVMI_FC_VSOCK "_1024"
#define RCVMI_FC_VOLUMES_SOCKET RCVMI_FC_VSOCK "_1025"
#define RCVMI_FC_LOG "log"
/* Of a snapshot, where it is confined. */
#define RCVMI_FC_MEMORY "/vm/memory"
#define RCVMI_FC_STATE "/vm/state"
/* Of disks that come: places for what is mounted there then. */
#define RCVMI_FC_HOT_DISK "/vm/hot%u"
/* What is behind the device of one that has gone. */
#define RCVMI_FC_NO_DISK "/dev/null"
/* Of one that runs: in its working directory. */
#define RCVMI_FC_NEW_MEMORY "memory.new"
#define RCVMI_FC_NEW_STATE "state.new"

/* Releases. */
#define RCVMI_FC_OLDEST RCVMI_VMM_VERSION (1, 7) /* that the driver knows */
#define RCVMI_FC_ACPI_SINCE RCVMI_VMM_VERSION (1, 8)
#define RCVMI_FC_MEMORY_SINCE RCVMI_VMM_VERSION (1, 14)
#define RCVMI_FC_REPORTING_SINCE RCVMI_VMM_VERSION (1, 14)
#define RCVMI_FC_OTHER_TAPS_SINCE RCVMI_VMM_VERSION (1, 12) /* in a snapshot */
#define RCVMI_FC_HOTPLUG_SINCE RCVMI_VMM_VERSION (1, 16)
/* Older ones can, too; but what they forget to note nobody has compared. */
#define RCVMI_FC_TRACKING_SINCE RCVMI_VMM_VERSION (1, 13)
#define RCVMI_FC_BZIMAGE_SINCE RCVMI_VMM_VERSION (1, 17)

/* One request.  Strings are owned. */
struct rcvmi_fc_request
{
  const char *method;
  char *path;
  char *body;       /* JSON */
  const char *what; /* "the drive 'root'" in "Firecracker refused %s" */
  char what_buf[48];
};

struct rcvmi_fc_requests
{
  struct rcvmi_fc_request list[RCVMI_FC_REQUESTS];
  size_t n;
  bool wait;   /* for Firecracker, which has just been started, to listen */
  bool failed; /* no memory */
};

/* All that makes a VM and starts it, for a Firecracker of that version. */
int rcvmi_fc_configure (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *config, unsigned version,
                        rcvm_error **err);
/* One interface, as a request: at the start, or for a VM that runs. */
void rcvmi_fc_put_nic (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_nic *n, const struct rcvmi_tuning *t);
/* A disk that comes, seen at `path`: to a new device, or to one that is there and was another's. */
void rcvmi_fc_put_hot_disk (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_hot_disk *d, const char *path, const struct rcvmi_tuning *t);
void rcvmi_fc_change_hot_disk (struct rcvmi_fc_requests *r, unsigned slot, const char *path);
/* Makes a confined Firecracker see the disk of that slot, in `path`, or not any more. */
int rcvmi_fc_show_hot_disk (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_hot_disk *d, char path[32], rcvm_error **err);
int rcvmi_fc_hide_hot_disk (const struct rcvmi_vmm *vmm, unsigned slot, rcvm_error **err);
/* A TAP becomes the VMM's user's, as far as that has one: it needs no rights to open it then. */
int rcvmi_fc_give_tap (const struct rcvmi_vmm *vmm, const char *name, rcvm_error **err);
/* vmm-firecracker-snapshot.c: all that makes one go on from config->from, and all that writes one that runs into two files. */
int rcvmi_fc_restore (struct rcvmi_fc_requests *r, const struct rcvmi_vmm_config *config, unsigned version, rcvm_error **err);
/* `noted`: only what has changed since the last one, over what the file has. */
int rcvmi_fc_save (struct rcvmi_fc_requests *r, const char *memory, const char *state, bool noted, rcvm_error **err);
int rcvmi_fc_resume (struct rcvmi_fc_requests *r, rcvm_error **err);
int rcvmi_fc_shape (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, struct rcvmi_sha256 *sha,
                    rcvm_error **err);
/* Adds to vmm->confine what this VM needs; in `config`, paths become those that Firecracker sees, and dir_fd its working
   directory, the caller's. */
int rcvmi_fc_confine (struct rcvmi_vmm *vmm, struct rcvmi_vmm_config *config, const char *id, rcvm_error **err);
/* vmm->jailer, of Firecracker's own release. */
int rcvmi_fc_find_jailer (struct rcvmi_vmm *vmm, rcvm_error **err);
/* The jailer's arguments for a Firecracker with `argv`, without its program and its id; to be freed by rcvmi_strv_free. */
int rcvmi_fc_jail_args (char ***out, const struct rcvmi_vmm *vmm, const char *id, char *const argv[], rcvm_error **err);
/* A process that kills the VMM when the monitor has ended: PDEATHSIG, which does that else, goes when the jailer changes its user. */
int rcvmi_fc_watch_over (struct rcvmi_vmm *vmm, struct rcvmi_proc *warden, int *error_fd, rcvm_error **err);
/* One request more; takes `body` over, which may be NULL where there was no memory for it. */
struct json_object;
void rcvmi_fc_add (struct rcvmi_fc_requests *r, const char *method, const char *path, struct json_object *body,
                   const char *what);
void rcvmi_fc_requests_clear (struct rcvmi_fc_requests *r);

/*
 * Makes the requests one after the other, by RCVMI_FC_API_SOCKET in the directory.
 * Blocks, changes the working directory and loads libcurl, which is large: it is meant for a forked child that ends then.
 * RCVM_E_VMM: Firecracker refused one; RCVM_E_SYSTEM: it did not answer, or is gone; RCVM_E_HOST: there is no libcurl.
 */
int rcvmi_fc_carry_out (int dir_fd, const struct rcvmi_fc_requests *r, rcvm_error **err);

#endif
