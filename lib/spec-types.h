/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * config.json in memory: the members have the names and nesting of the OCI runtime spec.  For
 * spec*.c and plan*.c only.
 *
 * Strings are NULL and lists empty where config.json has nothing; "null" is the same as nothing.
 * Everything hangs on one arena and lives as long as the spec.
 */
#ifndef RCVM_LIB_SPEC_TYPES_H
#define RCVM_LIB_SPEC_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec.h"

struct rcvmi_arena
{
  struct rcvmi_arena_block *blocks;
};

/* Zeroed; NULL without memory. */
void *rcvmi_arena_alloc (struct rcvmi_arena *arena, size_t n, size_t size);
char *rcvmi_arena_strdup (struct rcvmi_arena *arena, const char *s);
char *rcvmi_arena_printf (struct rcvmi_arena *arena, const char *fmt, ...)
    __attribute__ ((format (printf, 2, 3)));
void rcvmi_arena_free (struct rcvmi_arena *arena);

struct rcvmi_spec_int
{
  bool set;
  int64_t value;
};

struct rcvmi_spec_uint
{
  bool set;
  uint64_t value;
};

struct rcvmi_spec_pair
{
  char *name;
  char *value;
};

struct rcvmi_spec_idmap
{
  struct rcvmi_spec_uint container_id;
  struct rcvmi_spec_uint host_id;
  struct rcvmi_spec_uint size;
};

struct rcvmi_spec_root
{
  char *path;
  bool readonly;
};

struct rcvmi_spec_mount
{
  char *destination;
  char *type;
  char *source;
  char **options;
  struct rcvmi_spec_idmap *uid_mappings;
  size_t n_uid_mappings;
  struct rcvmi_spec_idmap *gid_mappings;
  size_t n_gid_mappings;
};

struct rcvmi_spec_console_size
{
  struct rcvmi_spec_uint height;
  struct rcvmi_spec_uint width;
};

struct rcvmi_spec_user
{
  struct rcvmi_spec_uint uid;
  struct rcvmi_spec_uint gid;
  struct rcvmi_spec_uint umask;
  uint64_t *additional_gids;
  size_t n_additional_gids;
};

struct rcvmi_spec_capabilities
{
  char **bounding;
  char **effective;
  char **inheritable;
  char **permitted;
  char **ambient;
};

struct rcvmi_spec_rlimit
{
  char *type;
  struct rcvmi_spec_uint soft;
  struct rcvmi_spec_uint hard;
};

struct rcvmi_spec_scheduler
{
  char *policy;
  struct rcvmi_spec_int nice;
  struct rcvmi_spec_int priority;
  char **flags;
  struct rcvmi_spec_uint runtime;
  struct rcvmi_spec_uint deadline;
  struct rcvmi_spec_uint period;
};

struct rcvmi_spec_io_priority
{
  char *class;
  struct rcvmi_spec_int priority;
};

struct rcvmi_spec_cpu_affinity
{
  char *initial;
  char *final;
};

struct rcvmi_spec_process
{
  bool terminal;
  struct rcvmi_spec_console_size *console_size;
  struct rcvmi_spec_user *user;
  char *user_name; /* not of config.json: "name:group", which wins over `user` */
  char **args;
  char **env;
  char *cwd;
  struct rcvmi_spec_capabilities *capabilities;
  struct rcvmi_spec_rlimit *rlimits;
  size_t n_rlimits;
  bool no_new_privileges;
  char *apparmor_profile;
  char *selinux_label;
  struct rcvmi_spec_int oom_score_adj;
  struct rcvmi_spec_scheduler *scheduler;
  struct rcvmi_spec_io_priority *io_priority;
  struct rcvmi_spec_cpu_affinity *exec_cpu_affinity;
};

struct rcvmi_spec_hook
{
  char *path;
  char **args;
  char **env;
  struct rcvmi_spec_int timeout; /* seconds */
};

