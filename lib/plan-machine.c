/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine: who may say something about it, and in which order they are heard (plan-keys.c has the words).
 *
 *   options of the caller > annotations org.runcvm.* > RUNCVM_* of process.env
 *     > config.json's "vm" > linux.resources > defaults
 */
#include "config.h"

#define RCVMI_STAGE "plan"
#include "plan-keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <runcvm/vm.h>

#include "err.h"

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

static int
plan_hypervisor (struct rcvmi_plan *plan, const struct rcvmi_options *options, const struct rcvmi_defaults *defaults,
                 rcvm_error **err)
{
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, options->hypervisor, "hypervisor");
  rcvmi_plan_from_config (&s, plan, KEY_HYPERVISOR);
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
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, options->confinement, "confinement");
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
  struct rcvmi_plan_setting s = { 0 };
  int rc = 0;

  rcvmi_plan_from_config (&s, plan, KEY_MEM_SIZE);
  if (options->memory)
    {
      plan->memory = options->memory;
      rcvmi_plan_from_option (&s, "", "memory");
    }
  else if (s.value)
    rc = rcvmi_plan_take_size (&s, "memory size", &plan->memory, err);
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
  struct rcvmi_plan_setting s = { 0 };
  int rc = 0;

  rcvmi_plan_from_config (&s, plan, KEY_CPUS);
  if (options->cpus)
    {
      cpus = options->cpus;
      rcvmi_plan_from_option (&s, "", "cpus");
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
plan_file (struct rcvmi_plan *plan, const char *option, const char *option_name, enum rcvmi_plan_key key,
           const char *vm_path, const char *vm_name, const char *default_path, bool is_plan_only,
           char **out, rcvm_error **err)
{
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, option, option_name);
  rcvmi_plan_from_config (&s, plan, key);
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
                           option_name, rcvmi_plan_annotation (key));
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
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, options->kernel_args, "kernel_args");
  rcvmi_plan_from_config (&s, plan, KEY_KERNEL_ARGS);
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
  struct rcvmi_plan_setting s = { 0 };

  if (options->log_level >= 0)
    {
      plan->log_level = options->log_level < RCVM_LOG_DEBUG ? options->log_level : RCVM_LOG_DEBUG;
      return 0;
    }
  plan->log_level = RCVM_LOG_WARNING;
  rcvmi_plan_from_config (&s, plan, KEY_LOG_LEVEL);
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
  int rc = rcvmi_plan_check_keys (plan, err);

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
    rc = rcvmi_plan_root (plan, options, err);
  if (rc == 0)
    rc = rcvmi_plan_switch (plan, "RUNCVM_ENABLE_BALLOON", &plan->balloon, err);
  if (rc == 0)
    rc = rcvmi_plan_tuning (plan, defaults, err);
  if (rc == 0)
    rc = plan_log_level (plan, options, err);
  return rc;
}
