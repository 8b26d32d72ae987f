/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "agent"
#include "agent-parts.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "link.h"
#include "stream.h"

enum
{
  /* A guest that has not answered by then never will, however busy the host. */
  ANSWER_TIMEOUT_MS = 180000,
  /* A guest that sends but does not read is not listened to beyond this. */
  MAX_PENDING = 1024 * 1024,
  /* As a shell reports a program that is not there. */
  EXIT_NOT_FOUND = 127
};

/* Processes. */

struct rcvmi_agent_process *
rcvmi_agent_find (struct rcvmi_agent *a, uint32_t number)
{
  struct rcvmi_agent_process *p = a->processes;

  while (p && p->number != number)
    p = p->next;
  return p;
}

void
rcvmi_agent_drop (struct rcvmi_agent_process *p)
{
  struct rcvmi_agent_process **at = &p->agent->processes;

  while (*at != p)
    at = &(*at)->next;
  *at = p->next;
  p->agent->n_processes--;
  rcvmi_ev_remove (p->timer);
  rcvmi_streams_free (p->streams);
  free (p);
}

static void break_link (struct rcvmi_agent *a, rcvm_error *err);

static void
on_streams_broken (void *user, rcvm_error *err)
{
  struct rcvmi_agent_process *p = user;

  break_link (p->agent, err);
}

static void
on_streams_done (void *user)
{
  struct rcvmi_agent_process *p = user;
  const struct rcvmi_agent_process_ops *ops = p->ops;
  void *owner = p->user;
  int code = p->code, signum = p->signum;

  rcvmi_agent_drop (p);
  if (ops)
    ops->exited (owner, code, signum);
}

int
rcvmi_agent_add (struct rcvmi_agent_process *p, const int fds[3], rcvm_error **err)
{
  struct rcvmi_agent *a = p->agent;

  p->next = a->processes;
  a->processes = p;
  a->n_processes++;
  p->streams = rcvmi_streams_new (a->ev, &a->link, p->number, fds, err);
  if (!p->streams)
    return RCVM_E_NOMEM;
  rcvmi_streams_set_handlers (p->streams, on_streams_broken, on_streams_done, p);
  return 0;
}

int
rcvmi_agent_unexpected (const char *what, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent %s out of turn", what);
}

/* The sentence is the guest's; stage and code are ours. */
rcvm_error *
rcvmi_agent_guest_error (const struct rcvmi_agent_record *x, int code, const char *stage)
{
  rcvm_error *e = NULL;
  char text[1200];

  snprintf (text, sizeof text, "%s", x->message[0] ? x->message : "the guest gave no reason");
  rcvmi_error_restore (&e, code, (int) x->errnum, x->has_exit_code ? (int) x->exit_code : 125, stage,
                       text);
  return e;
}

static int
on_process_frame (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload,
                  rcvm_error **err)
{
  struct rcvmi_agent_process *p = rcvmi_agent_find (a, h->process);
  struct rcvmi_agent_record x;
  int code;

  /* Frames may cross: a number whose process has failed or ended is not an offence by itself, but the
     guest speaks last, so it cannot name one that is gone. */
  if (!p)
    return rcvmi_fail (err, RCVM_E_PROTOCOL, 0,
                       "the guest's agent sent a frame (%u) of process %u, which does not run", h->type,
                       h->process);
  if (h->type == AGENT_STDOUT || h->type == AGENT_STDERR || h->type == AGENT_FRAME_WINDOW
      || h->type == AGENT_CLOSE)
    {
      if (!p->started || p->ended)
        return rcvmi_agent_unexpected ("a stream", err);
      return rcvmi_streams_frame (p->streams, h, payload, err);
    }
  code = rcvmi_agent_parse (&x, payload, h->len, err);
  if (code < 0)
    return code;
  rcvmi_ev_remove (steal_ptr (p->timer));
  switch (h->type)
    {
    case AGENT_STARTED:
      if (p->started || p->ended)
        return rcvmi_agent_unexpected ("STARTED", err);
      p->started = true;
      code = rcvmi_streams_start (p->streams, err);
      if (code == 0 && p->ops)
        p->ops->started (p->user, x.pid);
      else if (code == 0 && p->doomed)
        code = rcvmi_agent_signal (a, h->process, SIGKILL, false, err);
      return code;
    case AGENT_FAILED:
      {
        const struct rcvmi_agent_process_ops *ops = p->ops;
        void *owner = p->user;

        if (p->started || p->ended)
          return rcvmi_agent_unexpected ("FAILED", err);
        rcvmi_agent_drop (p);
        if (ops)
          ops->failed (owner, rcvmi_agent_guest_error (&x, RCVM_E_PROCESS, "process"));
        return 0;
      }
    default: /* AGENT_EXIT */
      if (!p->started || p->ended || x.has_exit_code == x.has_signal)
        return rcvmi_agent_unexpected ("EXIT", err);
      p->ended = true;
      p->signum = (int) x.signum;
      p->code = x.has_signal ? 128 + (int) x.signum : (int) x.exit_code;
      rcvmi_streams_finish (p->streams);
      return 0;
    }
}

