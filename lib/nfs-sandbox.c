/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Least privilege.  Exports are open, as mounts that hang nowhere, before the process moves into an empty
 * root of its own; then it keeps the capabilities that serving files as others needs, and the system calls
 * of this program.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/sched.h>
#include <seccomp.h>

#include "err.h"
#include "nfs-server.h"

enum
{
  LEAST = MS_NOSUID | MS_NODEV | MS_NOEXEC,
  MEMORY = 1 << 30 /* of address space: far more than the limits of the code add up to */
};

int
rcvmi_nfs_sandbox_files (rcvm_error **err)
{
  static const char *const places[] = { "/proc", "/tmp", "/mnt", "/dev" };
  const char *place = NULL;

  if (unshare (CLONE_NEWNS) < 0 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a mount namespace for the volume server");
  for (unsigned i = 0; !place && i < sizeof places / sizeof places[0]; i++)
    if (mount ("none", places[i], "tmpfs", LEAST, "size=4k,nr_inodes=2,mode=555") == 0)
      place = places[i];
  if (!place || chdir (place) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make an empty root for the volume server");
  /* The initial ramdisk's root cannot be moved away; there, chroot has to do. */
  if (syscall (SYS_pivot_root, ".", ".") == 0 ? umount2 (".", MNT_DETACH) < 0 : chroot (".") < 0)
    return rcvmi_fail_errno (err, errno, "cannot enter the volume server's empty root");
  if (chdir ("/") < 0
      || mount (NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | LEAST, NULL) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the volume server's root read-only");
  return 0;
}

/* CAP_SETUID and CAP_SETGID are for setfsuid and its kin: the filter lets no other call through that uses
   them. */
static int
drop_capabilities (const struct nfs_server *s, rcvm_error **err)
{
  static const unsigned kept[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID,
                                   CAP_MKNOD, CAP_SETUID, CAP_SETGID };
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2], had[2];
  uint32_t low = 0;

  if (s->identities)
    for (unsigned i = 0; i < sizeof kept / sizeof kept[0]; i++)
      low |= 1U << kept[i];
  if (syscall (SYS_capget, &header, had) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the volume server's capabilities");
  if (had[0].effective & 1U << CAP_SETPCAP)
    for (unsigned cap = 0; cap < 64 && prctl (PR_CAPBSET_READ, cap) >= 0; cap++)
      prctl (PR_CAPBSET_DROP, cap);
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  memset (data, 0, sizeof data);
  data[0].permitted = data[0].effective = had[0].permitted & low;
  if (syscall (SYS_capset, &header, data) < 0)
    return rcvmi_fail_errno (err, errno, "cannot drop the volume server's capabilities");
  return 0;
}

static void
set_limits (void)
{
  struct rlimit none = { 0, 0 };
#ifndef __SANITIZE_ADDRESS__
  struct rlimit memory = { MEMORY, MEMORY };

  setrlimit (RLIMIT_AS, &memory);
#endif
  setrlimit (RLIMIT_CORE, &none);
}

/* By name, for libc's headers may be older than the kernel. */
static const char *const allowed[] = {
  /* files */
  "openat", "openat2", "open_by_handle_at", "name_to_handle_at", "close", "statx", "fstat", "newfstatat", "fstatfs",
  "lseek", "read", "pread64", "preadv", "preadv2", "write", "pwrite64", "ftruncate", "fsync", "fdatasync",
  "getdents64", "readlinkat", "faccessat2", "fchmodat", "fchmodat2", "fchownat", "cachestat", "utimensat", "mkdirat",
  "mknodat", "symlinkat", "linkat", "unlinkat", "renameat", "renameat2", "fcntl", "statfs",
  /* whose rights */
  "setfsuid", "setfsgid", "setgroups", "capget", "capset", "geteuid", "getegid",
  /* sockets that are there already */
  "accept4", "recvfrom", "recvmsg", "readv", "sendto", "sendmsg", "sendfile", "setsockopt", "getsockopt", "shutdown",
  /* the loop, threads, memory */
  "epoll_wait", "epoll_pwait", "epoll_ctl", "timerfd_create", "timerfd_settime", "futex", "rt_sigprocmask",
  "rt_sigaction", "rt_sigreturn", "restart_syscall", "set_robust_list", "rseq", "exit", "exit_group", "gettid",
  "getpid", "tgkill", "clock_gettime", "clock_nanosleep", "sched_yield", "sched_getaffinity", "mmap", "munmap",
  "mprotect", "mremap", "madvise", "brk", "getrandom", "uname", "prlimit64", "sigaltstack", "membarrier", "prctl"
};

/* Nothing here calls these, so whoever does has taken the process over. */
static const char *const deadly[]
    = { "execve", "execveat", "ptrace", "socket", "connect", "bind", "process_vm_readv", "process_vm_writev",
        "mount", "move_mount", "bpf", "init_module", "finit_module", "kexec_load", "setuid", "setresuid", "keyctl" };

static int
add_rules (scmp_filter_ctx ctx)
{
  int rc = 0;

  for (unsigned i = 0; rc == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
    {
      int nr = seccomp_syscall_resolve_name (allowed[i]);

      /* libseccomp may be older than these. */
      if (nr == __NR_SCMP_ERROR && strcmp (allowed[i], "cachestat") == 0)
        nr = 451;
      if (nr == __NR_SCMP_ERROR && strcmp (allowed[i], "fchmodat2") == 0)
        nr = 452;
      if (nr != __NR_SCMP_ERROR)
        rc = seccomp_rule_add (ctx, SCMP_ACT_ALLOW, nr, 0);
    }
  for (unsigned i = 0; rc == 0 && i < sizeof deadly / sizeof deadly[0]; i++)
    {
      int nr = seccomp_syscall_resolve_name (deadly[i]);

      if (nr != __NR_SCMP_ERROR)
        rc = seccomp_rule_add (ctx, SCMP_ACT_KILL_PROCESS, nr, 0);
    }
  /* Threads, not processes.  clone3's flags lie in memory: libc takes clone where it is not there. */
  if (rc == 0)
    rc = seccomp_rule_add (ctx, SCMP_ACT_ALLOW, SCMP_SYS (clone), 1,
                           SCMP_A0 (SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  return rc;
}

static int
filter_calls (rcvm_error **err)
{
  scmp_filter_ctx ctx = seccomp_init (SCMP_ACT_ERRNO (ENOSYS));
  int rc;

  if (!ctx)
    return rcvmi_fail_nomem (err);
  seccomp_attr_set (ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  rc = add_rules (ctx);
  if (rc == 0)
    rc = seccomp_load (ctx);
  seccomp_release (ctx);
  return rc < 0 ? rcvmi_fail (err, RCVM_E_SYSTEM, -rc, "cannot filter the volume server's system calls") : 0;
}

int
rcvmi_nfs_sandbox_rights (const struct nfs_server *s, rcvm_error **err)
{
  int rc;

  set_limits ();
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot renounce new privileges");
  rc = drop_capabilities (s, err);
  return rc < 0 ? rc : filter_calls (err);
}
