/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every property of the OCI runtime spec (1.0 to 1.3) that a Linux container may have, and what a
 * VM makes of it.  docs/oci-fields.md says the same in words; a test compares the two.
 */
#include "config.h"

#include "spec-json.h"

/* The long names would hide the tables. */
#define AT(type, m) .offset = offsetof (struct rcvmi_spec_##type, m)
#define COUNT(type, m) AT (type, m), .count_offset = offsetof (struct rcvmi_spec_##type, n_##m)
#define NOWHERE .offset = RCVMI_JSON_NOWHERE
#define KIND(k) .kind = RCVMI_JSON_##k
#define REQUIRED .required = true
#define WARN(text) .use = RCVMI_JSON_WARN, .why = text
#define REFUSE(text) .use = RCVMI_JSON_REFUSE, .why = text
#define QUIET(text) .use = RCVMI_JSON_QUIET, .why = text
#define INT32_RANGE .min = INT32_MIN, .max = INT32_MAX
#define INT64_RANGE .min = INT64_MIN, .max = INT64_MAX
#define SUB(s) .sub = &s##_schema
#define END { .name = NULL }

#define SCHEMA(s, ...)                                                                            \
  static const struct rcvmi_json_field s##_fields[] = { __VA_ARGS__, END };                       \
  static const struct rcvmi_json_schema s##_schema                                                \
      = { sizeof (struct rcvmi_spec_##s), s##_fields }
/* For objects that are checked and not kept; map entries need room for their key. */
#define CHECK_SCHEMA(s, ...)                                                                      \
  static const struct rcvmi_json_field s##_fields[] = { __VA_ARGS__, END };                       \
  static const struct rcvmi_json_schema s##_schema = { sizeof (char *), s##_fields }

#define NO_CGROUP_V1 "it is a knob of cgroup v1, and the guest has cgroup v2"

SCHEMA (idmap,
  { "containerID", KIND (UINT), REQUIRED, AT (idmap, container_id), .max = UINT32_MAX },
  { "hostID", KIND (UINT), REQUIRED, AT (idmap, host_id), .max = UINT32_MAX },
  { "size", KIND (UINT), REQUIRED, AT (idmap, size), .max = UINT32_MAX });

SCHEMA (root,
  { "path", KIND (STR), REQUIRED, AT (root, path) },
  { "readonly", KIND (BOOL), AT (root, readonly) });

SCHEMA (mount,
  { "destination", KIND (STR), REQUIRED, AT (mount, destination) },
  { "type", KIND (STR), AT (mount, type) },
  { "source", KIND (STR), AT (mount, source) },
  { "options", KIND (STRV), AT (mount, options) },
  { "uidMappings", KIND (LIST), COUNT (mount, uid_mappings), SUB (idmap) },
  { "gidMappings", KIND (LIST), COUNT (mount, gid_mappings), SUB (idmap) });

/* process */

SCHEMA (console_size,
  { "height", KIND (UINT), REQUIRED, AT (console_size, height), .max = UINT16_MAX },
  { "width", KIND (UINT), REQUIRED, AT (console_size, width), .max = UINT16_MAX });

SCHEMA (user,
  { "uid", KIND (UINT), AT (user, uid), .max = UINT32_MAX - 1 },
  { "gid", KIND (UINT), AT (user, gid), .max = UINT32_MAX - 1 },
  { "umask", KIND (UINT), AT (user, umask), .max = 0777 },
  { "additionalGids", KIND (UINTV), COUNT (user, additional_gids), .max = UINT32_MAX - 1 },
  { "username", KIND (STR), NOWHERE, WARN ("it is for Windows") });

SCHEMA (capabilities,
  { "bounding", KIND (STRV), AT (capabilities, bounding) },
  { "effective", KIND (STRV), AT (capabilities, effective) },
  { "inheritable", KIND (STRV), AT (capabilities, inheritable) },
  { "permitted", KIND (STRV), AT (capabilities, permitted) },
  { "ambient", KIND (STRV), AT (capabilities, ambient) });

SCHEMA (rlimit,
  { "type", KIND (STR), REQUIRED, AT (rlimit, type) },
  { "soft", KIND (UINT), REQUIRED, AT (rlimit, soft), .max = UINT64_MAX },
  { "hard", KIND (UINT), REQUIRED, AT (rlimit, hard), .max = UINT64_MAX });

SCHEMA (scheduler,
  { "policy", KIND (STR), REQUIRED, AT (scheduler, policy) },
  { "nice", KIND (INT), AT (scheduler, nice), .min = -20, .max = 19 },
  { "priority", KIND (INT), AT (scheduler, priority), .min = 0, .max = 99 },
  { "flags", KIND (STRV), AT (scheduler, flags) },
  { "runtime", KIND (UINT), AT (scheduler, runtime), .max = UINT64_MAX },
  { "deadline", KIND (UINT), AT (scheduler, deadline), .max = UINT64_MAX },
  { "period", KIND (UINT), AT (scheduler, period), .max = UINT64_MAX });

SCHEMA (io_priority,
  { "class", KIND (STR), REQUIRED, AT (io_priority, class) },
  { "priority", KIND (INT), REQUIRED, AT (io_priority, priority), .min = 0, .max = 7 });

SCHEMA (cpu_affinity,
  { "initial", KIND (STR), AT (cpu_affinity, initial) },
  { "final", KIND (STR), AT (cpu_affinity, final) });

SCHEMA (process,
  { "terminal", KIND (BOOL), AT (process, terminal) },
  { "consoleSize", KIND (OBJECT), AT (process, console_size), SUB (console_size) },
  { "user", KIND (OBJECT), AT (process, user), SUB (user) },
  { "args", KIND (STRV), AT (process, args) },
  { "commandLine", KIND (STR), NOWHERE, WARN ("it is for Windows") },
  { "env", KIND (STRV), AT (process, env) },
  { "cwd", KIND (STR), AT (process, cwd) },
  { "capabilities", KIND (OBJECT), AT (process, capabilities), SUB (capabilities) },
  { "rlimits", KIND (LIST), COUNT (process, rlimits), SUB (rlimit) },
  { "noNewPrivileges", KIND (BOOL), AT (process, no_new_privileges) },
  { "apparmorProfile", KIND (STR), AT (process, apparmor_profile),
    WARN ("the guest's kernel has no AppArmor policy") },
  { "oomScoreAdj", KIND (INT), AT (process, oom_score_adj), .min = -1000, .max = 1000 },
  { "scheduler", KIND (OBJECT), AT (process, scheduler), SUB (scheduler) },
  { "selinuxLabel", KIND (STR), AT (process, selinux_label),
    WARN ("the guest's kernel has no SELinux policy") },
  { "ioPriority", KIND (OBJECT), AT (process, io_priority), SUB (io_priority) },
  { "execCPUAffinity", KIND (OBJECT), AT (process, exec_cpu_affinity), SUB (cpu_affinity),
    WARN ("the CPUs that it names are the host's") });

const struct rcvmi_json_schema rcvmi_spec_process_schema
    = { sizeof (struct rcvmi_spec_process), process_fields };

/* hooks */

SCHEMA (hook,
  { "path", KIND (STR), REQUIRED, AT (hook, path) },
  { "args", KIND (STRV), AT (hook, args) },
  { "env", KIND (STRV), AT (hook, env) },
  { "timeout", KIND (INT), AT (hook, timeout), .min = 1, .max = INT32_MAX });

SCHEMA (hooks,
  { "prestart", KIND (LIST), COUNT (hooks, prestart), SUB (hook) },
  { "createRuntime", KIND (LIST), COUNT (hooks, create_runtime), SUB (hook) },
  { "createContainer", KIND (LIST), COUNT (hooks, create_container), SUB (hook) },
  { "startContainer", KIND (LIST), COUNT (hooks, start_container), SUB (hook) },
  { "poststart", KIND (LIST), COUNT (hooks, poststart), SUB (hook) },
  { "poststop", KIND (LIST), COUNT (hooks, poststop), SUB (hook) });

const struct rcvmi_json_schema rcvmi_spec_hooks_schema = { sizeof (struct rcvmi_spec_hooks), hooks_fields };

/* linux.resources */

SCHEMA (device_rule,
  { "allow", KIND (BOOL), AT (device_rule, allow) },
  { "type", KIND (STR), AT (device_rule, type) },
  { "major", KIND (INT), AT (device_rule, major), INT64_RANGE },
  { "minor", KIND (INT), AT (device_rule, minor), INT64_RANGE },
  { "access", KIND (STR), NOWHERE });

SCHEMA (memory,
  { "limit", KIND (INT), AT (memory, limit), INT64_RANGE },
  { "reservation", KIND (INT), AT (memory, reservation), INT64_RANGE },
  { "swap", KIND (INT), AT (memory, swap), INT64_RANGE },
  { "kernel", KIND (INT), NOWHERE, INT64_RANGE, WARN (NO_CGROUP_V1) },
  { "kernelTCP", KIND (INT), NOWHERE, INT64_RANGE, WARN (NO_CGROUP_V1) },
  { "swappiness", KIND (UINT), AT (memory, swappiness), .max = 200 },
  { "disableOOMKiller", KIND (BOOL), NOWHERE, WARN (NO_CGROUP_V1) },
  { "useHierarchy", KIND (BOOL), NOWHERE, QUIET ("cgroup v2 always does") },
  { "checkBeforeUpdate", KIND (BOOL), NOWHERE,
    QUIET ("the guest's kernel gives back what it can, and kills where that is not enough") });

SCHEMA (cpu,
  { "shares", KIND (UINT), AT (cpu, shares), .max = UINT64_MAX },
  { "quota", KIND (INT), AT (cpu, quota), INT64_RANGE },
  { "burst", KIND (UINT), AT (cpu, burst), .max = INT64_MAX },
  { "period", KIND (UINT), AT (cpu, period), .max = INT64_MAX },
  { "realtimeRuntime", KIND (INT), AT (cpu, realtime_runtime), INT64_RANGE },
  { "realtimePeriod", KIND (UINT), AT (cpu, realtime_period), .max = INT64_MAX },
  { "cpus", KIND (STR), AT (cpu, cpus) },
  { "mems", KIND (STR), AT (cpu, mems) },
  { "idle", KIND (INT), AT (cpu, idle), INT64_RANGE });

SCHEMA (pids,
  { "limit", KIND (INT), AT (pids, limit), INT64_RANGE });

SCHEMA (weight_device,
  { "major", KIND (INT), REQUIRED, AT (weight_device, major), INT64_RANGE },
  { "minor", KIND (INT), REQUIRED, AT (weight_device, minor), INT64_RANGE },
  { "weight", KIND (UINT), AT (weight_device, weight), .max = UINT16_MAX },
  { "leafWeight", KIND (UINT), NOWHERE, .max = UINT16_MAX });

SCHEMA (throttle_device,
  { "major", KIND (INT), REQUIRED, AT (throttle_device, major), INT64_RANGE },
  { "minor", KIND (INT), REQUIRED, AT (throttle_device, minor), INT64_RANGE },
  { "rate", KIND (UINT), REQUIRED, AT (throttle_device, rate), .max = UINT64_MAX });

SCHEMA (block_io,
  { "weight", KIND (UINT), AT (block_io, weight), .max = UINT16_MAX },
  { "leafWeight", KIND (UINT), NOWHERE, .max = UINT16_MAX, WARN ("kernels since 5.0 have no such thing") },
  { "weightDevice", KIND (LIST), COUNT (block_io, weight_device), SUB (weight_device) },
  { "throttleReadBpsDevice", KIND (LIST), COUNT (block_io, read_bps), SUB (throttle_device) },
  { "throttleWriteBpsDevice", KIND (LIST), COUNT (block_io, write_bps), SUB (throttle_device) },
  { "throttleReadIOPSDevice", KIND (LIST), COUNT (block_io, read_iops), SUB (throttle_device) },
  { "throttleWriteIOPSDevice", KIND (LIST), COUNT (block_io, write_iops), SUB (throttle_device) });

SCHEMA (hugepage_limit,
  { "pageSize", KIND (STR), REQUIRED, AT (hugepage_limit, page_size) },
  { "limit", KIND (UINT), REQUIRED, AT (hugepage_limit, limit), .max = UINT64_MAX });

CHECK_SCHEMA (interface_priority,
  { "name", KIND (STR), REQUIRED, NOWHERE },
  { "priority", KIND (UINT), REQUIRED, NOWHERE, .max = UINT32_MAX });

CHECK_SCHEMA (network,
  { "classID", KIND (UINT), NOWHERE, .max = UINT32_MAX, WARN (NO_CGROUP_V1) },
  { "priorities", KIND (LIST), NOWHERE, SUB (interface_priority), WARN (NO_CGROUP_V1) });

CHECK_SCHEMA (rdma,
  { "hcaHandles", KIND (UINT), NOWHERE, .max = UINT32_MAX },
  { "hcaObjects", KIND (UINT), NOWHERE, .max = UINT32_MAX });

SCHEMA (resources,
  { "devices", KIND (LIST), COUNT (resources, devices), SUB (device_rule),
    QUIET ("the devices of a VM are virtual and its own: there is nothing to keep it away from") },
  { "memory", KIND (OBJECT), AT (resources, memory), SUB (memory) },
  { "cpu", KIND (OBJECT), AT (resources, cpu), SUB (cpu) },
  { "pids", KIND (OBJECT), AT (resources, pids), SUB (pids) },
  { "blockIO", KIND (OBJECT), AT (resources, block_io), SUB (block_io) },
  { "hugepageLimits", KIND (LIST), COUNT (resources, hugepage_limits), SUB (hugepage_limit) },
  { "network", KIND (OBJECT), NOWHERE, SUB (network) },
  { "rdma", KIND (OBJ_MAP), NOWHERE, SUB (rdma), WARN ("the VM has no RDMA devices") },
  { "unified", KIND (STR_MAP), COUNT (resources, unified) });

const struct rcvmi_json_schema rcvmi_spec_resources_schema = { sizeof (struct rcvmi_spec_resources), resources_fields };

/* linux */

SCHEMA (namespace,
  { "type", KIND (STR), REQUIRED, AT (namespace, type) },
  { "path", KIND (STR), AT (namespace, path) });

SCHEMA (device,
  { "type", KIND (STR), REQUIRED, AT (device, type) },
  { "path", KIND (STR), REQUIRED, AT (device, path) },
  { "major", KIND (INT), AT (device, major), .min = 0, .max = UINT32_MAX },
  { "minor", KIND (INT), AT (device, minor), .min = 0, .max = UINT32_MAX },
  { "fileMode", KIND (UINT), AT (device, file_mode), .max = UINT32_MAX },
  { "uid", KIND (UINT), AT (device, uid), .max = UINT32_MAX - 1 },
  { "gid", KIND (UINT), AT (device, gid), .max = UINT32_MAX - 1 });

SCHEMA (net_device,
  { "name", KIND (STR), AT (net_device, name) });

SCHEMA (time_offset,
  { "secs", KIND (INT), AT (time_offset, secs), INT64_RANGE },
  { "nanosecs", KIND (UINT), AT (time_offset, nanosecs), .max = 999999999 });

SCHEMA (syscall_arg,
  { "index", KIND (UINT), REQUIRED, AT (syscall_arg, index), .max = 5 },
  { "value", KIND (UINT), REQUIRED, AT (syscall_arg, value), .max = UINT64_MAX },
  { "valueTwo", KIND (UINT), AT (syscall_arg, value_two), .max = UINT64_MAX },
  { "op", KIND (STR), REQUIRED, AT (syscall_arg, op) });

SCHEMA (syscall,
  { "names", KIND (STRV), REQUIRED, AT (syscall, names) },
  { "action", KIND (STR), REQUIRED, AT (syscall, action) },
  { "errnoRet", KIND (UINT), AT (syscall, errno_ret), .max = UINT16_MAX },
  { "args", KIND (LIST), COUNT (syscall, args), SUB (syscall_arg) });

SCHEMA (seccomp,
  { "defaultAction", KIND (STR), REQUIRED, AT (seccomp, default_action) },
  { "defaultErrnoRet", KIND (UINT), AT (seccomp, default_errno_ret), .max = UINT16_MAX },
  { "architectures", KIND (STRV), AT (seccomp, architectures) },
  { "flags", KIND (STRV), AT (seccomp, flags) },
  { "listenerPath", KIND (STR), AT (seccomp, listener_path) },
  { "listenerMetadata", KIND (STR), AT (seccomp, listener_metadata) },
  { "syscalls", KIND (LIST), COUNT (seccomp, syscalls), SUB (syscall) });

CHECK_SCHEMA (intel_rdt,
  { "closID", KIND (STR), NOWHERE },
  { "l3CacheSchema", KIND (STR), NOWHERE },
  { "memBwSchema", KIND (STR), NOWHERE },
  { "schemata", KIND (STRV), NOWHERE },
  { "enableMonitoring", KIND (BOOL), NOWHERE },
  { "enableCMT", KIND (BOOL), NOWHERE },
  { "enableMBM", KIND (BOOL), NOWHERE });

CHECK_SCHEMA (memory_policy,
  { "mode", KIND (STR), REQUIRED, NOWHERE },
  { "nodes", KIND (STR), NOWHERE },
  { "flags", KIND (STRV), NOWHERE });

SCHEMA (personality,
  { "domain", KIND (STR), REQUIRED, AT (personality, domain) },
  { "flags", KIND (STRV), AT (personality, flags) });

SCHEMA (lx,
  { "uidMappings", KIND (LIST), COUNT (lx, uid_mappings), SUB (idmap) },
  { "gidMappings", KIND (LIST), COUNT (lx, gid_mappings), SUB (idmap) },
  { "sysctl", KIND (STR_MAP), COUNT (lx, sysctl) },
  { "resources", KIND (OBJECT), AT (lx, resources), SUB (resources) },
  { "cgroupsPath", KIND (STR), AT (lx, cgroups_path) },
  { "namespaces", KIND (LIST), COUNT (lx, namespaces), SUB (namespace) },
  { "devices", KIND (LIST), COUNT (lx, devices), SUB (device) },
  { "netDevices", KIND (OBJ_MAP), COUNT (lx, net_devices), SUB (net_device) },
  { "seccomp", KIND (OBJECT), AT (lx, seccomp), SUB (seccomp) },
  { "rootfsPropagation", KIND (STR), AT (lx, rootfs_propagation) },
  { "maskedPaths", KIND (STRV), AT (lx, masked_paths) },
  { "readonlyPaths", KIND (STRV), AT (lx, readonly_paths) },
  { "mountLabel", KIND (STR), NOWHERE, WARN ("the guest's kernel has no SELinux policy") },
  { "intelRdt", KIND (OBJECT), NOWHERE, SUB (intel_rdt),
    REFUSE ("the cache and bandwidth classes are the host's; leave it out") },
  { "memoryPolicy", KIND (OBJECT), NOWHERE, SUB (memory_policy),
    WARN ("the guest has one memory node") },
  { "personality", KIND (OBJECT), AT (lx, personality), SUB (personality) },
  { "timeOffsets", KIND (OBJ_MAP), COUNT (lx, time_offsets), SUB (time_offset) });

/* vm */

CHECK_SCHEMA (vm_hypervisor,
  { "path", KIND (STR), NOWHERE,
    REFUSE ("choose the hypervisor by its name, with the annotation org.runcvm.hypervisor") },
  { "parameters", KIND (STRV), NOWHERE, REFUSE ("the hypervisor's options are libruncvm's") });

SCHEMA (vm_kernel,
  { "path", KIND (STR), AT (vm_kernel, path) },
  { "parameters", KIND (STRV), AT (vm_kernel, parameters) },
  { "initrd", KIND (STR), AT (vm_kernel, initrd) });

CHECK_SCHEMA (vm_image,
  { "path", KIND (STR), NOWHERE, REFUSE ("the guest is booted from an initramfs") },
  { "format", KIND (STR), NOWHERE });

SCHEMA (vm_hardware,
  { "vcpus", KIND (UINT), AT (vm_hardware, vcpus), .max = UINT32_MAX },
  { "memory", KIND (UINT), AT (vm_hardware, memory), .max = INT64_MAX },
  { "deviceTree", KIND (STR), NOWHERE, REFUSE ("devices of the host cannot be passed to a VM") },
  { "dtdevs", KIND (STRV), NOWHERE, REFUSE ("devices of the host cannot be passed to a VM") },
  { "iomems", KIND (ANY), NOWHERE, REFUSE ("devices of the host cannot be passed to a VM") },
  { "irqs", KIND (ANY), NOWHERE, REFUSE ("devices of the host cannot be passed to a VM") });

SCHEMA (vm,
  { "hypervisor", KIND (OBJECT), NOWHERE, SUB (vm_hypervisor) },
  { "kernel", KIND (OBJECT), AT (vm, kernel), SUB (vm_kernel) },
  { "image", KIND (OBJECT), NOWHERE, SUB (vm_image) },
  /* The text of the spec and its Go types differ in the spelling. */
  { "hwConfig", KIND (OBJECT), AT (vm, hardware), SUB (vm_hardware) },
  { "hwconfig", KIND (OBJECT), AT (vm, hardware), SUB (vm_hardware) });

#define SPEC(m) .offset = offsetof (struct rcvmi_spec, m)
#define SPEC_COUNT(m) SPEC (m), .count_offset = offsetof (struct rcvmi_spec, n_##m)

static const struct rcvmi_json_field spec_fields[] = {
  { "ociVersion", KIND (STR), REQUIRED, SPEC (oci_version) },
  { "root", KIND (OBJECT), SPEC (root), SUB (root) },
  { "mounts", KIND (LIST), SPEC_COUNT (mounts), SUB (mount) },
  { "process", KIND (OBJECT), SPEC (process), SUB (process) },
  { "hostname", KIND (STR), SPEC (hostname) },
  { "domainname", KIND (STR), SPEC (domainname) },
  { "hooks", KIND (OBJECT), SPEC (hooks), SUB (hooks) },
  { "annotations", KIND (STR_MAP), SPEC_COUNT (annotations) },
  { "linux", KIND (OBJECT), SPEC (lx), SUB (lx) },
  { "vm", KIND (OBJECT), SPEC (vm), SUB (vm) },
  { "solaris", KIND (ANY), NOWHERE, WARN ("the guest is Linux") },
  { "windows", KIND (ANY), NOWHERE, WARN ("the guest is Linux") },
  { "zos", KIND (ANY), NOWHERE, WARN ("the guest is Linux") },
  { "freebsd", KIND (ANY), NOWHERE, WARN ("the guest is Linux") },
  END,
};

const struct rcvmi_json_schema rcvmi_spec_schema = { sizeof (struct rcvmi_spec), spec_fields };
