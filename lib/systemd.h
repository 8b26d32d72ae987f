/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What systemd is asked for over its D-Bus interface org.freedesktop.systemd1.Manager, by libsystemd, which is loaded for that.
 * All of it blocks, and is for a child of the monitor's: the library, its memory and a bus that does not answer stay there.
 */
#ifndef RCVM_LIB_SYSTEMD_H
#define RCVM_LIB_SYSTEMD_H

#include <sys/types.h>

#include <runcvm/error.h>

#include "plan-limits.h"
#include "plan-scope.h"

/* Has it make the scope, delegated to us, with these limits (those of them that are not late, and that it knows), and put `pid`
   there; returns when that has been done. */
int rcvmi_systemd_start_scope (const struct rcvmi_scope *scope, const char *description, pid_t pid, const struct rcvmi_limits *limits,
                               rcvm_error **err);
/* Tells it of limits that have changed, which it would else take back when it is next reloaded.  `late`: those that are. */
int rcvmi_systemd_set_limits (const struct rcvmi_scope *scope, const struct rcvmi_limits *limits, bool late, rcvm_error **err);

#endif
