/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's connections (control.h), and what is sent on them. */
#include "config.h"

#define RCVMI_STAGE "monitor"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "monitor-parts.h"

enum
{
  FAREWELL_TIMEOUT_MS = 2000
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
      rcvmi_run_attach_forget (m->run, c);
    }
  if (c->waits_request && m->run)
    {
      rcvmi_run_forget_requests (m->run, c);
      rcvmi_run_flush_forget (m->run, c);
      rcvmi_run_snapshot_forget (m->run, c);
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

void
rcvmi_monitor_send (struct rcvmi_monitor_client *c, uint16_t type, struct tlv_writer *w)
{
  rcvmi_link_send_record (&c->link, type, 0, w, NULL);
}

void
rcvmi_monitor_send_ok (struct rcvmi_monitor_client *c, uint32_t pid)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_PID, pid);
  rcvmi_monitor_send (c, CONTROL_OK, &w);
}

void
rcvmi_monitor_send_error (struct rcvmi_monitor_client *c, const rcvm_error *e)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  rcvmi_control_put_error (&w, e);
  rcvmi_monitor_send (c, CONTROL_ERROR, &w);
}

void
rcvmi_monitor_answer (struct rcvmi_monitor_client *c, int code, rcvm_error *e)
{
  if (code < 0)
    rcvmi_monitor_send_error (c, e);
  else
    rcvmi_monitor_send_ok (c, 0);
  rcvm_error_free (e);
}

void
rcvmi_monitor_send_exited (struct rcvmi_monitor_client *c, int exit_code, const rcvm_error *e)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (e)
    rcvmi_control_put_error (&w, e);
  else
    tlv_put_u32 (&w, A_EXIT_CODE, (uint32_t) exit_code);
  rcvmi_monitor_send (c, CONTROL_EXITED, &w);
}

void
rcvmi_monitor_client_end (struct rcvmi_monitor_client *c)
{
  if (c->is_exec && c->exec_ended && rcvmi_link_pending (&c->link) == 0)
    shutdown (c->link.fd, SHUT_WR);
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
        rcvmi_monitor_request (c, &h, payload);
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
  rcvmi_monitor_client_end (c);
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
