/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "net"

#include "net-nftnl.h"

#include <dlfcn.h>
#include <stddef.h>

#include "err.h"

/* The ABI that the headers of libnftnl 1 stand for. */
#define SONAME "libnftnl.so.11"

int
rcvmi_nftnl_load (struct rcvmi_nftnl *lib, rcvm_error **err)
{
  void *handle = dlopen (SONAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  const char *missing = NULL;

  if (!handle)
    return rcvmi_fail (err, RCVM_E_HOST, 0, "cannot load " SONAME ", which host networking needs; install libnftnl");
#define X(name)                                                                                   \
  *(void **) &lib->name = dlsym (handle, #name);                                                  \
  if (!lib->name)                                                                                 \
    missing = #name;
  RCVMI_NFTNL_FUNCTIONS (X)
#undef X
  /* Its functions stay: RTLD_NODELETE. */
  dlclose (handle);
  if (missing)
    return rcvmi_fail (err, RCVM_E_HOST, 0, SONAME " is too old: it lacks %s", missing);
  return 0;
}
