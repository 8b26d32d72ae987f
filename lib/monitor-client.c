/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's connections: requests in, answers and news out (control.h). */
#include "config.h"

#define RCVMI_STAGE "monitor"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "monitor.h"

enum
{
  FAREWELL_TIMEOUT_MS = 2000,
  MAX_LOG_PENDING = 256 * 1024
};

struct rcvmi_monitor_client
{
  struct rcvmi_monitor *monitor;
  struct rcvmi_monitor_client *next;
  struct rcvmi_link link;
  struct rcvmi_ev_source *source;
  bool waits_start;  /* an answer to START is due */
  bool waits_create; /* an answer to CREATE is due */
  bool waits_stop;
  bool waits_net;
  bool waits_request; /* about limits or statistics */
  bool wants_net_json;
  bool is_exec;       /* the connection of a further process */
  bool exec_answered;
  bool exec_ended;
  bool tied; /* the process is killed when its connection ends before it */
  uint32_t process;
  bool waits_exec; /* until the guest has what others have put into its root */
  struct rcvmi_exec_options exec;
  int exec_fds[3];
};

static void
drop (struct rcvmi_monitor_client *c)
{
  struct rcvmi_monitor *m = c->monitor;
  struct rcvmi_monitor_client **at = &m->clients;

  while (*at != c)
    at = &(*at)->next;
  *at = c->next;
  if (c->is_exec && !c->exec_ended && m->run && rcvmi_run_agent (m->run))
    rcvmi_agent_forget (rcvmi_run_agent (m->run), c->process, c->tied);
  if (c->waits_net && m->run)
    {
      rcvmi_run_net_forget (m->run, c);
      rcvmi_run_volumes_forget (m->run, c);
    }
  if (c->waits_request && m->run)
    {
      rcvmi_run_forget_requests (m->run, c);
      rcvmi_run_flush_forget (m->run, c);
    }
  if (c->waits_exec)
    {
      if (m->run)
        rcvmi_run_puts_forget (m->run, c);
      for (int i = 0; i < 3; i++)
        cleanup_close (&c->exec_fds[i]);
      rcvmi_exec_options_clear (&c->exec);
    }
  if (m->creator == c)
    m->creator = NULL;
  /* There is room for another, if there was none. */
  if (m->listen_source)
    rcvmi_ev_set_events (m->listen_source, EPOLLIN);
  rcvmi_ev_remove (c->source);
  rcvmi_link_clear (&c->link);
  free (c);
}

/* Answers and news.  A client that cannot be reached is dropped when its socket says so. */

static void
send_record (struct rcvmi_monitor_client *c, uint16_t type, struct tlv_writer *w)
{
  rcvmi_link_send_record (&c->link, type, 0, w, NULL);
}

static void
send_ok (struct rcvmi_monitor_client *c, uint32_t pid)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_PID, pid);
  send_record (c, CONTROL_OK, &w);
}

static void
send_error (struct rcvmi_monitor_client *c, const rcvm_error *e)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  rcvmi_control_put_error (&w, e);
  send_record (c, CONTROL_ERROR, &w);
}

static void
answer (struct rcvmi_monitor_client *c, int code, rcvm_error *e)
{
  if (code < 0)
    send_error (c, e);
  else
    send_ok (c, 0);
  rcvm_error_free (e);
}

static void
send_exited (struct rcvmi_monitor_client *c, int exit_code, const rcvm_error *e)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (e)
    rcvmi_control_put_error (&w, e);
  else
    tlv_put_u32 (&w, A_EXIT_CODE, (uint32_t) exit_code);
  send_record (c, CONTROL_EXITED, &w);
}

static void
log_to_creator (void *user, int level, const char *stage, const char *message)
{
  struct rcvmi_monitor *m = user;
  struct tlv_writer w = TLV_WRITER_INIT;

  /* A guest may talk without end, and the creator may not listen: what is too much is not kept. */
  if (!m->creator || rcvmi_link_pending (&m->creator->link) > MAX_LOG_PENDING)
    return;
  tlv_put_u32 (&w, A_LEVEL, (uint32_t) level);
  tlv_put_str (&w, A_STAGE, stage);
  tlv_put_str (&w, A_MESSAGE, message);
  send_record (m->creator, CONTROL_LOG, &w);
}

