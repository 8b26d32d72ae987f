/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is on disk of a VM: ROOT/ID/ with
 *
 *   lock        locked (OFD) by the monitor as long as it lives: the kernel lets go of it, whatever happens
 *   state.json  the OCI state and ours, replaced atomically
 *   control     the monitor's socket
 *   *.img       disks of the running VM
 *   console.log what its guest's console has shown (vmm.h)
 *
 * ROOT/.lock is held, for moments, by whoever makes or removes a directory below ROOT.  A directory whose lock is
 * free and whose state is not "stopped" is what a dead monitor left: whoever comes next cleans it.
 */
#ifndef RCVM_LIB_STATE_H
#define RCVM_LIB_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <runcvm/vm.h>

#include "err.h"

enum
{
  RCVMI_STATE_PHASES = 16
};

struct rcvmi_state_phase
{
  char name[16];
  int64_t usec;
};

/* The contents of state.json.  Strings are owned. */
struct rcvmi_state
{
  char *id;
  char *oci_version;
  char *bundle;
  char *rootfs;
  char *disks; /* the directory of its own disks; NULL: it has none any more */
  char **annotations; /* KEY=VALUE */
  int status;         /* enum rcvm_status */
  pid_t pid;          /* the monitor */
  unsigned long long pid_start;
  pid_t vmm_pid;
  unsigned long long vmm_start;
  char *vmm;
  char *accel;
  char *kernel; /* the guest's release */
  char *from_template; /* its key; NULL: it has booted */
  uint64_t memory;
  unsigned cpus;
  int64_t created; /* seconds since the epoch, 0: not yet */
  int64_t started;
  int64_t finished;
  bool has_exit;
  int exit_code;
  int exit_signal; /* 0: none */
  uint64_t oom_kills; /* processes of the container that the guest's kernel killed for want of memory */
  rcvm_error *error;
  struct rcvmi_state_phase phases[RCVMI_STATE_PHASES];
  size_t n_phases;
  char *cgroup;  /* on disk only: what removes the container's cgroup (rcvmi_cgroup_remove_record), or NULL */
  char *poststop; /* on disk only: the hooks for after its deletion, as JSON (rcvmi_spec_hooks_to_json), or NULL */
  char *saving;  /* on disk only: the directory of a snapshot that is not in its place yet, or NULL */
  char *network; /* on disk only: what undoes the host's half of the network (rcvmi_net_undo_record), or NULL */
};

void rcvmi_state_clear (struct rcvmi_state *s);
char *rcvmi_state_to_json (const struct rcvmi_state *s, bool for_disk, rcvm_error **err);
/* The document that rcvm_vm_state hands out.  `s` is overwritten; after a failure it is clear. */
int rcvmi_state_from_json (struct rcvmi_state *s, const char *json, rcvm_error **err);

struct rcvmi_state_dir
{
  char *root;
  char *path; /* ROOT/ID */
  int fd;
  int lock_fd; /* the monitor's */
};

#define RCVMI_STATE_DIR_INIT ((struct rcvmi_state_dir){ .fd = -1, .lock_fd = -1 })

/* The directory to use for `root` (NULL: the default); to be freed. */
char *rcvmi_state_root (const char *root, rcvm_error **err);

/* Makes the directory and takes its lock.  What a dead monitor left there is removed first. */
int rcvmi_state_dir_create (struct rcvmi_state_dir *d, const char *root, const char *id, rcvm_error **err);
/* Opens one that is there: RCVM_E_NOT_FOUND. */
int rcvmi_state_dir_open (struct rcvmi_state_dir *d, const char *root, const char *id, rcvm_error **err);
void rcvmi_state_dir_close (struct rcvmi_state_dir *d);

int rcvmi_state_dir_write (const struct rcvmi_state_dir *d, const struct rcvmi_state *s, rcvm_error **err);
int rcvmi_state_dir_read (const struct rcvmi_state_dir *d, struct rcvmi_state *s, rcvm_error **err);
/* Whether a monitor lives. */
bool rcvmi_state_dir_alive (const struct rcvmi_state_dir *d);
/* If the monitor died before it could say "stopped": kills what it left, brings the changes of its disks home, removes
   all but the state, and writes down what happened.  Otherwise nothing. */
int rcvmi_state_dir_recover (const struct rcvmi_state_dir *d, const char *id, rcvm_error **err);
/* Removes the directory; the monitor must be dead, or be the caller.  Changes of the container's root that could not be
   written back are tried again, and are lost only with `force`. */
int rcvmi_state_dir_remove (struct rcvmi_state_dir *d, bool force, rcvm_error **err);

#endif
