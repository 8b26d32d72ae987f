/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host offers: one line for each part that a VM needs or can use. */
#include "config.h"

#define RCVMI_STAGE "api"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <runcvm/host.h>

#include "cleanup.h"
#include "defaults.h"
#include "err.h"
#include "state.h"
#include "visibility.h"
#include "vmm-firecracker.h"

enum
{
  MAX_CHECKS = 16
};

struct check
{
  const char *name;
  int result;
  char *detail;
  const char *advice;
};

struct rcvm_host
{
  struct check checks[MAX_CHECKS];
  size_t n;
  bool failed;
};

static void __attribute__ ((format (printf, 5, 6)))
add (rcvm_host *h, const char *name, int result, const char *advice, const char *fmt, ...)
{
  struct check *c = &h->checks[h->n];
  va_list ap;

  va_start (ap, fmt);
  if (vasprintf (&c->detail, fmt, ap) < 0)
    h->failed = true;
  else
    {
      c->name = name;
      c->result = result;
      c->advice = result == RCVM_CHECK_OK ? "" : advice;
      h->n++;
    }
  va_end (ap);
}

static void
check_kvm (rcvm_host *h)
{
  autofree char *reason = NULL;

  if (rcvmi_vmm_kvm_usable (&reason))
    add (h, "kvm", RCVM_CHECK_OK, "", "guests run on the CPU");
  else
    add (h, "kvm", RCVM_CHECK_MISSING, "guests are translated by QEMU (TCG), which is much slower", "%s",
         reason ? reason : "not usable");
}

static void
check_program (rcvm_host *h, const char *name, const char *variable, const char *program, int missing,
               const char *advice)
{
  autofree char *path = rcvmi_vmm_find_program (variable, program);

  if (path)
    add (h, name, RCVM_CHECK_OK, "", "%s", path);
  else
    add (h, name, missing, advice, "%s is not in PATH, and %s does not name one", program, variable);
}

/* What this Firecracker can do that others cannot. */
static void
check_firecracker (rcvm_host *h)
{
  struct rcvmi_vmm vmm = { 0 };
  rcvm_error *e = NULL;

  if (rcvmi_vmm_firecracker.probe (&vmm, &e) < 0)
    add (h, "firecracker", RCVM_CHECK_MISSING, "VMs run under QEMU", "%s", rcvm_error_get_message (e));
  else
    add (h, "firecracker", RCVM_CHECK_OK, "", "%s, version %u.%u: boots %s, starts VMs from templates%s, %s", vmm.program,
         vmm.version / RCVMI_VMM_MINOR, vmm.version % RCVMI_VMM_MINOR,
         vmm.version >= RCVMI_FC_BZIMAGE_SINCE ? "vmlinux and bzImage" : "vmlinux alone",
         vmm.version >= RCVMI_FC_OTHER_TAPS_SINCE ? "" : " if they have no network interfaces",
         vmm.version >= RCVMI_FC_HOTPLUG_SINCE ? "attaches disks and interfaces to VMs that run" : "attaches nothing to a VM that runs");
  rcvm_error_free (e);
  free (vmm.program);
}

/* Who else could confine Firecracker is told as well. */
static void
check_confinement (rcvm_host *h)
{
  autofree char *reason = NULL, *jailer = rcvmi_vmm_find_program ("RUNCVM_JAILER", "jailer");
  bool possible = rcvmi_confine_possible (&reason);

  if (possible)
    add (h, "confinement", RCVM_CHECK_OK, "", "each VMM gets a user, a root and namespaces of its own%s%s",
         jailer ? "; Firecracker's own jailer is there, too (--confine jailer): " : "", jailer ? jailer : "");
  else
    add (h, "confinement", RCVM_CHECK_MISSING,
         geteuid () == 0 ? "VMs start with --confine off alone" : "VMMs have this user's rights, but for new ones and core files",
         "%s", reason ? reason : "not possible");
}

/* runcvm-mkguest says beside the kernel what it has put into the initramfs. */
static void
check_modules (rcvm_host *h, const char *kernel)
{
  autofree char *path = NULL, *release = NULL;
  const char *slash = strrchr (kernel, '/');
  int n;

  if (asprintf (&path, "%.*s/guest.json", (int) (slash - kernel), kernel) < 0)
    {
      path = NULL;
      h->failed = true;
      return;
    }
  n = rcvmi_vmm_guest_modules (path, &release);
  if (n < 0)
    add (h, "modules", RCVM_CHECK_MISSING, "nothing to do if the kernel has all it needs built in",
         "%s does not say which modules the guest has", path);
  else
    add (h, "modules", RCVM_CHECK_OK, "", "%d modules of %s in the initramfs", n, release);
}

