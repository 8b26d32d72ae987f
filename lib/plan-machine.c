/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine: who may say something about it, and in which order they are heard.
 *
 *   options of the caller > annotations org.runcvm.* > RUNCVM_* of process.env
 *     > config.json's "vm" > linux.resources > defaults
 */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <strings.h>

#include <runcvm/vm.h>

#include "err.h"

#define PREFIX "org.runcvm."

static const uint64_t memory_default = 512 * (uint64_t) RCVMI_MIB;
/* No guest boots in less. */
static const uint64_t memory_min = 64 * (uint64_t) RCVMI_MIB;
/* What linux.resources.memory.limit is rounded up to: the limit is made for a container without a
   kernel. */
static const uint64_t memory_min_limit = 128 * (uint64_t) RCVMI_MIB;
static const uint64_t memory_max = 16 * (uint64_t) RCVMI_MIB * RCVMI_MIB;

enum
{
  CPUS_MAX = 256,
  KERNEL_ARGS_MAX = 1024
};

enum key
{
  KEY_HYPERVISOR,
  KEY_MEM_SIZE,
  KEY_CPUS,
  KEY_KERNEL,
  KEY_INITRAMFS,
  KEY_KERNEL_ARGS,
  KEY_ROOTFS,
  KEY_FLUSH,
  KEY_ROOTFS_DISK,
  KEY_ROOTFS_SIZE,
  KEY_LOG_LEVEL,
  KEY_BINDS,
  KEY_VOLUME_TRANSPORT,
  KEY_VOLUME_SERVER,
  KEY_DISKS,
  KEY_NETWORK_MODE,
  KEY_ENABLE_BALLOON,
  KEY_DISK_BANDWIDTH,
  KEY_DISK_OPS,
  KEY_NET_BANDWIDTH,
  KEY_IO_ENGINE,
  KEY_HUGE_PAGES,
  KEY_CPU_TEMPLATE,
  KEY_HOTPLUG,
  KEY_MEMORY_MAX,
  KEY_TEMPLATE,
  KEY_BREAK,
  N_KEYS
};

/* A key whose feature the library does not have yet has `available` false, and is refused. */
static const struct
{
  const char *env;
  const char *annotation;
  bool available;
} keys[N_KEYS] = {
  [KEY_HYPERVISOR] = { "RUNCVM_HYPERVISOR", PREFIX "hypervisor", true },
  [KEY_MEM_SIZE] = { "RUNCVM_MEM_SIZE", PREFIX "mem-size", true },
  [KEY_CPUS] = { "RUNCVM_CPUS", PREFIX "cpus", true },
  [KEY_KERNEL] = { "RUNCVM_KERNEL", PREFIX "kernel", true },
  [KEY_INITRAMFS] = { "RUNCVM_INITRAMFS", PREFIX "initramfs", true },
  [KEY_KERNEL_ARGS] = { "RUNCVM_KERNEL_ARGS", PREFIX "kernel-args", true },
  [KEY_ROOTFS] = { "RUNCVM_ROOTFS", PREFIX "rootfs", true },
  [KEY_FLUSH] = { "RUNCVM_FLUSH", PREFIX "flush", true },
  [KEY_ROOTFS_DISK] = { "RUNCVM_ROOTFS_DISK", PREFIX "rootfs-disk", true },
  [KEY_ROOTFS_SIZE] = { "RUNCVM_ROOTFS_SIZE", PREFIX "rootfs-size", true },
  [KEY_LOG_LEVEL] = { "RUNCVM_LOG_LEVEL", PREFIX "log-level", true },
  [KEY_BINDS] = { "RUNCVM_BINDS", PREFIX "binds", true },
  [KEY_VOLUME_TRANSPORT] = { "RUNCVM_VOLUME_TRANSPORT", PREFIX "volume-transport", true },
  [KEY_VOLUME_SERVER] = { "RUNCVM_VOLUME_SERVER", PREFIX "volume-server", true },
  [KEY_DISKS] = { "RUNCVM_DISKS", PREFIX "disks", true },
  [KEY_NETWORK_MODE] = { "RUNCVM_NETWORK_MODE", PREFIX "network-mode", true },
  [KEY_ENABLE_BALLOON] = { "RUNCVM_ENABLE_BALLOON", PREFIX "enable-balloon", true },
  [KEY_DISK_BANDWIDTH] = { "RUNCVM_DISK_BANDWIDTH", PREFIX "disk-bandwidth", true },
  [KEY_DISK_OPS] = { "RUNCVM_DISK_OPS", PREFIX "disk-ops", true },
  [KEY_NET_BANDWIDTH] = { "RUNCVM_NET_BANDWIDTH", PREFIX "net-bandwidth", true },
  [KEY_IO_ENGINE] = { "RUNCVM_IO_ENGINE", PREFIX "io-engine", true },
  [KEY_HUGE_PAGES] = { "RUNCVM_HUGE_PAGES", PREFIX "huge-pages", true },
  [KEY_CPU_TEMPLATE] = { "RUNCVM_CPU_TEMPLATE", PREFIX "cpu-template", true },
  [KEY_MEMORY_MAX] = { "RUNCVM_MEMORY_MAX", PREFIX "memory-max", true },
  [KEY_HOTPLUG] = { "RUNCVM_HOTPLUG", PREFIX "hotplug", true },
  [KEY_TEMPLATE] = { "RUNCVM_TEMPLATE", PREFIX "template", true },
  [KEY_BREAK] = { "RUNCVM_BREAK", PREFIX "break", false },
};