/* What the run reports. */

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
  send_ok (m->creator, (uint32_t) getpid ());
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
      send_error (c, err);
    else if (c->waits_stop)
      send_ok (c, 0);
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
        send_ok (c, guest_pid);
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
        send_error (c, err ? err : s->error ? s->error : e);
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
        send_record (c, CONTROL_STATUS, &w);
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
        send_record (c, CONTROL_OOM, &w);
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
          send_ok (c, 0);
        send_exited (c, s->exit_code, s->has_exit ? NULL : s->error);
      }
    else if (!c->exec_ended)
      {
        rcvm_error *e = NULL;

        rcvmi_fail (&e, RCVM_E_STATE, 0, "the container stopped before the process in it had ended");
        if (c->exec_answered)
          send_exited (c, 0, e);
        else
          send_error (c, e);
        c->exec_ended = true;
        rcvm_error_free (e);
      }
  rcvmi_ev_stop (m->ev);
}

static const struct rcvmi_run_handler run_handler = {
  .created = on_created,
  .failed = on_failed,
  .started = on_started,
  .not_started = on_not_started,
  .status = on_status,
  .oom = on_oom,
  .stopped = on_stopped,
};

/* What a further process reports. */

static void
on_exec_started (void *user, uint32_t guest_pid)
{
  struct rcvmi_monitor_client *c = user;

  c->exec_answered = true;
  send_ok (c, guest_pid);
}

static void
on_exec_failed (void *user, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;

  c->exec_answered = c->exec_ended = true;
  send_error (c, err);
  rcvm_error_free (err);
}

/* Nothing follows, and whoever polls the connection shall see that, however many they are. */
static void
end_connection (struct rcvmi_monitor_client *c)
{
  if (c->is_exec && c->exec_ended && rcvmi_link_pending (&c->link) == 0)
    shutdown (c->link.fd, SHUT_WR);
}

static void
on_exec_exited (void *user, int code, int signum)
{
  struct rcvmi_monitor_client *c = user;

  (void) signum;
  c->exec_ended = true;
  send_exited (c, code, NULL);
  end_connection (c);
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
      m->log = (struct rcvmi_log){ .level = options.log_level, .fn = log_to_creator, .user = m };
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
  m->run = rcvmi_run_new (m->ev, &m->log, &options, fds, &run_handler, m, err);
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
    answer (c, code, e);
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
    send_error (c, err);
  else
    {
      if (both)
        {
          tlv_put_str (&w, A_MESSAGE, both);
          send_record (c, CONTROL_JSON, &w);
        }
      send_ok (c, 0);
    }
  rcvm_error_free (err);
}

static void
on_volumes_done (void *user, const char *json, rcvm_error *err)
{
  struct rcvmi_monitor_client *c = user;
  struct tlv_writer w = TLV_WRITER_INIT;

  c->waits_net = false;
  if (err)
    send_error (c, err);
  else
    {
      tlv_put_str (&w, A_MESSAGE, json);
      send_record (c, CONTROL_JSON, &w);
      send_ok (c, 0);
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
      send_record (c, CONTROL_JSON, &w);
    }
  answer (c, err ? rcvm_error_get_code (err) : 0, err);
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
      send_record (c, CONTROL_JSON, &w);
    }
  answer (c, e ? rcvm_error_get_code (e) : 0, e);
}

static int
do_request (struct rcvmi_monitor_client *c, const struct agent_header *h, const void *data, rcvm_error **err)
{
  struct rcvmi_run *run = c->monitor->run;
  autofree char *json = NULL;
  const char *text = text_of (h, data);
  int code;

  if (!text || c->waits_request)
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
         : h->type == CONTROL_FLUSH ? rcvmi_run_flush (run, on_request_done, c, err)
         : h->type == CONTROL_PAUSE ? rcvmi_run_pause (run, on_request_done, c, err)
                                    : rcvmi_run_update (run, text, on_request_done, c, err);
  if (code < 0)
    c->waits_request = false;
  return code;
}

