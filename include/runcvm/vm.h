/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM and the container in it.
 *
 *   rcvm_vm_new     a handle, nothing else
 *   rcvm_vm_set_*   what to run
 *   rcvm_vm_create  the monitor runs, the VM is booted, the process is not started   "created"
 *   rcvm_vm_start   the process runs (creates first where that was not done)         "running"
 *   rcvm_vm_wait    its exit code                                                    "stopped"
 *   rcvm_vm_delete  nothing is left
 *   rcvm_vm_free    the handle; the VM does not notice
 */
#ifndef RUNCVM_VM_H
#define RUNCVM_VM_H

#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_vm rcvm_vm;

/* The OCI runtime spec's statuses (runtime.md#state).  The values are part of the ABI. */
enum rcvm_status
{
  RCVM_STATUS_NEW = 0,      /* a handle only */
  RCVM_STATUS_CREATING = 1,
  RCVM_STATUS_CREATED = 2,
  RCVM_STATUS_RUNNING = 3,
  RCVM_STATUS_PAUSED = 4,
  RCVM_STATUS_STOPPED = 5
};

enum rcvm_log_level
{
  RCVM_LOG_ERROR = 0,
  RCVM_LOG_WARNING = 1,
  RCVM_LOG_INFO = 2,
  RCVM_LOG_DEBUG = 3
};

/* `stage` is as in rcvm_error_get_stage.  Called from within library calls on the VM, on the thread
   that made the call.  It must not call functions on that VM. */
typedef void (*rcvm_log_fn) (void *user, int level, const char *stage, const char *message);
typedef void (*rcvm_free_fn) (void *user);

/* A handle for a VM that is not there yet.  `root` is the directory that holds the state of VMs, NULL
   for the default: $RUNCVM_ROOT, else /run/runcvm for root and $XDG_RUNTIME_DIR/runcvm for others.
   `id` is 1 to 128 characters out of A-Z a-z 0-9 _ + - . and is neither "." nor "..".  Since 0.1. */
rcvm_vm *rcvm_vm_new (const char *root, const char *id, rcvm_error **err);
/* A handle for a VM that some process created.  If its monitor died, what it left is cleaned up first,
   and the handle says "stopped" with the error.  Since 0.1. */
rcvm_vm *rcvm_vm_open (const char *root, const char *id, rcvm_error **err);
/* Frees the handle.  A VM that runs goes on.  Since 0.1. */
void rcvm_vm_free (rcvm_vm *vm);

/* What to run: before rcvm_vm_create.  Options given here win over annotations, which win over the
   RUNCVM_* variables of the container's environment.  All since 0.1. */

/* The directory with config.json (OCI runtime spec, bundle.md). */
int rcvm_vm_set_bundle (rcvm_vm *vm, const char *path, rcvm_error **err);
/* The text of a config.json, used in place of the bundle's file. */
int rcvm_vm_set_config_json (rcvm_vm *vm, const char *json, rcvm_error **err);
/* The container's root directory; wins over root.path.  Without a bundle or config text, the process is
   that of rcvm_vm_set_args and the rest is as in rcvm_spec_default_json. */
int rcvm_vm_set_rootfs (rcvm_vm *vm, const char *path, rcvm_error **err);
/* NULL-terminated; replaces process.args. */
int rcvm_vm_set_args (rcvm_vm *vm, char *const argv[], rcvm_error **err);
/* NAME=VALUE; replaces a variable of that name, or adds one. */
int rcvm_vm_add_env (rcvm_vm *vm, const char *name_value, rcvm_error **err);
/* "uid", "uid:gid", "name" or "name:group"; names are looked up in the container. */
int rcvm_vm_set_user (rcvm_vm *vm, const char *user, rcvm_error **err);
int rcvm_vm_set_cwd (rcvm_vm *vm, const char *path, rcvm_error **err);
int rcvm_vm_set_hostname (rcvm_vm *vm, const char *name, rcvm_error **err);
/* 1: the process gets a terminal; its output is one stream, on `out` of rcvm_vm_set_stdio. */
int rcvm_vm_set_terminal (rcvm_vm *vm, int on, rcvm_error **err);
/* 1: the container sees its root file system read-only. */
int rcvm_vm_set_readonly_rootfs (rcvm_vm *vm, int on, rcvm_error **err);
/* An annotation, as if it stood in config.json. */
int rcvm_vm_set_annotation (rcvm_vm *vm, const char *key, const char *value, rcvm_error **err);
/* The process's standard streams; -1 stands for /dev/null.  The monitor reads and writes duplicates of
   them directly, also after this process is gone.  Default: -1, -1, -1. */
