/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container: its namespaces, and the process that is its PID 1.
 *
 * SETUP forks a helper that prepares what takes all rights, enters the namespaces and makes the
 * first process.  That one puts the file systems together, makes them its root and waits, as the
 * container's PID 1, for the EXEC of process 0.  The agent itself stays in the initramfs.
 */
#ifndef RCVM_GUEST_CONTAINER_H
#define RCVM_GUEST_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

/* A SETUP frame.  What comes of it is sent to the host. */
void container_setup (const void *record, size_t len);

/* Its network is configured, or cannot be. */
void container_network_ready (void);
void container_network_failed (const struct failure *f);

/* The first process, or 0. */
pid_t container_init_pid (void);
/* It waits for its program. */
bool container_is_waiting (void);
/* SETUP has come. */
bool container_is_wanted (void);
/* Hands over the fds (record, stdin, stdout, stderr); returns the handoff, on which its answers
   come, or -1 and errno. */
int container_start (const int *fds, size_t n_fds);

/* fork, into the container's PID namespace: as fork, -1 and errno (ESRCH: the container has
   stopped). */
pid_t container_fork (void);
/* In that child: the other namespaces, and the container's root. */
int container_enter (struct failure *f);

/* The host name in the container. */
int container_rename (const char *hostname, struct failure *f);

/* Every process of the container. */
void container_signal_all (int signum);
void container_reaped (pid_t pid, int status);
/* All processes are gone: lets go of the file systems, in a child that ends when they are unmounted.  -1: it is done. */
pid_t container_release (void);
/* In a child: its files, but none of its namespaces else. */
int container_enter_mounts (void);

#endif
