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
  COPIES_MAX = 256
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

static int
parse_back (struct rcvmi_plan_copy_volume *c, const char *back, rcvm_error **err)
{
  if (!back || strcmp (back, "none") == 0)
    c->back = RCVMI_PLAN_COPY_NEVER;
  else if (strcmp (back, "exit") == 0)
    c->back = RCVMI_PLAN_COPY_EXIT;
  else
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no time to write a copy back: there are none and exit", back);
  return 0;
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
  put_mount (&plan->setup, target, "bind", stage, MS_BIND | MS_REC | (read_only ? MS_RDONLY : 0));
  all[plan->n_copy_volumes++] = c;
  return 0;
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
