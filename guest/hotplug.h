/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI devices that come and go.  The guest is told of them by the agent protocol, powers their slots and looks for
 * itself: that takes no hot-plug driver (which the kernel does not start where firmware says nothing about it), and
 * none of the seconds that such a driver waits for someone to press a button again.
 */
#ifndef RCVM_GUEST_HOTPLUG_H
#define RCVM_GUEST_HOTPLUG_H

#include <sys/types.h>

/* Has the bus looked through for new devices by a child, as that may take its time; what it finds shows as any device
   does.  Nothing happens where there is no PCI. */
void hotplug_rescan (void);
/* The same by a child itself: 0 or an errno. */
int hotplug_rescan_now (void);
/* Takes the PCI device behind a disk ("vdc") out of the kernel and switches its slot off, by a child itself: 0 or an errno.  One that
   is in no slot stays. */
int hotplug_remove_disk (const char *disk);
/* Has the PCI device behind a network interface of the agent's own namespace taken out by a child: its pid, or 0 if it
   is no PCI device; -1 and errno.  One that is in no slot only loses its driver: see hotplug.c. */
pid_t hotplug_remove (const char *interface);

#endif
