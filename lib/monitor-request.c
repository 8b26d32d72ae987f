/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the monitor's clients ask for, and the answers. */
#include "config.h"

#define RCVMI_STAGE "monitor"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "monitor-parts.h"

/* What a further process reports. */

static void
on_exec_started (void *user, uint32_t guest_pid)
{
  struct rcvmi_monitor_client *c = user;

  c->exec_answered = true;
  rcvmi_monitor_send_ok (c, guest_pid);
}

static void
on_exec_failed (void *user, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;

  c->exec_answered = c->exec_ended = true;
  rcvmi_monitor_send_error (c, err);
  rcvm_error_free (err);
}

static void
on_exec_exited (void *user, int code, int signum)
{
  struct rcvmi_monitor_client *c = user;

  (void) signum;
  c->exec_ended = true;
  rcvmi_monitor_send_exited (c, code, NULL);
  rcvmi_monitor_client_end (c);
}

static const struct rcvmi_agent_process_ops exec_ops
    = { .started = on_exec_started, .failed = on_exec_failed, .exited = on_exec_exited };

/* Requests. */

/* The streams that came with a frame, by its mask. */
static int
take_stdio (struct rcvmi_monitor_client *c, uint32_t mask, int fds[3], rcvm_error **err)
{
  size_t n = 0;

  for (int i = 0; i < 3; i++)
    fds[i] = (mask & 1U << i) && n < c->link.n_fds ? steal_fd (&c->link.fds[n++]) : -1;
  if (n != (size_t) __builtin_popcount (mask & 7))
    {
      for (int i = 0; i < 3; i++)
        cleanup_close (&fds[i]);
      return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request came without the fds that it names");
    }
  /* More than were named are nobody's. */
  while (c->link.n_fds > n)
    cleanup_close (&c->link.fds[--c->link.n_fds]);
  c->link.n_fds = 0;
  return 0;
}

static int
do_create (struct rcvmi_monitor_client *c, uint32_t mask, const void *data, size_t len, rcvm_error **err)
{
  struct rcvmi_monitor *m = c->monitor;
  struct rcvmi_state_dir dir = RCVMI_STATE_DIR_INIT;
  struct rcvmi_options options;
  int fds[3], code;

  if (m->run || m->creator != c)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "this monitor has its VM already");
  code = rcvmi_options_decode (&options, data, len, err);
  if (code < 0)
    return code;
  code = take_stdio (c, mask, fds, err);
  if (code == 0)
    {
      m->log = (struct rcvmi_log){ .level = options.log_level, .fn = rcvmi_monitor_log, .user = m };
      code = rcvmi_state_dir_create (&dir, m->root, options.id, err);
      if (code < 0)
        for (int i = 0; i < 3; i++)
          cleanup_close (&fds[i]);
    }
  if (code < 0)
    {
      rcvmi_options_clear (&options);
      return code;
    }
  m->run = rcvmi_run_new (m->ev, &m->log, &options, fds, &rcvmi_monitor_run_handler, m, err);
  if (!m->run)
    code = RCVM_E_NOMEM;
  else
    code = rcvmi_monitor_listen (m, &dir, err);
  if (code < 0)
    {
      unlinkat (dir.fd, RCVMI_CONTROL_SOCKET, 0);
      rcvmi_state_dir_remove (&dir, true, NULL);
      rcvmi_state_dir_close (&dir);
      return code;
    }
  c->waits_create = true;
  rcvmi_run_create (m->run, &dir);
  return 0;
}

static int
begin_exec (struct rcvmi_monitor_client *c, rcvm_error **err)
{
  int64_t number = rcvmi_run_exec (c->monitor->run, &c->exec, c->exec_fds, &exec_ops, c, err);

  if (number >= 0)
    {
      c->is_exec = true;
      c->tied = c->exec.tied != 0;
      c->process = (uint32_t) number;
    }
  rcvmi_exec_options_clear (&c->exec);
  return number < 0 ? (int) number : 0;
}

static void
on_puts_done (void *user)
{
  struct rcvmi_monitor_client *c = user;
  rcvm_error *e = NULL;
  int code;

  c->waits_exec = false;
  code = begin_exec (c, &e);
  if (code < 0)
    rcvmi_monitor_answer (c, code, e);
}

