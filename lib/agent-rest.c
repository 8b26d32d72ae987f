/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest that is quiet while its machine is saved, and goes on by another connection: its own, or a copy's (docs/snapshots.md). */
#include "config.h"

#define RCVMI_STAGE "agent"
#include "agent-parts.h"

#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

/* Streams flow again. */
static int
wake (struct rcvmi_agent *a, rcvm_error **err)
{
  int code = 0;

  a->rest = AWAKE;
  for (struct rcvmi_agent_process *p = a->processes; code == 0 && p; p = p->next)
    code = rcvmi_streams_go_on (p->streams, err);
  return code;
}

int
rcvmi_agent_on_rest (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err)
{
  bool quiesced = h->type == AGENT_QUIESCED;
  struct rcvmi_agent_record x;
  int code = rcvmi_agent_parse (&x, payload, h->len, err);
  rcvm_error *e;

  if (code < 0)
    return code;
  if (a->rest != (quiesced ? QUIESCING : WAKING) || !a->ops->quiesced || !a->ops->gone_on)
    return rcvmi_agent_unexpected (quiesced ? "QUIESCED" : "GONE_ON", err);
  e = x.message[0] ? rcvmi_agent_guest_error (&x, RCVM_E_GUEST, "snapshot") : NULL;
  if (quiesced && !e)
    a->rest = ASLEEP;
  else if (quiesced || !e)
    code = wake (a, err);
  if (code < 0)
    {
      rcvm_error_free (e);
      return code;
    }
  if (quiesced)
    a->ops->quiesced (a->user, e);
  else
    a->ops->gone_on (a->user, e);
  return 0;
}

int
rcvmi_agent_quiesce (struct rcvmi_agent *a, uint32_t number, rcvm_error **err)
{
  int code = rcvmi_agent_check (a, err);

  if (code < 0)
    return code;
  for (const struct rcvmi_agent_process *p = a->processes; p; p = p->next)
    if (p->number != RCVMI_AGENT_INIT)
      return rcvmi_fail (err, RCVM_E_STATE, 0,
                         "processes that were started in the container (exec) run there: a container is saved without any, so end them or wait");
    else if (!p->started || p->ended)
      return rcvmi_fail (err, RCVM_E_STATE, 0, "the container's process does not run");
  if (!a->processes)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the container's process does not run");
  if (!a->ready || a->shutting_down || a->n_net_requests || a->n_disk_requests || a->n_cgroup_requests || a->n_freezes || a->n_thaws || a->n_syncs)
    return rcvmi_fail (err, RCVM_E_STATE, 0, "the guest's agent is at work for somebody else: try again");
  code = rcvmi_link_send (&a->link, AGENT_QUIESCE, number, NULL, 0, err);
  if (code < 0)
    return code;
  a->rest = QUIESCING;
  for (struct rcvmi_agent_process *p = a->processes; p; p = p->next)
    rcvmi_streams_hold (p->streams);
  return 0;
}

bool
rcvmi_agent_is_asleep (const struct rcvmi_agent *a)
{
  return a->rest == ASLEEP;
}

int
rcvmi_agent_reconnect (struct rcvmi_agent *a, int fd, rcvm_error **err)
{
  rcvmi_ev_remove (steal_ptr (a->source));
  rcvmi_link_clear (&a->link);
  a->greeted = false;
  return rcvmi_agent_connect (a, fd, err);
}

int
rcvmi_agent_go_on_from (struct rcvmi_agent *a, uint32_t number, struct tlv_writer *record, rcvm_error **err)
{
  if (a->broken || a->rest != ASLEEP)
    {
      tlv_writer_free (record);
      return rcvmi_fail (err, RCVM_E_STATE, 0, "the guest's agent does not wait to go on");
    }
  a->rest = WAKING;
  return rcvmi_link_send_record (&a->link, AGENT_GO_ON, number, record, err);
}

void
rcvmi_agent_save (struct rcvmi_agent *a, struct rcvmi_streams_saved *saved)
{
  struct rcvmi_agent_process *p = rcvmi_agent_find (a, RCVMI_AGENT_INIT);

  *saved = (struct rcvmi_streams_saved){ 0 };
  if (p)
    rcvmi_streams_save (p->streams, saved);
}

void
rcvmi_agent_expect_sleeper (struct rcvmi_agent *a)
{
  a->ready = true;
  a->rest = ASLEEP;
}

int
rcvmi_agent_adopt (struct rcvmi_agent *a, const struct rcvmi_streams_saved *saved, const int fds[3],
                   const struct rcvmi_agent_process_ops *ops, void *user, rcvm_error **err)
{
  struct rcvmi_agent_process *p = calloc (1, sizeof *p);
  int code;

  if (!p)
    {
      for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
          close (fds[i]);
      return rcvmi_fail_nomem (err);
    }
  *p = (struct rcvmi_agent_process){ .agent = a, .number = RCVMI_AGENT_INIT, .ops = ops, .user = user, .started = true };
  a->next_number = 1;
  code = rcvmi_agent_add (p, fds, err);
  if (code == 0)
    code = rcvmi_streams_adopt (p->streams, saved, err);
  if (code < 0)
    rcvmi_agent_drop (p);
  return code;
}
