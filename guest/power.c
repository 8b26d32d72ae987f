/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "power.h"

#include <poll.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

enum
{
  SYNC_MS = 10000
};

/* A volume whose connections have ended is never in sync: this does not wait for that. */
static void
sync_for_a_while (void)
{
  pid_t pid = fork ();
  struct pollfd p = { .events = POLLIN };

  if (pid == 0)
    {
      sync ();
      _exit (0);
    }
  p.fd = pid < 0 ? -1 : (int) syscall (SYS_pidfd_open, pid, 0U);
  if (p.fd >= 0)
    poll (&p, 1, SYNC_MS);
}

void
power_off (void)
{
  sync_for_a_while ();
  /* A reset ends QEMU (-no-reboot) and Firecracker; a microVM often has no power button. */
  reboot (RB_AUTOBOOT);
  reboot (RB_POWER_OFF);
  for (;;)
    pause ();
}