int rcvm_vm_set_stdio (rcvm_vm *vm, int in, int out, int err_fd, rcvm_error **err);
/* `fd` is a terminal (the slave of a pseudo-terminal) that becomes the process's: in place of rcvm_vm_set_terminal and
   rcvm_vm_set_stdio.  The monitor makes it raw, relays it and follows its size; it becomes the monitor's controlling terminal, so
   it must not be one of another session. */
int rcvm_vm_set_console (rcvm_vm *vm, int fd, rcvm_error **err);

/* The machine.  All since 0.1. */

/* "auto" (default), "qemu" or "firecracker". */
int rcvm_vm_set_hypervisor (rcvm_vm *vm, const char *name, rcvm_error **err);
/* How the VMM's process is confined on the host.  "auto" (default): as "own" where the caller is root, else as far as anybody
   can.  "own": by the library: a user, a root directory and namespaces of its own, without rights; RCVM_E_PERMISSION when it is
   created by who is not root.  "jailer": by Firecracker's own program for that, in the same way.  "off": not.  What a container says of itself has no part in it. */
int rcvm_vm_set_confinement (rcvm_vm *vm, const char *how, rcvm_error **err);
/* A bzImage or vmlinux. */
int rcvm_vm_set_kernel (rcvm_vm *vm, const char *path, rcvm_error **err);
int rcvm_vm_set_initramfs (rcvm_vm *vm, const char *path, rcvm_error **err);
/* Appended to the kernel's command line. */
int rcvm_vm_set_kernel_args (rcvm_vm *vm, const char *args, rcvm_error **err);
/* In bytes. */
int rcvm_vm_set_memory (rcvm_vm *vm, uint64_t bytes, rcvm_error **err);
int rcvm_vm_set_cpus (rcvm_vm *vm, unsigned cpus, rcvm_error **err);
/* The root file system.  All since 0.1. */

/* "overlay" (default): an image of the root that VMs share and never write to, under a disk for the changes of this
   one.  "single": one image with a copy of everything, which goes with the VM. */
int rcvm_vm_set_rootfs_disk (rcvm_vm *vm, const char *kind, rcvm_error **err);
/* What bind mounts of config.json become.  "live" (default of "overlay"): volumes, as by rcvm_volume_attach_nfs.
   "copy" (default of "single"): copies, made at the start, which go with the VM. */
int rcvm_vm_set_binds (rcvm_vm *vm, const char *what, rcvm_error **err);
/* What becomes of the container's changes to its root when it has stopped.  "writeback" (default of "overlay"): they
   are made in the root's directory on the host, as if the container had run there.  "discard": nothing; the only way of
   "single".  "keep": they stay in a disk image of the host, and the next VM of that root that keeps goes on with it. */
int rcvm_vm_set_rootfs_changes (rcvm_vm *vm, const char *what, rcvm_error **err);
/* What the root directory is made of: the digest ("sha256:...") of one of its layers, the lowest first, or of the whole.
   The cache then finds its image by that name alone, without a look at the directory, which must not have
   been changed: changes are discarded or kept.  A root that is a mounted overlayfs needs none. */
int rcvm_vm_add_rootfs_digest (rcvm_vm *vm, const char *digest, rcvm_error **err);
/* How much the root disk holds, in bytes: the disk for the changes ("overlay"; 0: 16 GiB), or all of it ("single"; 0: what the
   contents need, with room to write).  It takes up on the host what is written to it. */
int rcvm_vm_set_rootfs_size (rcvm_vm *vm, uint64_t bytes, rcvm_error **err);

/* The network.  All since 0.1. */

/* What the VM is connected to: "none" (a loopback interface), the absolute path of a network namespace or "pid:NUMBER" of a
   process in it, whose interfaces become the VM's; "netns": the namespace of config.json; "host": the host's network, by a link
   with NAT.  NULL (default): what config.json's network namespace says (docs/network.md). */
int rcvm_vm_set_network (rcvm_vm *vm, const char *network, rcvm_error **err);
/* How an interface of a namespace is joined to the VM's: "tc" (default) or "bridge". */
int rcvm_vm_set_network_join (rcvm_vm *vm, const char *join, rcvm_error **err);
/* The name of the first TAP, at most 15 bytes; NULL (default): a free one. */
int rcvm_vm_set_tap_name (rcvm_vm *vm, const char *name, rcvm_error **err);
/* The guest gets its addresses from a DHCP server, which has so many seconds (at most 600) to answer the first time; 0 (default):
   it has those of the namespace's interfaces. */
int rcvm_vm_set_dhcp (rcvm_vm *vm, unsigned seconds, rcvm_error **err);
/* What the VM has in place of what an interface of the namespace has: its name, and any number of address=ADDRESS/PREFIX,
   gateway=ADDRESS, route=NETWORK/PREFIX[@GATEWAY], mac=MAC and mtu=BYTES, separated by commas. */
