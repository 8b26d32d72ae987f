/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * It shares nothing with the container's processes: no pipe, terminal, file or lock of theirs.  The agent does: while
 * somebody splices from a volume into a pipe, the kernel makes whoever reads that pipe wait for the volume.
 */
#include "volumes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent-wire.h"
#include "channel.h"
#include "cleanup.h"
#include "handoff.h"
#include "log.h"
#include "loop.h"
#include "tunnel.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

static pid_t process;
static int port;
static int agents_end = -1;

/* Never to be killed for memory that it does not have, and never to wait for pages that are written through it. */
static void
claim_memory (void)
{
  autoclose int fd = open ("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

  if (fd < 0 || write (fd, "-1000", 5) < 0)
    log_write (LOG_WARNING, "the volumes' process can be killed for memory: %s", strerror (errno));
  if (prctl (PR_SET_IO_FLUSHER, 1UL, 0UL, 0UL, 0UL) < 0)
    log_write (LOG_WARNING, "the volumes' process may wait for itself: %s", strerror (errno));
}

static _Noreturn void
run (int fd, int agent)
{
  claim_memory ();
  log_set_sink (NULL);
  prctl (PR_SET_NAME, "rcvm-volumes");
  /* Unlike the first process, it would die of it. */
  signal (SIGPIPE, SIG_IGN);
  channel_forget ();
  fd = fcntl (fd, F_DUPFD_CLOEXEC, 5);
  agent = fcntl (agent, F_DUPFD_CLOEXEC, 5);
  if (fd < 0 || agent < 0 || dup2 (fd, 3) < 0 || dup2 (agent, 4) < 0)
    fatal ("cannot take the volumes' sockets: %s", strerror (errno));
  syscall (SYS_close_range, 5U, ~0U, 0U);
  loop_init ();
  tunnel_serve (3, 4);
}

int
volumes_start (struct failure *f)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t len = sizeof a;
  autoclose int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  int pair[2];

  if (fd < 0 || bind (fd, (struct sockaddr *) &a, sizeof a) < 0 || listen (fd, AGENT_TUNNELS_MAX) < 0
      || getsockname (fd, (struct sockaddr *) &a, &len) < 0)
    return fail (f, "mount", errno, "cannot listen for the volumes' connections");
  port = ntohs (a.sin_port);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fail (f, "mount", errno, "cannot make a socket pair");
  agents_end = pair[0];
  process = fork ();
  if (process < 0)
    {
      close (pair[1]);
      process = 0;
      return fail (f, "mount", errno, "cannot start the volumes' process");
    }
  if (process == 0)
    run (fd, pair[1]);
  close (pair[1]);
  return 0;
}

int
volumes_port (void)
{
  return port;
}

int
volumes_connect (uint32_t share)
{
  int ends[2], saved;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    return -1;
  if (handoff_send (agents_end, HANDOFF_SHARE, &share, sizeof share, &ends[1], 1) < 0)
    {
      saved = errno;
      close (ends[0]);
      ends[0] = -1;
      errno = saved;
    }
  close (ends[1]);
  return ends[0];
}

int
volumes_socket (void)
{
  return agents_end;
}

void
volumes_disconnect (void)
{
  if (agents_end >= 0)
    close (agents_end);
  agents_end = -1;
}

pid_t
volumes_process (void)
{
  return process;
}

void
volumes_reaped (pid_t pid, int status)
{
  if (process && pid == process)
    fatal ("the volumes' process ended with status 0x%x", (unsigned) status);
}
