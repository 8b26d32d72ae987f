/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames over a non-blocking stream socket: the transport of the agent protocol (to the guest) and of the
 * control protocol (between the library and a monitor).  Frames are those of agent-wire.h.
 */
#ifndef RCVM_LIB_LINK_H
#define RCVM_LIB_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include <runcvm/error.h>

#include "agent-wire.h"
#include "tlv.h"

enum
{
  RCVMI_LINK_FDS = 4
};

struct rcvmi_link
{
  int fd; /* owned */
  const char *peer; /* for messages: "the guest's agent" */
  size_t max_payload; /* what the peer may send in a frame */

  unsigned char *in;
  size_t in_cap, in_start, in_end;
  unsigned char *out;
  size_t out_cap, out_start, out_end;

  bool pass_fds;           /* fds may come with frames */
  int fds[RCVMI_LINK_FDS]; /* those that came with the frame read last; whoever wants one takes it and leaves -1 */
  size_t n_fds;
  bool eof;
  bool deaf; /* the peer takes nothing any more: what is sent is dropped, what it said before is still read */

  void (*on_pending) (void *user); /* bytes were left for later: watch for room */
  void *user;
};

/* The fd becomes the link's and non-blocking, also on failure. */
int rcvmi_link_init (struct rcvmi_link *link, int fd, const char *peer, size_t max_payload,
                     rcvm_error **err);
void rcvmi_link_clear (struct rcvmi_link *link);

/* Queues a frame, and sends as much as the socket takes. */
int rcvmi_link_send (struct rcvmi_link *link, uint16_t type, uint32_t process, const void *data,
                     size_t len, rcvm_error **err);
/* The same for a record; frees it in any case. */
int rcvmi_link_send_record (struct rcvmi_link *link, uint16_t type, uint32_t process,
                            struct tlv_writer *record, rcvm_error **err);
/* A frame with fds, sent at once; for small frames on an idle link. */
int rcvmi_link_send_fds (struct rcvmi_link *link, uint16_t type, uint32_t process, const void *data,
                         size_t len, const int *fds, size_t n_fds, rcvm_error **err);
int rcvmi_link_flush (struct rcvmi_link *link, rcvm_error **err);
/* Bytes that wait to be sent. */
size_t rcvmi_link_pending (const struct rcvmi_link *link);

/* Reads what is there.  The end of the stream sets `eof`. */
int rcvmi_link_fill (struct rcvmi_link *link, rcvm_error **err);
/* 1 and the next whole frame, whose payload is valid until the next call on the link; 0 where there is none yet. */
int rcvmi_link_next (struct rcvmi_link *link, struct agent_header *header, const unsigned char **payload,
                     rcvm_error **err);

/* Waits for the next frame, flushing meanwhile.  At the end of the stream: 0.  `timeout_ms` -1: for ever. */
int rcvmi_link_wait (struct rcvmi_link *link, int timeout_ms, struct agent_header *header,
                     const unsigned char **payload, rcvm_error **err);

#endif
