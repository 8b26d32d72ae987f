/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A monitor of a VM that is not there: a process that holds the state directory's lock, answers on the control
   socket by a script, and dies when it is told. */
#ifndef RCVM_TESTS_FAKE_MONITOR_H
#define RCVM_TESTS_FAKE_MONITOR_H

#include <sys/types.h>

#include "control.h"
#include "link.h"
#include "state.h"

struct fake
{
  struct rcvmi_state_dir dir;
  struct rcvmi_state state;
  struct rcvmi_link link; /* the connection under way */
};

/* What it does with one connection, until the peer goes away.  `script` exits to end the monitor. */
typedef void (*fake_script_fn) (struct fake *fake);

/* Returns when it listens.  `status` is what its state says. */
pid_t fake_monitor_start (const char *root, const char *id, int status, fake_script_fn script);
/* SIGKILL, reaped. */
void fake_monitor_kill (pid_t pid);
/* Waits until it has ended by itself, with exit code 0. */
void fake_monitor_await (pid_t pid);

/* For scripts.  The type of the next request, 0 at the end; its payload's tag `tag` is stored in *value. */
uint16_t fake_next (struct fake *fake, uint16_t tag, uint32_t *value);
void fake_send (struct fake *fake, uint16_t type, struct tlv_writer *w);
void fake_send_number (struct fake *fake, uint16_t type, uint16_t tag, uint32_t value);
void fake_send_error (struct fake *fake, uint16_t type, int code, int exit_code, const char *message);
/* The state becomes "stopped" on disk, with that exit code. */
void fake_stop (struct fake *fake, int exit_code);

#endif
