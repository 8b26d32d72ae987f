/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM that goes on from a template (docs/templates.md) in place of booting: the one that fits it is looked for when all that
 * decides its shape is known, and made by a worker where there is none.
 */
#include "config.h"

#define RCVMI_STAGE "template"
#include "run-parts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "clock.h"
#include "err.h"

struct rcvmi_run_template
{
  struct rcvmi_worker worker;
  struct rcvmi_template found; /* its fd is open as long as the VM uses it */
  struct rcvmi_vmm_config config;
  char *key;
  int64_t since;
};

int
rcvmi_run_check_template (struct rcvmi_run *run, rcvm_error **err)
{
  rcvm_error *e = NULL;

  if (run->plan->from_template == RCVMI_PLAN_TEMPLATE_OFF)
    return 0;
  if (rcvmi_vmm_check_restore (&run->vmm, &run->plan->tuning, &e) < 0)
    {
      if (run->plan->from_template == RCVMI_PLAN_TEMPLATE_ON)
        return rcvmi_error_pass (err, e);
      rcvmi_log (run->log, RCVM_LOG_INFO, "the VM boots: %s", rcvm_error_get_message (e));
      rcvm_error_free (e);
      return 0;
    }
  run->template = calloc (1, sizeof *run->template);
  if (!run->template)
    return rcvmi_fail_nomem (err);
  run->template->worker = (struct rcvmi_worker){ .proc = RCVMI_PROC_INIT, .error_fd = -1 };
  run->template->found = RCVMI_TEMPLATE_INIT;
  return 0;
}

void
rcvmi_run_undo_template (struct rcvmi_run *run)
{
  struct rcvmi_run_template *t = steal_ptr (run->template);

  if (!t)
    return;
  rcvmi_run_stop_worker (&t->worker);
  rcvmi_template_clear (&t->found);
  free (t->key);
  free (t);
}

/* It boots like any other. */
static void
do_without (struct rcvmi_run *run, const char *why)
{
  rcvmi_log (run->log, RCVM_LOG_WARNING, "the VM boots, and does not start from a template: %s", why);
  rcvmi_run_undo_template (run);
  free (steal_ptr (run->state.from_template));
}

static int
find (struct rcvmi_run *run, rcvm_error **err)
{
  struct rcvmi_run_template *t = run->template;
  autofree char *note = NULL;
  int code = rcvmi_template_find (&run->vmm, t->key, &t->found, &note, err);

  if (note)
    rcvmi_log (run->log, RCVM_LOG_WARNING, "%s", note);
  if (code < 0)
    return code;
  free (run->state.from_template);
  run->state.from_template = strdup (t->key);
  rcvmi_run_add_phase (run, "template", rcvmi_clock_usec () - t->since);
  run->stage_start = rcvmi_clock_usec ();
  return run->state.from_template ? 0 : rcvmi_fail_nomem (err);
}

static int
make (void *user, rcvm_error **err)
{
  struct rcvmi_run *run = user;

  return rcvmi_template_make (&run->vmm, &run->template->config, run->template->key, err);
}

static void
on_made (void *user, uint32_t events)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;
  int code;

  (void) events;
  code = rcvmi_run_end_worker (&run->template->worker, "the worker that makes the template", &e);
  if (code == 0)
    code = find (run, &e);
  if (code < 0 && run->plan->from_template == RCVMI_PLAN_TEMPLATE_AUTO)
    {
      do_without (run, rcvm_error_get_message (e));
      rcvm_error_free (steal_ptr (e));
      code = 0;
    }
  if (code < 0 || rcvmi_run_start_vmm (run, &e) < 0)
    rcvmi_run_fail (run, e);
}

