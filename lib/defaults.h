/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where things are when nobody says otherwise. */
#ifndef RCVM_LIB_DEFAULTS_H
#define RCVM_LIB_DEFAULTS_H

/* Each is to be freed; NULL only for want of memory. */

/* $RUNCVM_GUEST_DIR/vmlinuz, or LOCALSTATEDIR/lib/runcvm/guest/vmlinuz. */
char *rcvmi_default_kernel (void);
char *rcvmi_default_initramfs (void);
/* $RUNCVM_LIBEXEC/runcvm-monitor (for an uninstalled tree), or the installed one. */
char *rcvmi_default_monitor (void);

#endif
