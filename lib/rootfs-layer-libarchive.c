/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include "rootfs-layer-libarchive.h"

#include <dlfcn.h>
#include <stddef.h>

#include "err.h"

/* The ABI that the headers of libarchive 3 stand for. */
#define SONAME "libarchive.so.13"

int
rcvmi_libarchive_load (struct rcvmi_libarchive *lib, rcvm_error **err)
{
  const char *missing = NULL;

  lib->handle = dlopen (SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!lib->handle)
    return rcvmi_fail (err, RCVM_E_HOST, 0,
                       "cannot load " SONAME ", which layers are read with; install libarchive");
#define X(name)                                                                                   \
  *(void **) &lib->name = dlsym (lib->handle, #name);                                             \
  if (!lib->name)                                                                                 \
    missing = #name;
  RCVMI_LIBARCHIVE_FUNCTIONS (X)
#undef X
  if (missing)
    return rcvmi_fail (err, RCVM_E_HOST, 0, SONAME " is too old: it lacks %s", missing);
  return 0;
}

void
rcvmi_libarchive_unload (struct rcvmi_libarchive *lib)
{
  if (lib->handle)
    dlclose (lib->handle);
  lib->handle = NULL;
}
