/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest may send through its volumes' port; whoever is reached answers with what it was told. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent-wire.h"
#include "tunnel.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct rcvmi_ev *loop;
static int far[AGENT_TUNNELS_MAX];
static unsigned n_far;

static int
connect_far (void *user, uint32_t share)
{
  (void) share;
  int pair[2];

  (void) user;
  if (n_far == AGENT_TUNNELS_MAX || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    return -1;
  far[n_far++] = pair[1];
  return pair[0];
}

static void
progress (void *user)
{
  char text[4096];

  (void) user;
  for (unsigned i = 0; i < n_far; i++)
    {
      ssize_t n = read (far[i], text, sizeof text);

      if (n > 0 && write (far[i], text, (size_t) n) < 0)
        continue;
    }
}

static void
broken (void *user, rcvm_error *err)
{
  (void) user;
  rcvm_error_free (err);
  rcvmi_ev_stop (loop);
}

static void
end (void *user, uint32_t events)
{
  (void) user, (void) events;
  rcvmi_ev_stop (loop);
}

static const struct rcvmi_tunnels_ops ops = { .connect = connect_far, .progress = progress, .broken = broken };

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  struct rcvmi_tunnels *tunnels;
  struct rcvmi_ev_source *timer;
  int pair[2];

  /* More would not fit into the socket at once. */
  if (size > 100000 || socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return 0;
  loop = rcvmi_ev_new (NULL);
  tunnels = loop ? rcvmi_tunnels_new (loop, pair[0], &ops, NULL, NULL) : NULL;
  timer = tunnels ? rcvmi_ev_add_timer (loop, 1, end, NULL, NULL) : NULL;
  if (!timer || write (pair[1], data, size) != (ssize_t) size)
    abort ();
  shutdown (pair[1], SHUT_WR);
  rcvmi_ev_run (loop, NULL);
  rcvmi_ev_remove (timer);
  rcvmi_tunnels_free (tunnels);
  rcvmi_ev_free (loop);
  close (pair[1]);
  while (n_far)
    close (far[--n_far]);
  return 0;
}