int rcvm_vm_add_nic (rcvm_vm *vm, const char *nic, rcvm_error **err);
/* A port of the host that leads to the VM, in the network "host": "[ADDRESS:]HOST:VM[/tcp|/udp]". */
int rcvm_vm_add_port (rcvm_vm *vm, const char *port, rcvm_error **err);

/* Messages up to `level` go to `fn`; `free_fn` (may be NULL) runs exactly once with `user`, when the function
   is replaced, the handle is freed, or this call fails.  Since 0.1. */
int rcvm_vm_set_log (rcvm_vm *vm, int level, rcvm_log_fn fn, void *user, rcvm_free_fn free_fn,
                     rcvm_error **err);

/* Life.  All since 0.1. */

/* Boots the VM and prepares the container; returns when rcvm_vm_start would only have to start the
   process.  RCVM_E_PROCESS: its program is not in the container.  After a failure nothing is left. */
int rcvm_vm_create (rcvm_vm *vm, rcvm_error **err);
/* Starts the process; creates the VM first if that was not done.  If the process cannot be started
   (RCVM_E_PROCESS) the VM stops; a VM that this call created is then also deleted. */
int rcvm_vm_start (rcvm_vm *vm, rcvm_error **err);
/* Waits until the container has stopped, at most `timeout_ms` milliseconds (-1: for ever), and stores its
   exit code: 0 to 255 as the process returned, 128+N if signal N killed it.  RCVM_E_VMM, RCVM_E_GUEST and
   RCVM_E_MONITOR say that no exit code is known because that part died; *exit_code is then 125.
   RCVM_E_TIMEOUT: it has not stopped. */
int rcvm_vm_wait (rcvm_vm *vm, int timeout_ms, int *exit_code, rcvm_error **err);
/* Sends a signal to the container's process. */
int rcvm_vm_kill (rcvm_vm *vm, int signum, rcvm_error **err);
/* Sends a signal to every process of the container. */
int rcvm_vm_kill_all (rcvm_vm *vm, int signum, rcvm_error **err);
/* The size of the process's terminal, in characters. */
int rcvm_vm_resize (rcvm_vm *vm, unsigned rows, unsigned cols, rcvm_error **err);
/* Removes a stopped VM and all that belongs to it.  With `force`, also one that runs: its process is
   killed.  An id that is not there is RCVM_E_NOT_FOUND, with `force` success. */
int rcvm_vm_delete (rcvm_vm *vm, int force, rcvm_error **err);

/* The network of a VM that has been created.  All since 0.1. */

/* {"host":{...},"guest":{"interfaces":[...]}}: what was taken from where, and what the guest has now; to be freed with
   rcvm_free. */
char *rcvm_vm_net_json (rcvm_vm *vm, rcvm_error **err);
/* Returns when the VM has the interface `name` of its network namespace, which it gets by itself, too, a moment after
   that is up and has an address.  RCVM_E_NOT_FOUND; RCVM_E_UNSUPPORTED where the VMM cannot. */
int rcvm_vm_attach_nic (rcvm_vm *vm, const char *name, rcvm_error **err);
/* Takes it away, until it is attached again. */
int rcvm_vm_detach_nic (rcvm_vm *vm, const char *name, rcvm_error **err);

/* What the host gives it.  All since 0.1. */

/* Who makes the container's cgroup on the host: "cgroupfs" (default): the library; "systemd": systemd, as the scope that
   linux.cgroupsPath names as SLICE:PREFIX:NAME (system.slice:runcvm:ID without one); RCVM_E_HOST from rcvm_vm_create where it
   cannot be reached.  Before rcvm_vm_create. */
int rcvm_vm_set_cgroup_driver (rcvm_vm *vm, const char *driver, rcvm_error **err);
/* Writes back what the container has changed in its root until now; its CPUs stand still meanwhile.  RCVM_E_STATE where the
   changes are discarded or kept. */
int rcvm_vm_flush (rcvm_vm *vm, rcvm_error **err);
/* Stops the virtual CPUs of a container that runs, and writes back as rcvm_vm_flush does, where that is wanted; returns when they stand still.  A signal that is sent meanwhile arrives after
   rcvm_vm_resume; SIGKILL resumes it by itself.  RCVM_E_UNSUPPORTED where the VMM cannot. */