static int
do_exec (struct rcvmi_monitor_client *c, uint32_t mask, const void *data, size_t len, rcvm_error **err)
{
  int code;

  if (c->is_exec || c->waits_exec)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "this connection has its process already");
  code = rcvmi_exec_options_decode (&c->exec, data, len, err);
  if (code < 0)
    return code;
  code = take_stdio (c, mask, c->exec_fds, err);
  if (code < 0)
    {
      rcvmi_exec_options_clear (&c->exec);
      return code;
    }
  c->waits_exec = rcvmi_run_puts_first (c->monitor->run, on_puts_done, c);
  return c->waits_exec ? 0 : begin_exec (c, err);
}

/* The network. */

static void
on_net_done (void *user, const char *json, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *host = NULL, *both = NULL;

  c->waits_net = false;
  if (!err && c->wants_net_json)
    {
      host = rcvmi_run_net_host_json (c->monitor->run, &err);
      if (host && asprintf (&both, "{\"host\":%s,\"guest\":%s}\n", host, json ? json : "{}") < 0)
        {
          both = NULL;
          rcvmi_fail_nomem (&err);
        }
    }
  if (err)
    rcvmi_monitor_send_error (c, err);
  else
    {
      if (both)
        {
          tlv_put_str (&w, A_MESSAGE, both);
          rcvmi_monitor_send (c, CONTROL_JSON, &w);
        }
      rcvmi_monitor_send_ok (c, 0);
    }
  rcvm_error_free (err);
}

static void
on_volumes_done (void *user, const char *json, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *disks = err ? NULL : rcvmi_run_disks_json (c->monitor->run, &err), *all = NULL;

  c->waits_net = false;
  /* The server's is an object that is not empty. */
  if (!err && asprintf (&all, "{\"disks\":%s,%s", disks, json + 1) < 0)
    {
      all = NULL;
      rcvmi_fail_nomem (&err);
    }
  if (err)
    rcvmi_monitor_send_error (c, err);
  else
    {
      tlv_put_str (&w, A_MESSAGE, all);
      rcvmi_monitor_send (c, CONTROL_JSON, &w);
      rcvmi_monitor_send_ok (c, 0);
    }
  rcvm_error_free (err);
}

/* The one text of a record, "" if there is none; NULL: it is damaged. */
static const char *
text_of (const struct agent_header *h, const void *data)
{
  const char *text = "";
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, data, h->len);
  while (tlv_next (&r, &f))
    if (f.tag == A_MESSAGE)
      text = tlv_get_str (&r, &f);
  return r.bad ? NULL : text;
}

static int
do_net (struct rcvmi_monitor_client *c, const struct agent_header *h, const void *data, rcvm_error **err)
{
  struct rcvmi_run *run = c->monitor->run;
  const char *name = text_of (h, data);
  int code;

  if (!name || c->waits_net)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request is malformed");
  c->waits_net = true;
  c->wants_net_json = h->type == CONTROL_NET_SHOW;
  code = h->type == CONTROL_VOLUMES      ? rcvmi_run_volumes_show (run, on_volumes_done, c, err)
         : h->type == CONTROL_NET_SHOW   ? rcvmi_run_net_show (run, on_net_done, c, err)
         : h->type == CONTROL_NET_ATTACH ? rcvmi_run_net_attach (run, name, on_net_done, c, err)
                                         : rcvmi_run_net_detach (run, name, on_net_done, c, err);
  if (code < 0)
    c->waits_net = false;
  return code;
}

