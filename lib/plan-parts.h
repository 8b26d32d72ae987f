/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What plan*.c share. */
#ifndef RCVM_LIB_PLAN_PARTS_H
#define RCVM_LIB_PLAN_PARTS_H

#include "plan.h"
#include "spec-types.h"

enum
{
  RCVMI_MIB = 1024 * 1024
};

/* plan.c: a list in the arena with the last of each NAME= of `first` and `second`, in the order of
   their first mention. */
char **rcvmi_plan_merge (struct rcvmi_arena *arena, char *const *first, char *const *second);
char **rcvmi_plan_copy_list (struct rcvmi_arena *arena, char *const *list);
/* The value behind NAME= in a list, or NULL. */
const char *rcvmi_plan_find (char *const *list, const char *name);
/* RCVM_E_SPEC if the record does not fit into a frame, RCVM_E_NOMEM if it failed. */
int rcvmi_plan_check_record (const struct tlv_writer *w, const char *what, rcvm_error **err);
int rcvmi_plan_warn (struct rcvmi_plan *plan, rcvm_error **err, const char *fmt, ...)
    __attribute__ ((format (printf, 3, 4)));

/* plan-root.c */
int rcvmi_plan_root (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err);
/* plan-machine.c: hypervisor, kernel, memory, cpus, log level, and the root. */
int rcvmi_plan_machine (struct rcvmi_plan *plan, const struct rcvmi_options *options,
                        const struct rcvmi_defaults *defaults, rcvm_error **err);

/* What a setting, named by its variable, or its annotation says, and in `from` which; NULL: neither. */
enum
{
  RCVMI_PLAN_FROM = 96
};
const char *rcvmi_plan_word (const struct rcvmi_plan *plan, const char *env, char *from, size_t size);
/* One that is on or off. */
int rcvmi_plan_switch (const struct rcvmi_plan *plan, const char *env, bool *on, rcvm_error **err);

/* plan-tuning.c */
int rcvmi_plan_tuning (struct rcvmi_plan *plan, const struct rcvmi_defaults *defaults, rcvm_error **err);

/* The network that is asked for, and in `from` by whom; NULL: by nobody. */
const char *rcvmi_plan_network_word (const struct rcvmi_plan *plan, const struct rcvmi_options *options, char *from,
                                     size_t size);

/* plan-net.c */
int rcvmi_plan_network (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err);
void rcvmi_plan_network_clear (struct rcvmi_plan_net *net);

/* plan-mount.c: S_MOUNT records and copies. */
int rcvmi_plan_mounts (struct rcvmi_plan *plan, const struct rcvmi_options *options, bool readonly_root,
                       rcvm_error **err);

/* plan-volume.c */
enum rcvmi_transport
{
  RCVMI_TRANSPORT_AUTO, /* the link where the VMM and the host's rights allow one, else the tunnel */
  RCVMI_TRANSPORT_TUNNEL,
  RCVMI_TRANSPORT_LINK,
  RCVMI_TRANSPORT_TCP
};

struct rcvmi_volume_flags
{
  bool read_only, squash, notify;
  uint32_t uid, gid, cached;
  enum rcvmi_transport transport;
  uint16_t first_port, last_port;
  bool unfsd; /* serves them, and with them all */
};
/* "ro,squash=1000:1000,cached=5" */
int rcvmi_plan_parse_volume (const char *options, struct rcvmi_volume_flags *flags, rcvm_error **err);
/* "tunnel", "link", "tcp", "tcp:1000-1050"; sets the transport and the ports. */
bool rcvmi_plan_parse_transport (const char *text, struct rcvmi_volume_flags *flags);
/* "own", "unfsd". */
bool rcvmi_plan_parse_server (const char *text, bool *unfsd);
/* What the volumes of one VM have in common. */
int rcvmi_plan_take_ports (struct rcvmi_plan *plan, const struct rcvmi_volume_flags *flags, rcvm_error **err);
/* Seconds. */
int rcvmi_plan_parse_cached (const char *text, uint32_t *seconds, rcvm_error **err);
/* One more volume, staged in the guest; `stage`: its name for binds.  Both paths are absolute. */
int rcvmi_plan_add_volume (struct rcvmi_plan *plan, const char *source, const char *destination,
                           const struct rcvmi_volume_flags *flags, char stage[48], rcvm_error **err);

