/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A further process in a running container (docker exec). */
#ifndef RUNCVM_PROCESS_H
#define RUNCVM_PROCESS_H

#include <runcvm/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_process rcvm_process;

/* A handle for a process that is not started yet.  User, working directory, environment and capabilities
   are those of the container's own process until they are set.  `argv` is NULL-terminated; it may be NULL where
   rcvm_process_set_json follows.  The handle keeps a connection of its own: it may outlive `vm` and be used
   from another thread.  Since 0.1. */
rcvm_process *rcvm_vm_exec (rcvm_vm *vm, char *const argv[], rcvm_error **err);
/* Frees the handle.  A process that runs goes on.  Since 0.1. */
void rcvm_process_free (rcvm_process *process);

/* Before rcvm_process_start; as their namesakes in vm.h.  All since 0.1. */

/* An OCI process object (config.md#process) in place of the container's. */
int rcvm_process_set_json (rcvm_process *process, const char *json, rcvm_error **err);
int rcvm_process_add_env (rcvm_process *process, const char *name_value, rcvm_error **err);
int rcvm_process_set_user (rcvm_process *process, const char *user, rcvm_error **err);
int rcvm_process_set_cwd (rcvm_process *process, const char *path, rcvm_error **err);
int rcvm_process_set_terminal (rcvm_process *process, int on, rcvm_error **err);
int rcvm_process_set_stdio (rcvm_process *process, int in, int out, int err_fd, rcvm_error **err);
/* 1: the process is killed when its handle is freed, and when the process that has the handle dies. */
int rcvm_process_set_tied (rcvm_process *process, int on, rcvm_error **err);

/* Life.  All since 0.1. */

/* RCVM_E_PROCESS if it cannot be started; rcvm_error_get_exit_code then says 126 or 127. */
int rcvm_process_start (rcvm_process *process, rcvm_error **err);
/* As rcvm_vm_wait.  All output has been written when it returns. */
int rcvm_process_wait (rcvm_process *process, int timeout_ms, int *exit_code, rcvm_error **err);
int rcvm_process_kill (rcvm_process *process, int signum, rcvm_error **err);
int rcvm_process_resize (rcvm_process *process, unsigned rows, unsigned cols, rcvm_error **err);
/* An fd that polls readable when rcvm_process_wait (process, 0, ...) may have news; -1 before the start. */
int rcvm_process_get_fd (rcvm_process *process);
/* The process's PID in the guest, or -1. */
int rcvm_process_get_guest_pid (rcvm_process *process);

#ifdef __cplusplus
}
#endif
#endif