/* The link. */

static int
on_net_answer (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  struct rcvmi_agent_record x;
  int code = rcvmi_agent_parse (&x, payload, h->len, err);

  if (code < 0)
    return code;
  if (!a->ready || a->n_net_requests == 0 || !a->ops->net_answer)
    return rcvmi_agent_unexpected ("an answer about the network", err);
  a->n_net_requests--;
  a->ops->net_answer (a->user, h->process, payload, h->len,
                      x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "net") : NULL);
  return 0;
}

static int
on_disk_answer (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  struct rcvmi_agent_record x;
  int code = rcvmi_agent_parse (&x, payload, h->len, err);

  if (code < 0)
    return code;
  if (!a->ready || a->n_disk_requests == 0 || !a->ops->disk_answer)
    return rcvmi_agent_unexpected ("an answer about disks", err);
  a->n_disk_requests--;
  a->ops->disk_answer (a->user, h->process, x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "volumes") : NULL);
  return 0;
}

static int
on_cgroup_answer (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  struct rcvmi_agent_record x = { 0 };
  struct tlv_reader r;
  struct tlv_field f;
  int code = 0;

  if (!a->ready || a->n_cgroup_requests == 0 || !a->ops->cgroup_answer)
    return rcvmi_agent_unexpected ("an answer about the cgroup", err);
  a->n_cgroup_requests--;
  /* K_NAME and K_VALUE have the numbers of other fields of an error's record, which starts with its stage. */
  tlv_reader_init (&r, payload, h->len);
  if (tlv_next (&r, &f) && f.tag == A_STAGE)
    code = rcvmi_agent_parse (&x, payload, h->len, err);
  if (code < 0)
    return code;
  a->ops->cgroup_answer (a->user, h->process, payload, h->len,
                         x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "cgroup") : NULL);
  return 0;
}

static int
on_freeze_answer (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  unsigned *n = h->type == AGENT_FROZEN ? &a->n_freezes : &a->n_thaws;
  struct rcvmi_agent_record x;
  int code = rcvmi_agent_parse (&x, payload, h->len, err);
  rcvm_error *e;

  if (code < 0)
    return code;
  if (*n == 0 || !a->ops->frozen || !a->ops->thawed)
    return rcvmi_agent_unexpected (h->type == AGENT_FROZEN ? "FROZEN" : "THAWED", err);
  --*n;
  e = x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "volumes") : NULL;
  if (h->type == AGENT_THAWED)
    a->ops->thawed (a->user, h->process, e);
  else
    {
      a->n_thaws += !e;
      a->ops->frozen (a->user, h->process, x.clock_nsec, e);
    }
  return 0;
}

