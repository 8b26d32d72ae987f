/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libruncvm: OCI containers as Firecracker or QEMU microVMs.
 *
 * This header includes all the others.  libruncvm(3) is the tour: handles, ownership, errors,
 * threads, events.  Every function has a page of its own.
 *
 * Rules that hold everywhere:
 *
 *   errors     A function that can fail takes a last argument `rcvm_error **err`.  It may be NULL;
 *              otherwise *err must be NULL on entry, and after a failure it holds an object that
 *              the caller frees with rcvm_error_free.  Functions that return int return 0 (or a
 *              count) on success and a negative RCVM_E... code on failure; functions that return
 *              a pointer return NULL on failure.
 *   ownership  Every input is copied.  What a `_new`, `_open` or `char *` function returns is the
 *              caller's: the object's own `_free`, or rcvm_free for a `char *`.  A `const char *`
 *              lives as long as the object that it was asked from.  `_free (NULL)` does nothing.
 *   fds        A file descriptor that is passed in stays the caller's; the library duplicates what
 *              it keeps.  Every fd that the library makes is close-on-exec.
 *   threads    Different objects may be used from different threads at once.  One object may be
 *              used from several threads: calls on it are serialised, except rcvm_vm_wait and
 *              rcvm_process_wait, which let other calls on the same object proceed.
 *   process    The library starts no thread, installs no signal handler, writes nothing to stderr,
 *              never exits and never changes the working directory, umask or environment.
 */
#ifndef RUNCVM_RUNCVM_H
#define RUNCVM_RUNCVM_H

#include <runcvm/cache.h>
#include <runcvm/error.h>
#include <runcvm/host.h>
#include <runcvm/net.h>
#include <runcvm/process.h>
#include <runcvm/rootfs.h>
#include <runcvm/spec.h>
#include <runcvm/version.h>
#include <runcvm/vm.h>
#include <runcvm/volume.h>

#endif
