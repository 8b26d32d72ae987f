/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Source: org.freedesktop.systemd1(5), sd-bus(3), and for the properties systemd.resource-control(5). */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "systemd.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-bus.h>

#include "clock.h"
#include "err.h"

enum
{
  JOB_TIMEOUT_MS = 60000,
  CPUS_MAX = 8192
};

#define MANAGER "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define LIBRARY "libsystemd.so.0"

#define FUNCTIONS(_)                                                                                                 \
  _ (sd_bus_open_system)                                                                                             \
  _ (sd_bus_flush_close_unref)                                                                                       \
  _ (sd_bus_match_signal)                                                                                            \
  _ (sd_bus_call_method)                                                                                             \
  _ (sd_bus_call)                                                                                                    \
  _ (sd_bus_process)                                                                                                 \
  _ (sd_bus_wait)                                                                                                    \
  _ (sd_bus_message_new_method_call)                                                                                 \
  _ (sd_bus_message_open_container)                                                                                  \
  _ (sd_bus_message_close_container)                                                                                 \
  _ (sd_bus_message_append)                                                                                          \
  _ (sd_bus_message_append_array)                                                                                    \
  _ (sd_bus_message_read)                                                                                            \
  _ (sd_bus_message_unref)                                                                                           \
  _ (sd_bus_error_has_name)                                                                                          \
  _ (sd_bus_error_free)

struct client
{
#define POINTER(name) __typeof__ (name) *name;
  FUNCTIONS (POINTER)
#undef POINTER
  sd_bus *bus;
  sd_bus_error error;
  /* The job that is waited for. */
  const char *job;
  char result[32];
};

static int
connect_bus (struct client *c, rcvm_error **err)
{
  void *library = dlopen (LIBRARY, RTLD_LAZY | RTLD_LOCAL);
  int r;

  *c = (struct client){ 0 };
  if (!library)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "systemd is spoken to with " LIBRARY ", which is not installed: install libsystemd0");
