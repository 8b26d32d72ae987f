/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "netmounts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "handoff.h"
#include "kernel.h"
#include "log.h"
#include "mounts.h"

enum
{
  CONNECT_MS = 20000
};

static int agents_end = -1;

/* A port that takes privileges, as the kernel's client has one: others are turned away. */
static int
bind_low (int fd)
{
  struct sockaddr_in a = { .sin_family = AF_INET };

  for (unsigned port = IPPORT_RESERVED - 1; port >= IPPORT_RESERVED / 2; port--)
    {
      a.sin_port = htons ((uint16_t) port);
      if (bind (fd, (struct sockaddr *) &a, sizeof a) == 0)
        return 0;
      if (errno != EADDRINUSE)
        break;
    }
  return -1;
}

/* The kernel would wait for minutes for a host that a firewall hides, and say little of it. */
static int
knock (const struct setup *s, struct failure *f)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons ((uint16_t) s->server_port) };
  autoclose int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct pollfd p = { .fd = fd, .events = POLLOUT };
  int error = 0;
  socklen_t len = sizeof error;

  if (!s->server || inet_pton (AF_INET, s->server, &a.sin_addr) != 1)
    return fail (f, "mount", EINVAL, "the host does not say where its volumes are");
  if (fd < 0 || bind_low (fd) < 0)
    return fail (f, "mount", errno, "cannot make a socket");
  if (connect (fd, (struct sockaddr *) &a, sizeof a) < 0)
    error = errno;
  if (error == EINPROGRESS)
    {
      error = poll (&p, 1, CONNECT_MS) == 1 ? 0 : ETIMEDOUT;
      if (error == 0)
        getsockopt (fd, SOL_SOCKET, SO_ERROR, &error, &len);
    }
  if (error)
    return fail (f, "mount", error,
                 "cannot reach the volumes at %s, port %u, over the container's network (a firewall of the host has "
                 "to let it through)",
                 s->server, (unsigned) s->server_port);
  return 0;
}

static int
enter_network (int from, struct failure *f)
{
  int fds[HANDOFF_FDS];
  char dummy[16];
  size_t len = sizeof dummy;

  if (handoff_recv (from, dummy, &len, fds) != HANDOFF_NET)
    _exit (0); /* the machine goes down */
  if (k_setns (fds[0], K_CLONE_NEWNET) < 0 || k_unshare (K_CLONE_NEWNS) < 0)
    return fail (f, "mount", errno, "cannot enter the container's network namespace");
  return 0;
}

static int
mount_all (struct setup *s, int trees, struct failure *f)
{
  for (uint32_t i = 0; i < s->n_mounts; i++)
    {
      struct setup_mount *m = &s->mounts[i];
      int made;

      if (!mount_needs_network (s, m))
        continue;
      made = mount_prepare (s, m, f);
      if (made < 0 && !m->optional)
        return -1;
      if (made < 0)
        log_write (LOG_WARNING, "%s is not mounted: %s", m->destination, f->message);
      if (handoff_send (trees, HANDOFF_TREE, &i, sizeof i, &m->tree, m->tree >= 0) < 0)
        return fail (f, "mount", errno, "cannot pass on \"%s\"", m->source);
    }
  return 0;
}

static _Noreturn void
run (struct setup *s, int handoff, int from, int trees)
{
  struct failure f = { 0 };

  handoff_begin_child (handoff);
  umask (022);
  if (enter_network (from, &f) < 0 || knock (s, &f) < 0 || mount_all (s, trees, &f) < 0)
    {
      handoff_send_failure (handoff, &f);
      _exit (1);
    }
  _exit (0);
}

static bool
any_is_wanted (const struct setup *s)
{
  for (size_t i = 0; i < s->n_mounts; i++)
    if (mount_needs_network (s, &s->mounts[i]))
      return true;
  return false;
}

int
netmounts_start (struct setup *s, int handoff, int *trees, struct failure *f)
{
  int ours[2], pair[2];
  pid_t pid;

  *trees = -1;
  if (!any_is_wanted (s))
    return 0;
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ours) < 0)
    return fail (f, "setup", errno, "cannot make a socket pair");
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    {
      close (ours[0]);
      close (ours[1]);
      return fail (f, "setup", errno, "cannot make a socket pair");
    }
  pid = fork ();
  if (pid == 0)
    {
      close (ours[0]);
      close (pair[0]);
      run (s, handoff, ours[1], pair[1]);
    }
  close (ours[1]);
  close (pair[1]);
  agents_end = ours[0];
  *trees = pair[0];
  return pid < 0 ? fail (f, "setup", errno, "cannot make the process that mounts volumes over the network") : 0;
}

void
netmounts_go (int network_namespace)
{
  if (agents_end < 0)
    return;
  if (handoff_send (agents_end, HANDOFF_NET, NULL, 0, &network_namespace, 1) < 0)
    log_write (LOG_WARNING, "cannot tell who mounts volumes that the network is up: %s", strerror (errno));
  close (agents_end);
  agents_end = -1;
}

int
netmounts_take (struct setup *s, int trees)
{
  autoclose int from = trees;
  size_t missing = 0;

  if (trees < 0)
    return 0;
  for (size_t i = 0; i < s->n_mounts; i++)
    missing += mount_needs_network (s, &s->mounts[i]);
  for (; missing; missing--)
    {
      int fds[HANDOFF_FDS];
      uint32_t i;
      size_t len = sizeof i;

      if (handoff_recv (from, &i, &len, fds) != HANDOFF_TREE || len != sizeof i || i >= s->n_mounts)
        return -1;
      s->mounts[i].tree = fds[0];
    }
  return 0;
}
