/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names that config.json uses for the kernel's numbers. */
#include "config.h"

#include "plan-parts.h"

#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <linux/capability.h>

/* Flags of the kernel that not every libc's headers know. */
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef MS_LAZYTIME
#define MS_LAZYTIME (1 << 25)
#endif

const struct rcvmi_name rcvmi_capability_names[] = {
  { "CAP_CHOWN", CAP_CHOWN },
  { "CAP_DAC_OVERRIDE", CAP_DAC_OVERRIDE },
  { "CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH },
  { "CAP_FOWNER", CAP_FOWNER },
  { "CAP_FSETID", CAP_FSETID },
  { "CAP_KILL", CAP_KILL },
  { "CAP_SETGID", CAP_SETGID },
  { "CAP_SETUID", CAP_SETUID },
  { "CAP_SETPCAP", CAP_SETPCAP },
  { "CAP_LINUX_IMMUTABLE", CAP_LINUX_IMMUTABLE },
  { "CAP_NET_BIND_SERVICE", CAP_NET_BIND_SERVICE },
  { "CAP_NET_BROADCAST", CAP_NET_BROADCAST },
  { "CAP_NET_ADMIN", CAP_NET_ADMIN },
  { "CAP_NET_RAW", CAP_NET_RAW },
  { "CAP_IPC_LOCK", CAP_IPC_LOCK },
  { "CAP_IPC_OWNER", CAP_IPC_OWNER },
  { "CAP_SYS_MODULE", CAP_SYS_MODULE },
  { "CAP_SYS_RAWIO", CAP_SYS_RAWIO },
  { "CAP_SYS_CHROOT", CAP_SYS_CHROOT },
  { "CAP_SYS_PTRACE", CAP_SYS_PTRACE },
  { "CAP_SYS_PACCT", CAP_SYS_PACCT },
  { "CAP_SYS_ADMIN", CAP_SYS_ADMIN },
  { "CAP_SYS_BOOT", CAP_SYS_BOOT },
  { "CAP_SYS_NICE", CAP_SYS_NICE },
  { "CAP_SYS_RESOURCE", CAP_SYS_RESOURCE },
  { "CAP_SYS_TIME", CAP_SYS_TIME },
  { "CAP_SYS_TTY_CONFIG", CAP_SYS_TTY_CONFIG },
  { "CAP_MKNOD", CAP_MKNOD },
  { "CAP_LEASE", CAP_LEASE },
  { "CAP_AUDIT_WRITE", CAP_AUDIT_WRITE },
  { "CAP_AUDIT_CONTROL", CAP_AUDIT_CONTROL },
  { "CAP_SETFCAP", CAP_SETFCAP },
  { "CAP_MAC_OVERRIDE", CAP_MAC_OVERRIDE },
  { "CAP_MAC_ADMIN", CAP_MAC_ADMIN },
  { "CAP_SYSLOG", CAP_SYSLOG },
  { "CAP_WAKE_ALARM", CAP_WAKE_ALARM },
  { "CAP_BLOCK_SUSPEND", CAP_BLOCK_SUSPEND },
  { "CAP_AUDIT_READ", CAP_AUDIT_READ },
  { "CAP_PERFMON", 38 },
  { "CAP_BPF", 39 },
  { "CAP_CHECKPOINT_RESTORE", 40 },
  { NULL, 0 },
};

const struct rcvmi_name rcvmi_rlimit_names[] = {
  { "RLIMIT_AS", RLIMIT_AS },
  { "RLIMIT_CORE", RLIMIT_CORE },
  { "RLIMIT_CPU", RLIMIT_CPU },
  { "RLIMIT_DATA", RLIMIT_DATA },
  { "RLIMIT_FSIZE", RLIMIT_FSIZE },
  { "RLIMIT_LOCKS", RLIMIT_LOCKS },
  { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
  { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
  { "RLIMIT_NICE", RLIMIT_NICE },
  { "RLIMIT_NOFILE", RLIMIT_NOFILE },
  { "RLIMIT_NPROC", RLIMIT_NPROC },
  { "RLIMIT_RSS", RLIMIT_RSS },
  { "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
  { "RLIMIT_RTTIME", RLIMIT_RTTIME },
  { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
  { "RLIMIT_STACK", RLIMIT_STACK },
  { NULL, 0 },
};

const struct rcvmi_name rcvmi_namespace_names[] = {
  { "cgroup", CLONE_NEWCGROUP }, { "ipc", CLONE_NEWIPC }, { "mount", CLONE_NEWNS },
  { "network", CLONE_NEWNET },   { "pid", CLONE_NEWPID }, { "time", 0x80 /* CLONE_NEWTIME */ },
  { "user", CLONE_NEWUSER },     { "uts", CLONE_NEWUTS }, { NULL, 0 },
};

const struct rcvmi_name rcvmi_propagation_names[] = {
  { "private", MS_PRIVATE },
  { "rprivate", MS_PRIVATE | MS_REC },
  { "rshared", MS_SHARED | MS_REC },
  { "rslave", MS_SLAVE | MS_REC },
  { "runbindable", MS_UNBINDABLE | MS_REC },
  { "shared", MS_SHARED },
  { "slave", MS_SLAVE },
  { "unbindable", MS_UNBINDABLE },
  { NULL, 0 },
};

/* The recursive forms (rro ...) say the same as the others: what is mounted here has nothing
   mounted below it yet. */
const struct rcvmi_mount_option rcvmi_mount_options[] = {
  { "acl", MS_POSIXACL, 0, 0 },
  { "async", 0, MS_SYNCHRONOUS, 0 },
  { "atime", 0, MS_NOATIME, 0 },
  { "bind", MS_BIND, 0, 0 },
  { "defaults", 0, 0, 0 },
  { "dev", 0, MS_NODEV, 0 },
  { "diratime", 0, MS_NODIRATIME, 0 },
  { "dirsync", MS_DIRSYNC, 0, 0 },
  { "exec", 0, MS_NOEXEC, 0 },
  { "idmap", 0, 0, RCVMI_MOUNT_IDMAP },
  { "iversion", MS_I_VERSION, 0, 0 },
  { "lazytime", MS_LAZYTIME, 0, 0 },
  { "loud", 0, MS_SILENT, 0 },
  { "mand", MS_MANDLOCK, 0, 0 },
  { "noacl", 0, MS_POSIXACL, 0 },
  { "noatime", MS_NOATIME, 0, 0 },
  { "nodev", MS_NODEV, 0, 0 },
  { "nodiratime", MS_NODIRATIME, 0, 0 },
  { "noexec", MS_NOEXEC, 0, 0 },
  { "noiversion", 0, MS_I_VERSION, 0 },
  { "nolazytime", 0, MS_LAZYTIME, 0 },
  { "nomand", 0, MS_MANDLOCK, 0 },
  { "norelatime", 0, MS_RELATIME, 0 },
  { "nostrictatime", 0, MS_STRICTATIME, 0 },
  { "nosuid", MS_NOSUID, 0, 0 },
  { "nosymfollow", MS_NOSYMFOLLOW, 0, 0 },
  { "ratime", 0, MS_NOATIME, 0 },
  { "rbind", MS_BIND | MS_REC, 0, 0 },
  { "rdev", 0, MS_NODEV, 0 },
  { "rdiratime", 0, MS_NODIRATIME, 0 },
  { "relatime", MS_RELATIME, 0, 0 },
  { "remount", MS_REMOUNT, 0, 0 },
  { "rexec", 0, MS_NOEXEC, 0 },
  { "ridmap", 0, 0, RCVMI_MOUNT_IDMAP },
  { "rnoatime", MS_NOATIME, 0, 0 },
  { "rnodev", MS_NODEV, 0, 0 },
  { "rnodiratime", MS_NODIRATIME, 0, 0 },
  { "rnoexec", MS_NOEXEC, 0, 0 },
  { "rnorelatime", 0, MS_RELATIME, 0 },
  { "rnostrictatime", 0, MS_STRICTATIME, 0 },
  { "rnosuid", MS_NOSUID, 0, 0 },
  { "rnosymfollow", MS_NOSYMFOLLOW, 0, 0 },
  { "ro", MS_RDONLY, 0, 0 },
  { "rrelatime", MS_RELATIME, 0, 0 },
  { "rro", MS_RDONLY, 0, 0 },
  { "rrw", 0, MS_RDONLY, 0 },
  { "rstrictatime", MS_STRICTATIME, 0, 0 },
  { "rsuid", 0, MS_NOSUID, 0 },
  { "rsymfollow", 0, MS_NOSYMFOLLOW, 0 },
  { "rw", 0, MS_RDONLY, 0 },
  { "silent", MS_SILENT, 0, 0 },
  { "strictatime", MS_STRICTATIME, 0, 0 },
  { "suid", 0, MS_NOSUID, 0 },
  { "symfollow", 0, MS_NOSYMFOLLOW, 0 },
  { "sync", MS_SYNCHRONOUS, 0, 0 },
  { "tmpcopyup", 0, 0, RCVMI_MOUNT_COPY_UP },
  { "nofail", 0, 0, RCVMI_MOUNT_NOFAIL },
  { "_netdev", 0, 0, RCVMI_MOUNT_IGNORED },
  { "auto", 0, 0, RCVMI_MOUNT_IGNORED },
  { "group", 0, 0, RCVMI_MOUNT_IGNORED },
  { "noauto", 0, 0, RCVMI_MOUNT_IGNORED },
  { "nouser", 0, 0, RCVMI_MOUNT_IGNORED },
  { "owner", 0, 0, RCVMI_MOUNT_IGNORED },
  { "user", 0, 0, RCVMI_MOUNT_IGNORED },
  { "users", 0, 0, RCVMI_MOUNT_IGNORED },
  { NULL, 0, 0, 0 },
};

const struct rcvmi_name *
rcvmi_plan_name (const struct rcvmi_name *table, const char *name)
{
  for (; table->name; table++)
    if (strcmp (table->name, name) == 0)
      return table;
  return NULL;
}
