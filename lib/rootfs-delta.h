/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The upper directory of an overlayfs of the host, on its way to be that of an overlayfs in the guest. */
#ifndef RCVM_LIB_ROOTFS_DELTA_H
#define RCVM_LIB_ROOTFS_DELTA_H

#include "rootfs-tree.h"

/* Takes away what overlayfs has noted for itself about the lower file system of then.  RCVM_E_UNSUPPORTED where
   that was more than a note: directories renamed by reference, files without their data. */
int rcvmi_delta_prepare (struct rcvmi_dir *top, rcvm_error **err);

#endif
