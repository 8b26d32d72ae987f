/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The streams of one process in the guest: between the agent's frames and the caller's fds, with the
 * credit windows of agent-wire.h.  Everything that comes from the guest is checked: a guest that sends beyond
 * its window, or after the end, breaks the protocol.
 */
#ifndef RCVM_LIB_STREAM_H
#define RCVM_LIB_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "ev.h"
#include "link.h"
#include "userfd.h"

struct rcvmi_streams;

/* Called when the link broke while sending; `err` is the callee's. */
typedef void (*rcvmi_streams_broken_fn) (void *user, rcvm_error *err);
/* Called when all output has been written out and ended (never before rcvmi_streams_finish). */
typedef void (*rcvmi_streams_done_fn) (void *user);

/* Takes the three fds over in any case; -1 is /dev/null. */
struct rcvmi_streams *rcvmi_streams_new (struct rcvmi_ev *ev, struct rcvmi_link *link, uint32_t process,
                                         const int fds[3], rcvm_error **err);
void rcvmi_streams_free (struct rcvmi_streams *s);
void rcvmi_streams_set_handlers (struct rcvmi_streams *s, rcvmi_streams_broken_fn broken,
                                 rcvmi_streams_done_fn done, void *user);

/* The process runs: stdin may flow. */
int rcvmi_streams_start (struct rcvmi_streams *s, rcvm_error **err);
/* A STDOUT, STDERR, WINDOW or CLOSE frame of this process. */
int rcvmi_streams_frame (struct rcvmi_streams *s, const struct agent_header *header,
                         const unsigned char *payload, rcvm_error **err);
/* Nothing is sent, until it goes on; what comes is taken. */
void rcvmi_streams_hold (struct rcvmi_streams *s);
int rcvmi_streams_go_on (struct rcvmi_streams *s, rcvm_error **err);
/* What another one needs to go on in its place. */
struct rcvmi_streams_saved
{
  uint32_t in_credit, owed[2];
  bool in_ended, ended[2], broken[2];
};
void rcvmi_streams_save (const struct rcvmi_streams *s, struct rcvmi_streams_saved *saved);
/* In place of rcvmi_streams_start; it is held. */
int rcvmi_streams_adopt (struct rcvmi_streams *s, const struct rcvmi_streams_saved *saved, rcvm_error **err);
/* The process has ended, nothing more will come; `done` follows when the output is written out (perhaps
   at once). */
void rcvmi_streams_finish (struct rcvmi_streams *s);
/* Writes out what the fds take at once, and gives up the rest. */
void rcvmi_streams_abandon (struct rcvmi_streams *s);

#endif
