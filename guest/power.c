/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "power.h"

#include <sys/reboot.h>
#include <unistd.h>

void
power_off (void)
{
  sync ();
  /* A reset ends QEMU (-no-reboot) and Firecracker; a microVM often has no power button. */
  reboot (RB_AUTOBOOT);
  reboot (RB_POWER_OFF);
  for (;;)
    pause ();
}
