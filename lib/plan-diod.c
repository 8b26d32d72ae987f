/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories that diod shares by 9P, through the volumes' tunnels. */
#include "config.h"

#define RCVMI_STAGE "plan"

#include "plan-parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "agent-wire.h"
#include "err.h"

enum
{
  /* Each keeps a tunnel, of which live volumes want some. */
  DIODS_MAX = AGENT_TUNNELS_MAX / 2
};

int
rcvmi_plan_add_diod (struct rcvmi_plan *plan, const char *source, const char *target, bool read_only, rcvm_error **err)
{
  struct tlv_writer *w = &plan->setup;
  struct rcvmi_plan_diod *all, *d;
  char name[32];
  size_t mark;

  if (plan->n_diods == DIODS_MAX)
    return rcvmi_fail (err, RCVM_E_SPEC, 0, "a VM can have %d directories by 9P at most", DIODS_MAX);
  all = reallocarray (plan->diods, plan->n_diods + 1, sizeof *all);
  if (!all)
    return rcvmi_fail_nomem (err);
  plan->diods = all;
  d = &all[plan->n_diods];
  snprintf (name, sizeof name, "9p:%zu", plan->n_diods);
  *d = (struct rcvmi_plan_diod){ .source = strdup (source), .target = strdup (target), .read_only = read_only };
  plan->n_diods++; /* rcvmi_plan_free sees to a half-filled one */
  if (!d->source || !d->target)
    return rcvmi_fail_nomem (err);
  mark = tlv_begin (w, S_MOUNT);
  tlv_put_str (w, M_DESTINATION, target);
  tlv_put_str (w, M_TYPE, "9p");
  tlv_put_str (w, M_SOURCE, name);
  if (read_only)
    tlv_put_u64 (w, M_FLAGS, MS_RDONLY);
  /* Everyone has an attachment of his own, so the host's kernel judges; nothing is cached but what is mapped. */
  tlv_put_str (w, M_DATA, "version=9p2000.L,uname=root,access=user,cache=mmap,msize=1048576,aname=" RCVMI_PLAN_DIOD_NAME);
  tlv_end (w, mark);
  return 0;
}

void
rcvmi_plan_diods_clear (struct rcvmi_plan *plan)
{
  for (size_t i = 0; i < plan->n_diods; i++)
    {
      free (plan->diods[i].source);
      free (plan->diods[i].target);
    }
  free (plan->diods);
  plan->diods = NULL;
  plan->n_diods = 0;
}