/* plan-disk.c: one more disk; *disk is to be filled in.  `locator`: where the guest finds it. */
int rcvmi_plan_add_disk (struct rcvmi_plan *plan, const struct rcvmi_plan_disk *disk, char locator[16],
                         rcvm_error **err);
void rcvmi_plan_disks_clear (struct rcvmi_plan *plan);

/* plan-scratch.c: those of RUNCVM_DISKS ... */
int rcvmi_plan_scratch_disks (struct rcvmi_plan *plan, rcvm_error **err);
/* ... and whether a bind mount there is for them, and not for the VM. */
bool rcvmi_plan_is_for_disks (const struct rcvmi_plan *plan, const char *destination);
/* Mounted at its target. */
int rcvmi_plan_add_scratch (struct rcvmi_plan *plan, const struct rcvmi_plan_disk *disk, rcvm_error **err);

/* plan-copy.c: `back`: "none", "exit". */
int rcvmi_plan_add_copy_volume (struct rcvmi_plan *plan, const char *source, const char *target, bool read_only,
                                const char *back, rcvm_error **err);
void rcvmi_plan_copy_volumes_clear (struct rcvmi_plan *plan);

/* plan-share.c */
int rcvmi_plan_add_share (struct rcvmi_plan *plan, const struct rcvmi_plan_share *share, rcvm_error **err);
void rcvmi_plan_shares_clear (struct rcvmi_plan *plan);

/* plan-diod.c */
int rcvmi_plan_add_diod (struct rcvmi_plan *plan, const char *source, const char *target, bool read_only, rcvm_error **err);
void rcvmi_plan_diods_clear (struct rcvmi_plan *plan);

/* plan-attach.c: a volume of another kind than NFS and tmpfs: "block,ro,fstype=ext4".  The target is clean. */
/* As file systems are named. */
bool rcvmi_plan_is_fstype (const char *text);
int rcvmi_plan_attach (struct rcvmi_plan *plan, const char *source, const char *target, const char *options,
                       rcvm_error **err);

/* plan-setup.c */
int rcvmi_plan_setup (struct rcvmi_plan *plan, const struct rcvmi_options *options,
                      rcvm_error **err);

/* plan-exec.c: the process object with the caller's changes in it ... */
struct rcvmi_plan_process
{
  char *const *args;
  char *const *env;
  const char *user;
  const char *cwd;
  int terminal;
  unsigned rows;
  unsigned cols;
};
int rcvmi_plan_override (struct rcvmi_spec *spec, const struct rcvmi_plan_process *changes,
                         rcvm_error **err);
/* ... and its EXEC record.  The seccomp filter is that of `container`.  Warnings go to
   spec->warnings. */
int rcvmi_plan_process (struct rcvmi_spec *spec, const struct rcvmi_spec *container,
                        struct tlv_writer *w, rcvm_error **err);

/* plan-seccomp.c: fills spec->filter. */
int rcvmi_plan_seccomp (struct rcvmi_spec *spec, rcvm_error **err);

/* plan-names.c: what names stand for.  The tables end with a NULL name. */
struct rcvmi_name
{
  const char *name;
  uint64_t value;
};

extern const struct rcvmi_name rcvmi_capability_names[]; /* "CAP_CHOWN": 0 ... */
extern const struct rcvmi_name rcvmi_rlimit_names[];
extern const struct rcvmi_name rcvmi_namespace_names[]; /* CLONE_NEW* */
extern const struct rcvmi_name rcvmi_propagation_names[]; /* MS_SHARED ... */
extern const struct rcvmi_name rcvmi_seccomp_actions[];
extern const struct rcvmi_name rcvmi_seccomp_operators[];
extern const struct rcvmi_name rcvmi_seccomp_archs[];
extern const struct rcvmi_name rcvmi_seccomp_flags[];
const struct rcvmi_name *rcvmi_plan_name (const struct rcvmi_name *table, const char *name);

enum rcvmi_mount_special
{
  RCVMI_MOUNT_PLAIN,
  RCVMI_MOUNT_COPY_UP,
  RCVMI_MOUNT_IDMAP,
  RCVMI_MOUNT_NOFAIL,
  RCVMI_MOUNT_IGNORED /* mount(8) knows it, and it says nothing to the kernel */
};

struct rcvmi_mount_option
{
  const char *name;
  uint64_t set;
  uint64_t clear;
  enum rcvmi_mount_special special;
};

extern const struct rcvmi_mount_option rcvmi_mount_options[];

#endif
