/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A name server that is on the host, in the container's network namespace there: asked by way of the agent's link. */
#ifndef RCVM_GUEST_NAMES_H
#define RCVM_GUEST_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* From now on AGENT_NAME_SERVER answers in the container, by UDP.  Where that cannot be, there is a warning. */
void names_start (void);
/* The frame NAME_ANSWER. */
void names_answer (uint32_t number, const void *message, size_t len);

#endif
