/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copy volumes: all of them on one disk, mounted out of the container's sight, and bound from there. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"

#define STAGE "stage:copies"

enum
{
  COPIES_MAX = 256,
  PERIOD_DEFAULT = 60,
  DELAY_DEFAULT = 2,
  SECONDS_MAX = 86400
};

static void
put_mount (struct tlv_writer *w, const char *destination, const char *type, const char *source, uint64_t flags)
{
  size_t mark = tlv_begin (w, S_MOUNT);

  tlv_put_str (w, M_DESTINATION, destination);
  tlv_put_str (w, M_TYPE, type);
  tlv_put_str (w, M_SOURCE, source);
  if (flags)
    tlv_put_u64 (w, M_FLAGS, flags);
  tlv_end (w, mark);
}

static const struct
{
  const char *name;
  enum rcvmi_plan_copy_back back;
  unsigned seconds; /* 0: none can be said */
} times[] = {
  { "none", RCVMI_PLAN_COPY_NEVER, 0 },
  { "exit", RCVMI_PLAN_COPY_EXIT, 0 },
  { "periodic", RCVMI_PLAN_COPY_PERIODIC, PERIOD_DEFAULT },
  { "change", RCVMI_PLAN_COPY_CHANGE, DELAY_DEFAULT },
};

/* ":SECONDS", or nothing. */
static int
parse_seconds (struct rcvmi_plan_copy_volume *c, const char *back, const char *text, rcvm_error **err)
{
  unsigned long v;
  char *end;

  if (!*text)
    return 0;
  v = c->seconds && text[1] >= '0' && text[1] <= '9' ? strtoul (text + 1, &end, 10) : 0;
  if (v < 1 || v > SECONDS_MAX || *end)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.60s' is no time to write a copy back: 'periodic' and 'change' can be followed by a colon and 1 to %d seconds",
                       back, SECONDS_MAX);
  c->seconds = (unsigned) v;
  return 0;
}

static int
parse_back (struct rcvmi_plan_copy_volume *c, const char *back, rcvm_error **err)
{
  size_t n = back ? strcspn (back, ":") : 0;

  if (!back)
    return 0;
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    if (strlen (times[i].name) == n && strncmp (times[i].name, back, n) == 0)
      {
        c->back = times[i].back;
        c->seconds = times[i].seconds;
        return parse_seconds (c, back, back + n, err);
      }
  return rcvmi_fail (err, RCVM_E_INVALID, 0,
                     "'%.60s' is no time to write a copy back: there are none, exit, periodic[:SECONDS] and change[:SECONDS]", back);
}

/* The guest has to know what will be asked of it. */
static void
put_live (struct rcvmi_plan *plan, const struct rcvmi_plan_copy_volume *c)
{
  bool known = false;

  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    known |= rcvmi_plan_copy_is_live (&plan->copy_volumes[i]);
  if (!known)
    tlv_put_u32 (&plan->setup, S_COPIES_LIVE, 1);
  if (c->back == RCVMI_PLAN_COPY_CHANGE)
    tlv_put_u32 (&plan->setup, S_COPY_WATCHED, (uint32_t) plan->n_copy_volumes);
}

static int
add_disk (struct rcvmi_plan *plan, rcvm_error **err)
{
  struct rcvmi_plan_disk disk = { .kind = RCVMI_PLAN_DISK_COPIES };
  char locator[16];
  int rc = rcvmi_plan_add_disk (plan, &disk, locator, err);

  if (rc == 0)
    put_mount (&plan->setup, STAGE, "ext4", locator, 0);
  return rc;
}

int
rcvmi_plan_add_copy_volume (struct rcvmi_plan *plan, const char *source, const char *target, bool read_only,
                            const char *back, rcvm_error **err)
{
  struct rcvmi_plan_copy_volume *all, c = { 0 };
  char stage[48], copy[32];
  int rc = parse_back (&c, back, err);

  if (rc == 0 && plan->n_copy_volumes == COPIES_MAX)
    rc = rcvmi_fail (err, RCVM_E_SPEC, 0, "a VM can have %d copies at most", COPIES_MAX);
  if (rc == 0 && read_only && c.back != RCVMI_PLAN_COPY_NEVER)
    rc = rcvmi_fail (err, RCVM_E_INVALID, 0, "the copy for '%.200s' is read-only: there is nothing to write back", target);
  if (rc == 0 && plan->n_copy_volumes == 0)
    rc = add_disk (plan, err);
  if (rc < 0)
    return rc;
  all = reallocarray (plan->copy_volumes, plan->n_copy_volumes + 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  plan->copy_volumes = all;
  c.source = strdup (source);
  if (!c.source)
    return rcvmi_fail_nomem (err);
  if (c.back == RCVMI_PLAN_COPY_NEVER)
    snprintf (stage, sizeof stage, STAGE "/%zu", plan->n_copy_volumes);
  else
    {
      snprintf (stage, sizeof stage, "stage:copy%zu", plan->n_copy_volumes);
      snprintf (copy, sizeof copy, "copy:%zu", plan->n_copy_volumes);
      put_mount (&plan->setup, stage, "overlay", copy, 0);
    }
  if (rcvmi_plan_copy_is_live (&c))
    put_live (plan, &c);
  put_mount (&plan->setup, target, "bind", stage, MS_BIND | MS_REC | (read_only ? MS_RDONLY : 0));
  all[plan->n_copy_volumes++] = c;
  return 0;
}

bool
rcvmi_plan_copy_is_live (const struct rcvmi_plan_copy_volume *c)
{
  return c->back == RCVMI_PLAN_COPY_PERIODIC || c->back == RCVMI_PLAN_COPY_CHANGE;
}

bool
rcvmi_plan_copies_go_back (const struct rcvmi_plan *plan)
{
  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    if (plan->copy_volumes[i].back != RCVMI_PLAN_COPY_NEVER)
      return true;
  return false;
}

void
rcvmi_plan_copy_volumes_clear (struct rcvmi_plan *plan)
{
  for (size_t i = 0; i < plan->n_copy_volumes; i++)
    free (plan->copy_volumes[i].source);
  free (steal_ptr (plan->copy_volumes));
  plan->n_copy_volumes = 0;
}
