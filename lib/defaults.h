/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where things are when nobody says otherwise. */
#ifndef RCVM_LIB_DEFAULTS_H
#define RCVM_LIB_DEFAULTS_H

#include <stdint.h>

/* Each that is not const is to be freed; NULL only for want of memory. */

/* vmlinux, or vmlinuz where that is not there, in $RUNCVM_GUEST_DIR or LOCALSTATEDIR/lib/runcvm/guest. */
char *rcvmi_default_kernel (void);
char *rcvmi_default_initramfs (void);
/* $RUNCVM_HYPERVISOR, or NULL.  Not to be freed. */
const char *rcvmi_default_hypervisor (void);
/* $RUNCVM_CONFINE, or NULL.  Not to be freed. */
const char *rcvmi_default_confinement (void);
/* $RUNCVM_TEMPLATE, or NULL.  Not to be freed. */
const char *rcvmi_default_template (void);
/* $RUNCVM_USERS, or the built-in range of users that confined VMMs become; -1 where it is none. */
int rcvmi_default_users (uint32_t *first, uint32_t *n);
/* $RUNCVM_LIBEXEC/runcvm-monitor (for an uninstalled tree), or the installed one. */
char *rcvmi_default_monitor (void);
/* The volume server, beside it. */
char *rcvmi_default_volumes (void);
/* $RUNCVM_DATA_DIR, or LOCALSTATEDIR/lib/runcvm. */
char *rcvmi_default_data_dir (void);
/* $RUNCVM_CACHE_DIR, or "cache" in the data directory. */
char *rcvmi_default_cache_dir (void);

#endif
