/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A socket at which the VM's kernel connects to its volumes: the monitor takes the connections and passes them on to the volume
 * server, which has no socket that others could find.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"

struct rcvmi_run_listener
{
  struct rcvmi_run *run;
  rcvmi_run_peer_fn is_the_vms;
  int fd;
  struct rcvmi_ev_source *source;
  uint64_t refused;
};

static void
on_connection (void *user, uint32_t events)
{
  struct rcvmi_run_listener *l = user;
  struct sockaddr_in peer = { 0 };
  socklen_t len = sizeof peer;
  char text[INET_ADDRSTRLEN] = "";
  int fd = accept4 (l->fd, (struct sockaddr *) &peer, &len, SOCK_CLOEXEC), one = 1;

  (void) events;
  if (fd < 0)
    return;
  /* A port that takes privileges: the kernel's client has one, an ordinary process of the container has not. */
  if (peer.sin_family == AF_INET && ntohs (peer.sin_port) < IPPORT_RESERVED && l->is_the_vms (l->run, &peer.sin_addr))
    {
      setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      setsockopt (fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
      rcvmi_run_volumes_admit (l->run->volumes, fd);
      return;
    }
  close (fd);
  /* Once: whoever knocks is not to fill the log. */
  if (l->refused++ == 0)
    rcvmi_log_at (l->run->log, RCVM_LOG_WARNING, "volumes",
                  "a connection to the volumes from %s, port %u, which is not this VM's kernel, was refused; "
                  "others will be, too",
                  inet_ntop (AF_INET, &peer.sin_addr, text, sizeof text), (unsigned) ntohs (peer.sin_port));
}

struct rcvmi_run_listener *
rcvmi_run_listener_new (struct rcvmi_run *run, int fd, rcvmi_run_peer_fn is_the_vms, rcvm_error **err)
{
  struct rcvmi_run_listener *l = calloc (1, sizeof *l);

  if (!l)
    {
      close (fd);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  *l = (struct rcvmi_run_listener){ .run = run, .is_the_vms = is_the_vms, .fd = fd };
  l->source = rcvmi_ev_add (run->ev, fd, EPOLLIN, on_connection, l, err);
  if (l->source)
    return l;
  rcvmi_run_listener_free (l);
  return NULL;
}

uint64_t
rcvmi_run_listener_refused (const struct rcvmi_run_listener *l)
{
  return l ? l->refused : 0;
}

void
rcvmi_run_listener_free (struct rcvmi_run_listener *l)
{
  if (!l)
    return;
  rcvmi_ev_remove (l->source);
  close (l->fd);
  free (l);
}
