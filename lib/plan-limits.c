/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-limits.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "err.h"
#include "spec-types.h"

enum
{
  DEFAULT_PERIOD = 100000
};

/* Adds one; `value` is a format.  NULL without memory. */
static struct rcvmi_limit *__attribute__ ((format (printf, 6, 7)))
add (struct rcvmi_limits *out, bool v2, const char *what, const char *controller, const char *file, const char *value, ...)
{
  struct rcvmi_limit *grown = reallocarray (out->list, out->n + 1, sizeof *grown), *l;
  va_list ap;

  if (!grown)
    return NULL;
  out->list = grown;
  l = &grown[out->n];
  *l = (struct rcvmi_limit){ .v2 = v2, .what = what, .controller = strdup (controller), .file = strdup (file) };
  va_start (ap, value);
  if (vasprintf (&l->value, value, ap) < 0)
    l->value = NULL;
  va_end (ap);
  out->n++;
  return l->controller && l->file && l->value ? l : NULL;
}

void
rcvmi_limits_clear (struct rcvmi_limits *limits)
{
  for (size_t i = 0; i < limits->n; i++)
    {
      struct rcvmi_limit *l = &limits->list[i];

      free (l->controller);
      free (l->file);
      free (l->value);
      free (l->other_file);
      free (l->other_value);
    }
  free (limits->list);
  *limits = (struct rcvmi_limits){ 0 };
}

static bool
add_other (struct rcvmi_limit *l, const char *file, uint64_t value)
{
  l->other_file = strdup (file);
  if (asprintf (&l->other_value, "%" PRIu64, value) < 0)
    l->other_value = NULL;
  return l->other_file && l->other_value;
}

/* From the range of version 1 to that of version 2, which is 1 to 10000. */
static uint64_t
scale (uint64_t value, uint64_t min, uint64_t max)
{
  if (value < min)
    value = min;
  if (value > max)
    value = max;
  return 1 + (value - min) * 9999 / (max - min);
}

static bool
add_memory (struct rcvmi_limits *out, const struct rcvmi_spec_memory *m, const struct rcvmi_limits_vm *vm, bool update)
{
  uint64_t whole = vm->memory + vm->overhead, swap;
  struct rcvmi_limit *l;

  if (!update && m->limit.value > 0)
    {
      if (!add (out, false, "memory.limit", "memory", "memory.limit_in_bytes", "%" PRIu64, whole)
          || !add (out, true, "memory.limit", "memory", "memory.max", "%" PRIu64, whole))
        return false;
      if (m->swap.value >= m->limit.value)
        {
          swap = (uint64_t) (m->swap.value - m->limit.value);
          l = add (out, false, "memory.swap", "memory", "memory.memsw.limit_in_bytes", "%" PRIu64, whole + swap);
          if (!l)
            return false;
          l->optional = true;
          l = add (out, true, "memory.swap", "memory", "memory.swap.max", "%" PRIu64, swap);
          if (!l)
            return false;
          l->optional = true;
        }
    }
  if (m->reservation.value > 0
      && (!add (out, false, "memory.reservation", "memory", "memory.soft_limit_in_bytes", "%" PRId64, m->reservation.value)
          || !add (out, true, "memory.reservation", "memory", "memory.low", "%" PRId64, m->reservation.value)))
    return false;
  return !m->swappiness.set
         || add (out, false, "memory.swappiness", "memory", "memory.swappiness", "%" PRIu64, m->swappiness.value);
}

/* A boot at a tenth of a CPU would take ten times as long, so shares of time come when it is over. */
static bool
add_time (struct rcvmi_limits *out, const struct rcvmi_spec_cpu *c)
{
  size_t first = out->n;
  bool good = true;

  if (c->period.value)
    good = add (out, false, "cpu.period", "cpu", "cpu.cfs_period_us", "%" PRIu64, c->period.value);
  if (good && c->quota.value)
    {
      int64_t quota = c->quota.value > 0 ? c->quota.value : -1;

      good = add (out, false, "cpu.quota", "cpu", "cpu.cfs_quota_us", "%" PRId64, quota);
      if (good && quota > 0 && c->period.value)
        good = add (out, true, "cpu.quota", "cpu", "cpu.max", "%" PRId64 " %" PRIu64, quota, c->period.value);
      else if (good && quota > 0)
        good = add (out, true, "cpu.quota", "cpu", "cpu.max", "%" PRId64, quota);
      else if (good)
        good = add (out, true, "cpu.quota", "cpu", "cpu.max", "max");
      if (good && quota > 0 && c->period.value)
        good = add (out, true, "cpu.period", "cpu", "cpu.max", "%" PRId64 " %" PRIu64, quota, c->period.value);
    }
  if (good && c->burst.set)
    good = add (out, false, "cpu.burst", "cpu", "cpu.cfs_burst_us", "%" PRIu64, c->burst.value)
           && add (out, true, "cpu.burst", "cpu", "cpu.max.burst", "%" PRIu64, c->burst.value);
  for (size_t i = first; i < out->n; i++)
    out->list[i].late = true;
  return good;
}