#define LOOK_UP(name)                                                                                                \
  if (!(c->name = (__typeof__ (c->name)) dlsym (library, #name)))                                                    \
    return rcvmi_fail (err, RCVM_E_HOST, 0, "the " LIBRARY " of this host lacks %s", #name);
  FUNCTIONS (LOOK_UP)
#undef LOOK_UP
  r = c->sd_bus_open_system (&c->bus);
  if (r < 0)
    return rcvmi_fail (err, RCVM_E_HOST, -r,
                       "the cgroup driver is systemd, and its system bus cannot be reached: where systemd does not manage the host, the "
                       "engine's driver has to be cgroupfs");
  return 0;
}

static void
disconnect (struct client *c)
{
  if (c->bus)
    {
      c->sd_bus_error_free (&c->error);
      c->sd_bus_flush_close_unref (c->bus);
    }
}

static int
refused (const struct client *c, int r, const char *what, const char *unit, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "systemd refused to %s '%.200s': %s", what, unit,
                     c->error.message ? c->error.message : strerror (-r));
}

/* Properties.  Those of version 2, which systemd translates where there is only version 1. */

static int
append_number (struct client *c, sd_bus_message *m, const char *name, const char *value)
{
  uint64_t n = strncmp (value, "max", 3) == 0 ? UINT64_MAX : strtoull (value, NULL, 10);

  return c->sd_bus_message_append (m, "(sv)", name, "t", n);
}

/* "100000 50000": microseconds of each period. */
static int
append_quota (struct client *c, sd_bus_message *m, const char *value)
{
  char *end = NULL;
  uint64_t quota = strtoull (value, &end, 10), period = 100000;
  int r;

  if (strncmp (value, "max", 3) == 0)
    return c->sd_bus_message_append (m, "(sv)", "CPUQuotaPerSecUSec", "t", UINT64_MAX);
  if (*end == ' ')
    period = strtoull (end + 1, NULL, 10);
  r = c->sd_bus_message_append (m, "(sv)", "CPUQuotaPeriodUSec", "t", period);
  return r < 0 || !period ? r : c->sd_bus_message_append (m, "(sv)", "CPUQuotaPerSecUSec", "t", quota * 1000000 / period);
}

/* "0-2,7" as bits. */
static int
append_set (struct client *c, sd_bus_message *m, const char *name, const char *value)
{
  uint8_t bits[CPUS_MAX / 8] = { 0 };
  size_t used = 0;
  int r;

  while (*value)
    {
      char *end;
      unsigned long first = strtoul (value, &end, 10), last = *end == '-' ? strtoul (end + 1, &end, 10) : first;

      for (unsigned long i = first; i <= last && i < CPUS_MAX; i++)
        {
          bits[i / 8] |= (uint8_t) (1 << i % 8);
          used = i / 8 + 1 > used ? i / 8 + 1 : used;
        }
      if (*end != ',')
        break;
      value = end + 1;
    }
  r = c->sd_bus_message_open_container (m, 'r', "sv");
  if (r >= 0)
    r = c->sd_bus_message_append (m, "s", name);
  if (r >= 0)
    r = c->sd_bus_message_open_container (m, 'v', "ay");
  if (r >= 0)
    r = c->sd_bus_message_append_array (m, 'y', bits, used);
  if (r >= 0)
    r = c->sd_bus_message_close_container (m);
  return r < 0 ? r : c->sd_bus_message_close_container (m);
}

static int
append_limit (struct client *c, sd_bus_message *m, const struct rcvmi_limit *l)
{
  static const struct
  {
    const char *file, *property;
  } numbers[] = { { "memory.max", "MemoryMax" },
                  { "memory.low", "MemoryLow" },
                  { "memory.swap.max", "MemorySwapMax" },
                  { "pids.max", "TasksMax" },
                  { "cpu.weight", "CPUWeight" } };

  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (strcmp (l->file, numbers[i].file) == 0)
      return append_number (c, m, numbers[i].property, l->value);
  if (strcmp (l->file, "cpu.max") == 0)
    return append_quota (c, m, l->value);
  if (strcmp (l->file, "cpuset.cpus") == 0)
    return append_set (c, m, "AllowedCPUs", l->value);
  if (strcmp (l->file, "cpuset.mems") == 0)
    return append_set (c, m, "AllowedMemoryNodes", l->value);
  return 0;
}

static int
append_limits (struct client *c, sd_bus_message *m, const struct rcvmi_limits *limits, bool late)
{
  int r = 0;

  for (size_t i = 0; r >= 0 && i < limits->n; i++)
    if (limits->list[i].v2 && limits->list[i].late == late)
      r = append_limit (c, m, &limits->list[i]);
  return r;
}

/* The scope. */

static int
on_job_removed (sd_bus_message *m, void *user, sd_bus_error *error)
{
  struct client *c = user;
  const char *path, *unit, *result;
  uint32_t id;

  (void) error;
  if (c->sd_bus_message_read (m, "uoss", &id, &path, &unit, &result) >= 0 && c->job && strcmp (path, c->job) == 0)
    {
      strncpy (c->result, result, sizeof c->result - 1);
      c->job = NULL;
    }
  return 0;
}

static int
append_scope (struct client *c, sd_bus_message *m, const struct rcvmi_scope *scope, const char *description, pid_t pid,
              const struct rcvmi_limits *limits)
{
  /* Told what is accounted, it has the controllers there, and what is below a delegated one is not its business. */
  static const char *const on[] = { "Delegate", "CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting" };
  int r = c->sd_bus_message_append (m, "ss", scope->unit, "fail");

  if (r >= 0)
    r = c->sd_bus_message_open_container (m, 'a', "(sv)");
  if (r >= 0)
    r = c->sd_bus_message_append (m, "(sv)(sv)(sv)(sv)", "Description", "s", description, "Slice", "s", scope->slice, "DefaultDependencies",
                                  "b", 0, "PIDs", "au", 1, (uint32_t) pid);
  for (size_t i = 0; r >= 0 && i < sizeof on / sizeof on[0]; i++)
    r = c->sd_bus_message_append (m, "(sv)", on[i], "b", 1);
  if (r >= 0)
    r = append_limits (c, m, limits, false);
  if (r >= 0)
    r = c->sd_bus_message_close_container (m);
  return r < 0 ? r : c->sd_bus_message_append (m, "a(sa(sv))", 0);
}

static int
call_start (struct client *c, const struct rcvmi_scope *scope, const char *description, pid_t pid, const struct rcvmi_limits *limits,
            sd_bus_message **reply)
{
  sd_bus_message *m = NULL;
  int r = c->sd_bus_message_new_method_call (c->bus, &m, MANAGER, "StartTransientUnit");

  if (r >= 0)
    r = append_scope (c, m, scope, description, pid, limits);
  if (r >= 0)
    r = c->sd_bus_call (c->bus, m, 0, &c->error, reply);
  c->sd_bus_message_unref (m);
  return r;
}

static int
await_job (struct client *c, const struct rcvmi_scope *scope, rcvm_error **err)
{
  int64_t deadline = rcvmi_clock_ms () + JOB_TIMEOUT_MS;

  while (c->job)
    {
      int r = c->sd_bus_process (c->bus, NULL);
      int64_t left = deadline - rcvmi_clock_ms ();

      if (r == 0 && left > 0)
        r = c->sd_bus_wait (c->bus, (uint64_t) left * 1000);
      if (r < 0 && r != -EINTR)
        return refused (c, r, "tell of", scope->unit, err);
      if (c->job && left <= 0)
        return rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "systemd has not made the unit '%.200s' within %d seconds", scope->unit,
                           JOB_TIMEOUT_MS / 1000);
    }
  if (strcmp (c->result, "done") != 0)
    return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "systemd could not make the unit '%.200s': its job is '%s' (systemctl status says more)",
                       scope->unit, c->result);
  return 0;
}