enum rcvmi_run_step
rcvmi_run_begin_template (struct rcvmi_run *run, const struct rcvmi_vmm_config *config, rcvm_error **err)
{
  struct rcvmi_run_template *t = run->template;
  rcvm_error *e = NULL;
  int code;

  t->since = rcvmi_clock_usec ();
  t->config = *config;
  if (config->more_memory)
    code = rcvmi_fail (&e, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot start a VM from a template to which memory may come later: no RUNCVM_MEMORY_MAX does without",
                       run->vmm.ops->name);
  else
    code = rcvmi_template_key (&run->vmm, config, &t->key, &e);
  if (code == 0)
    code = find (run, &e);
  if (code == RCVM_E_NOT_FOUND && t->key)
    {
      rcvm_error_free (steal_ptr (e));
      code = rcvmi_run_start_worker (run, &t->worker, make, -1, on_made, &e);
      if (code == 0)
        return RCVMI_STEP_PENDING;
    }
  if (code < 0 && run->plan->from_template == RCVMI_PLAN_TEMPLATE_AUTO)
    {
      do_without (run, rcvm_error_get_message (e));
      rcvm_error_free (steal_ptr (e));
      code = 0;
    }
  return code < 0 ? (rcvmi_error_pass (err, e), RCVMI_STEP_FAILED) : RCVMI_STEP_DONE;
}

void
rcvmi_run_put_template (struct rcvmi_run *run, struct rcvmi_vmm_config *config)
{
  const struct rcvmi_run_template *t = run->template;

  if (t && t->found.fd >= 0)
    config->from = (struct rcvmi_vmm_saved){ .memory = t->found.path,
                                             .state_fd = t->found.fd,
                                             .state_at = t->found.state_at,
                                             .state_len = t->found.state_len };
}

/* The VMM ended before it let the guest go on.  Whoever killed it wanted that; else the template is to blame, and it goes. */
bool
rcvmi_run_blame_template (struct rcvmi_run *run, rcvm_error *err)
{
  if (!run->template || run->template->found.fd < 0 || run->vmm.killed || rcvm_error_get_code (err) != RCVM_E_VMM)
    return false;
  rcvmi_template_discard (&run->template->found);
  do_without (run, rcvm_error_get_message (err));
  rcvm_error_free (err);
  return true;
}

/* Whoever waits for its guest in vain may have waited for this. */
void
rcvmi_run_doubt_template (struct rcvmi_run *run)
{
  if (run->template && run->template->found.fd >= 0)
    rcvmi_template_discard (&run->template->found);
}

static int
put_size (struct tlv_writer *w, const struct rcvmi_vmm_disk *d, size_t index, rcvm_error **err)
{
  autoclose int fd = open (d->path, O_RDONLY | O_CLOEXEC);
  off_t size = fd < 0 ? -1 : lseek (fd, 0, SEEK_END);
  char locator[16], bytes[24];
  size_t mark;

  if (size < 0)
    return rcvmi_fail_errno (err, errno, "cannot tell how large the disk '%.200s' is", d->path);
  snprintf (locator, sizeof locator, RCVMI_PLAN_DISK, (char) ('a' + index));
  snprintf (bytes, sizeof bytes, "%jd", (intmax_t) size);
  mark = tlv_begin (w, S_DISK_SIZE);
  tlv_put_str (w, K_NAME, locator);
  tlv_put_str (w, K_VALUE, bytes);
  tlv_end (w, mark);
  return 0;
}

int
rcvmi_run_tell_template (struct rcvmi_run *run, rcvm_error **err)
{
  const struct rcvmi_run_template *t = run->template;
  int code = 0;

  if (!t || t->found.fd < 0)
    return 0;
  for (size_t i = 0; code == 0 && i < t->config.n_disks; i++)
    code = put_size (&run->plan->setup, &t->config.disks[i], i, err);
  return code;
}

void
rcvmi_run_tell_device (struct rcvmi_run *run, unsigned number, struct tlv_writer *w)
{
  uint8_t mac[6];

  if (run->template)
    rcvmi_vmm_general_mac (number, mac);
  else if (!rcvmi_run_restore_mac (run, number, mac))
    return;
  tlv_put (w, N_DEVICE, mac, sizeof mac);
}
