/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel modules of the initramfs.  runcvm-mkguest writes beside them
 *
 *   /lib/modules/boot      names, one a line, to be loaded at boot
 *   /lib/modules/deps      "NAME DEPENDENCY...": dependencies in the order to load them
 *   /lib/modules/aliases   "PATTERN NAME"
 *   /lib/modules/NAME.ko   with _ for - in NAME
 *
 * Parameters come from the kernel's command line, as "NAME.PARAMETER=VALUE".
 */
#ifndef RCVM_GUEST_MODULES_H
#define RCVM_GUEST_MODULES_H

/* Each of them returns 0 if there was nothing to do: a module that is not there is built in, or
   its absence shows later.  A module that finds no hardware is no failure either. */
/* The list, then the drivers of the virtio devices that appeared. */
void modules_load_boot (void);
/* What those who start from this machine will want. */
void modules_load_for_template (void);
/* By name or alias ("fs-nfs").  -1 and errno if a module is there and cannot be loaded. */
int modules_load (const char *name_or_alias);
/* Whatever a file system type needs. */
int modules_load_fs (const char *type);
/* argv of a modprobe that the kernel runs; returns an exit code. */
int modules_modprobe (char **argv);

#endif
