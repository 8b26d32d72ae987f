/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans of config.json texts. */
#ifndef RCVM_TESTS_PLAN_TESTING_H
#define RCVM_TESTS_PLAN_TESTING_H

#include "config-text.h"

#include "agent-wire.h"
#include "plan.h"
#include "spec-types.h"

#define MIB (UINT64_C (1) << 20)

static const struct rcvmi_defaults defaults = { .kernel = "/usr/lib/k", .initramfs = "/usr/lib/i" };

static inline struct rcvmi_plan *
plan_try (const char *json, struct rcvmi_options o, rcvm_error **err)
{
  struct rcvmi_spec *spec;

  if (!o.id)
    o.id = (char *) "test";
  o.config_json = (char *) json;
  spec = rcvmi_spec_load (&o, err);
  return spec ? rcvmi_plan_new (spec, &o, &defaults, err) : NULL;
}

/* Frees json. */
static inline struct rcvmi_plan *
plan_ok (char *json, struct rcvmi_options o)
{
  rcvm_error *err = NULL;
  struct rcvmi_plan *plan = plan_try (json, o, &err);

  assert_no_error (err);
  assert_non_null (plan);
  assert_false (plan->setup.failed);
  assert_false (plan->exec.failed);
  free (json);
  return plan;
}

static inline void
plan_fails (char *json, struct rcvmi_options o, int code, const char *stage, const char *needle)
{
  rcvm_error *err = NULL;
  struct rcvmi_plan *plan = plan_try (json, o, &err);

  if (plan)
    fail_msg ("taken, where an error with '%s' was due: %s", needle, json);
  assert_error (&err, code, stage, needle);
  free (json);
}

#define NO_OPTIONS RCVMI_OPTIONS_INIT
/* Members may be given that have been given already. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define OPTIONS(...) ((struct rcvmi_options){ .terminal = -1, .readonly_rootfs = -1, .log_level = -1, __VA_ARGS__ })
#define LIST(...) ((char *[]){ __VA_ARGS__, NULL })

static inline const char *
setup_str (const struct rcvmi_plan *plan, uint16_t tag, size_t n)
{
  return get_str (plan->setup.data, plan->setup.len, tag, n);
}

static inline int64_t
setup_number (const struct rcvmi_plan *plan, uint16_t tag)
{
  return get_number (plan->setup.data, plan->setup.len, tag, 0);
}

static inline const char *
exec_str (const struct rcvmi_plan *plan, uint16_t tag, size_t n)
{
  return get_str (plan->exec.data, plan->exec.len, tag, n);
}

static inline int64_t
exec_number (const struct rcvmi_plan *plan, uint16_t tag)
{
  return get_number (plan->exec.data, plan->exec.len, tag, 0);
}

/* The value of a cgroup file, or NULL.  The last one counts, as it does where they are written. */
static inline const char *
cgroup_value (const struct rcvmi_plan *p, const char *name)
{
  const char *found = NULL, *key = "";
  struct tlv_field f, g;
  struct tlv_reader r;

  if (!find_field (p->setup.data, p->setup.len, S_CGROUP, 0, &f))
    return NULL;
  r = tlv_get_record (&f);
  while (tlv_next (&r, &g))
    if (g.tag == K_NAME)
      key = tlv_get_str (&r, &g);
    else if (g.tag == K_VALUE && strcmp (key, name) == 0)
      found = tlv_get_str (&r, &g);
  assert_false (r.bad);
  return found;
}

#endif