static int
on_synced (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  struct rcvmi_agent_record x;
  int code = rcvmi_agent_parse (&x, payload, h->len, err);

  if (code < 0)
    return code;
  if (!a->ready || a->n_syncs == 0 || !a->ops->synced)
    return rcvmi_agent_unexpected ("SYNCED", err);
  a->n_syncs--;
  a->ops->synced (a->user, h->process, x.clock_nsec, x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "agent") : NULL);
  return 0;
}

static int
on_frame (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload,
          rcvm_error **err)
{
  struct rcvmi_agent_record x;
  int code;

  /* A guest that sleeps says no more than HELLO. */
  if (a->rest == ASLEEP && (h->type != AGENT_HELLO || a->greeted))
    return rcvmi_agent_unexpected ("a frame after QUIESCED", err);
  switch (h->type)
    {
    case AGENT_QUIESCED:
    case AGENT_GONE_ON:
      return rcvmi_agent_on_rest (a, h, payload, err);
    case AGENT_STARTED:
    case AGENT_EXIT:
    case AGENT_STDOUT:
    case AGENT_STDERR:
    case AGENT_FRAME_WINDOW:
    case AGENT_CLOSE:
      return on_process_frame (a, h, payload, err);
    case AGENT_FAILED:
      if (a->ready)
        return on_process_frame (a, h, payload, err);
      break;
    case AGENT_HELLO:
    case AGENT_READY:
    case AGENT_LOG:
    case AGENT_GOODBYE:
    case AGENT_OOM:
      break;
    case AGENT_NET_ANSWER:
      return on_net_answer (a, h, payload, err);
    case AGENT_DISK_ANSWER:
      return on_disk_answer (a, h, payload, err);
    case AGENT_CGROUP_ANSWER:
      return on_cgroup_answer (a, h, payload, err);
    case AGENT_FROZEN:
    case AGENT_THAWED:
      return on_freeze_answer (a, h, payload, err);
    case AGENT_CHANGED:
      if (!a->greeted)
        return rcvmi_agent_unexpected ("CHANGED", err);
      if (a->ops->changed)
        a->ops->changed (a->user);
      return 0;
    case AGENT_SYNCED:
      return on_synced (a, h, payload, err);
    case AGENT_NAME_QUERY:
      if (!a->ready || h->len < AGENT_NAME_QUERY_MIN || h->len > AGENT_NAME_QUERY_MAX)
        return rcvmi_agent_unexpected ("a question for a name", err);
      if (a->ops->name_query)
        a->ops->name_query (a->user, h->process, payload, h->len);
      return 0;
    default:
      return rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the guest's agent sent a frame of unknown type %u",
                         h->type);
    }

  code = rcvmi_agent_parse (&x, payload, h->len, err);
  if (code < 0)
    return code;
  switch (h->type)
    {
    case AGENT_HELLO:
      if (a->greeted)
        return rcvmi_agent_unexpected ("HELLO", err);
      a->greeted = true;
      if (x.version != AGENT_VERSION)
        return rcvmi_fail (err, RCVM_E_GUEST, 0,
                           "the guest's agent speaks version %u of the protocol and this library version "
                           "%d: make the initramfs anew with runcvm-mkguest",
                           x.version, AGENT_VERSION);
      a->ops->hello (a->user, x.kernel, x.boot_usec);
      return 0;
    case AGENT_READY:
      if (!a->greeted || a->setup_failed || a->ready)
        return rcvmi_agent_unexpected ("READY", err);
      a->ready = true;
      a->ops->ready (a->user);
      return 0;
    case AGENT_FAILED:
      if (!a->greeted || a->setup_failed)
        return rcvmi_agent_unexpected ("FAILED", err);
      a->setup_failed = true;
      /* One failure is not the guest's: there is no such program. */
      if (x.has_exit_code && x.exit_code == EXIT_NOT_FOUND)
        a->ops->setup_failed (a->user, rcvmi_agent_guest_error (&x, RCVM_E_PROCESS, "process"));
      else
        a->ops->setup_failed (a->user, rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "agent"));
      return 0;
    case AGENT_LOG:
      rcvmi_log_at (a->log, x.level > RCVM_LOG_DEBUG ? RCVM_LOG_DEBUG : (int) x.level, "agent", "%s",
                    x.message);
      return 0;
    case AGENT_OOM:
      if (!a->greeted)
        return rcvmi_agent_unexpected ("OOM", err);
      if (a->ops->oom)
        a->ops->oom (a->user, x.count);
      return 0;
    default: /* AGENT_GOODBYE */
      if (!a->shutting_down || a->gone)
        return rcvmi_agent_unexpected ("GOODBYE", err);
      a->gone = true;
      a->ops->goodbye (a->user);
      return 0;
    }
}

