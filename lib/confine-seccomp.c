/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System calls that no VMM makes once it is confined, and by which whoever has taken one over would look for a way out: new
 * namespaces, in which anybody is root, above all.  VMMs have stricter filters of their own beyond this one, which has to let
 * all through that any of them may want, its execve included.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>

/* By name: libc's headers may be older than the kernel. */
static const char *const refused[] = {
  "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsmount", "fsconfig",
  "fspick", "mount_setattr", "mknod", "mknodat", "name_to_handle_at", "open_by_handle_at", "swapon", "swapoff", "quotactl",
  "quotactl_fd", "acct",
  "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise",
  "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "reboot", "syslog",
  "lookup_dcookie",
  "add_key", "request_key", "keyctl",
  "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
  "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "stime", "sethostname", "setdomainname", "iopl", "ioperm",
  "personality", "vhangup", "uselib", "ustat", "nfsservctl", "fanotify_init"
};

/* What the jailer goes on with; without its capabilities, which the program that it executes does not have, they do nothing. */
static const char *const needed_by_jailer[]
    = { "unshare", "mount", "umount2", "pivot_root", "chroot", "mknod", "mknodat", "setuid", "setgid", "setresuid", "setresgid", "setgroups" };

/* What who serves files as others takes. */
static const char *const needed_by_server[] = { "mknod",     "mknodat",   "setuid",    "setgid",   "setreuid", "setregid",
                                                "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid" };

static bool
is_among (const char *name, const char *const *names, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp (names[i], name) == 0)
      return true;
  return false;
}

static bool
is_needed (const char *name, enum rcvmi_confine_role role)
{
  return role == RCVMI_CONFINE_JAILER
             ? is_among (name, needed_by_jailer, sizeof needed_by_jailer / sizeof needed_by_jailer[0])
             : role == RCVMI_CONFINE_SERVER
                   && is_among (name, needed_by_server, sizeof needed_by_server / sizeof needed_by_server[0]);
}

int
rcvmi_confine_filter (enum rcvmi_confine_role role)
{
  scmp_filter_ctx ctx = seccomp_init (SCMP_ACT_ALLOW);
  int rc = ctx ? 0 : -ENOMEM;

  for (size_t i = 0; rc == 0 && i < sizeof refused / sizeof refused[0]; i++)
    {
      int nr = seccomp_syscall_resolve_name (refused[i]);

      if (nr != __NR_SCMP_ERROR && !is_needed (refused[i], role))
        rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (EPERM), nr, 0);
    }
  if (rc == 0 && role == RCVMI_CONFINE_JAILER)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (EPERM), SCMP_SYS (unshare), 1,
                           SCMP_A0 (SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
  /* diod wants to have no limits, and ends if it is told that it has some. */
  if (rc == 0 && role == RCVMI_CONFINE_SERVER)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (0), SCMP_SYS (setrlimit), 0);
  if (rc == 0 && role == RCVMI_CONFINE_SERVER)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (0), SCMP_SYS (prlimit64), 1, SCMP_A2 (SCMP_CMP_NE, 0));
  if (rc == 0)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (EPERM), SCMP_SYS (clone), 1,
                           SCMP_A0 (SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
  /* Its flags lie in memory, where no filter looks: libc takes clone then. */
  if (rc == 0)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ERRNO (ENOSYS), SCMP_SYS (clone3), 0);
  if (rc == 0)
    rc = seccomp_attr_set (ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (rc == 0)
    rc = seccomp_load (ctx);
  if (ctx)
    seccomp_release (ctx);
  errno = -rc;
  return rc < 0 ? -1 : 0;
}