struct rcvmi_spec_hooks
{
  struct rcvmi_spec_hook *prestart;
  size_t n_prestart;
  struct rcvmi_spec_hook *create_runtime;
  size_t n_create_runtime;
  struct rcvmi_spec_hook *create_container;
  size_t n_create_container;
  struct rcvmi_spec_hook *start_container;
  size_t n_start_container;
  struct rcvmi_spec_hook *poststart;
  size_t n_poststart;
  struct rcvmi_spec_hook *poststop;
  size_t n_poststop;
};

struct rcvmi_spec_namespace
{
  char *type;
  char *path;
};

struct rcvmi_spec_device
{
  char *type;
  char *path;
  struct rcvmi_spec_int major;
  struct rcvmi_spec_int minor;
  struct rcvmi_spec_uint file_mode;
  struct rcvmi_spec_uint uid;
  struct rcvmi_spec_uint gid;
};

struct rcvmi_spec_net_device
{
  char *host_name;
  char *name;
};

struct rcvmi_spec_time_offset
{
  char *clock;
  struct rcvmi_spec_int secs;
  struct rcvmi_spec_uint nanosecs;
};

struct rcvmi_spec_memory
{
  struct rcvmi_spec_int limit;
  struct rcvmi_spec_int reservation;
  struct rcvmi_spec_int swap;
  struct rcvmi_spec_uint swappiness;
};

struct rcvmi_spec_cpu
{
  struct rcvmi_spec_uint shares;
  struct rcvmi_spec_int quota;
  struct rcvmi_spec_uint burst;
  struct rcvmi_spec_uint period;
  struct rcvmi_spec_int realtime_runtime;
  struct rcvmi_spec_uint realtime_period;
  char *cpus;
  char *mems;
  struct rcvmi_spec_int idle;
};

struct rcvmi_spec_pids
{
  struct rcvmi_spec_int limit;
};

struct rcvmi_spec_weight_device
{
  struct rcvmi_spec_int major;
  struct rcvmi_spec_int minor;
  struct rcvmi_spec_uint weight;
};

struct rcvmi_spec_throttle_device
{
  struct rcvmi_spec_int major;
  struct rcvmi_spec_int minor;
  struct rcvmi_spec_uint rate;
};

struct rcvmi_spec_block_io
{
  struct rcvmi_spec_uint weight;
  struct rcvmi_spec_weight_device *weight_device;
  size_t n_weight_device;
  struct rcvmi_spec_throttle_device *read_bps;
  size_t n_read_bps;
  struct rcvmi_spec_throttle_device *write_bps;
  size_t n_write_bps;
  struct rcvmi_spec_throttle_device *read_iops;
  size_t n_read_iops;
  struct rcvmi_spec_throttle_device *write_iops;
  size_t n_write_iops;
};

struct rcvmi_spec_device_rule
{
  bool allow;
  char *type;
  struct rcvmi_spec_int major, minor;
};

struct rcvmi_spec_hugepage_limit
{
  char *page_size;
  struct rcvmi_spec_uint limit;
};

struct rcvmi_spec_resources
{
  struct rcvmi_spec_memory *memory;
  struct rcvmi_spec_cpu *cpu;
  struct rcvmi_spec_pids *pids;
  struct rcvmi_spec_block_io *block_io;
  struct rcvmi_spec_device_rule *devices;
  size_t n_devices;
  struct rcvmi_spec_hugepage_limit *hugepage_limits;
  size_t n_hugepage_limits;
  struct rcvmi_spec_pair *unified;
  size_t n_unified;
};

struct rcvmi_spec_syscall_arg
{
  struct rcvmi_spec_uint index;
  struct rcvmi_spec_uint value;
  struct rcvmi_spec_uint value_two;
  char *op;
};

struct rcvmi_spec_syscall
{
  char **names;
  char *action;
  struct rcvmi_spec_uint errno_ret;
  struct rcvmi_spec_syscall_arg *args;
  size_t n_args;
};

