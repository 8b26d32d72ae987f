/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library's end of the control protocol: starting a monitor, finding one, asking one. */
#ifndef RCVM_LIB_CLIENT_H
#define RCVM_LIB_CLIENT_H

#include <sys/types.h>

#include <runcvm/error.h>

#include "control.h"
#include "link.h"
#include "state.h"

/* News that are no answers (LOG, STATUS, EXITED) go here. */
typedef void (*rcvmi_client_news_fn) (void *user, const struct agent_header *header,
                                      const unsigned char *payload);

/* Starts a monitor for the VM; the link is its creator's connection. */
int rcvmi_client_spawn (struct rcvmi_link *link, const char *root, const char *id, rcvm_error **err);
/* Connects to the monitor of a VM: RCVM_E_MONITOR where it does not answer. */
int rcvmi_client_connect (struct rcvmi_link *link, const struct rcvmi_state_dir *dir, rcvm_error **err);
/* Sends a request with the fds that are not -1 (`stdio` may be NULL), frees the record, and waits for the answer. The
   pid of an OK is stored in *pid where that is not NULL.  `timeout_ms` -1: for ever. */
int rcvmi_client_request (struct rcvmi_link *link, uint16_t type, struct tlv_writer *record,
                          const int *stdio, int timeout_ms, rcvmi_client_news_fn news, void *user, int *pid,
                          rcvm_error **err);
/* Takes in what has come, without waiting. */
int rcvmi_client_dispatch (struct rcvmi_link *link, rcvmi_client_news_fn news, void *user,
                           rcvm_error **err);
/* Waits until the process has ended, at most `timeout_ms`; false if it has not. */
bool rcvmi_client_wait_gone (pid_t pid, unsigned long long start_time, int timeout_ms);

#endif
