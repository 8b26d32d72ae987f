/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes: directories and files of the host, live in a VM (docs/volumes.md). */
#ifndef RUNCVM_VOLUME_H
#define RUNCVM_VOLUME_H

#include <stdint.h>

#include <runcvm/error.h>
#include <runcvm/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_volume_options rcvm_volume_options;

/* Options of a volume: it may be written to, users are who they are, and a change is seen at the next access.
   Since 0.1. */
rcvm_volume_options *rcvm_volume_options_new (rcvm_error **err);
/* Since 0.1. */
void rcvm_volume_options_free (rcvm_volume_options *options);
/* 1: the host refuses to change it, whatever the VM does; 0 (default).  Since 0.1. */
int rcvm_volume_options_set_readonly (rcvm_volume_options *options, int readonly, rcvm_error **err);
/* Everyone in the VM is `uid`:`gid` of the host; both -1 (default): who they are in the VM.  Since 0.1. */
int rcvm_volume_options_set_squash (rcvm_volume_options *options, long uid, long gid, rcvm_error **err);
/* For how many seconds the VM may rely on what it has seen of files and names, 86400 at most; 0 (default): a change by
   others is seen at the next access.  Since 0.1. */
int rcvm_volume_options_set_cached (rcvm_volume_options *options, unsigned seconds, rcvm_error **err);

/* Of a live volume (NFS): 1: programs in the VM that watch files by inotify hear of what others change (docs/volume-kinds.md); 0
   (default).  It needs a volume that can be written to.  Since 0.1. */
int rcvm_volume_options_set_notify (rcvm_volume_options *options, int notify, rcvm_error **err);
/* Of a live volume (NFS): how the VM reaches it: "link": by a network interface that its kernel and its monitor have to themselves (QEMU, root);
   "tunnel": by another device of its own, out of everybody's sight, too, and slower; NULL (default): the link where it can be had, else the tunnel;
   "tcp": over its network, which needs one with an IPv4 address whose gateway is this host, at a port that the kernel chooses;
   "tcp:1000-1050": at a free one of these, the same for all volumes of the VM.  The server takes connections from the VM's own
   addresses alone; docs/volumes.md says what is weaker.  RCVM_E_INVALID; what is no such text is an error when the VM is created.  Since 0.1. */
int rcvm_volume_options_set_transport (rcvm_volume_options *options, const char *transport, rcvm_error **err);
/* Of a live volume (NFS): who serves it, and with it all of the VM's live volumes: "own" (default; NULL), or "unfsd": unfs3's, if
   that is installed (RCVM_E_HOST when the VM is created), through the tunnel alone.  RCVM_E_INVALID.  Since 0.1. */
int rcvm_volume_options_set_server (rcvm_volume_options *options, const char *server, rcvm_error **err);
/* Of a disk: the file system on it, by the kernel's name ("ext4", "squashfs"); "raw": it is not mounted, the VM gets the disk
   itself; NULL (default): what is found on it.  Since 0.1. */
int rcvm_volume_options_set_fstype (rcvm_volume_options *options, const char *fstype, rcvm_error **err);

/* Of a copy: when what the VM changes of it goes back to its source: "none" (default; NULL), "exit": when the VM has stopped;
   "periodic" or "periodic:SECONDS" (60): every so many seconds, and then; "change" or "change:SECONDS" (2): so many seconds after it
   has changed something, and then; 1 to 86400.  While that happens, the VM waits if it writes to a copy (docs/volume-kinds.md).  A failure meanwhile is
   a warning, and is tried again.  Since 0.1. */
int rcvm_volume_options_set_write_back (rcvm_volume_options *options, const char *when, rcvm_error **err);

/* Shares the directory or regular file `source` of the host with the VM, at the absolute path `target` in it, which is
   made if it is missing.  Before the VM is created.  They are mounted after config.json's mounts, those with the shorter
   targets first; of the same depth, in the order in which they were attached.  A relative `source` is made absolute now, and opened when the VM is created: that fails if it is not there.  `options`
   may be NULL, and stay the caller's.  RCVM_E_INVALID, RCVM_E_STATE.  Since 0.1. */
int rcvm_volume_attach_nfs (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                            rcvm_error **err);

/* A tmpfs of the VM's own at `target`: `size` in bytes, 0: half of the VM's memory; `mode`: permissions of its root, of
   01777 (what Docker makes it) where that is 0.  RCVM_E_INVALID, RCVM_E_STATE.  Since 0.1. */
int rcvm_volume_attach_tmpfs (rcvm_vm *vm, const char *target, uint64_t size, unsigned mode, rcvm_error **err);

