/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The standard streams of a process: from pipes or a terminal to frames, and back. */
#ifndef RCVM_GUEST_RELAY_H
#define RCVM_GUEST_RELAY_H

#include <stddef.h>

#include "loop.h"

struct process;

/* stdout, stderr or a terminal's output. */
struct relay_out
{
  struct watch w;
  struct process *process;
  uint16_t type;    /* AGENT_STDOUT or AGENT_STDERR */
  uint32_t credit;  /* what the host will take */
  size_t last;      /* once the process is dead: what may still be sent */
  bool terminal;
  bool discard;     /* the host's reader is gone */
  bool done;        /* its end has been sent */
};

/* stdin. */
struct relay_in
{
  struct watch w;
  struct process *process;
  unsigned char *queue; /* ring of AGENT_WINDOW bytes, once it is needed */
  size_t head, len;
  uint32_t taken;  /* passed on and not told to the host */
  uint32_t unacked; /* what the host has under way */
  bool terminal;
  unsigned char last_byte; /* that came */
  bool ended;  /* the host's end has come */
  bool closed; /* no one reads any more */
};

void relay_out_init (struct relay_out *o, struct process *p, uint16_t type);
/* Takes the fd. */
int relay_out_start (struct relay_out *o, int fd, bool terminal);
void relay_out_credit (struct relay_out *o, uint32_t bytes);
void relay_out_close (struct relay_out *o);
/* The process is dead: what is in the pipe is the last of it. */
void relay_out_drain (struct relay_out *o);
void relay_out_resume (struct relay_out *o);
void relay_out_free (struct relay_out *o);

void relay_in_init (struct relay_in *i, struct process *p);
int relay_in_start (struct relay_in *i, int fd, bool terminal);
/* A STDIN frame; false if it is more than the host may send. */
bool relay_in_data (struct relay_in *i, const unsigned char *data, size_t len);
void relay_in_free (struct relay_in *i);

#endif