static void
break_link (struct rcvmi_agent *a, rcvm_error *err)
{
  if (a->broken)
    {
      rcvm_error_free (err);
      return;
    }
  a->broken = true;
  rcvmi_ev_remove (steal_ptr (a->source));
  a->rest = AWAKE;
  for (struct rcvmi_agent_process *p = a->processes; p; p = p->next)
    rcvmi_streams_abandon (p->streams);
  a->ops->broken (a->user, err);
}

static void
watch (struct rcvmi_agent *a)
{
  size_t pending = rcvmi_link_pending (&a->link);

  if (a->source)
    rcvmi_ev_set_events (a->source, (pending > MAX_PENDING ? 0 : EPOLLIN) | (pending ? EPOLLOUT : 0));
}

static void
on_link_ready (void *user, uint32_t events)
{
  struct rcvmi_agent *a = user;
  const unsigned char *payload;
  struct agent_header h;
  rcvm_error *e = NULL;
  int code = 0;

  if (events & EPOLLOUT)
    code = rcvmi_link_flush (&a->link, &e);
  if (code >= 0 && (events & ~(uint32_t) EPOLLOUT))
    {
      code = rcvmi_link_fill (&a->link, &e);
      while (code >= 0 && !a->broken && (code = rcvmi_link_next (&a->link, &h, &payload, &e)) > 0)
        code = on_frame (a, &h, payload, &e);
      /* As it has to be: there will be another. */
      if (code >= 0 && a->link.eof && a->rest == ASLEEP)
        rcvmi_ev_remove (steal_ptr (a->source));
      else if (code >= 0 && a->link.eof)
        code = rcvmi_fail (&e, RCVM_E_GUEST, 0, "the connection to the guest's agent ended");
    }
  if (a->broken)
    rcvm_error_free (e);
  else if (code < 0)
    break_link (a, e);
  else
    watch (a);
}

static void
on_link_pending (void *user)
{
  struct rcvmi_agent *a = user;

  watch (a);
}

int
rcvmi_agent_connect (struct rcvmi_agent *a, int fd, rcvm_error **err)
{
  int code = rcvmi_link_init (&a->link, fd, "the guest's agent", AGENT_DATA_MAX, err);

  if (code < 0)
    return code;
  a->link.on_pending = on_link_pending;
  a->link.user = a;
  a->source = rcvmi_ev_add (a->ev, fd, EPOLLIN, on_link_ready, a, err);
  return a->source ? 0 : RCVM_E_SYSTEM;
}