/* A block device or an image file of the host as a disk of the VM, mounted at `target`; with the file system "raw",
   `target` is where its device node appears.  Options that count: readonly, fstype.  Opened when the VM is created: that
   fails with RCVM_E_STATE where the host has it mounted or in use, or where another VM has it (any number of VMs may
   have one that all of them only read), and with RCVM_E_INVALID where there is no known file system on it.
   RCVM_E_INVALID, RCVM_E_STATE.  Since 0.1. */
int rcvm_volume_attach_block (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                              rcvm_error **err);

/* A copy of the directory or file `source` of the host, as it is when the VM is created, at `target`; all copies lie on
   one disk.  Options that count: readonly, write_back.  What is written back wins over what the host has done to the same
   file meanwhile; what the VM has not touched stays as the host has it (docs/volumes.md).  RCVM_E_INVALID, RCVM_E_STATE.
   Since 0.1. */
int rcvm_volume_attach_copy (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                             rcvm_error **err);

/* Shares the directory `source` of the host with the VM by virtiofs: as rcvm_volume_attach_nfs, but with all that the host's
   file system can (extended attributes, locks that others see), users who they are in the VM, and with a server (virtiofsd, of
   Debian's qemu-system-common) that runs with root's rights in namespaces of its own.  Only root can, and only where the
   VMM is QEMU ("auto" is then QEMU): RCVM_E_UNSUPPORTED when the VM is created.  Options that count: readonly, cached.
   RCVM_E_INVALID, RCVM_E_STATE.  Since 0.1. */
int rcvm_volume_attach_virtiofs (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                                 rcvm_error **err);

/* Shares the directory `source` of the host with the VM by 9P (9P2000.L), through a tunnel as rcvm_volume_attach_nfs, with a server
   (diod, of Debian's package) for each that sees nothing but that directory.  Users are who they are in the VM, but in no group other
   than that of their own number.  It takes a guest kernel with a 9P client, which Debian's cloud kernel is not: rcvm_vm_create
   fails with RCVM_E_GUEST then; and root: RCVM_E_UNSUPPORTED.  Option that counts: readonly.  RCVM_E_INVALID, RCVM_E_STATE.  Since 0.1. */
int rcvm_volume_attach_9p (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                           rcvm_error **err);

/* A disk that is empty at first, with an ext4 of `size` bytes, at `target`.  It takes up on the host what is written to it, and
   goes with the VM; or it is the image file `source`, which stays, and is made when the VM is created if it is not there: with
   `size` 0 it has to be.  `source` may be NULL.  One of `source` is for one VM at a time.  RCVM_E_INVALID, RCVM_E_STATE;
   and as rcvm_volume_attach_block when the VM is created.  Since 0.1. */
int rcvm_volume_attach_scratch (rcvm_vm *vm, const char *source, const char *target, uint64_t size, rcvm_error **err);

/* Gives a VM that is there a disk more, as rcvm_volume_attach_block does before it is created: the block device or image file
   `source` of the host, mounted at `target` in the container, or, with the file system "raw", as a device node there.  Returns when
   the guest has it.  Options that count: readonly, fstype; `options` may be NULL.  Firecracker takes 1.16, and both VMMs a VM that was
   started for it: QEMU one that has a network, or the annotation org.runcvm.hotplug=on, Firecracker that annotation:
   RCVM_E_UNSUPPORTED.  RCVM_E_STATE: the VM does not run, or the host or another VM has the disk; RCVM_E_EXISTS: there is one at
   `target`; RCVM_E_INVALID; RCVM_E_GUEST: the guest cannot mount it.  Since 0.1. */
int rcvm_vm_attach_disk (rcvm_vm *vm, const char *source, const char *target, const rcvm_volume_options *options,
                         rcvm_error **err);
/* Takes a disk away that came by rcvm_vm_attach_disk: returns when it is unmounted, and free for others.  RCVM_E_NOT_FOUND: there
   is none at `target`; RCVM_E_GUEST: it is in use in the container; it stays then.  RCVM_E_STATE.  Since 0.1. */
int rcvm_vm_detach_disk (rcvm_vm *vm, const char *target, rcvm_error **err);

/* The volumes of a VM that runs, and what their server has done since it was started: operations, errors, bytes,
   latencies; and its disks of the host.  JSON, to be freed with rcvm_free.  RCVM_E_STATE.  Since 0.1. */
char *rcvm_vm_volumes_json (rcvm_vm *vm, rcvm_error **err);

#ifdef __cplusplus
}
#endif

#endif
