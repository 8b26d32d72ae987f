/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories that are shared by virtiofs. */
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
#include "vmm.h"

int
rcvmi_plan_add_share (struct rcvmi_plan *plan, const struct rcvmi_plan_share *share, rcvm_error **err)
{
  struct tlv_writer *w = &plan->setup;
  struct rcvmi_plan_share *all, *s;
  char tag[36];
  size_t mark;

  if (plan->n_shares == RCVMI_VMM_SHARES)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "a VM can have %d directories by virtiofs at most", RCVMI_VMM_SHARES);
  if (plan->hypervisor == RCVMI_HYPERVISOR_AUTO)
    plan->hypervisor = RCVMI_HYPERVISOR_QEMU;
  all = reallocarray (plan->shares, plan->n_shares + 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  plan->shares = all;
  s = &all[plan->n_shares];
  *s = *share;
  s->source = strdup (share->source);
  s->target = strdup (share->target);
  snprintf (tag, sizeof tag, RCVMI_PLAN_SHARE_TAG, plan->n_shares);
  plan->n_shares++; /* rcvmi_plan_free sees to a half-filled one */
  if (!s->source || !s->target)
    return rcvmi_fail_nomem (err);
  mark = tlv_begin (w, S_MOUNT);
  tlv_put_str (w, M_DESTINATION, share->target);
  tlv_put_str (w, M_TYPE, "virtiofs");
  tlv_put_str (w, M_SOURCE, tag);
  if (share->read_only)
    tlv_put_u64 (w, M_FLAGS, MS_RDONLY);
  tlv_end (w, mark);
  return 0;
}

void
rcvmi_plan_shares_clear (struct rcvmi_plan *plan)
{
  for (size_t i = 0; i < plan->n_shares; i++)
    {
      free (plan->shares[i].source);
      free (plan->shares[i].target);
    }
  free (steal_ptr (plan->shares));
  plan->n_shares = 0;
}