int rcvm_vm_pause (rcvm_vm *vm, rcvm_error **err);
/* Lets them go on, with the host's time of day. */
int rcvm_vm_resume (rcvm_vm *vm, rcvm_error **err);
/* Of rcvm_vm_snapshot; none: 0. */
enum rcvm_snapshot_flag
{
  RCVM_SNAPSHOT_LEAVE_RUNNING = 1 /* the container goes on; else it is ended, as by SIGKILL */
};
/* Saves a container that runs, with its whole VM, into the directory `dir`, which is made, or is empty: another VM can go on from it,
   by rcvm_vm_restore, as often as wanted.  With `parent`, the directory of an earlier snapshot of the container or of the one that it was
   restored from, only what is different is saved of its memory, and `dir` is of use only together with `parent`; NULL: all of it.
   `flags`: RCVM_SNAPSHOT_..., or 0; RCVM_E_INVALID for others.  RCVM_E_UNSUPPORTED where the VMM, or what the VM has, cannot be saved;
   RCVM_E_STATE where processes run in it that rcvm_process_start has started; RCVM_E_NOT_FOUND and RCVM_E_INVALID where `parent` is
   none.  After a failure it goes on, and nothing is left in `dir` (docs/snapshots.md). */
int rcvm_vm_snapshot (rcvm_vm *vm, const char *dir, const char *parent, unsigned flags, rcvm_error **err);
/* Of a handle that has no VM yet: makes one that goes on from a snapshot.  What was set with the handle (streams, network, host name,
   bundle) is the new VM's own; all else is as it was when the container was saved.  RCVM_E_HOST where this host, its kernel or its VMM is not the
   one that saved it, RCVM_E_INVALID where the snapshot is damaged or the machine would be another, RCVM_E_NOT_FOUND where the image below its
   root is gone.  After a failure nothing is left. */
int rcvm_vm_restore (rcvm_vm *vm, const char *dir, rcvm_error **err);
/* New limits: the text of an OCI `linux.resources` object, of which what is absent or 0 stays as it is.  RCVM_E_UNSUPPORTED for
   more memory or CPUs than the VM was made with; then nothing has been changed. */
int rcvm_vm_update (rcvm_vm *vm, const char *resources_json, rcvm_error **err);
/* What it uses: the `data` object of runc's statistics events, with the container's numbers as its guest has them under
   "org.runcvm"; to be freed with rcvm_free. */
char *rcvm_vm_stats (rcvm_vm *vm, rcvm_error **err);
/* The processes on the host that belong to the VM, as a JSON array of their PIDs; to be freed with rcvm_free. */
char *rcvm_vm_processes (rcvm_vm *vm, rcvm_error **err);
/* How many processes of the container were killed because its memory was used up, as far as it was heard: rcvm_vm_dispatch
   and rcvm_vm_wait take in the news, for which the fd of rcvm_vm_get_fd polls readable. */
uint64_t rcvm_vm_get_oom_kills (rcvm_vm *vm);

/* Events.  All since 0.1. */

/* An fd that polls readable when rcvm_vm_dispatch has something to do.  It stays the handle's; it is
   valid from rcvm_vm_create or rcvm_vm_open on, and -1 before. */
int rcvm_vm_get_fd (rcvm_vm *vm);
/* Takes in what has happened, without waiting, and returns the status (enum rcvm_status) or an error. */
int rcvm_vm_dispatch (rcvm_vm *vm, rcvm_error **err);

/* What is known of it.  All since 0.1. */

const char *rcvm_vm_get_id (const rcvm_vm *vm);
/* enum rcvm_status, as last seen. */
int rcvm_vm_get_status (rcvm_vm *vm);
/* "creating", "running" ... for enum rcvm_status. */
const char *rcvm_status_name (int status);
/* The host's PID of the container (its monitor), or -1 if it does not run. */
int rcvm_vm_get_pid (rcvm_vm *vm);
/* The OCI state (runtime.md#state) as JSON, with an "org.runcvm" object: vmm, kernel, phases, exit code or
   error.  Asks the monitor where one runs. */
char *rcvm_vm_state (rcvm_vm *vm, rcvm_error **err);
/* The phases of the start, in order: "spec", "plan", "cgroup", "netns", "hooks", "rootfs", "volumes", "net", "vmm", "kernel", "agent",
   "process".
   `usec` is the duration in microseconds; -1 for an index out of range. */
size_t rcvm_vm_phase_count (rcvm_vm *vm);
const char *rcvm_vm_phase_name (rcvm_vm *vm, size_t index);
int64_t rcvm_vm_phase_usec (rcvm_vm *vm, size_t index);
/* The same and more as Prometheus text (exposition format 0.0.4). */
char *rcvm_vm_metrics (rcvm_vm *vm, rcvm_error **err);
/* The ids of the VMs below `root` (NULL: the default), separated and ended by newlines. */
char *rcvm_vm_list (const char *root, rcvm_error **err);

#ifdef __cplusplus
}
#endif
#endif