/* A value, and where it came from, for messages. */
struct setting
{
  const char *value; /* NULL: nobody said anything */
  char from[RCVMI_PLAN_FROM];
};

static void
from_option (struct setting *s, const char *value, const char *option)
{
  s->value = value;
  snprintf (s->from, sizeof s->from, "the option '%s'", option);
}

/* An empty value asks for nothing. */
static void
from_config (struct setting *s, const struct rcvmi_plan *plan, enum key key)
{
  const char *value = rcvmi_plan_find (plan->annotations, keys[key].annotation);

  if (s->value)
    return;
  if (value && *value)
    {
      s->value = value;
      snprintf (s->from, sizeof s->from, "the annotation %s", keys[key].annotation);
      return;
    }
  value = rcvmi_plan_find (plan->spec->process->env, keys[key].env);
  if (value && *value)
    {
      s->value = value;
      snprintf (s->from, sizeof s->from, "%s of the container's environment", keys[key].env);
    }
}

const char *
rcvmi_plan_word (const struct rcvmi_plan *plan, const char *env, char *from, size_t size)
{
  struct setting s = { 0 };

  for (enum key key = 0; key < N_KEYS; key++)
    if (strcmp (keys[key].env, env) == 0)
      from_config (&s, plan, key);
  snprintf (from, size, "%s", s.from);
  return s.value;
}

const char *
rcvmi_plan_network_word (const struct rcvmi_plan *plan, const struct rcvmi_options *options, char *from, size_t size)
{
  struct setting s = { 0 };

  from_option (&s, options->network, "network");
  from_config (&s, plan, KEY_NETWORK_MODE);
  snprintf (from, size, "%s", s.from);
  return s.value;
}

static bool
is_off (const char *value)
{
  return strcmp (value, "0") == 0 || strcasecmp (value, "false") == 0
         || strcasecmp (value, "no") == 0 || strcasecmp (value, "off") == 0;
}

static bool
is_on (const char *value)
{
  return strcmp (value, "1") == 0 || strcasecmp (value, "true") == 0
         || strcasecmp (value, "yes") == 0 || strcasecmp (value, "on") == 0;
}

