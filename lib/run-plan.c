/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stages "spec" and "plan": what is asked for, and everything decided. */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "defaults.h"
#include "err.h"

/* Stage "spec": what config.json says. */

enum rcvmi_run_step
rcvmi_run_begin_spec (struct rcvmi_run *run, rcvm_error **err)
{
  if (rcvmi_run_begin_restore (run, err) < 0)
    return RCVMI_STEP_FAILED;
  run->spec = rcvmi_spec_load (&run->options, err);
  return run->spec ? RCVMI_STEP_DONE : RCVMI_STEP_FAILED;
}

/* Stage "plan": everything decided. */

enum rcvmi_run_step
rcvmi_run_begin_plan (struct rcvmi_run *run, rcvm_error **err)
{
  autofree char *kernel = rcvmi_default_kernel (), *initramfs = rcvmi_default_initramfs ();
  struct rcvmi_defaults defaults = { .kernel = kernel,
                                      .initramfs = initramfs,
                                      .hypervisor = rcvmi_default_hypervisor (),
                                      .confinement = rcvmi_default_confinement (),
                                      .from_template = rcvmi_default_template () };
  struct rcvmi_plan *plan;

  if (!kernel || !initramfs)
    {
      rcvmi_fail_nomem (err);
      return RCVMI_STEP_FAILED;
    }
  plan = run->plan = rcvmi_plan_new (steal_ptr (run->spec), &run->options, &defaults, err);
  if (!plan)
    return RCVMI_STEP_FAILED;
  rcvmi_run_restore_plan (run);
  for (char **w = plan->warnings; w && *w; w++)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "plan", "%s", *w);
  run->state.bundle = plan->bundle ? strdup (plan->bundle) : NULL;
  run->state.rootfs = strdup (plan->rootfs);
  run->state.annotations = rcvmi_strv_copy (plan->annotations);
  run->state.oci_version = strdup (rcvmi_spec_get_oci_version (plan->spec));
  run->state.memory = plan->memory;
  run->state.cpus = plan->cpus;
  /* Before the long work: what cannot boot is said at once, and no image is built for it. */
  if (rcvmi_run_choose_vmm (run, err) < 0
      || rcvmi_vmm_check_files (plan->kernel, plan->initramfs, plan->memory, err) < 0)
    return RCVMI_STEP_FAILED;
  if ((plan->confinement == RCVMI_CONFINEMENT_OWN || plan->confinement == RCVMI_CONFINEMENT_JAILER) && geteuid () != 0)
    {
      rcvmi_fail_at (err, "vmm", RCVM_E_PERMISSION, 0,
                     "only root can confine a VMM: --confine auto does without where it has to, and --confine off always");
      return RCVMI_STEP_FAILED;
    }
  if (plan->confinement == RCVMI_CONFINEMENT_JAILER && rcvmi_vmm_find_jailer (&run->vmm, err) < 0)
    return RCVMI_STEP_FAILED;
  run->vmm.confined = plan->confinement != RCVMI_CONFINEMENT_OFF && geteuid () == 0;
  if (run->restore && rcvmi_vmm_check_save (&run->vmm, err) < 0)
    return RCVMI_STEP_FAILED;
  if (rcvmi_run_check_template (run, err) < 0)
    return RCVMI_STEP_FAILED;
  run->state.vmm = strdup (run->vmm.ops->name);
  run->state.accel = strdup (run->vmm.accel);
  if (run->vmm.accel_reason)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "vmm", "KVM is not used: %s; the guest runs by translation, much slower",
                  run->vmm.accel_reason);
  return RCVMI_STEP_DONE;
}