struct rcvmi_agent *
rcvmi_agent_new (struct rcvmi_ev *ev, int fd, const struct rcvmi_log *log,
                 const struct rcvmi_agent_ops *ops, void *user, rcvm_error **err)
{
  struct rcvmi_agent *a = calloc (1, sizeof *a);

  if (!a)
    {
      close (fd);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  *a = (struct rcvmi_agent){ .ev = ev, .log = log, .ops = ops, .user = user };
  if (rcvmi_agent_connect (a, fd, err) < 0)
    {
      rcvmi_link_clear (&a->link);
      free (a);
      return NULL;
    }
  return a;
}

void
rcvmi_agent_free (struct rcvmi_agent *a)
{
  if (!a)
    return;
  while (a->processes)
    rcvmi_agent_drop (a->processes);
  rcvmi_ev_remove (a->source);
  rcvmi_link_clear (&a->link);
  free (a);
}

int
rcvmi_agent_check (struct rcvmi_agent *a, rcvm_error **err)
{
  if (a->broken)
    return rcvmi_fail (err, RCVM_E_GUEST, 0, "the guest's agent is gone");
  return a->rest == AWAKE ? 0 : rcvmi_fail (err, RCVM_E_STATE, 0, "the VM is being saved: try again when that is done");
}

int
rcvmi_agent_setup (struct rcvmi_agent *a, struct tlv_writer *record, rcvm_error **err)
{
  return rcvmi_link_send_record (&a->link, AGENT_SETUP, 0, record, err);
}

int
rcvmi_agent_net (struct rcvmi_agent *a, uint16_t type, uint32_t number, struct tlv_writer *record, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    {
      tlv_writer_free (record);
      return code;
    }
  a->n_net_requests++;
  return rcvmi_link_send_record (&a->link, type, number, record, err);
}

int
rcvmi_agent_disk (struct rcvmi_agent *a, uint16_t type, uint32_t number, struct tlv_writer *record, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    {
      tlv_writer_free (record);
      return code;
    }
  a->n_disk_requests++;
  return rcvmi_link_send_record (&a->link, type, number, record, err);
}

int
rcvmi_agent_freeze (struct rcvmi_agent *a, uint32_t number, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    return code;
  a->n_freezes++;
  return rcvmi_link_send (&a->link, AGENT_FREEZE, number, NULL, 0, err);
}

/* One that does not get there ends with the connection. */
void
rcvmi_agent_thaw (struct rcvmi_agent *a, uint32_t number)
{
  if (rcvmi_agent_check (a, NULL) == 0)
    rcvmi_link_send (&a->link, AGENT_THAW, number, NULL, 0, NULL);
}

int
rcvmi_agent_shutdown (struct rcvmi_agent *a, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    return code;
  a->shutting_down = true;
  return rcvmi_link_send (&a->link, AGENT_SHUTDOWN, 0, NULL, 0, err);
}

static void
on_no_answer (void *user, uint32_t events)
{
  struct rcvmi_agent_process *p = user;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (p->timer));
  rcvmi_fail (&e, RCVM_E_GUEST, 0, "the guest's agent did not start a process within %d seconds",
              ANSWER_TIMEOUT_MS / 1000);
  break_link (p->agent, e);
}

/* What does not reach the guest it asks for again: one that asks and does not read is not waited for. */
void
rcvmi_agent_name_answer (struct rcvmi_agent *a, uint32_t number, const void *message, size_t len)
{
  if (rcvmi_agent_check (a, NULL) == 0 && rcvmi_link_pending (&a->link) < AGENT_WINDOW)
    rcvmi_link_send (&a->link, AGENT_NAME_ANSWER, number, message, len, NULL);
}

int
rcvmi_agent_cgroup (struct rcvmi_agent *a, uint16_t type, uint32_t number, struct tlv_writer *record, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    {
      tlv_writer_free (record);
      return code;
    }
  a->n_cgroup_requests++;
  return rcvmi_link_send_record (&a->link, type, number, record, err);
}

int
rcvmi_agent_sync (struct rcvmi_agent *a, uint32_t number, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    return code;
  a->n_syncs++;
  return rcvmi_link_send (&a->link, AGENT_SYNC, number, NULL, 0, err);
}