static bool
add_cpu (struct rcvmi_limits *out, const struct rcvmi_spec_cpu *c)
{
  bool good = add_time (out, c);

  if (good && c->shares.value)
    good = add (out, false, "cpu.shares", "cpu", "cpu.shares", "%" PRIu64, c->shares.value)
           && add (out, true, "cpu.shares", "cpu", "cpu.weight", "%" PRIu64, scale (c->shares.value, 2, 262144));
  if (good && c->idle.set)
    good = add (out, false, "cpu.idle", "cpu", "cpu.idle", "%" PRId64, c->idle.value)
           && add (out, true, "cpu.idle", "cpu", "cpu.idle", "%" PRId64, c->idle.value);
  if (good && c->realtime_period.value)
    good = add (out, false, "cpu.realtimePeriod", "cpu", "cpu.rt_period_us", "%" PRIu64, c->realtime_period.value);
  if (good && c->realtime_runtime.value)
    good = add (out, false, "cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", "%" PRId64, c->realtime_runtime.value);
  for (int v2 = 0; good && v2 < 2 && c->cpus && c->cpus[0]; v2++)
    good = add (out, v2, "cpu.cpus", "cpuset", "cpuset.cpus", "%s", c->cpus);
  for (int v2 = 0; good && v2 < 2 && c->mems && c->mems[0]; v2++)
    good = add (out, v2, "cpu.mems", "cpuset", "cpuset.mems", "%s", c->mems);
  return good;
}

static bool
add_pids (struct rcvmi_limits *out, int64_t limit, unsigned threads)
{
  for (int v2 = 0; v2 < 2 && limit; v2++)
    if (!(limit < 0 ? add (out, v2, "pids.limit", "pids", "pids.max", "max")
                    : add (out, v2, "pids.limit", "pids", "pids.max", "%" PRIu64, (uint64_t) limit + threads)))
      return false;
  return true;
}

static bool
add_throttles (struct rcvmi_limits *out, const char *what, const char *file, const char *word,
               const struct rcvmi_spec_throttle_device *list, size_t n)
{
  for (size_t i = 0; i < n; i++)
    {
      int64_t major = list[i].major.value, minor = list[i].minor.value;
      uint64_t rate = list[i].rate.value;

      if (!add (out, false, what, "blkio", file, "%" PRId64 ":%" PRId64 " %" PRIu64, major, minor, rate)
          || !(rate ? add (out, true, what, "io", "io.max", "%" PRId64 ":%" PRId64 " %s=%" PRIu64, major, minor, word, rate)
                    : add (out, true, what, "io", "io.max", "%" PRId64 ":%" PRId64 " %s=max", major, minor, word)))
        return false;
    }
  return true;
}

static bool
add_block_io (struct rcvmi_limits *out, const struct rcvmi_spec_block_io *b)
{
  struct rcvmi_limit *l;

  if (b->weight.value)
    {
      l = add (out, false, "blockIO.weight", "blkio", "blkio.weight", "%" PRIu64, b->weight.value);
      if (!l || !add_other (l, "blkio.bfq.weight", b->weight.value))
        return false;
      l = add (out, true, "blockIO.weight", "io", "io.bfq.weight", "%" PRIu64, b->weight.value);
      if (!l || !add_other (l, "io.weight", scale (b->weight.value, 10, 1000)))
        return false;
    }
  for (size_t i = 0; i < b->n_weight_device; i++)
    {
      const struct rcvmi_spec_weight_device *d = &b->weight_device[i];

      l = add (out, false, "blockIO.weightDevice", "blkio", "blkio.weight_device", "%" PRId64 ":%" PRId64 " %" PRIu64,
               d->major.value, d->minor.value, d->weight.value);
      if (!l || !(l->other_file = strdup ("blkio.bfq.weight_device")) || !(l->other_value = strdup (l->value))
          || !add (out, true, "blockIO.weightDevice", "io", "io.bfq.weight", "%" PRId64 ":%" PRId64 " %" PRIu64, d->major.value,
                   d->minor.value, d->weight.value))
        return false;
    }
  return add_throttles (out, "blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", b->read_bps,
                        b->n_read_bps)
         && add_throttles (out, "blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", b->write_bps,
                           b->n_write_bps)
         && add_throttles (out, "blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", b->read_iops,
                           b->n_read_iops)
         && add_throttles (out, "blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops",
                           b->write_iops, b->n_write_iops);
}

static int
add_hugepages (struct rcvmi_limits *out, const struct rcvmi_spec_resources *r, rcvm_error **err)
{
  for (size_t i = 0; i < r->n_hugepage_limits; i++)
    {
      const char *size = r->hugepage_limits[i].page_size;
      char v1[64], v2[64];

      if (!*size || strlen (size) > 16 || strspn (size, "0123456789KMGB") != strlen (size))
        return rcvmi_fail (err, RCVM_E_SPEC, 0,
                           "'linux.resources.hugepageLimits' has pages of '%.40s', which is no size like 2MB", size);
      snprintf (v1, sizeof v1, "hugetlb.%s.limit_in_bytes", size);
      snprintf (v2, sizeof v2, "hugetlb.%s.max", size);
      if (!add (out, false, "hugepageLimits", "hugetlb", v1, "%" PRIu64, r->hugepage_limits[i].limit.value)
          || !add (out, true, "hugepageLimits", "hugetlb", v2, "%" PRIu64, r->hugepage_limits[i].limit.value))
        return rcvmi_fail_nomem (err);
    }
  return 0;
}