static int
do_disk (struct rcvmi_monitor_client *c, const struct agent_header *h, const void *data, rcvm_error **err)
{
  struct rcvmi_run_disk_order o = { 0 };
  struct rcvmi_run *run = c->monitor->run;
  struct tlv_reader r;
  struct tlv_field f;
  int code;

  tlv_reader_init (&r, data, h->len);
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case CD_SOURCE:
        o.source = tlv_get_str (&r, &f);
        break;
      case CD_TARGET:
        o.target = tlv_get_str (&r, &f);
        break;
      case CD_FSTYPE:
        o.fstype = tlv_get_str (&r, &f);
        break;
      case CD_READONLY:
        o.read_only = tlv_get_u32 (&r, &f) != 0;
        break;
      }
  if (r.bad || !o.target || (!o.source && h->type == CONTROL_DISK_ATTACH) || c->waits_net)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request is malformed");
  c->waits_net = true;
  c->wants_net_json = false;
  code = h->type == CONTROL_DISK_ATTACH ? rcvmi_run_disk_attach (run, &o, on_net_done, c, err)
                                        : rcvmi_run_disk_detach (run, o.target, on_net_done, c, err);
  if (code < 0)
    c->waits_net = false;
  return code;
}

/* Limits and statistics. */

static void
on_request_done (void *user, const char *json, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;
  struct tlv_writer w = TLV_WRITER_INIT;

  c->waits_request = false;
  if (!err && json)
    {
      tlv_put_str (&w, A_MESSAGE, json);
      rcvmi_monitor_send (c, CONTROL_JSON, &w);
    }
  rcvmi_monitor_answer (c, err ? rcvm_error_get_code (err) : 0, err);
}

static void
do_figures (struct rcvmi_monitor_client *c)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  rcvm_error *e = NULL;
  autofree char *text = rcvmi_run_figures (c->monitor->run, &e);

  if (text)
    {
      tlv_put_str (&w, A_MESSAGE, text);
      rcvmi_monitor_send (c, CONTROL_JSON, &w);
    }
  rcvmi_monitor_answer (c, e ? rcvm_error_get_code (e) : 0, e);
}

struct numbers
{
  uint32_t signum, all, rows, cols;
};

static int
parse_numbers (struct numbers *n, const void *data, size_t len, rcvm_error **err)
{
  struct tlv_reader r;
  struct tlv_field f;

  *n = (struct numbers){ 0 };
  tlv_reader_init (&r, data, len);
  while (tlv_next (&r, &f))
    if (f.tag == A_SIGNAL)
      n->signum = tlv_get_u32 (&r, &f);
    else if (f.tag == A_ALL)
      n->all = tlv_get_u32 (&r, &f);
    else if (f.tag == A_ROWS)
      n->rows = tlv_get_u32 (&r, &f);
    else if (f.tag == A_COLS)
      n->cols = tlv_get_u32 (&r, &f);
  return r.bad ? rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request is malformed") : 0;
}

static int
do_snapshot (struct rcvmi_monitor_client *c, const struct agent_header *h, const void *data, bool leave_running, rcvm_error **err)
{
  struct rcvmi_run_snapshot_order o = { .dir = "", .leave_running = leave_running };
  struct tlv_reader r;
  struct tlv_field f;

  tlv_reader_init (&r, data, h->len);
  while (tlv_next (&r, &f))
    if (f.tag == A_MESSAGE)
      o.dir = tlv_get_str (&r, &f);
    else if (f.tag == CONTROL_PARENT)
      o.parent = tlv_get_str (&r, &f);
  if (r.bad)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request is malformed");
  return rcvmi_run_snapshot (c->monitor->run, &o, on_request_done, c, err);
}

static int
do_request (struct rcvmi_monitor_client *c, const struct agent_header *h, const void *data, rcvm_error **err)
{
  struct rcvmi_run *run = c->monitor->run;
  autofree char *json = NULL;
  const char *text = text_of (h, data);
  struct numbers n;
  int code;

  if (!text || c->waits_request || parse_numbers (&n, data, h->len, NULL) < 0)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "a request is malformed");
  if (h->type == CONTROL_PROCESSES)
    {
      json = rcvmi_run_processes (run, err);
      if (json)
        on_request_done (c, json, NULL);
      return json ? 0 : RCVM_E_SYSTEM;
    }
  c->waits_request = true;
  code = h->type == CONTROL_STATS   ? rcvmi_run_stats (run, on_request_done, c, err)
         : h->type == CONTROL_SNAPSHOT ? do_snapshot (c, h, data, n.all, err)
         : h->type == CONTROL_FLUSH ? rcvmi_run_flush (run, on_request_done, c, err)
         : h->type == CONTROL_PAUSE ? rcvmi_run_pause (run, on_request_done, c, err)
                                    : rcvmi_run_update (run, text, on_request_done, c, err);
  if (code < 0)
    c->waits_request = false;
  return code;
}

