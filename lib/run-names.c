/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Docker's name server for networks that have names: it listens at 127.0.0.11 in the container's network namespace, that is in the
 * host's half of it, where the VM's packets do not go.  The guest's agent listens at that address in the guest, and the
 * monitor asks in the namespace what it is asked.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "run-parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "net-read.h"
#include "spec-types.h"

enum
{
  QUERIES = 64, /* at once: a guest that asks more waits for the first ones, or asks again */
  QUERY_TIMEOUT_MS = 15000,
  PORT = 53
};

struct rcvmi_run_query
{
  struct rcvmi_run_query *next;
  struct rcvmi_run *run;
  uint32_t number;
  int fd;
  struct rcvmi_ev_source *source, *timer;
};

bool
rcvmi_run_wants_names (struct rcvmi_run *run)
{
  const struct rcvmi_spec *spec = run->plan->spec;
  struct rcvmi_net_dns dns;
  const char *source = NULL;

  /* Elsewhere it is no business of the guest's what listens on the host's 127.0.0.0/8. */
  if (run->plan->net.mode != RCVMI_PLAN_NET_OWN && run->plan->net.mode != RCVMI_PLAN_NET_NETNS)
    return false;
  for (size_t i = 0; i < spec->n_mounts; i++)
    if (spec->mounts[i].destination && strcmp (spec->mounts[i].destination, "/etc/resolv.conf") == 0)
      source = spec->mounts[i].source;
  if (!source || source[0] != '/' || rcvmi_net_dns_read (&dns, source, NULL) < 0)
    return false;
  for (char **s = dns.servers; s && *s; s++)
    run->names = run->names || strcmp (*s, AGENT_NAME_SERVER) == 0;
  rcvmi_net_dns_clear (&dns);
  return run->names;
}

static void
drop (struct rcvmi_run_query *q)
{
  struct rcvmi_run_query **at = &q->run->queries;

  while (*at != q)
    at = &(*at)->next;
  *at = q->next;
  q->run->n_queries--;
  rcvmi_ev_remove (q->source);
  rcvmi_ev_remove (q->timer);
  cleanup_close (&q->fd);
  free (q);
}

static void
on_answer (void *user, uint32_t events)
{
  static unsigned char message[AGENT_DATA_MAX]; /* the monitor has one thread */
  struct rcvmi_run_query *q = user;
  ssize_t n = recv (q->fd, message, sizeof message, 0);

  (void) events;
  /* Where nobody listens, the guest hears nothing, either. */
  if (n > 0)
    rcvmi_agent_name_answer (q->run->agent, q->number, message, (size_t) n);
  drop (q);
}

static void
on_timeout (void *user, uint32_t events)
{
  (void) events;
  drop (user);
}

void
rcvmi_run_name_query (void *user, uint32_t number, const unsigned char *message, size_t len)
{
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons (PORT) };
  struct rcvmi_run *run = user;
  struct rcvmi_run_query *q;

  if (!run->names || !run->net || run->n_queries == QUERIES || !(q = calloc (1, sizeof *q)))
    return;
  inet_pton (AF_INET, AGENT_NAME_SERVER, &at.sin_addr);
  q->run = run;
  q->number = number;
  q->next = run->queries;
  run->queries = q;
  run->n_queries++;
  q->fd = rcvmi_net_socket (run->net, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0, NULL);
  if (q->fd < 0 || connect (q->fd, (struct sockaddr *) &at, sizeof at) < 0
      || !(q->source = rcvmi_ev_add (run->ev, q->fd, EPOLLIN, on_answer, q, NULL))
      || !(q->timer = rcvmi_ev_add_timer (run->ev, QUERY_TIMEOUT_MS, on_timeout, q, NULL))
      || send (q->fd, message, len, MSG_NOSIGNAL) < 0)
    drop (q);
}

void
rcvmi_run_undo_names (struct rcvmi_run *run)
{
  while (run->queries)
    drop (run->queries);
  run->names = false;
}
