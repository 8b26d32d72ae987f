/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VM that is there uses and may use: the host's cgroup at once, the guest's by asking. */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "run-parts.h"

#include <stdlib.h>
#include <string.h>

#include "agent-wire.h"
#include "cgroup-stats.h"
#include "cleanup.h"
#include "err.h"
#include "spec-types.h"

enum
{
  ANSWER_TIMEOUT_MS = 60000,
  REQUESTS_MAX = 256
};

/* Something that the guest has been asked for. */
struct rcvmi_run_request
{
  struct rcvmi_run_request *next;
  struct rcvmi_run *run;
  uint32_t number;
  struct rcvmi_limits limits; /* of an update: for the host, when the guest agrees */
  bool is_update;
  int64_t memory; /* of an update: the new limit, -1 for none, 0 for no change */
  rcvmi_run_json_fn done; /* NULL: nobody waits */
  void *user;
  struct rcvmi_ev_source *timer;
};

static void
drop (struct rcvmi_run_request *q)
{
  struct rcvmi_run_request **at = &q->run->requests;

  while (*at != q)
    at = &(*at)->next;
  *at = q->next;
  rcvmi_ev_remove (q->timer);
  rcvmi_limits_clear (&q->limits);
  free (q);
}

static int
apply (struct rcvmi_run *run, const struct rcvmi_limits *limits, int64_t memory, rcvm_error **err)
{
  uint64_t whole = run->plan->memory;
  int code = rcvmi_run_limit (run, limits, false, err);

  if (code == 0)
    code = rcvmi_run_limit (run, limits, true, err);
  if (code == 0 && memory != 0 && run->plan->memory_max > whole)
    code = rcvmi_vmm_set_more_memory (&run->vmm, memory > 0 && (uint64_t) memory > whole ? (uint64_t) memory - whole : 0, err);
  if (code == 0 && memory != 0 && run->plan->balloon)
    code = rcvmi_vmm_set_balloon (&run->vmm, whole, memory > 0 && (uint64_t) memory < whole ? whole - (uint64_t) memory : 0, err);
  return code;
}

static void
finish (struct rcvmi_run_request *q, const unsigned char *record, size_t len, rcvm_error *e)
{
  struct rcvmi_run *run = q->run;
  rcvmi_run_json_fn done = q->done;
  void *user = q->user;
  autofree char *json = NULL;

  if (!e && q->is_update)
    apply (run, &q->limits, q->memory, &e);
  else if (!e)
    json = rcvmi_cgroup_stats (&run->cgroup, record, len, run->state.oom_kills, &e);
  drop (q);
  if (done)
    done (user, json, e);
  else
    rcvm_error_free (e);
}

void
rcvmi_run_cgroup_answer (void *user, uint32_t number, const unsigned char *record, size_t len, rcvm_error *err)
{
  struct rcvmi_run *run = user;
  struct rcvmi_run_request *q = run->requests;

  while (q && q->number != number)
    q = q->next;
  if (q)
    finish (q, record, len, err);
  else
    rcvm_error_free (err);
}

static void
on_no_answer (void *user, uint32_t events)
{
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_fail (&e, RCVM_E_GUEST, 0, "the guest's agent said nothing about its cgroup for %d seconds", ANSWER_TIMEOUT_MS / 1000);
  finish (user, NULL, 0, e);
}

/* Frees the record; takes the limits over. */
static int
ask (struct rcvmi_run *run, uint16_t type, struct tlv_writer *w, struct rcvmi_limits *limits, int64_t memory,
     rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  struct rcvmi_run_request *q = NULL;
  unsigned n = 0;
  int code = 0;

  for (q = run->requests; q; q = q->next)
    n++;
  if (n >= REQUESTS_MAX)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "too many requests about VM '%s' are under way", run->options.id);
  else if (!(q = calloc (1, sizeof *q)))
    code = rcvmi_fail_nomem (err);
  if (code < 0)
    {
      tlv_writer_free (w);
      return code;
    }
  q->run = run;
  q->number = ++run->request_number;
  q->is_update = limits != NULL;
  q->memory = memory;
  if (limits)
    {
      q->limits = *limits;
      *limits = (struct rcvmi_limits){ 0 };
    }
  q->done = done;
  q->user = user;
  q->next = run->requests;
  run->requests = q;
  q->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS, on_no_answer, q, err);
  if (q->timer)
    code = rcvmi_agent_cgroup (run->agent, type, q->number, w, err);
  else
    {
      tlv_writer_free (w);
      code = RCVM_E_SYSTEM;
    }
  if (code < 0)
    drop (q);
  return code;
}

static int
check_alive (const struct rcvmi_run *run, rcvm_error **err)
{
  if (run->agent && run->state.status >= RCVM_STATUS_CREATED && !run->process_ended && !run->ending)
    return 0;
  return rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is not running", run->options.id);
}

/* Whether the guest does what the host cannot. */
static bool
is_guests (const char *what)
{
  return strcmp (what, "memory.reservation") == 0 || strcmp (what, "pids.limit") == 0 || strcmp (what, "cpu.quota") == 0
         || strcmp (what, "cpu.period") == 0 || strcmp (what, "unified") == 0;
}

static int
check_limits (const struct rcvmi_run *run, const struct rcvmi_limits *limits, rcvm_error **err)
{
  for (size_t i = 0; i < limits->n; i++)
    if (!is_guests (limits->list[i].what) && !rcvmi_cgroup_takes (&run->cgroup, limits, limits->list[i].what))
      return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                         "'%s' cannot be changed: the container's cgroup on the host has no controller '%s' for that",
                         limits->list[i].what, limits->list[i].controller);
  return 0;
}

