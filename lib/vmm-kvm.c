/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether /dev/kvm is good for more than being opened. */
#include "config.h"

#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cleanup.h"

/* A KVM without hardware virtualisation below it interprets the guest's instructions: slower than QEMU's
   own translator, and not complete.  The CPU's flags tell. */
static bool
cpu_virtualises (void)
{
  autofclose FILE *f = fopen ("/proc/cpuinfo", "re");
  autofree char *line = NULL;
  size_t size = 0;

  if (!f)
    return false;
  while (getline (&line, &size, f) > 0)
    if (strncmp (line, "flags", 5) == 0)
      {
        line[strcspn (line, "\n")] = ' ';
        return strstr (line, " vmx ") || strstr (line, " svm ");
      }
  return false;
}

bool
rcvmi_vmm_kvm_usable (char **reason)
{
  autoclose int fd = open ("/dev/kvm", O_RDWR | O_CLOEXEC);
  autoclose int vm = -1;
  char why[256] = "";

  *reason = NULL;
  if (fd < 0 && errno == ENOENT)
    snprintf (why, sizeof why, "there is no /dev/kvm: load kvm_intel or kvm_amd, or switch on nested "
                               "virtualisation where this is itself a VM");
  else if (fd < 0)
    snprintf (why, sizeof why, "/dev/kvm cannot be opened: %s (is this user in the group kvm?)",
              strerrordesc_np (errno));
  else if (ioctl (fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
    snprintf (why, sizeof why, "/dev/kvm speaks another version of its interface");
  else if (!cpu_virtualises ())
    snprintf (why, sizeof why, "/dev/kvm opens, but the CPU has neither vmx nor svm, so guests would be "
                               "interpreted");
  else if ((vm = ioctl (fd, KVM_CREATE_VM, 0)) < 0)
    snprintf (why, sizeof why, "/dev/kvm cannot make a VM: %s", strerrordesc_np (errno));
  if (why[0])
    *reason = strdup (why);
  return !why[0];
}