/* What is not there yet, and annotations that are probably misspelt. */
static int
check_keys (struct rcvmi_plan *plan, rcvm_error **err)
{
  for (enum key key = 0; key < N_KEYS; key++)
    {
      struct setting s = { 0 };

      if (keys[key].available)
        continue;
      from_config (&s, plan, key);
      if (s.value && !is_off (s.value))
        return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                           "%s asks for a feature that this version of libruncvm lacks; remove it",
                           s.from);
    }
  for (char **a = plan->annotations; *a; a++)
    {
      size_t len = strcspn (*a, "=");
      bool known = false;
      int rc;

      if (strncmp (*a, PREFIX, strlen (PREFIX)) != 0)
        continue;
      for (enum key key = 0; key < N_KEYS; key++)
        known |= strlen (keys[key].annotation) == len
                 && memcmp (keys[key].annotation, *a, len) == 0;
      if (known)
        continue;
      rc = rcvmi_plan_warn (plan, err, "the annotation '%.*s' is not known and has no effect",
                            len < 100 ? (int) len : 100, *a);
      if (rc < 0)
        return rc;
    }
  return 0;
}

uint64_t
rcvmi_plan_parse_size (const char *text)
{
  static const char units[] = "KMGT";
  uint64_t value = 0;
  size_t n = strspn (text, "0123456789");
  const char *suffix = text + n;
  const char *unit;

  if (n == 0)
    return 0;
  for (size_t i = 0; i < n; i++)
    if (__builtin_mul_overflow (value, 10, &value)
        || __builtin_add_overflow (value, (uint64_t) (text[i] - '0'), &value))
      return 0;
  if (!*suffix)
    return value;
  unit = strchr (units, *suffix & ~0x20); /* upper case */
  if (unit && *unit)
    {
      for (long i = unit - units; i >= 0; i--)
        if (__builtin_mul_overflow (value, 1024, &value))
          return 0;
      suffix++;
      if (*suffix == 'i' && (suffix[1] & ~0x20) == 'B')
        suffix++;
    }
  if (*suffix && (*suffix & ~0x20) == 'B')
    suffix++;
  return *suffix ? 0 : value;
}

static int
parse_size (const struct setting *s, const char *what, uint64_t *size, rcvm_error **err)
{
  *size = rcvmi_plan_parse_size (s->value);
  if (*size == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s gives the %s '%.40s', which is no size like 512M or 2G",
                       s->from, what, s->value);
  return 0;
}

static int
plan_hypervisor (struct rcvmi_plan *plan, const struct rcvmi_options *options, const struct rcvmi_defaults *defaults,
                 rcvm_error **err)
{
  struct setting s = { 0 };

  from_option (&s, options->hypervisor, "hypervisor");
  from_config (&s, plan, KEY_HYPERVISOR);
  if (!s.value && defaults && defaults->hypervisor)
    {
      s.value = defaults->hypervisor;
      snprintf (s.from, sizeof s.from, "RUNCVM_HYPERVISOR of the environment");
    }
  plan->hypervisor = RCVMI_HYPERVISOR_AUTO;
  if (!s.value || strcmp (s.value, "auto") == 0)
    return 0;
  if (strcmp (s.value, "qemu") == 0)
    plan->hypervisor = RCVMI_HYPERVISOR_QEMU;
  else if (strcmp (s.value, "firecracker") == 0)
    plan->hypervisor = RCVMI_HYPERVISOR_FIRECRACKER;
  else
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s names the hypervisor '%.40s', and only auto, qemu and firecracker are "
                       "known",
                       s.from, s.value);
  return 0;
}

/* What a container says of itself has no part in it: it is the host that is protected. */
static int
plan_confinement (struct rcvmi_plan *plan, const struct rcvmi_options *options, const struct rcvmi_defaults *defaults,
                  rcvm_error **err)
{
  static const char *const names[] = { "auto", "own", "off", "jailer" };
  struct setting s = { 0 };

  from_option (&s, options->confinement, "confinement");
  if (!s.value && defaults && defaults->confinement)
    {
      s.value = defaults->confinement;
      snprintf (s.from, sizeof s.from, "RUNCVM_CONFINE of the environment");
    }
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!s.value || strcmp (s.value, names[i]) == 0)
      {
        plan->confinement = (enum rcvmi_confinement) i;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s is '%.40s', and only auto, own, jailer and off are known", s.from, s.value);
}

