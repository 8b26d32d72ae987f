/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP, QEMU's control protocol: JSON objects over a socket (QEMU's docs/interop/qmp-spec). */
#ifndef RCVM_LIB_VMM_QMP_H
#define RCVM_LIB_VMM_QMP_H

#include <runcvm/error.h>

#include "ev.h"

struct rcvmi_qmp;

/* `ready`: QEMU has greeted and takes commands. */
typedef void (*rcvmi_qmp_ready_fn) (void *user);
/* QEMU broke the protocol (its end alone is no breach).  The error is the callee's.  Not called from within a function
   of this header. */
typedef void (*rcvmi_qmp_broken_fn) (void *user, rcvm_error *err);

/* Takes the fd over in any case. */
struct rcvmi_qmp *rcvmi_qmp_new (struct rcvmi_ev *ev, int fd, rcvmi_qmp_ready_fn ready,
                                 rcvmi_qmp_broken_fn broken, void *user, rcvm_error **err);
void rcvmi_qmp_free (struct rcvmi_qmp *qmp);
/* Sends a command without arguments and waits for its answer. */
int rcvmi_qmp_command (struct rcvmi_qmp *qmp, const char *command, rcvm_error **err);
/* The same with arguments, a JSON object, and an fd that goes with it (-1: none; it stays the caller's). */
int rcvmi_qmp_execute (struct rcvmi_qmp *qmp, const char *command, const char *arguments, int fd, rcvm_error **err);
/* Waits until QEMU has said that the device `id` is gone, or finds that it has said so since the last rcvmi_qmp_expect_deleted.
   RCVM_E_TIMEOUT. */
int rcvmi_qmp_await_deleted (struct rcvmi_qmp *qmp, const char *id, rcvm_error **err);
/* A new device `id` is there: what was said of an older one of that name does not count. */
void rcvmi_qmp_expect_deleted (struct rcvmi_qmp *qmp, const char *id);

#endif
