/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "plan"
#include "plan-keys.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "err.h"

#define PREFIX "org.runcvm."

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
  [KEY_TRACK_MEMORY] = { "RUNCVM_TRACK_MEMORY", PREFIX "track-memory", true },
  [KEY_BREAK] = { "RUNCVM_BREAK", PREFIX "break", false },
};

const char *
rcvmi_plan_annotation (enum rcvmi_plan_key key)
{
  return keys[key].annotation;
}

void
rcvmi_plan_from_option (struct rcvmi_plan_setting *s, const char *value, const char *option)
{
  s->value = value;
  snprintf (s->from, sizeof s->from, "the option '%s'", option);
}

void
rcvmi_plan_from_config (struct rcvmi_plan_setting *s, const struct rcvmi_plan *plan, enum rcvmi_plan_key key)
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
  struct rcvmi_plan_setting s = { 0 };

  for (enum rcvmi_plan_key key = 0; key < N_KEYS; key++)
    if (strcmp (keys[key].env, env) == 0)
      rcvmi_plan_from_config (&s, plan, key);
  snprintf (from, size, "%s", s.from);
  return s.value;
}

const char *
rcvmi_plan_network_word (const struct rcvmi_plan *plan, const struct rcvmi_options *options, char *from, size_t size)
{
  struct rcvmi_plan_setting s = { 0 };

  rcvmi_plan_from_option (&s, options->network, "network");
  rcvmi_plan_from_config (&s, plan, KEY_NETWORK_MODE);
  snprintf (from, size, "%s", s.from);
  return s.value;
}

bool
rcvmi_plan_is_off (const char *value)
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

int
rcvmi_plan_check_keys (struct rcvmi_plan *plan, rcvm_error **err)
{
  for (enum rcvmi_plan_key key = 0; key < N_KEYS; key++)
    {
      struct rcvmi_plan_setting s = { 0 };

      if (keys[key].available)
        continue;
      rcvmi_plan_from_config (&s, plan, key);
      if (s.value && !rcvmi_plan_is_off (s.value))
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
      for (enum rcvmi_plan_key key = 0; key < N_KEYS; key++)
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

int
rcvmi_plan_take_size (const struct rcvmi_plan_setting *s, const char *what, uint64_t *size, rcvm_error **err)
{
  *size = rcvmi_plan_parse_size (s->value);
  if (*size == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s gives the %s '%.40s', which is no size like 512M or 2G",
                       s->from, what, s->value);
  return 0;
}

int
rcvmi_plan_switch (const struct rcvmi_plan *plan, const char *env, bool *on, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, env, from, sizeof from);

  *on = word && is_on (word);
  if (word && !*on && !rcvmi_plan_is_off (word))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s is '%.40s', and only on and off, yes and no, true and false, 1 and 0 are known",
                       from, word);
  return 0;
}