int
rcvmi_agent_set_clock (struct rcvmi_agent *a, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  struct timespec now;
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    return code;
  clock_gettime (CLOCK_REALTIME, &now);
  tlv_put_u64 (&w, A_CLOCK_NSEC, (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
  return rcvmi_link_send_record (&a->link, AGENT_CLOCK, 0, &w, err);
}

void
rcvmi_agent_hold (struct rcvmi_agent *a)
{
  for (struct rcvmi_agent_process *p = a->processes; p; p = p->next)
    {
      p->held = p->timer != NULL;
      rcvmi_ev_remove (steal_ptr (p->timer));
    }
}

int
rcvmi_agent_go_on (struct rcvmi_agent *a, rcvm_error **err)
{
  for (struct rcvmi_agent_process *p = a->processes; p; p = p->next)
    if (p->held && !p->started)
      {
        p->held = false;
        p->timer = rcvmi_ev_add_timer (a->ev, ANSWER_TIMEOUT_MS, on_no_answer, p, err);
        if (!p->timer)
          return RCVM_E_SYSTEM;
      }
  return 0;
}

int64_t
rcvmi_agent_exec (struct rcvmi_agent *a, const void *record, size_t len, const int fds[3],
                  const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err)
{
  struct rcvmi_agent_process *p = NULL;
  int code = rcvmi_agent_check (a, err);

  if (code == 0 && a->n_processes >= RCVMI_AGENT_PROCESS_MAX)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "%d processes run already; wait for one to end",
                       RCVMI_AGENT_PROCESS_MAX);
  if (code == 0 && !(p = calloc (1, sizeof *p)))
    code = rcvmi_fail_nomem (err);
  if (code < 0)
    {
      for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
          close (fds[i]);
      return code;
    }
  p->agent = a;
  p->ops = ops;
  p->user = user;
  /* Numbers wrap after 2^32 processes: one that is still in use is passed over, and so is 0. */
  do
    p->number = a->next_number++;
  while (rcvmi_agent_find (a, p->number) || (p->number == RCVMI_AGENT_INIT && a->next_number != 1));
  code = rcvmi_agent_add (p, fds, err);
  if (code == 0)
    {
      p->timer = rcvmi_ev_add_timer (a->ev, ANSWER_TIMEOUT_MS, on_no_answer, p, err);
      if (!p->timer)
        {
          rcvmi_agent_drop (p);
          return RCVM_E_SYSTEM;
        }
      code = rcvmi_link_send (&a->link, AGENT_EXEC, p->number, record, len, err);
    }
  if (code < 0)
    {
      rcvmi_agent_drop (p);
      return code;
    }
  return p->number;
}

void
rcvmi_agent_forget (struct rcvmi_agent *a, uint32_t process, bool kill)
{
  struct rcvmi_agent_process *p = rcvmi_agent_find (a, process);

  if (!p)
    return;
  p->ops = NULL;
  p->doomed = kill;
  if (kill && p->started && !p->ended)
    rcvmi_agent_signal (a, process, SIGKILL, false, NULL);
}

static int
send_to_process (struct rcvmi_agent *a, uint16_t type, uint32_t process, struct tlv_writer *w,
                 rcvm_error **err)
{
  struct rcvmi_agent_process *p = rcvmi_agent_find (a, process);
  int code = rcvmi_agent_check (a, err);

  if (code == 0 && (!p || !p->started || p->ended))
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "the process does not run");
  if (code < 0)
    {
      tlv_writer_free (w);
      return code;
    }
  return rcvmi_link_send_record (&a->link, type, process, w, err);
}

int
rcvmi_agent_signal (struct rcvmi_agent *a, uint32_t process, int signum, bool all, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_SIGNAL, (uint32_t) signum);
  tlv_put_u32 (&w, A_ALL, all);
  return send_to_process (a, AGENT_SIGNAL, process, &w, err);
}

void
rcvmi_agent_notify (struct rcvmi_agent *a, const void *record, size_t len)
{
  if (rcvmi_agent_check (a, NULL) == 0 && !a->shutting_down && rcvmi_link_pending (&a->link) == 0)
    rcvmi_link_send (&a->link, AGENT_NOTIFY, 0, record, len, NULL);
}

int
rcvmi_agent_resize (struct rcvmi_agent *a, uint32_t process, unsigned rows, unsigned cols,
                    rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  tlv_put_u32 (&w, A_ROWS, rows);
  tlv_put_u32 (&w, A_COLS, cols);
  return send_to_process (a, AGENT_RESIZE, process, &w, err);
}
