/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the agent and a child that is on its way to execve say to each other, over a
 * close-on-exec SOCK_SEQPACKET pair.  The end of the stream after HANDOFF_EXEC says that execve
 * succeeded.
 */
#ifndef RCVM_GUEST_HANDOFF_H
#define RCVM_GUEST_HANDOFF_H

#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

enum handoff
{
  /* child to agent */
  HANDOFF_LOG = 'L',    /* payload of a LOG frame */
  HANDOFF_FAILED = 'F', /* payload of a FAILED frame */
  HANDOFF_READY = 'R',  /* pid_t: the container is set up, and this is its first process */
  HANDOFF_NET = 'N',    /* fd: the container's network namespace */
  HANDOFF_COPIES = 'C', /* fd: of copies.c */
  HANDOFF_TREE = 'V',   /* u32, fd: a mount's number and its detached tree, if it has one (netmounts.h) */
  HANDOFF_SHARE = 'P',  /* u32, fd: what the volumes' process is to connect to that share of 9P */
  HANDOFF_DISK = 'D',   /* a disk's name: it was found (attach.h) */
  HANDOFF_TTY = 'T',    /* fds: its terminal, master and slave */
  HANDOFF_EXEC = 'X',   /* execve comes next */
  /* agent to child */
  HANDOFF_START = 'S' /* fds: EXEC record in a memfd, stdin, stdout, stderr (or the first alone) */
};

enum
{
  HANDOFF_MAX = 4096,
  HANDOFF_FDS = 4
};

/* fds[0], the agent's, does not block. */
int handoff_pair (int fds[2]);
/* -1 and errno. */
int handoff_send (int fd, enum handoff type, const void *data, size_t len, const int *fds,
                  size_t n_fds);
/* The type, 0 at the end of the stream, -1 and errno.  *len is the size of `data` on entry.  fds
   that did not come are -1. */
int handoff_recv (int fd, void *data, size_t *len, int fds[HANDOFF_FDS]);

void handoff_send_failure (int fd, const struct failure *f);
/* First thing in a forked child: signals as a program expects them, log_write through `fd`. */
void handoff_begin_child (int fd);

#endif