/* To the container, or on the connection of a further process to that one. */
static int
forward (struct rcvmi_monitor_client *c, uint16_t type, const struct numbers *n, rcvm_error **err)
{
  struct rcvmi_run *run = c->monitor->run;
  struct rcvmi_agent *agent = rcvmi_run_agent (run);

  if (c->waits_exec)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the process has not started yet");
  if (!c->is_exec)
    return type == CONTROL_KILL ? rcvmi_run_kill (run, (int) n->signum, n->all, err)
                                : rcvmi_run_resize (run, n->rows, n->cols, err);
  if (!agent)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the container has stopped");
  return type == CONTROL_KILL ? rcvmi_agent_signal (agent, c->process, (int) n->signum, false, err)
                              : rcvmi_agent_resize (agent, c->process, n->rows, n->cols, err);
}

void
rcvmi_monitor_request (struct rcvmi_monitor_client *c, const struct agent_header *h, const unsigned char *payload)
{
  struct rcvmi_monitor *m = c->monitor;
  bool had_vm = m->run != NULL;
  struct numbers n;
  rcvm_error *e = NULL;
  int code;

  if (h->type == CONTROL_CREATE)
    {
      code = do_create (c, h->process, payload, h->len, &e);
      if (code < 0)
        rcvmi_monitor_answer (c, code, e);
      if (code < 0 && !had_vm)
        {
          m->exit_code = MONITOR_REFUSED;
          rcvmi_ev_stop (m->ev);
        }
      return;
    }
  if (!m->run)
    {
      code = rcvmi_fail (&e, RCVM_E_STATE, 0, "there is no VM yet");
      rcvmi_monitor_answer (c, code, e);
      return;
    }
  if (h->type == CONTROL_EXEC)
    {
      code = do_exec (c, h->process, payload, h->len, &e);
      if (code < 0)
        rcvmi_monitor_answer (c, code, e);
      return;
    }
  if (h->type >= CONTROL_NET_SHOW && h->type <= CONTROL_VOLUMES)
    {
      code = do_net (c, h, payload, &e);
      if (code < 0)
        rcvmi_monitor_answer (c, code, e);
      return;
    }
  if (h->type == CONTROL_DISK_ATTACH || h->type == CONTROL_DISK_DETACH)
    {
      code = do_disk (c, h, payload, &e);
      if (code < 0)
        rcvmi_monitor_answer (c, code, e);
      return;
    }
  if (h->type == CONTROL_FIGURES)
    {
      do_figures (c);
      return;
    }
  if ((h->type >= CONTROL_UPDATE && h->type <= CONTROL_SNAPSHOT) || h->type == CONTROL_PAUSE)
    {
      code = do_request (c, h, payload, &e);
      if (code < 0)
        rcvmi_monitor_answer (c, code, e);
      return;
    }
  code = parse_numbers (&n, payload, h->len, &e);
  if (code == 0)
    switch (h->type)
      {
      case CONTROL_START:
        code = rcvmi_run_start (m->run, &e);
        if (code == 0)
          {
            c->waits_start = true;
            return;
          }
        break;
      case CONTROL_STOP:
        if (rcvmi_run_state (m->run)->status == RCVM_STATUS_CREATING)
          {
            c->waits_stop = true;
            rcvmi_run_stop (m->run);
            return;
          }
        /* Answered at once, which says that somebody is there; the end of the connection tells the rest. */
        rcvmi_run_stop_gently (m->run);
        break;
      case CONTROL_RESUME:
        code = rcvmi_run_resume (m->run, &e);
        break;
      case CONTROL_KILL:
      case CONTROL_RESIZE:
        code = forward (c, h->type, &n, &e);
        break;
      default:
        code = rcvmi_fail (&e, RCVM_E_PROTOCOL, 0,
                           "the monitor does not know request %u: it is of another version than this library",
                           h->type);
      }
  rcvmi_monitor_answer (c, code, e);
}