static int
check_unified (const char *name, rcvm_error **err)
{
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

  if (strspn (name, letters) == strlen (name) && name[0] != '.' && strchr (name, '.'))
    return 0;
  return rcvmi_fail (err, RCVM_E_SPEC, 0,
                     "config.json: 'linux.resources.unified' has '%.100s', which is no file of a cgroup like pids.max", name);
}

/* The container's own cgroup is the guest's.  What it says of the host's disks, CPUs and pages, the host's can hold, too, where
   it has version 2. */
static int
add_unified (struct rcvmi_limits *out, const struct rcvmi_spec_resources *r, rcvm_error **err)
{
  static const char *const hosts[] = { "cpu", "cpuset", "io", "hugetlb" };

  for (size_t i = 0; i < r->n_unified; i++)
    {
      const char *name = r->unified[i].name;
      struct rcvmi_limit *l;
      int code = check_unified (name, err);

      if (code < 0)
        return code;
      for (size_t k = 0; k < sizeof hosts / sizeof hosts[0]; k++)
        if (strncmp (name, hosts[k], strlen (hosts[k])) == 0 && name[strlen (hosts[k])] == '.')
          {
            l = add (out, true, "unified", hosts[k], name, "%s", r->unified[i].value);
            if (!l)
              return rcvmi_fail_nomem (err);
            l->late = k == 0;
          }
    }
  return 0;
}

int
rcvmi_plan_limits (struct rcvmi_limits *out, const struct rcvmi_spec_resources *r, const struct rcvmi_limits_vm *vm,
                   bool update, rcvm_error **err)
{
  int code = 0;

  *out = (struct rcvmi_limits){ 0 };
  if (!r)
    return 0;
  if ((r->memory && !add_memory (out, r->memory, vm, update)) || (r->cpu && !add_cpu (out, r->cpu))
      || (r->pids && !add_pids (out, r->pids->limit.value, vm->threads)) || (r->block_io && !add_block_io (out, r->block_io)))
    code = rcvmi_fail_nomem (err);
  if (code == 0)
    code = add_hugepages (out, r, err);
  if (code == 0)
    code = add_unified (out, r, err);
  if (code < 0)
    rcvmi_limits_clear (out);
  return code;
}

/* The guest's. */

static void
put_pair (struct tlv_writer *w, const char *name, const char *value)
{
  tlv_put_str (w, K_NAME, name);
  tlv_put_str (w, K_VALUE, value);
}

static void
put_number (struct tlv_writer *w, const char *name, int64_t limit)
{
  char value[32];

  snprintf (value, sizeof value, "%" PRId64, limit);
  put_pair (w, name, limit < 0 ? "max" : value);
}

int
rcvmi_plan_guest_limits (struct tlv_writer *w, const struct rcvmi_spec_resources *r, uint64_t memory, uint64_t memory_max,
                         bool update, rcvm_error **err)
{
  int64_t limit = r->memory ? r->memory->limit.value : 0;

  if (r->pids && (update ? r->pids->limit.value != 0 : r->pids->limit.set))
    put_number (w, "pids.max", r->pids->limit.value);
  if (update && limit > 0 && (uint64_t) limit > memory_max)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the limit of %" PRId64 " bytes is more than the VM's memory of %" PRIu64
                       ", to which nothing can be added while it runs; org.runcvm.memory-max says at its start how far it may grow",
                       limit, memory_max);
  if (limit > 0 && (uint64_t) limit < memory)
    put_number (w, "memory.max", limit);
  else if (update && limit)
    put_number (w, "memory.max", -1);
  if (r->memory && r->memory->reservation.value > 0)
    put_number (w, "memory.low", r->memory->reservation.value);
  for (size_t i = 0; i < r->n_unified; i++)
    {
      int code = check_unified (r->unified[i].name, err);

      if (code < 0)
        return code;
      put_pair (w, r->unified[i].name, r->unified[i].value);
    }
  return 0;
}

void
rcvmi_plan_guest_cpu (struct tlv_writer *w, const struct rcvmi_spec_resources *r, unsigned cpus, bool update)
{
  const struct rcvmi_spec_cpu *c = r->cpu;
  uint64_t period = c && c->period.value ? c->period.value : DEFAULT_PERIOD, all;
  char value[64];

  if (!c || c->quota.value == 0 || (!update && c->quota.value < 0))
    return;
  if (c->quota.value < 0 || (!__builtin_mul_overflow (period, cpus, &all) && (uint64_t) c->quota.value >= all))
    {
      if (update)
        put_pair (w, "cpu.max", "max");
      return;
    }
  snprintf (value, sizeof value, "%" PRId64 " %" PRIu64, c->quota.value, period);
  put_pair (w, "cpu.max", value);
  if (c->burst.value)
    put_number (w, "cpu.max.burst", (int64_t) c->burst.value);
}