static int
start (struct client *c, const struct rcvmi_scope *scope, const char *description, pid_t pid, const struct rcvmi_limits *limits,
       rcvm_error **err)
{
  sd_bus_message *reply = NULL;
  int r = c->sd_bus_match_signal (c->bus, NULL, MANAGER, "JobRemoved", on_job_removed, c), code;

  if (r >= 0)
    r = c->sd_bus_call_method (c->bus, MANAGER, "Subscribe", &c->error, NULL, "");
  if (r >= 0)
    r = call_start (c, scope, description, pid, limits, &reply);
  /* One of that name that failed stays until somebody takes note. */
  if (r < 0 && c->sd_bus_error_has_name (&c->error, "org.freedesktop.systemd1.UnitExists"))
    {
      c->sd_bus_error_free (&c->error);
      r = c->sd_bus_call_method (c->bus, MANAGER, "ResetFailedUnit", &c->error, NULL, "s", scope->unit);
      if (r >= 0)
        r = call_start (c, scope, description, pid, limits, &reply);
    }
  if (r >= 0)
    r = c->sd_bus_message_read (reply, "o", &c->job);
  code = r < 0 ? refused (c, r, "make the unit", scope->unit, err) : await_job (c, scope, err);
  c->sd_bus_message_unref (reply);
  return code;
}

int
rcvmi_systemd_start_scope (const struct rcvmi_scope *scope, const char *description, pid_t pid, const struct rcvmi_limits *limits,
                           rcvm_error **err)
{
  struct client c;
  int code = connect_bus (&c, err);

  if (code == 0)
    code = start (&c, scope, description, pid, limits, err);
  disconnect (&c);
  return code;
}

int
rcvmi_systemd_set_limits (const struct rcvmi_scope *scope, const struct rcvmi_limits *limits, bool late, rcvm_error **err)
{
  struct client c;
  sd_bus_message *m = NULL;
  int code = connect_bus (&c, err), r;

  if (code == 0)
    {
      r = c.sd_bus_message_new_method_call (c.bus, &m, MANAGER, "SetUnitProperties");
      if (r >= 0)
        r = c.sd_bus_message_append (m, "sb", scope->unit, 1);
      if (r >= 0)
        r = c.sd_bus_message_open_container (m, 'a', "(sv)");
      if (r >= 0)
        r = append_limits (&c, m, limits, late);
      if (r >= 0)
        r = c.sd_bus_message_close_container (m);
      if (r >= 0)
        r = c.sd_bus_call (c.bus, m, 0, &c.error, NULL);
      c.sd_bus_message_unref (m);
      if (r < 0)
        code = refused (&c, r, "take the limits of", scope->unit, err);
    }
  disconnect (&c);
  return code;
}