static int
check_memory (uint64_t memory, const char *from, rcvm_error **err)
{
  if (memory >= memory_min && memory <= memory_max)
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "%s gives the VM %" PRIu64 " bytes of memory, and it must be between %" PRIu64
                     " MiB and %" PRIu64 " TiB",
                     from, memory, memory_min / RCVMI_MIB, memory_max / RCVMI_MIB / RCVMI_MIB);
}

static int
plan_memory (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec *spec = plan->spec;
  const struct rcvmi_spec_memory *limits
      = spec->lx && spec->lx->resources ? spec->lx->resources->memory : NULL;
  struct setting s = { 0 };
  int rc = 0;

  from_config (&s, plan, KEY_MEM_SIZE);
  if (options->memory)
    {
      plan->memory = options->memory;
      from_option (&s, "", "memory");
    }
  else if (s.value)
    rc = parse_size (&s, "memory size", &plan->memory, err);
  else if (spec->vm && spec->vm->hardware && spec->vm->hardware->memory.value)
    {
      plan->memory = spec->vm->hardware->memory.value;
      snprintf (s.from, sizeof s.from, "'vm.hwConfig.memory' of config.json");
    }
  else
    {
      plan->memory = memory_default;
      /* Kernels and engines write "no limit" as 0, -1 and as a number near 2^63. */
      if (limits && limits->limit.value > 0 && (uint64_t) limits->limit.value <= memory_max)
        plan->memory = (uint64_t) limits->limit.value;
      if (plan->memory < memory_min_limit)
        plan->memory = memory_min_limit;
    }
  if (rc == 0)
    rc = check_memory (plan->memory, s.from, err);
  plan->memory = (plan->memory + RCVMI_MIB - 1) / RCVMI_MIB * RCVMI_MIB;
  return rc;
}

/* How many CPUs a list like "0-3,7" names; 0 if it is none. */
static uint64_t
count_cpus (const char *list)
{
  uint64_t n = 0;

  for (;;)
    {
      char *end;
      unsigned long first, last;

      if (*list < '0' || *list > '9')
        return 0;
      first = last = strtoul (list, &end, 10);
      if (*end == '-')
        {
          list = end + 1;
          if (*list < '0' || *list > '9')
            return 0;
          last = strtoul (list, &end, 10);
        }
      if (last < first || last > UINT16_MAX)
        return 0;
      n += last - first + 1;
      if (n > UINT16_MAX)
        return 0;
      if (*end == '\n' && !end[1])
        return n;
      if (!*end)
        return n;
      if (*end != ',')
        return 0;
      list = end + 1;
    }
}

static int
cpus_of_resources (struct rcvmi_plan *plan, const struct rcvmi_spec_cpu *cpu, uint64_t *cpus,
                   rcvm_error **err)
{
  uint64_t period = cpu->period.value ? cpu->period.value : 100000, named = 0;

  if (cpu->quota.value > 0)
    *cpus = ((uint64_t) cpu->quota.value - 1) / period + 1;
  if (cpu->cpus && cpu->cpus[0])
    {
      named = count_cpus (cpu->cpus);
      if (!named)
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "config.json: 'linux.resources.cpu.cpus' is '%.40s', which is no list "
                           "like 0-3,7",
                           cpu->cpus);
      if (cpu->quota.value <= 0 || named < *cpus)
        *cpus = named;
    }
  if (*cpus > CPUS_MAX)
    {
      *cpus = CPUS_MAX;
      return rcvmi_plan_warn (plan, err,
                              "'linux.resources.cpu' asks for more than the %d CPUs of a VM",
                              CPUS_MAX);
    }
  return 0;
}

