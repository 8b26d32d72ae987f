/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the agent's host side share: agent.c, agent-rest.c. */
#ifndef RCVM_LIB_AGENT_PARTS_H
#define RCVM_LIB_AGENT_PARTS_H

#include "agent-record.h"
#include "agent.h"
#include "link.h"
#include "stream.h"

struct rcvmi_agent_process
{
  struct rcvmi_agent *agent;
  struct rcvmi_agent_process *next;
  uint32_t number;
  struct rcvmi_streams *streams;
  const struct rcvmi_agent_process_ops *ops; /* NULL: forgotten */
  void *user;
  struct rcvmi_ev_source *timer; /* until the guest answers EXEC */
  bool held;                     /* it had one when the guest was paused */
  bool started, ended;
  bool doomed; /* to be killed as soon as it has started */
  int code, signum;
};

struct rcvmi_agent
{
  struct rcvmi_ev *ev;
  struct rcvmi_ev_source *source;
  struct rcvmi_link link;
  const struct rcvmi_log *log;
  const struct rcvmi_agent_ops *ops;
  void *user;
  struct rcvmi_agent_process *processes;
  unsigned n_processes;
  uint32_t next_number;
  unsigned n_net_requests, n_disk_requests, n_cgroup_requests, n_freezes, n_thaws, n_syncs; /* without an answer */
  bool greeted, setup_failed, ready, shutting_down, gone, broken;
  enum
  {
    AWAKE,
    QUIESCING, /* nothing is said any more */
    ASLEEP,    /* nor heard, but HELLO by a new connection */
    WAKING
  } rest;
};

struct rcvmi_agent_process *rcvmi_agent_find (struct rcvmi_agent *a, uint32_t number);
/* With its streams, among the others.  Takes the fds over in any case; rcvmi_agent_drop undoes it, also after a failure. */
int rcvmi_agent_add (struct rcvmi_agent_process *p, const int fds[3], rcvm_error **err);
void rcvmi_agent_drop (struct rcvmi_agent_process *p);

/* Its link.  Takes the fd over in any case. */
int rcvmi_agent_connect (struct rcvmi_agent *a, int fd, rcvm_error **err);
/* Whether there is somebody who listens. */
int rcvmi_agent_check (struct rcvmi_agent *a, rcvm_error **err);
/* An error: this frame has no place here. */
int rcvmi_agent_unexpected (const char *what, rcvm_error **err);
/* The sentence is the guest's; stage and code are ours. */
rcvm_error *rcvmi_agent_guest_error (const struct rcvmi_agent_record *x, int code, const char *stage);

/* agent-rest.c: QUIESCED, GONE_ON. */
int rcvmi_agent_on_rest (struct rcvmi_agent *a, const struct agent_header *h, const unsigned char *payload, rcvm_error **err);

#endif