static void
check_guest (rcvm_host *h)
{
  autofree char *kernel = rcvmi_default_kernel (), *initramfs = rcvmi_default_initramfs ();
  static const char advice[] = "run runcvm-mkguest --debian-package";
  rcvm_error *e = NULL;

  if (!kernel || !initramfs)
    {
      h->failed = true;
      return;
    }
  add (h, "kernel", access (kernel, R_OK) ? RCVM_CHECK_FATAL : RCVM_CHECK_OK, advice, "%s%s", kernel,
       access (kernel, R_OK) ? " is not there" : "");
  add (h, "initramfs", access (initramfs, R_OK) ? RCVM_CHECK_FATAL : RCVM_CHECK_OK, advice, "%s%s", initramfs,
       access (initramfs, R_OK) ? " is not there" : "");
  if (access (kernel, R_OK) == 0 && access (initramfs, R_OK) == 0)
    {
      if (rcvmi_vmm_check_files (kernel, initramfs, UINT64_MAX, &e) < 0)
        add (h, "guest", RCVM_CHECK_FATAL, advice, "%s", rcvm_error_get_message (e));
      else
        add (h, "guest", RCVM_CHECK_OK, "", "the kernel can be booted");
    }
  rcvm_error_free (e);
  check_modules (h, kernel);
}

static void
check_device (rcvm_host *h, const char *name, const char *path, const char *advice)
{
  autoclose int fd = open (path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

  if (fd >= 0)
    add (h, name, RCVM_CHECK_OK, "", "%s opens", path);
  else
    add (h, name, RCVM_CHECK_MISSING, advice, "%s: %s", path, strerrordesc_np (errno));
}

static void
check_monitor (rcvm_host *h)
{
  autofree char *path = rcvmi_default_monitor ();

  if (!path)
    h->failed = true;
  else
    add (h, "monitor", access (path, X_OK) ? RCVM_CHECK_FATAL : RCVM_CHECK_OK,
         "install the library's programs, or set RUNCVM_LIBEXEC", "%s%s", path,
         access (path, X_OK) ? " is not there" : "");
}

static void
check_state (rcvm_host *h)
{
  autofree char *root = rcvmi_state_root (NULL, NULL);
  struct stat st;

  if (!root)
    h->failed = true;
  else if (stat (root, &st) < 0 && errno == ENOENT)
    add (h, "state", RCVM_CHECK_OK, "", "%s will be made", root);
  else if (access (root, W_OK | X_OK) < 0)
    add (h, "state", RCVM_CHECK_FATAL, "set RUNCVM_ROOT to a directory of your own", "%s: %s", root,
         strerrordesc_np (errno));
  else
    add (h, "state", RCVM_CHECK_OK, "", "%s", root);
}

RCVM_PUBLIC rcvm_host *
rcvm_host_check (rcvm_error **err)
{
  rcvm_host *h = calloc (1, sizeof *h);

  if (!h)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  check_kvm (h);
  check_program (h, "qemu", "RUNCVM_QEMU", "qemu-system-x86_64", RCVM_CHECK_FATAL,
                 "install qemu-system-x86");
  check_firecracker (h);
  check_confinement (h);
  check_guest (h);
  check_monitor (h);
  check_device (h, "tun", "/dev/net/tun", "VMs have no network: load the module tun");
  check_device (h, "vsock", "/dev/vhost-vsock", "only QEMU's vsock needs it: load the module vhost_vsock");
  check_state (h);
  if (!h->failed)
    return h;
  rcvm_host_free (h);
  rcvmi_fail_nomem (err);
  return NULL;
}

RCVM_PUBLIC void
rcvm_host_free (rcvm_host *h)
{
  if (!h)
    return;
  for (size_t i = 0; i < h->n; i++)
    free (h->checks[i].detail);
  free (h);
}

RCVM_PUBLIC size_t
rcvm_host_count (const rcvm_host *h)
{
  return h ? h->n : 0;
}

RCVM_PUBLIC const char *
rcvm_host_get_name (const rcvm_host *h, size_t i)
{
  return h && i < h->n ? h->checks[i].name : NULL;
}

RCVM_PUBLIC int
rcvm_host_get_result (const rcvm_host *h, size_t i)
{
  return h && i < h->n ? h->checks[i].result : RCVM_CHECK_FATAL;
}

RCVM_PUBLIC const char *
rcvm_host_get_detail (const rcvm_host *h, size_t i)
{
  return h && i < h->n ? h->checks[i].detail : NULL;
}

RCVM_PUBLIC const char *
rcvm_host_get_advice (const rcvm_host *h, size_t i)
{
  return h && i < h->n ? h->checks[i].advice : NULL;
}
