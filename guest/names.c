/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "agent-wire.h"
#include "channel.h"
#include "log.h"
#include "loop.h"
#include "netspace.h"

enum
{
  ASKERS = 256, /* whose answers are due; older ones have given up */
  PORT = 53
};

static void on_query (struct watch *w, uint32_t events);

static struct
{
  struct watch watch;
  uint32_t next;
  struct
  {
    uint32_t number;
    struct sockaddr_in from; /* no port: nobody */
  } askers[ASKERS];
} the = { .watch = { .fd = -1, .ready = on_query, .output = true } };

static void
on_query (struct watch *w, uint32_t events)
{
  unsigned char message[AGENT_NAME_QUERY_MAX];
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  ssize_t n = recvfrom (w->fd, message, sizeof message, MSG_TRUNC, (struct sockaddr *) &from, &size);

  (void) events;
  /* What is no question, or none of a size that occurs, is not passed on. */
  if (n < AGENT_NAME_QUERY_MIN || (size_t) n > sizeof message || size != sizeof from)
    return;
  the.askers[the.next % ASKERS].number = the.next;
  the.askers[the.next % ASKERS].from = from;
  channel_send (AGENT_NAME_QUERY, the.next++, message, (size_t) n);
}

void
names_start (void)
{
  struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons (PORT) };
  int fd = netspace_socket (AF_INET, SOCK_DGRAM, 0);

  inet_pton (AF_INET, AGENT_NAME_SERVER, &at.sin_addr);
  if (fd < 0 || bind (fd, (struct sockaddr *) &at, sizeof at) < 0 || loop_add (&the.watch, fd, EPOLLIN) < 0)
    log_write (LOG_WARNING, "the container has no name server at %s: %s", AGENT_NAME_SERVER, strerror (errno));
}

void
names_answer (uint32_t number, const void *message, size_t len)
{
  const struct sockaddr_in *from = &the.askers[number % ASKERS].from;

  if (the.watch.fd < 0 || the.askers[number % ASKERS].number != number || !from->sin_port)
    return;
  /* As with any server, an answer that is lost is asked for again. */
  if (sendto (the.watch.fd, message, len, 0, (const struct sockaddr *) from, sizeof *from) < 0)
    log_write (LOG_DEBUG, "an answer about a name is lost: %s", strerror (errno));
  the.askers[number % ASKERS].from.sin_port = 0;
}