static int
plan_cpus (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec *spec = plan->spec;
  uint64_t cpus = 1;
  struct setting s = { 0 };
  int rc = 0;

  from_config (&s, plan, KEY_CPUS);
  if (options->cpus)
    {
      cpus = options->cpus;
      from_option (&s, "", "cpus");
    }
  else if (s.value)
    {
      char *end = NULL;

      cpus = s.value[0] >= '0' && s.value[0] <= '9' ? strtoull (s.value, &end, 10) : 0;
      if (!end || *end || cpus == 0)
        return rcvmi_fail (err, RCVM_E_INVALID, 0,
                           "%s gives the VM '%.40s' CPUs, which is no number from 1 on",
                           s.from, s.value);
    }
  else if (spec->vm && spec->vm->hardware && spec->vm->hardware->vcpus.value)
    {
      cpus = spec->vm->hardware->vcpus.value;
      snprintf (s.from, sizeof s.from, "'vm.hwConfig.vcpus' of config.json");
    }
  else if (spec->lx && spec->lx->resources && spec->lx->resources->cpu)
    rc = cpus_of_resources (plan, spec->lx->resources->cpu, &cpus, err);
  if (rc < 0)
    return rc;
  if (cpus > CPUS_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s gives the VM %" PRIu64 " CPUs, and a VM has at most %d",
                       s.from, cpus, CPUS_MAX);
  plan->cpus = (unsigned) cpus;
  return 0;
}

static int
plan_file (struct rcvmi_plan *plan, const char *option, const char *option_name, enum key key,
           const char *vm_path, const char *vm_name, const char *default_path, bool is_plan_only,
           char **out, rcvm_error **err)
{
  struct setting s = { 0 };

  from_option (&s, option, option_name);
  from_config (&s, plan, key);
  if (!s.value && vm_path && vm_path[0])
    {
      s.value = vm_path;
      snprintf (s.from, sizeof s.from, "'%s' of config.json", vm_name);
    }
  if (!s.value)
    {
      if (!default_path && is_plan_only)
        return 0;
      if (!default_path)
        return rcvmi_fail (err, RCVM_E_HOST, 0,
                           "no guest %s was found on this host; install one, or give its path "
                           "with the annotation %s",
                           option_name, keys[key].annotation);
      s.value = default_path;
    }
  else if (s.value[0] != '/')
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s gives the %s '%.200s'; only absolute paths are known, no names", s.from,
                       option_name, s.value);
  *out = strdup (s.value);
  return *out ? 0 : rcvmi_fail_nomem (err);
}

static int
plan_kernel_args (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  const struct rcvmi_spec_vm *vm = plan->spec->vm;
  struct setting s = { 0 };

  from_option (&s, options->kernel_args, "kernel_args");
  from_config (&s, plan, KEY_KERNEL_ARGS);
  if (!s.value && vm && vm->kernel && vm->kernel->parameters)
    {
      struct rcvmi_arena *arena = &plan->spec->arena;
      char *joined = rcvmi_arena_strdup (arena, vm->kernel->parameters[0]);

      /* Longer ones are refused below; the bound keeps the joining linear. */
      for (char **p = vm->kernel->parameters + 1;
           joined && *p && strlen (joined) <= KERNEL_ARGS_MAX; p++)
        joined = rcvmi_arena_printf (arena, "%s %s", joined, *p);
      if (!joined)
        return rcvmi_fail_nomem (err);
      s.value = joined;
      snprintf (s.from, sizeof s.from, "'vm.kernel.parameters' of config.json");
    }
  if (!s.value || !s.value[0])
    return 0;
  if (strlen (s.value) > KERNEL_ARGS_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s gives kernel arguments of more than %d bytes",
                       s.from,
                       KERNEL_ARGS_MAX);
  for (const char *c = s.value; *c; c++)
    if ((unsigned char) *c < 0x20 || *c == 0x7f)
      return rcvmi_fail (err, RCVM_E_INVALID, 0,
                         "%s gives kernel arguments with a control character",
                         s.from);
  plan->kernel_args = strdup (s.value);
  return plan->kernel_args ? 0 : rcvmi_fail_nomem (err);
}

static int
plan_rootfs_size (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct setting s = { 0 };

  plan->rootfs_size = options->rootfs_size;
  if (plan->rootfs_size)
    return 0;
  from_config (&s, plan, KEY_ROOTFS_SIZE);
  return s.value ? parse_size (&s, "root disk size", &plan->rootfs_size, err) : 0;
}

