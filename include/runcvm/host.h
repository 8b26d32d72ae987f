/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host offers. */
#ifndef RUNCVM_HOST_H
#define RUNCVM_HOST_H

#include <stddef.h>

#include <runcvm/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rcvm_host rcvm_host;

enum rcvm_check_result
{
  RCVM_CHECK_OK = 0,
  RCVM_CHECK_MISSING = 1, /* something works less well, or not at all, without it */
  RCVM_CHECK_FATAL = 2    /* no VM can start */
};

/* Looks at KVM (really usable, or why not), VMMs, kernel, initramfs, tun and vsock.  Since 0.1. */
rcvm_host *rcvm_host_check (rcvm_error **err);
/* Since 0.1. */
void rcvm_host_free (rcvm_host *host);
/* Since 0.1. */
size_t rcvm_host_count (const rcvm_host *host);
/* A short name: "kvm", "qemu", "firecracker", "kernel", "initramfs", "guest", "modules", "monitor", "tun", "vsock", "state".  Since 0.1. */
const char *rcvm_host_get_name (const rcvm_host *host, size_t index);
/* enum rcvm_check_result.  Since 0.1. */
int rcvm_host_get_result (const rcvm_host *host, size_t index);
/* What was found.  Since 0.1. */
const char *rcvm_host_get_detail (const rcvm_host *host, size_t index);
/* What to do about it; "" where nothing has to be done.  Since 0.1. */
const char *rcvm_host_get_advice (const rcvm_host *host, size_t index);

#ifdef __cplusplus
}
#endif
#endif
