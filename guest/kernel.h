/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System calls and constants that the C libraries lack, or have in headers that clash. */
#ifndef RCVM_GUEST_KERNEL_H
#define RCVM_GUEST_KERNEL_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

enum
{
  K_RESOLVE_NO_MAGICLINKS = 0x02,
  K_RESOLVE_IN_ROOT = 0x10,
  K_OPEN_TREE_CLONE = 1,
  K_AT_RECURSIVE = 0x8000,
  K_MOVE_MOUNT_F_EMPTY_PATH = 0x04,
  K_MOVE_MOUNT_T_EMPTY_PATH = 0x40,
  K_CLOSE_RANGE_CLOEXEC = 4,
  K_ATTR_RDONLY = 0x01,
  K_ATTR_NOSUID = 0x02,
  K_ATTR_NODEV = 0x04,
  K_ATTR_NOEXEC = 0x08,
  K_ATTR_ATIME = 0x70,
  K_ATTR_NOATIME = 0x10,
  K_ATTR_STRICTATIME = 0x20,
  K_ATTR_NODIRATIME = 0x80,
  K_ATTR_NOSYMFOLLOW = 0x200000
};

/* clone(2) flags; musl and glibc show them under different conditions. */
enum
{
  K_CLONE_NEWTIME = 0x00000080,
  K_CLONE_NEWNS = 0x00020000,
  K_CLONE_NEWCGROUP = 0x02000000,
  K_CLONE_NEWUTS = 0x04000000,
  K_CLONE_NEWIPC = 0x08000000,
  K_CLONE_NEWUSER = 0x10000000,
  K_CLONE_NEWPID = 0x20000000,
  K_CLONE_NEWNET = 0x40000000,
  K_CLONE_PARENT = 0x00008000
};

struct k_open_how
{
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};

struct k_mount_attr
{
  uint64_t attr_set;
  uint64_t attr_clr;
  uint64_t propagation;
  uint64_t userns_fd;
};

struct k_sched_attr
{
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};

static inline int
k_openat2 (int dir, const char *path, const struct k_open_how *how)
{
  return (int) syscall (SYS_openat2, dir, path, how, sizeof *how);
}

static inline int
k_open_tree (int dir, const char *path, unsigned flags)
{
  return (int) syscall (SYS_open_tree, dir, path, flags | O_CLOEXEC);
}

static inline int
k_move_mount (int from, int to)
{
  return (int) syscall (SYS_move_mount, from, "", to, "",
                        K_MOVE_MOUNT_F_EMPTY_PATH | K_MOVE_MOUNT_T_EMPTY_PATH);
}

static inline int
k_mount_setattr (int fd, unsigned flags, const struct k_mount_attr *attr)
{
  return (int) syscall (SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, attr, sizeof *attr);
}

/* What is known without asking a server. */
struct k_statx
{
  unsigned char before[136];
  uint32_t dev_major, dev_minor;
  unsigned char after[112];
};

_Static_assert (sizeof (struct k_statx) == 256, "the kernel's struct statx");

static inline int
k_statx_known (const char *path, struct k_statx *st)
{
  return (int) syscall (SYS_statx, AT_FDCWD, path, 0x4000 /* AT_STATX_DONT_SYNC */, 0, st);
}

static inline int
k_setns (int fd, int flags)
{
  return (int) syscall (SYS_setns, fd, flags);
}

static inline int
k_unshare (int flags)
{
  return (int) syscall (SYS_unshare, flags);
}

#endif
