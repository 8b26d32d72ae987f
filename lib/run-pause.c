/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM whose CPUs stand still: nothing that the guest should answer meanwhile may run out of time. */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "run-parts.h"

#include "err.h"

void
rcvmi_run_set_status (struct rcvmi_run *run, int status)
{
  rcvm_error *e = NULL;

  run->state.status = status;
  /* It is paused, or is not, whether that can be written down or not. */
  if (rcvmi_run_save (run, &e) < 0)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "state", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  run->handler->status (run->user, status);
}

int
rcvmi_run_stand_still (struct rcvmi_run *run, rcvm_error **err)
{
  int code = rcvmi_vmm_pause (&run->vmm, err);

  if (code < 0)
    return code;
  rcvmi_agent_hold (run->agent);
  rcvmi_run_net_hold (run);
  rcvmi_run_hold_requests (run);
  rcvmi_run_hold_attach (run);
  rcvmi_run_hold_live (run);
  return 0;
}

int
rcvmi_run_go_on (struct rcvmi_run *run, rcvm_error **err)
{
  int code;

  /* First of all its clock, which stood still, too. */
  rcvmi_agent_set_clock (run->agent, NULL);
  code = rcvmi_vmm_resume (&run->vmm, err);
  if (code < 0)
    return code;
  if (run->state.status == RCVM_STATUS_PAUSED)
    rcvmi_run_set_status (run, RCVM_STATUS_RUNNING);
  code = rcvmi_agent_go_on (run->agent, err);
  if (code == 0)
    code = rcvmi_run_net_go_on (run, err);
  if (code == 0)
    code = rcvmi_run_go_on_with_attach (run, err);
  if (code == 0)
    code = rcvmi_run_go_on_with_live (run, err);
  rcvmi_run_puts_go_on (run);
  return code < 0 ? code : rcvmi_run_go_on_with_requests (run, err);
}

int
rcvmi_run_pause (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  int code;

  if (run->state.status == RCVM_STATUS_PAUSED)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused already", run->options.id);
  if (run->state.status != RCVM_STATUS_RUNNING || run->process_ended || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
  if (run->snapshot)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is being saved: try again when that is done", run->options.id);
  /* Docker commits what it has paused. */
  if (rcvmi_run_flush_pauses (run))
    return rcvmi_run_flush_and_pause (run, done, user, err);
  code = rcvmi_run_stand_still (run, err);
  if (code < 0)
    return code;
  rcvmi_run_set_status (run, RCVM_STATUS_PAUSED);
  done (user, NULL, NULL);
  return 0;
}

int
rcvmi_run_resume (struct rcvmi_run *run, rcvm_error **err)
{
  if (run->state.status != RCVM_STATUS_PAUSED || run->ending)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not paused", run->options.id);
  return rcvmi_run_go_on (run, err);
}
