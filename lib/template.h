/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Templates: machines that have booted until the agent said hello, were told nothing of any container, and were saved.  VMs
 * of the same shape go on from there (docs/templates.md).
 *
 *   template.c       a template's file: its key, what is checked, found, sealed
 *   template-make.c  one is booted and saved
 *
 * A template is one file of the cache (cache.h): the guest's memory, with holes where it is zero; the VMM's state; one block that
 * says where that is; and the cache's own record.
 */
#ifndef RCVM_LIB_TEMPLATE_H
#define RCVM_LIB_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <runcvm/error.h>

#include "vmm.h"

/* One that is in use as long as `fd` is open. */
struct rcvmi_template
{
  char *key;
  char *path;
  int fd;
  uint64_t memory; /* bytes of the guest's */
  uint64_t state_at, state_len;
};

#define RCVMI_TEMPLATE_INIT ((struct rcvmi_template){ .fd = -1 })

void rcvmi_template_clear (struct rcvmi_template *t);

/* The key of the template that this VM could start from; to be freed.  It stands for all that the saved machine depends on: the
   VMM's program and version, what that is told, kernel, initramfs, the host's processor and kernel, this library. */
int rcvmi_template_key (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, char **key, rcvm_error **err);
/* RCVM_E_NOT_FOUND: there is none.  One that is damaged is removed, and *note (to be freed) says why. */
int rcvmi_template_find (const struct rcvmi_vmm *vmm, const char *key, struct rcvmi_template *t, char **note, rcvm_error **err);
/* One that the VMM did not like. */
void rcvmi_template_discard (struct rcvmi_template *t);
/* Whether the `size` bytes of the file are one: 0; else 1, and *why (static).  `t` may be NULL. */
int rcvmi_template_check (int fd, uint64_t size, struct rcvmi_template *t, const char **why);
/* Makes the file `path`, which has a guest's memory, and the file of the state one. */
int rcvmi_template_seal (const char *path, const char *state, unsigned version, rcvm_error **err);

/* What the processor and the kernel of this host are. */
int rcvmi_template_add_cpu (struct rcvmi_sha256 *sha, rcvm_error **err);
/* Blocks of zeros need no place; -1 and errno. */
int rcvmi_template_dig_holes (int fd, uint64_t size);

/* Makes it, unless another has meanwhile.  Takes as long as a boot, and changes the caller's network namespace: for a worker.
   `vmm` has been chosen, and `config` is of the VM that wants it. */
int rcvmi_template_make (const struct rcvmi_vmm *vmm, const struct rcvmi_vmm_config *config, const char *key, rcvm_error **err);

#endif
