/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handle of a VM: what api-vm-*.c share. */
#ifndef RCVM_LIB_HANDLE_H
#define RCVM_LIB_HANDLE_H

#include <pthread.h>
#include <stdbool.h>

#include <runcvm/vm.h>

#include "link.h"
#include "log.h"
#include "options.h"
#include "state.h"

struct rcvm_vm
{
  pthread_mutex_t lock; /* held in every call, but not while rcvm_vm_wait sleeps */
  char *root;
  char *id;
  struct rcvmi_options options;
  int stdio[3];
  struct rcvmi_log log;
  rcvm_free_fn log_free;

  struct rcvmi_link link; /* to the monitor; fd -1: none */
  int event_fd;           /* signalled by whoever takes in news that another waits for */
  int epoll_fd;           /* what rcvm_vm_get_fd hands out: both of them */
  struct rcvmi_state state; /* as last read */
  int status;               /* as last heard */
  bool settled;             /* it has stopped and the state says how */
  char *json;               /* the answer that came before the last OK */
  unsigned waiters;         /* threads in rcvm_vm_wait that sleep */
};

/* Waits for the lock. */
void rcvmi_handle_lock (rcvm_vm *vm);
void rcvmi_handle_unlock (rcvm_vm *vm);
/* Makes the fds that rcvm_vm_get_fd needs, and adds the link to them. */
int rcvmi_handle_watch (rcvm_vm *vm, rcvm_error **err);
/* Takes in what the monitor has said; where it is gone, what it left. */
int rcvmi_handle_refresh (rcvm_vm *vm, rcvm_error **err);
/* Connects to the monitor, if there is none but one lives. */
int rcvmi_handle_attach (rcvm_vm *vm, rcvm_error **err);
/* A request on the handle's connection. */
int rcvmi_handle_request (rcvm_vm *vm, uint16_t type, struct tlv_writer *record, const int *stdio,
                          int timeout_ms, rcvm_error **err);
/* The whole of a public function that asks the monitor of a VM that is there: with the lock, and for JSON (to be freed). */
int rcvmi_handle_ask (rcvm_vm *vm, uint16_t type, struct tlv_writer *record, rcvm_error **err);
char *rcvmi_handle_ask_json (rcvm_vm *vm, uint16_t type, rcvm_error **err);

#endif
