/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames to and from the host. */
#ifndef RCVM_GUEST_CHANNEL_H
#define RCVM_GUEST_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent-wire.h"
#include "tlv.h"

struct channel_user
{
  void (*frame) (const struct agent_header *h, const unsigned char *payload);
  void (*relieved) (void); /* no longer congested */
  /* The connection was reset, which happens to a machine that goes on from a snapshot: all that was under way is lost, and
     channel_start may be called again.  What is held is not lost, and goes by the next connection.  NULL: that is the end. */
  void (*reset) (void);
};

/* In a child, which is to have a channel of its own: the parent's is not closed. */
void channel_forget (void);
/* Takes the non-blocking fd. */
void channel_start (int fd, const struct channel_user *user);

void channel_send (uint16_t type, uint32_t process, const void *payload, size_t len);
/* Frees the record. */
void channel_send_record (uint16_t type, uint32_t process, struct tlv_writer *w);

/* Where the payload of a stream frame may be written, and how much of it; then what it became. */
unsigned char *channel_reserve (size_t *room);
void channel_commit (uint16_t type, uint32_t process, size_t len);

/* What is queued by now is the last that is written, until it is released. */
void channel_hold (void);
void channel_release (void);
/* One frame is written nevertheless, before all others.  Frees the record. */
void channel_send_first (uint16_t type, struct tlv_writer *w);

/* More than enough is queued. */
bool channel_congested (void);
/* Writes what can be written now. */
void channel_flush (void);
/* Writes all that is queued, waiting for the host; then waits for the host to hang up, at most
   `timeout_ms`. */
void channel_finish (int timeout_ms);

#endif
