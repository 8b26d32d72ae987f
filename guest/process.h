/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The processes that the host started, by its numbers. */
#ifndef RCVM_GUEST_PROCESS_H
#define RCVM_GUEST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "relay.h"

struct process
{
  struct process *next;
  uint32_t number;
  pid_t pid;
  bool started; /* execve succeeded */
  bool exec_said;
  bool exited;
  bool ended; /* EXIT has been sent */
  bool terminal;
  int status; /* of waitpid */
  int stdio[3]; /* our ends, until the relays have them */
  int slave; /* keeps a terminal from hanging up when the process closes and opens it; or -1 */
  struct watch handoff;
  struct relay_in in;
  struct relay_out out, err;
};

struct process *process_find (uint32_t number);

/* An EXEC frame.  What comes of it is sent to the host. */
void process_exec (uint32_t number, const void *record, size_t len);
/* None is about to start. */
bool process_all_started (void);
/* A child was reaped. */
void process_reaped (pid_t pid, int status);
void process_signal (uint32_t number, int signum);
void process_resize (struct process *p, uint32_t rows, uint32_t cols);
/* Goes on with output that waited for the channel. */
void process_resume_all (void);
/* Sends EXIT once everything has been sent that comes before it. */
void process_check_end (struct process *p);

#endif
