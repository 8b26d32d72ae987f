/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VMM that runs gets a file more to see: a child enters its mount namespace and mounts it over a place that was made for
 * that.  What it shall see there is made on this side, so that nothing of the VMM's has a say in it.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "proc.h"

/* In the child. */
enum
{
  NAMESPACE = RCVMI_PROC_FORK_FD,
  ROOT,
  TREE
};

struct move
{
  const char *target; /* without its first slash */
  bool shows;
  dev_t device; /* to show as a node; 0: what is in TREE */
  uid_t owner;
};

/* In a file system that has nothing else, mounted where only this child sees it. */
static int
make_node (const struct move *m, rcvm_error **err)
{
  int tree;

  if (unshare (CLONE_NEWNS) < 0 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0
      || mount ("none", "/proc", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=755") < 0
      || mknod ("/proc/disk", S_IFBLK | 0600, m->device) < 0 || chown ("/proc/disk", m->owner, m->owner) < 0
      || (tree = open_tree (AT_FDCWD, "/proc/disk", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a node of a disk for the VMM");
  return tree;
}

static int
carry_out (void *user, rcvm_error **err)
{
  const struct move *m = user;
  int tree = m->device ? make_node (m, err) : TREE;

  if (tree < 0)
    return tree;
  if (setns (NAMESPACE, CLONE_NEWNS) < 0 || fchdir (ROOT) < 0)
    return rcvmi_fail_errno (err, errno, "cannot enter the VMM's mount namespace");
  if (m->shows)
    return move_mount (tree, "", AT_FDCWD, m->target, MOVE_MOUNT_F_EMPTY_PATH) == 0
               ? 0
               : rcvmi_fail_errno (err, errno, "cannot mount what is shown to the VMM at '/%s' in its root", m->target);
  if (umount2 (m->target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
    return rcvmi_fail_errno (err, errno, "cannot unmount '/%s' in the VMM's root", m->target);
  return 0;
}

static int
run (struct move *m, pid_t pid, int tree, rcvm_error **err)
{
  struct rcvmi_proc proc = RCVMI_PROC_INIT;
  autoclose int ns = -1, root = -1;
  char path[64];
  int fds[3], error_fd, code;

  snprintf (path, sizeof path, "/proc/%d/ns/mnt", (int) pid);
  ns = open (path, O_RDONLY | O_CLOEXEC);
  snprintf (path, sizeof path, "/proc/%d/root", (int) pid);
  root = open (path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (ns < 0 || root < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the VMM's mount namespace");
  fds[0] = ns;
  fds[1] = root;
  fds[2] = tree;
  code = rcvmi_proc_fork_with (&proc, carry_out, m, fds, tree >= 0 ? 3 : 2, &error_fd, err);
  /* A few system calls. */
  return code < 0 ? code : rcvmi_proc_read_error (error_fd, rcvmi_proc_reap (&proc), "the process that enters the VMM's mounts", err);
}

static int
make_file (const struct rcvmi_confine *c, int fd, const struct stat *st, bool read_only, const char *path, rcvm_error **err)
{
  mode_t wanted = read_only ? S_IROTH : S_IROTH | S_IWOTH;
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOEXEC,
                             .attr_clr = MOUNT_ATTR__ATIME };
  autoclose int tree = open_tree (fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), owners = -1;

  if (tree < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a mount of the disk '%.200s' for the VMM", path);
  if (read_only)
    attr.attr_set |= MOUNT_ATTR_RDONLY;
  if ((st->st_mode & wanted) != wanted)
    {
      owners = rcvmi_confine_map_owner (st->st_uid, st->st_gid, c->id, err);
      if (owners < 0)
        return owners;
      attr.attr_set |= MOUNT_ATTR_IDMAP;
      attr.userns_fd = (uint64_t) owners;
    }
  if ((owners >= 0 && (st->st_mode & wanted << 6) != wanted << 6) || mount_setattr (tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "a confined VMM cannot open '%.200s', whose mode keeps others out and whose file system does not map owners: "
                       "chmod it, use QEMU, or start the VM with --confine off",
                       path);
  return steal_fd (&tree);
}

int
rcvmi_confine_show (const struct rcvmi_confine *c, pid_t pid, int fd, bool read_only, const char *path, const char *target,
                    rcvm_error **err)
{
  struct move m = { .target = target + 1, .shows = true };
  autoclose int tree = -1;
  struct stat st;

  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at '%.200s'", path);
  if (S_ISBLK (st.st_mode))
    {
      m.device = st.st_rdev;
      m.owner = c->id;
      return run (&m, pid, -1, err);
    }
  tree = make_file (c, fd, &st, read_only, path, err);
  return tree < 0 ? tree : run (&m, pid, tree, err);
}

int
rcvmi_confine_show_tree (pid_t pid, int tree, const char *target, rcvm_error **err)
{
  struct move m = { .target = target + 1, .shows = true };

  return run (&m, pid, tree, err);
}

int
rcvmi_confine_hide (pid_t pid, const char *target, rcvm_error **err)
{
  struct move m = { .target = target + 1 };

  return run (&m, pid, -1, err);
}
