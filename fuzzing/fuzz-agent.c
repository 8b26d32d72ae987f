/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest's agent may send, as the monitor takes it: greeting, processes, streams, whatever comes. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "agent-wire.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct rcvmi_ev *loop;

static void
hello (void *user, const char *kernel, uint64_t boot_usec)
{
  (void) user, (void) boot_usec;
  for (; *kernel; kernel++)
    if ((unsigned char) *kernel < 0x20)
      abort (); /* would reach a terminal */
}

static void
ready (void *user)
{
  (void) user;
}

static void
failed (void *user, rcvm_error *err)
{
  (void) user;
  rcvm_error_free (err);
}

static void
broken (void *user, rcvm_error *err)
{
  (void) user;
  rcvm_error_free (err);
  rcvmi_ev_stop (loop);
}

static void
started (void *user, uint32_t guest_pid)
{
  (void) user, (void) guest_pid;
}

static void
exited (void *user, int code, int signum)
{
  (void) user;
  if (code < 0 || code > 255 || signum < 0 || signum > 127)
    abort ();
}

static const struct rcvmi_agent_ops ops
    = { .hello = hello, .ready = ready, .setup_failed = failed, .goodbye = ready, .broken = broken };
static const struct rcvmi_agent_process_ops process_ops
    = { .started = started, .failed = failed, .exited = exited };

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  const int fds[3] = { -1, -1, -1 };
  struct rcvmi_agent *agent;
  int pair[2];

  /* More would not fit into the socket at once. */
  if (size > 100000 || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return 0;
  loop = rcvmi_ev_new (NULL);
  agent = loop ? rcvmi_agent_new (loop, pair[0], NULL, &ops, NULL, NULL) : NULL;
  if (!agent)
    abort ();
  rcvmi_agent_exec (agent, "", 0, fds, &process_ops, NULL, NULL);
  rcvmi_agent_exec (agent, "", 0, fds, &process_ops, NULL, NULL);
  if (write (pair[1], data, size) != (ssize_t) size)
    abort ();
  shutdown (pair[1], SHUT_WR);
  rcvmi_ev_run (loop, NULL);
  rcvmi_agent_free (agent);
  rcvmi_ev_free (loop);
  close (pair[1]);
  return 0;
}
