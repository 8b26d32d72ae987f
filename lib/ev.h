/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event loop of the monitor: epoll with callbacks, one thread.
 *
 * A source that is removed inside a callback, its own or another's, is not called again: its memory goes
 * when the round of callbacks is over.  A regular file, which epoll refuses, counts as always ready.
 */
#ifndef RCVM_LIB_EV_H
#define RCVM_LIB_EV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <runcvm/error.h>

struct rcvmi_ev;
struct rcvmi_ev_source;

/* `events` is what epoll said. */
typedef void (*rcvmi_ev_fn) (void *user, uint32_t events);

struct rcvmi_ev *rcvmi_ev_new (rcvm_error **err);
/* Sources that are left are freed; their fds are not closed. */
void rcvmi_ev_free (struct rcvmi_ev *ev);

/* The fd stays the caller's and must outlive the source. */
struct rcvmi_ev_source *rcvmi_ev_add (struct rcvmi_ev *ev, int fd, uint32_t events, rcvmi_ev_fn fn,
                                      void *user, rcvm_error **err);
/* 0 pauses the source: not even a hang-up is reported.  Cannot fail: the fd was accepted when added. */
void rcvmi_ev_set_events (struct rcvmi_ev_source *source, uint32_t events);
/* NULL is allowed. */
void rcvmi_ev_remove (struct rcvmi_ev_source *source);

/* A timer that fires once after `ms`; remove it with rcvmi_ev_remove, also after it has fired. */
struct rcvmi_ev_source *rcvmi_ev_add_timer (struct rcvmi_ev *ev, unsigned ms, rcvmi_ev_fn fn, void *user,
                                            rcvm_error **err);

/* Runs callbacks until rcvmi_ev_stop is called, from within or before; it may be run again then. */
int rcvmi_ev_run (struct rcvmi_ev *ev, rcvm_error **err);
void rcvmi_ev_stop (struct rcvmi_ev *ev);

#endif