int
rcvmi_run_update (struct rcvmi_run *run, const char *json, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  const struct rcvmi_limits_vm vm = rcvmi_run_limits_vm (run);
  struct rcvmi_spec *spec = rcvmi_spec_parse_resources (json, err);
  struct rcvmi_limits limits = { 0 };
  struct tlv_writer w = TLV_WRITER_INIT;
  const struct rcvmi_spec_resources *r;
  int64_t memory;
  int code;

  if (!spec)
    return RCVM_E_SPEC;
  r = spec->lx->resources;
  memory = r->memory ? r->memory->limit.value : 0;
  code = check_alive (run, err);
  if (code == 0)
    code = rcvmi_plan_limits (&limits, r, &vm, true, err);
  if (code == 0)
    code = check_limits (run, &limits, err);
  if (code == 0)
    code = rcvmi_plan_guest_limits (&w, r, run->plan->memory, run->plan->memory_max, true, err);
  if (code == 0 && !rcvmi_cgroup_of (&run->cgroup, "cpu"))
    rcvmi_plan_guest_cpu (&w, r, run->plan->cpus, true);
  for (char **text = spec->warnings; code == 0 && text && *text; text++)
    rcvmi_log_at (run->log, RCVM_LOG_WARNING, "spec", "%s", *text);
  if (code == 0 && w.len > 0 && run->state.status == RCVM_STATUS_PAUSED)
    code = rcvmi_fail (err, RCVM_E_STATE, 0, "VM '%s' is paused, and its guest has to take a part of the limits: resume it first",
                       run->options.id);
  if (code == 0 && w.len > 0)
    code = ask (run, AGENT_CGROUP_SET, &w, &limits, memory, done, user, err);
  else
    {
      tlv_writer_free (&w);
      if (code == 0)
        code = apply (run, &limits, memory, err);
      if (code == 0)
        done (user, NULL, NULL);
    }
  rcvmi_limits_clear (&limits);
  rcvmi_spec_free (spec);
  return code;
}

int
rcvmi_run_stats (struct rcvmi_run *run, rcvmi_run_json_fn done, void *user, rcvm_error **err)
{
  struct tlv_writer w = TLV_WRITER_INIT;
  autofree char *json = NULL;
  int code = check_alive (run, err);

  if (code < 0)
    return code;
  if (run->state.status == RCVM_STATUS_RUNNING)
    {
      rcvmi_cgroup_ask_guest (&w);
      return ask (run, AGENT_CGROUP_GET, &w, NULL, 0, done, user, err);
    }
  json = rcvmi_cgroup_stats (&run->cgroup, NULL, 0, run->state.oom_kills, err);
  if (!json)
    return RCVM_E_NOMEM;
  done (user, json, NULL);
  return 0;
}

char *
rcvmi_run_processes (struct rcvmi_run *run, rcvm_error **err)
{
  autofree pid_t *pids = NULL;
  char *text = NULL;
  size_t size;
  FILE *f;

  if (run->cgroup.n && !(pids = rcvmi_cgroup_processes (&run->cgroup, err)))
    return NULL;
  f = open_memstream (&text, &size);
  if (f)
    {
      fprintf (f, "[%d", (int) run->state.pid);
      for (pid_t *p = pids; p && *p > 0; p++)
        if (*p != run->state.pid)
          fprintf (f, ",%d", (int) *p);
      if (!pids && run->vmm.proc.pid > 0)
        fprintf (f, ",%d", (int) run->vmm.proc.pid);
      fputc (']', f);
    }
  if (f && fclose (f) == 0)
    return text;
  free (text);
  rcvmi_fail_nomem (err);
  return NULL;
}

char *
rcvmi_run_figures (struct rcvmi_run *run, rcvm_error **err)
{
  char *text;

  if (run->vmm.ops && run->vmm.ops->figures && run->vmm.proc.pid > 0)
    return run->vmm.ops->figures (&run->vmm, run->options.id, run->state.status == RCVM_STATUS_PAUSED, err);
  text = strdup ("");
  if (!text)
    rcvmi_fail_nomem (err);
  return text;
}

void
rcvmi_run_forget_requests (struct rcvmi_run *run, void *user)
{
  for (struct rcvmi_run_request *q = run->requests; q; q = q->next)
    if (q->user == user)
      q->done = NULL;
}

void
rcvmi_run_hold_requests (struct rcvmi_run *run)
{
  for (struct rcvmi_run_request *q = run->requests; q; q = q->next)
    rcvmi_ev_remove (steal_ptr (q->timer));
}

int
rcvmi_run_go_on_with_requests (struct rcvmi_run *run, rcvm_error **err)
{
  for (struct rcvmi_run_request *q = run->requests; q; q = q->next)
    {
      q->timer = rcvmi_ev_add_timer (run->ev, ANSWER_TIMEOUT_MS, on_no_answer, q, err);
      if (!q->timer)
        return RCVM_E_SYSTEM;
    }
  return 0;
}

void
rcvmi_run_undo_requests (struct rcvmi_run *run)
{
  while (run->requests)
    {
      rcvm_error *e = NULL;

      rcvmi_fail (&e, RCVM_E_STATE, 0, "VM '%s' has stopped", run->options.id);
      finish (run->requests, NULL, 0, e);
    }
}

/* The guest's kernel has killed processes of the container. */
void
rcvmi_run_oom (void *user, uint32_t kills)
{
  struct rcvmi_run *run = user;
  rcvm_error *e = NULL;

  run->state.oom_kills = kills;
  if (rcvmi_run_save (run, &e) < 0)
    {
      rcvmi_log_at (run->log, RCVM_LOG_WARNING, "state", "%s", rcvm_error_get_message (e));
      rcvm_error_free (e);
    }
  run->handler->oom (run->user, kills);
}