/* How the guest reaches live bind mounts, and who serves them. */
static int
plan_transport (struct rcvmi_plan *plan, rcvm_error **err)
{
  struct rcvmi_volume_flags flags = { 0 };
  struct setting s = { 0 };

  from_config (&s, plan, KEY_VOLUME_TRANSPORT);
  if (s.value && !rcvmi_plan_parse_transport (s.value, &flags))
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s says '%.40s' of the way to volumes, and only tunnel, tcp and tcp:FIRST-LAST (two ports) are known",
                       s.from, s.value);
  plan->binds_by_tcp = flags.tcp;
  s = (struct setting){ 0 };
  from_config (&s, plan, KEY_VOLUME_SERVER);
  if (s.value && !rcvmi_plan_parse_server (s.value, &plan->unfsd))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s says '%.40s' of the server of volumes, and only own and unfsd are known",
                       s.from, s.value);
  return rcvmi_plan_take_ports (plan, &flags, err);
}

/* What bind mounts become: the host's directories themselves, or copies. */
static int
plan_binds (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct setting s = { 0 };

  from_option (&s, options->binds, "binds");
  from_config (&s, plan, KEY_BINDS);
  plan->binds_are_live = s.value ? strcmp (s.value, "live") == 0 : plan->root_disk == RCVMI_ROOT_OVERLAY;
  if (!s.value || plan->binds_are_live || strcmp (s.value, "copy") == 0)
    return 0;
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s says '%.40s' of bind mounts, and only live and copy are known", s.from,
                     s.value);
}

static int
plan_root_disk (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  struct setting disk = { 0 }, changes = { 0 };

  from_option (&disk, options->rootfs_disk, "rootfs_disk");
  from_config (&disk, plan, KEY_ROOTFS_DISK);
  from_option (&changes, options->rootfs_changes, "rootfs_changes");
  from_config (&changes, plan, KEY_ROOTFS);
  if (disk.value && strcmp (disk.value, "single") == 0)
    plan->root_disk = RCVMI_ROOT_SINGLE;
  else if (disk.value && strcmp (disk.value, "overlay") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s names the root disk '%.40s', and only overlay and single are known",
                       disk.from, disk.value);
  plan->changes = plan->root_disk == RCVMI_ROOT_SINGLE || options->rootfs_digests
                      ? RCVMI_CHANGES_DISCARD
                      : RCVMI_CHANGES_WRITE_BACK;
  if (!changes.value)
    return 0;
  if (strcmp (changes.value, "writeback") == 0)
    plan->changes = RCVMI_CHANGES_WRITE_BACK;
  else if (strcmp (changes.value, "discard") == 0)
    plan->changes = RCVMI_CHANGES_DISCARD;
  else if (strcmp (changes.value, "keep") == 0)
    plan->changes = RCVMI_CHANGES_KEEP;
  else
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s says '%.40s' of the root's changes, and only writeback, discard and "
                       "keep are known",
                       changes.from, changes.value);
  if (plan->root_disk == RCVMI_ROOT_SINGLE && plan->changes != RCVMI_CHANGES_DISCARD)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s asks for the root's changes, which a single root disk cannot tell from "
                       "the rest: use an overlay, or discard them",
                       changes.from);
  if (options->rootfs_digests && plan->changes == RCVMI_CHANGES_WRITE_BACK)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s asks to write the root's changes back, and the root is named by digests, "
                       "which would no longer be true: discard or keep them",
                       changes.from);
  return 0;
}

static int
plan_flush (struct rcvmi_plan *plan, rcvm_error **err)
{
  static const char *const words[] = { "look", "pause", "asked" };
  struct setting s = { 0 };

  from_config (&s, plan, KEY_FLUSH);
  if (!s.value)
    return 0;
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp (s.value, words[i]) == 0)
      {
        plan->flush = (enum rcvmi_flush) i;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "%s says '%.40s' of when the root's changes are written back, and only look, pause and asked are known",
                     s.from, s.value);
}

/* As with runc: what is mounted read-only on the host is read-only in the container. */
static void
plan_readonly_root (struct rcvmi_plan *plan)
{
  struct statvfs fs;

  if (plan->changes != RCVMI_CHANGES_WRITE_BACK || statvfs (plan->rootfs, &fs) < 0 || !(fs.f_flag & ST_RDONLY))
    return;
  plan->root_is_readonly = true;
  plan->changes = RCVMI_CHANGES_DISCARD;
}

