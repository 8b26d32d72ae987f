/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks behind those of the root: their order is how the guest finds them. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "err.h"
#include "vmm.h"

/* vda is the root's disk, vdb that of its changes. */
static size_t
first_of (const struct rcvmi_plan *plan)
{
  return plan->root_disk == RCVMI_ROOT_OVERLAY ? 2 : 1;
}

void
rcvmi_plan_disk_locator (const struct rcvmi_plan *plan, size_t index, char locator[16])
{
  snprintf (locator, 16, RCVMI_PLAN_DISK, (char) ('a' + first_of (plan) + index));
}

int
rcvmi_plan_add_disk (struct rcvmi_plan *plan, const struct rcvmi_plan_disk *disk, char locator[16],
                     rcvm_error **err)
{
  struct rcvmi_plan_disk *all, *d;

  if (first_of (plan) + plan->n_disks == RCVMI_VMM_DISKS)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "a VM can have %d disks at most, those of its root among them",
                       RCVMI_VMM_DISKS);
  all = reallocarray (plan->disks, plan->n_disks + 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  plan->disks = all;
  d = &all[plan->n_disks];
  *d = *disk;
  d->source = disk->source ? strdup (disk->source) : NULL;
  d->store = disk->store ? strdup (disk->store) : NULL;
  d->target = disk->target ? strdup (disk->target) : NULL;
  d->fstype = disk->fstype ? strdup (disk->fstype) : NULL;
  rcvmi_plan_disk_locator (plan, plan->n_disks, locator);
  plan->n_disks++; /* rcvmi_plan_free sees to a half-filled one */
  if ((disk->source && !d->source) || (disk->store && !d->store) || (disk->target && !d->target) || (disk->fstype && !d->fstype))
    return rcvmi_fail_nomem (err);
  return 0;
}

void
rcvmi_plan_disks_clear (struct rcvmi_plan *plan)
{
  for (size_t i = 0; i < plan->n_disks; i++)
    {
      free (plan->disks[i].source);
      free (plan->disks[i].store);
      free (plan->disks[i].target);
      free (plan->disks[i].fstype);
    }
  free (steal_ptr (plan->disks));
  plan->n_disks = 0;
}
