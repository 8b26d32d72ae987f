/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The event loop: fds and what to call when they are ready. */
#ifndef RCVM_GUEST_LOOP_H
#define RCVM_GUEST_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch
{
  int fd;
  uint32_t events;
  void (*ready) (struct watch *w, uint32_t events);
  bool output; /* produces bytes for the host: rests while the channel is full */
};

#define WATCH_INIT ((struct watch){ .fd = -1 })

/* What `w`, a member of a `type`, belongs to. */
#define owner_of(w, type, member) ((type *) (void *) ((char *) (w) - offsetof (type, member)))

void loop_init (void);
/* -1 and errno. */
int loop_add (struct watch *w, int fd, uint32_t events);
void loop_modify (struct watch *w, uint32_t events);
/* Takes it out and closes its fd.  Nothing happens if it is not in. */
void loop_close (struct watch *w);
/* Takes it out and returns its fd. */
int loop_remove (struct watch *w);
void loop_pause_output (bool pause);
/* `p` is freed when no event of this round can refer to it any more. */
void loop_free_later (void *p);
/* Calls `after` at the end of every round. */
_Noreturn void loop_run (void (*after) (void));

#endif
