/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent: what each frame of the host means. */
#ifndef RCVM_GUEST_AGENT_H
#define RCVM_GUEST_AGENT_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

/* Opens the channel and says HELLO. */
void agent_start (void);
/* A child was reaped. */
void agent_reaped (pid_t pid, int status);
/* All others that have ended were, or something else has happened that a shutdown waits for. */
void agent_go_on_with_shutdown (void);

/* Whether what ends now was told to. */
bool agent_is_shutting_down (void);

void agent_forward_log (const void *record, size_t len);
/* `status` is waitpid's. */
void agent_send_exit (uint32_t process, int status);

#endif