struct numbers
{
  uint32_t signum, all, rows, cols;
};

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

static void
on_request (struct rcvmi_monitor_client *c, const struct agent_header *h, const unsigned char *payload)
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
        answer (c, code, e);
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
      answer (c, code, e);
      return;
    }
  if (h->type == CONTROL_EXEC)
    {
      code = do_exec (c, h->process, payload, h->len, &e);
      if (code < 0)
        answer (c, code, e);
      return;
    }
  if (h->type >= CONTROL_NET_SHOW && h->type <= CONTROL_VOLUMES)
    {
      code = do_net (c, h, payload, &e);
      if (code < 0)
        answer (c, code, e);
      return;
    }
  if (h->type == CONTROL_FIGURES)
    {
      do_figures (c);
      return;
    }
  if ((h->type >= CONTROL_UPDATE && h->type <= CONTROL_FLUSH) || h->type == CONTROL_PAUSE)
    {
      code = do_request (c, h, payload, &e);
      if (code < 0)
        answer (c, code, e);
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
  answer (c, code, e);
}

static void
on_client_ready (void *user, uint32_t events)
{
  struct rcvmi_monitor_client *c = user;
  struct rcvmi_monitor *m = c->monitor;
  const unsigned char *payload;
  struct agent_header h;
  bool was_creator = m->creator == c;
  int code = 0;

  if (events & EPOLLOUT)
    code = rcvmi_link_flush (&c->link, NULL);
  if (code >= 0 && (events & ~(uint32_t) EPOLLOUT))
    {
      code = rcvmi_link_fill (&c->link, NULL);
      while (code >= 0 && (code = rcvmi_link_next (&c->link, &h, &payload, NULL)) > 0)
        on_request (c, &h, payload);
    }
  if (code < 0 || c->link.eof)
    {
      drop (c);
      if (was_creator && !m->run)
        rcvmi_ev_stop (m->ev);
      else if (was_creator && rcvmi_run_state (m->run)->status == RCVM_STATUS_CREATING)
        {
          m->remove_dir = true;
          rcvmi_run_stop (m->run);
        }
      return;
    }
  end_connection (c);
  rcvmi_ev_set_events (c->source, EPOLLIN | (rcvmi_link_pending (&c->link) ? EPOLLOUT : 0));
}

static void
on_link_pending (void *user)
{
  struct rcvmi_monitor_client *c = user;

  rcvmi_ev_set_events (c->source, EPOLLIN | EPOLLOUT);
}

int
rcvmi_monitor_client_add (struct rcvmi_monitor *m, int fd, bool creator, rcvm_error **err)
{
  struct rcvmi_monitor_client *c = calloc (1, sizeof *c);

  if (!c)
    {
      close (fd);
      return rcvmi_fail_nomem (err);
    }
  c->monitor = m;
  if (rcvmi_link_init (&c->link, fd, "a client", AGENT_REQUEST_MAX, err) < 0
      || !(c->source = rcvmi_ev_add (m->ev, fd, EPOLLIN, on_client_ready, c, err)))
    {
      rcvmi_link_clear (&c->link);
      free (c);
      return RCVM_E_SYSTEM;
    }
  c->link.pass_fds = true;
  c->link.on_pending = on_link_pending;
  c->link.user = c;
  c->next = m->clients;
  m->clients = c;
  if (creator)
    m->creator = c;
  return 0;
}

void
rcvmi_monitor_clients_end (struct rcvmi_monitor *m)
{
  while (m->clients)
    {
      struct rcvmi_monitor_client *c = m->clients;
      struct pollfd p = { .fd = c->link.fd, .events = POLLOUT };

      while (rcvmi_link_pending (&c->link) > 0 && poll (&p, 1, FAREWELL_TIMEOUT_MS) > 0
             && rcvmi_link_flush (&c->link, NULL) == 0)
        ;
      drop (c);
    }
}
