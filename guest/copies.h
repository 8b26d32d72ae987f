/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The disk of copies whose changes go back while the VM runs: it stands still for as long as the host reads it, and the host is
 * told when something has changed.
 */
#ifndef RCVM_GUEST_COPIES_H
#define RCVM_GUEST_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "setup.h"

/* In the helper, with everything mounted: hands what is needed over to the agent. */
int copies_pass (const struct setup *s, int handoff, struct failure *f);
/* In the agent: takes an fd of it over. */
void copies_take (const void *what, size_t len, int fd);
/* The container is about to start: what changes from now on is told. */
int copies_watch (struct failure *f);

/* The host's frames. */
void copies_freeze (uint32_t number);
void copies_thaw (uint32_t number);

/* The machine goes down: nothing is frozen or held any more.  False: not yet, agent_go_on_with_shutdown follows. */
bool copies_release (void);

#endif
