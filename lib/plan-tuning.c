/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "plan"
#include "plan-parts.h"

#include <stdio.h>
#include <string.h>

#include "agent-wire.h"
#include "err.h"

enum
{
  HUGE_PAGE = 2 * 1024 * 1024,
  MEMORY_SLOT = 128 * 1024 * 1024
};

#define MEMORY_MAX (UINT64_C (16) << 40)

/* A number with or without a unit, as of sizes; 0 where nothing is said. */
static int
plan_rate (const struct rcvmi_plan *plan, const char *env, const char *unit, uint64_t *rate, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, env, from, sizeof from);

  if (!word)
    return 0;
  *rate = rcvmi_plan_parse_size (word);
  if (*rate == 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s gives the limit '%.40s', which is no number of %s a second like 500 or 20M", from,
                       word, unit);
  return 0;
}

static int
plan_io_engine (struct rcvmi_plan *plan, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, "RUNCVM_IO_ENGINE", from, sizeof from);

  plan->tuning.async_io = word && strcmp (word, "async") == 0;
  if (word && !plan->tuning.async_io && strcmp (word, "sync") != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s names the io engine '%.40s', and only sync and async are known", from, word);
  return 0;
}

static int
plan_hotplug (struct rcvmi_plan *plan, rcvm_error **err)
{
  static const char *const names[] = { "auto", "on", "off" };
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, "RUNCVM_HOTPLUG", from, sizeof from);

  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!word || strcmp (word, names[i]) == 0)
      {
        plan->hotplug = (enum rcvmi_hotplug) i;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s is '%.40s', and only auto, on and off are known", from, word);
}

bool
rcvmi_plan_expects_nics (const struct rcvmi_plan *plan)
{
  return plan->hotplug == RCVMI_HOTPLUG_ON
         || (plan->hotplug == RCVMI_HOTPLUG_AUTO && plan->bundle && plan->net.mode == RCVMI_PLAN_NET_OWN);
}

/* What comes later comes in whole slots of Firecracker's. */
static int
plan_memory_max (struct rcvmi_plan *plan, rcvm_error **err)
{
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, "RUNCVM_MEMORY_MAX", from, sizeof from);
  uint64_t size = word ? rcvmi_plan_parse_size (word) : 0;

  plan->memory_max = plan->memory;
  if (!word)
    return 0;
  if (size == 0 || size > MEMORY_MAX)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s gives the memory '%.40s', which is no size up to 16 TiB", from, word);
  if (size > plan->memory)
    {
      plan->memory_max += (size - plan->memory + MEMORY_SLOT - 1) / MEMORY_SLOT * MEMORY_SLOT;
      tlv_put_u32 (&plan->setup, S_MEMORY_COMES, 1);
    }
  return 0;
}

static int
plan_template (struct rcvmi_plan *plan, const struct rcvmi_defaults *defaults, rcvm_error **err)
{
  static const char *const words[] = { "off", "auto", "on" };
  char from[RCVMI_PLAN_FROM];
  const char *word = rcvmi_plan_word (plan, "RUNCVM_TEMPLATE", from, sizeof from);

  if (!word && defaults && defaults->from_template)
    {
      word = defaults->from_template;
      snprintf (from, sizeof from, "RUNCVM_TEMPLATE of the environment");
    }
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
    if (!word || strcmp (word, words[i]) == 0)
      {
        plan->from_template = (enum rcvmi_plan_template) i;
        return 0;
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s says '%.40s' of templates, and only off, auto and on are known", from, word);
}

int
rcvmi_plan_tuning (struct rcvmi_plan *plan, const struct rcvmi_defaults *defaults, rcvm_error **err)
{
  struct rcvmi_tuning *t = &plan->tuning;
  char from[RCVMI_PLAN_FROM];
  const char *word;
  int rc = plan_rate (plan, "RUNCVM_DISK_BANDWIDTH", "bytes", &t->disk_bandwidth, err);

  if (rc == 0)
    rc = plan_rate (plan, "RUNCVM_DISK_OPS", "requests", &t->disk_ops, err);
  if (rc == 0)
    rc = plan_rate (plan, "RUNCVM_NET_BANDWIDTH", "bytes", &t->net_bandwidth, err);
  if (rc == 0)
    rc = plan_template (plan, defaults, err);
  if (rc == 0)
    rc = plan_io_engine (plan, err);
  if (rc == 0)
    rc = plan_hotplug (plan, err);
  if (rc == 0)
    rc = rcvmi_plan_switch (plan, "RUNCVM_HUGE_PAGES", &t->huge_pages, err);
  if (rc == 0)
    rc = rcvmi_plan_switch (plan, "RUNCVM_TRACK_MEMORY", &t->track_memory, err);
  if (rc == 0 && t->huge_pages)
    plan->memory = (plan->memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  if (rc == 0)
    rc = plan_memory_max (plan, err);
  if (rc == 0 && (word = rcvmi_plan_word (plan, "RUNCVM_CPU_TEMPLATE", from, sizeof from)) && !(t->cpu_template = strdup (word)))
    rc = rcvmi_fail_nomem (err);
  return rc;
}