int
rcvmi_plan_switch (const struct rcvmi_plan *plan, const char *env, bool *on, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, env, from, sizeof from);

  *on = word && is_on (word);
  if (word && !*on && !is_off (word))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s is '%.40s', and only on and off, yes and no, true and false, 1 and 0 are known",
                       from, word);
  return 0;
}

static int
plan_digests (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  if (!options->rootfs_digests)
    return 0;
  plan->digests = rcvmi_strv_copy (options->rootfs_digests);
  return plan->digests ? 0 : rcvmi_fail_nomem (err);
}

static int
plan_log_level (struct rcvmi_plan *plan, const struct rcvmi_options *options, rcvm_error **err)
{
  static const struct
  {
    const char *name;
    int level;
  } levels[] = {
    { "error", RCVM_LOG_ERROR }, { "warning", RCVM_LOG_WARNING }, { "warn", RCVM_LOG_WARNING },
    { "info", RCVM_LOG_INFO },   { "debug", RCVM_LOG_DEBUG },     { "off", RCVM_LOG_ERROR },
    { "0", RCVM_LOG_ERROR },     { "1", RCVM_LOG_WARNING },       { "2", RCVM_LOG_INFO },
    { "3", RCVM_LOG_DEBUG },
  };
  struct setting s = { 0 };

  if (options->log_level >= 0)
    {
      plan->log_level = options->log_level < RCVM_LOG_DEBUG ? options->log_level : RCVM_LOG_DEBUG;
      return 0;
    }
  plan->log_level = RCVM_LOG_WARNING;
  from_config (&s, plan, KEY_LOG_LEVEL);
  if (!s.value)
    return 0;
  for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
    if (strcasecmp (levels[i].name, s.value) == 0)
      {
        plan->log_level = levels[i].level;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "%s names the log level '%.40s', and only error, warning, info and debug are "
                     "known",
                     s.from, s.value);
}

int
rcvmi_plan_machine (struct rcvmi_plan *plan, const struct rcvmi_options *options,
                    const struct rcvmi_defaults *defaults, rcvm_error **err)
{
  const struct rcvmi_spec_vm_kernel *k = plan->spec->vm ? plan->spec->vm->kernel : NULL;
  int rc = check_keys (plan, err);

  if (rc == 0)
    rc = plan_hypervisor (plan, options, defaults, err);
  if (rc == 0)
    rc = plan_confinement (plan, options, defaults, err);
  if (rc == 0)
    rc = plan_memory (plan, options, err);
  if (rc == 0)
    rc = plan_cpus (plan, options, err);
  if (rc == 0)
    rc = plan_file (plan, options->kernel, "kernel", KEY_KERNEL, k ? k->path : NULL,
                    "vm.kernel.path",
                    defaults ? defaults->kernel : NULL, !defaults, &plan->kernel, err);
  if (rc == 0)
    rc = plan_file (plan, options->initramfs, "initramfs", KEY_INITRAMFS, k ? k->initrd : NULL,
                    "vm.kernel.initrd", defaults ? defaults->initramfs : NULL, !defaults,
                    &plan->initramfs, err);
  if (rc == 0)
    rc = plan_kernel_args (plan, options, err);
  if (rc == 0)
    rc = plan_rootfs_size (plan, options, err);
  if (rc == 0)
    rc = plan_root_disk (plan, options, err);
  if (rc == 0)
    rc = plan_flush (plan, err);
  if (rc == 0)
    rc = plan_binds (plan, options, err);
  if (rc == 0)
    rc = plan_transport (plan, err);
  if (rc == 0)
    plan_readonly_root (plan);
  if (rc == 0)
    rc = plan_digests (plan, options, err);
  if (rc == 0)
    rc = rcvmi_plan_switch (plan, "RUNCVM_ENABLE_BALLOON", &plan->balloon, err);
  if (rc == 0)
    rc = rcvmi_plan_tuning (plan, defaults, err);
  if (rc == 0)
    rc = plan_log_level (plan, options, err);
  return rc;
}
