/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the monitor tells its clients of the run, unasked. */
#include "config.h"

#define RCVMI_STAGE "monitor"

#include <unistd.h>

#include "err.h"
#include "monitor-parts.h"

enum
{
  MAX_LOG_PENDING = 256 * 1024
};

void
rcvmi_monitor_log (void *user, int level, const char *stage, const char *message)
{
  struct rcvmi_monitor *m = user;
  struct tlv_writer w = TLV_WRITER_INIT;

  /* A guest may talk without end, and the creator may not listen: what is too much is not kept. */
  if (!m->creator || rcvmi_link_pending (&m->creator->link) > MAX_LOG_PENDING)
    return;
  tlv_put_u32 (&w, A_LEVEL, (uint32_t) level);
  tlv_put_str (&w, A_STAGE, stage);
  tlv_put_str (&w, A_MESSAGE, message);
  rcvmi_monitor_send (m->creator, CONTROL_LOG, &w);
}

static void
on_created (void *user)
{
  struct rcvmi_monitor *m = user;

  if (!m->creator)
    {
      /* Whoever asked for it died while it was made: nobody knows of it. */
      m->remove_dir = true;
      rcvmi_run_stop (m->run);
      return;
    }
  m->creator->waits_create = false;
  rcvmi_monitor_send_ok (m->creator, (uint32_t) getpid ());
}

static void
on_failed (void *user, rcvm_error *err)
{
  struct rcvmi_monitor *m = user;

  m->remove_dir = true;
  m->exit_code = rcvm_error_get_exit_code (err);
  rcvmi_monitor_leave (m);
  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (c->waits_create)
      rcvmi_monitor_send_error (c, err);
    else if (c->waits_stop)
      rcvmi_monitor_send_ok (c, 0);
  rcvm_error_free (err);
  rcvmi_ev_stop (m->ev);
}

static void
on_started (void *user, uint32_t guest_pid)
{
  struct rcvmi_monitor *m = user;

  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (c->waits_start)
      {
        c->waits_start = false;
        rcvmi_monitor_send_ok (c, guest_pid);
      }
}

static void
on_not_started (void *user, rcvm_error *err)
{
  struct rcvmi_monitor *m = user;
  const struct rcvmi_state *s = rcvmi_run_state (m->run);

  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (c->waits_start)
      {
        rcvm_error *e = NULL;

        c->waits_start = false;
        if (!err && !s->error)
          rcvmi_fail (&e, RCVM_E_CANCELLED, 0, "the VM was stopped before its process ran");
        rcvmi_monitor_send_error (c, err ? err : s->error ? s->error : e);
        rcvm_error_free (e);
      }
  rcvm_error_free (err);
}

static void
on_status (void *user, int status)
{
  struct rcvmi_monitor *m = user;

  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (!c->is_exec)
      {
        struct tlv_writer w = TLV_WRITER_INIT;

        tlv_put_u32 (&w, A_BYTES, (uint32_t) status);
        rcvmi_monitor_send (c, CONTROL_STATUS, &w);
      }
}

static void
on_oom (void *user, uint32_t kills)
{
  struct rcvmi_monitor *m = user;

  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (!c->is_exec)
      {
        struct tlv_writer w = TLV_WRITER_INIT;

        tlv_put_u32 (&w, A_BYTES, kills);
        rcvmi_monitor_send (c, CONTROL_OOM, &w);
      }
}

static void
on_stopped (void *user)
{
  struct rcvmi_monitor *m = user;
  const struct rcvmi_state *s = rcvmi_run_state (m->run);

  m->exit_code = s->has_exit ? s->exit_code : s->error ? rcvm_error_get_exit_code (s->error) : MONITOR_REFUSED;
  rcvmi_monitor_leave (m);
  for (struct rcvmi_monitor_client *c = m->clients; c; c = c->next)
    if (!c->is_exec)
      {
        if (c->waits_stop)
          rcvmi_monitor_send_ok (c, 0);
        rcvmi_monitor_send_exited (c, s->exit_code, s->has_exit ? NULL : s->error);
      }
    else if (!c->exec_ended)
      {
        rcvm_error *e = NULL;

        rcvmi_fail (&e, RCVM_E_STATE, 0, "the container stopped before the process in it had ended");
        if (c->exec_answered)
          rcvmi_monitor_send_exited (c, 0, e);
        else
          rcvmi_monitor_send_error (c, e);
        c->exec_ended = true;
        rcvm_error_free (e);
      }
  rcvmi_ev_stop (m->ev);
}

const struct rcvmi_run_handler rcvmi_monitor_run_handler = {
  .created = on_created,
  .failed = on_failed,
  .started = on_started,
  .not_started = on_not_started,
  .status = on_status,
  .oom = on_oom,
  .stopped = on_stopped,
};