struct rcvmi_spec_seccomp
{
  char *default_action;
  struct rcvmi_spec_uint default_errno_ret;
  char **architectures;
  char **flags;
  char *listener_path;
  char *listener_metadata;
  struct rcvmi_spec_syscall *syscalls;
  size_t n_syscalls;
};

struct rcvmi_spec_personality
{
  char *domain;
  char **flags;
};

struct rcvmi_spec_lx
{
  struct rcvmi_spec_idmap *uid_mappings;
  size_t n_uid_mappings;
  struct rcvmi_spec_idmap *gid_mappings;
  size_t n_gid_mappings;
  struct rcvmi_spec_pair *sysctl;
  size_t n_sysctl;
  struct rcvmi_spec_resources *resources;
  char *cgroups_path;
  struct rcvmi_spec_namespace *namespaces;
  size_t n_namespaces;
  struct rcvmi_spec_device *devices;
  size_t n_devices;
  struct rcvmi_spec_net_device *net_devices;
  size_t n_net_devices;
  struct rcvmi_spec_seccomp *seccomp;
  char *rootfs_propagation;
  char **masked_paths;
  char **readonly_paths;
  struct rcvmi_spec_personality *personality;
  struct rcvmi_spec_time_offset *time_offsets;
  size_t n_time_offsets;
};

struct rcvmi_spec_vm_kernel
{
  char *path;
  char **parameters;
  char *initrd;
};

struct rcvmi_spec_vm_hardware
{
  struct rcvmi_spec_uint vcpus;
  struct rcvmi_spec_uint memory;
};

struct rcvmi_spec_vm
{
  struct rcvmi_spec_vm_kernel *kernel;
  struct rcvmi_spec_vm_hardware *hardware;
};

struct rcvmi_spec
{
  struct rcvmi_arena arena;
  char *bundle;    /* absolute; NULL where there is none */
  char **warnings; /* a list of its own, for the plan to take over */

  char *oci_version;
  struct rcvmi_spec_root *root;
  struct rcvmi_spec_mount *mounts;
  size_t n_mounts;
  struct rcvmi_spec_process *process; /* never NULL after rcvmi_spec_load or _parse */
  char *hostname;
  char *domainname;
  struct rcvmi_spec_hooks *hooks;
  struct rcvmi_spec_pair *annotations;
  size_t n_annotations;
  struct rcvmi_spec_lx *lx; /* "linux": a macro of that name is in the way */
  struct rcvmi_spec_vm *vm;

  /* Not of config.json: linux.seccomp compiled, for every process of the container; NULL without.
     */
  struct sock_filter *filter;
  size_t filter_len; /* in bytes */
  uint32_t filter_flags;
};

/* What the caller gives by options need not stand in the text. */
struct rcvmi_spec_given
{
  bool root;
  bool args;
  bool cwd;
};

/* A spec with nothing but `process`, from the text of an OCI process object. */
struct rcvmi_spec *rcvmi_spec_parse_process (const char *json, const struct rcvmi_spec_given *given,
                                             rcvm_error **err);

/* Specs with nothing but `hooks`, or `linux.resources`. */
struct rcvmi_spec *rcvmi_spec_parse_hooks (const char *json, rcvm_error **err);
struct rcvmi_spec *rcvmi_spec_parse_resources (const char *json, rcvm_error **err);
/* The poststop hooks, as rcvmi_spec_parse_hooks takes them; to be freed. */
char *rcvmi_spec_hooks_to_json (const struct rcvmi_spec_hooks *hooks, rcvm_error **err);

/* Adds to spec->warnings, up to a limit that keeps a hostile config.json from flooding the log. */
int rcvmi_spec_warn (struct rcvmi_spec *spec, rcvm_error **err, const char *fmt, ...)
    __attribute__ ((format (printf, 3, 4)));

/* The text behind rcvm_spec_default_json. */
extern const char rcvmi_spec_default[];

#endif
