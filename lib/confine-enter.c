/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The child of the monitor that is about to become a VMM moves into its confinement: first what it is to see, then its
 * limits, and last its rights.  What fails here ends in _exit; the sentence goes to the monitor.
 */
#include "config.h"

#define RCVMI_STAGE "vmm"
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  ALL_CAPABILITIES = 64
};

struct child
{
  const struct rcvmi_confine *c;
  int *trees; /* what is to be mounted, for each entry; -1: nothing */
  char *what;
  size_t size;
};

/* Keeps errno. */
static int __attribute__ ((format (printf, 2, 3)))
fail (const struct child *k, const char *fmt, ...)
{
  int saved = errno;
  va_list ap;

  va_start (ap, fmt);
  vsnprintf (k->what, k->size, fmt, ap);
  va_end (ap);
  errno = saved;
  return -1;
}

unsigned long
rcvmi_confine_namespaces (const struct rcvmi_confine *c)
{
  return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | (c->shares_net ? 0 : CLONE_NEWNET);
}

/* What it is to see. */

/* All of them, before anything is mounted over their places. */
static int
open_trees (struct child *k)
{
  for (size_t i = 0; i < k->c->n; i++)
    {
      const struct rcvmi_confine_entry *e = &k->c->list[i];
      struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME };

      if (e->kind == RCVMI_CONFINE_DEVICE || e->kind == RCVMI_CONFINE_MOUNT || e->kind == RCVMI_CONFINE_EMPTY)
        {
          k->trees[i] = e->fd;
          continue;
        }
      if (e->kind != RCVMI_CONFINE_WRITABLE)
        attr.attr_set |= MOUNT_ATTR_RDONLY;
      if (e->kind != RCVMI_CONFINE_PROGRAM)
        attr.attr_set |= MOUNT_ATTR_NOEXEC;
      attr.attr_clr = MOUNT_ATTR__ATIME;
      k->trees[i] = open_tree (AT_FDCWD, e->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
      if (k->trees[i] < 0)
        return fail (k, "cannot open '%.150s', which the VMM needs", e->source);
      if (mount_setattr (k->trees[i], "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return fail (k, "cannot protect '%.150s' from the VMM", e->source);
    }
  return 0;
}

static int
make_parents (const char *path)
{
  char *copy = strdup (path);

  for (char *slash = copy ? strchr (copy + 1, '/') : NULL; slash; slash = strchr (slash + 1, '/'))
    {
      *slash = 0;
      if (mkdir (copy, 0755) < 0 && errno != EEXIST)
        {
          free (copy);
          return -1;
        }
      *slash = '/';
    }
  free (copy);
  return copy ? 0 : -1;
}

/* In the new root, which is the working directory. */
static int
place_entry (const struct child *k, size_t i)
{
  const struct rcvmi_confine_entry *e = &k->c->list[i];
  const char *target = e->target + 1;
  struct stat st;

  if (make_parents (target) < 0)
    return fail (k, "cannot make the place of '%.150s' in the VMM's root", e->target);
  if (e->kind == RCVMI_CONFINE_DEVICE)
    {
      if (mknod (target, e->type | 0600, e->device) < 0 || chown (target, k->c->id, k->c->id) < 0)
        return fail (k, "cannot make the device '%.150s' in the VMM's root", e->target);
      return 0;
    }
  if (e->kind == RCVMI_CONFINE_EMPTY)
    return mknod (target, S_IFREG | 0444, 0) < 0 ? fail (k, "cannot make '%.150s' in the VMM's root", e->target) : 0;
  if (fstat (k->trees[i], &st) < 0
      || (S_ISDIR (st.st_mode) ? mkdir (target, 0755) < 0 && errno != EEXIST : mknod (target, S_IFREG | 0444, 0) < 0)
      || move_mount (k->trees[i], "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
    return fail (k, "cannot mount '%.150s' in the VMM's root", e->target);
  close (k->trees[i]);
  return 0;
}

/* For the jailer, which moves there by itself.  Below a file system in memory that only this process and what it becomes have. */
static int
make_jail (struct child *k)
{
  const struct rcvmi_confine *c = k->c;

  if (mount ("none", c->jail_base, "tmpfs", MS_NOSUID, "size=64k,mode=755") < 0 || make_parents (c->jail) < 0
      || (mkdir (c->jail, 0700) < 0 && errno != EEXIST))
    return fail (k, "cannot make '%.150s' for the jailer", c->jail);
  for (size_t i = 0; i < c->n; i++)
    if (strcmp (c->list[i].target, "/") == 0 && move_mount (k->trees[i], "", AT_FDCWD, c->jail, MOVE_MOUNT_F_EMPTY_PATH) < 0)
      return fail (k, "cannot mount the jailer's root");
  if (chdir (c->jail) < 0)
    return fail (k, "cannot enter the jailer's root");
  for (size_t i = 0; i < c->n; i++)
    if (strcmp (c->list[i].target, "/") != 0 && place_entry (k, i) < 0)
      return -1;
  return chdir ("/") < 0 ? fail (k, "cannot leave the jailer's root") : 0;
}

static int
make_root (struct child *k)
{
  static const char *const places[] = { "/proc", "/tmp", "/mnt", "/dev" };
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };
  const char *place = NULL;
  size_t i;

  for (i = 0; !place && i < sizeof places / sizeof places[0]; i++)
    if (mount ("none", places[i], "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755") == 0)
      place = places[i];
  if (!place || chdir (place) < 0)
    return fail (k, "cannot make a root for the VMM");
  for (i = 0; i < k->c->n; i++)
    if (place_entry (k, i) < 0)
      return -1;
  /* The root of an initial ramdisk cannot be moved away; there, chroot has to do. */
  if (syscall (SYS_pivot_root, ".", ".") == 0 ? umount2 (".", MNT_DETACH) < 0 : errno != EINVAL || chroot (".") < 0)
    return fail (k, "cannot enter the VMM's root");
  if (chdir ("/") < 0 || mount_setattr (AT_FDCWD, "/", 0, &attr, sizeof attr) < 0
      || (k->c->dir && chdir (k->c->dir) < 0))
    return fail (k, "cannot protect the VMM's root");
  return 0;
}

/* What it may use. */

static int
set_limits (const struct child *k)
{
  const struct
  {
    int which;
    uint64_t value;
  } limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_NOFILE, k->c->files }, { RLIMIT_NPROC, k->c->threads },
                 { RLIMIT_FSIZE, k->c->file_size }, { RLIMIT_MSGQUEUE, 0 } };

  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
    {
      struct rlimit l = { limits[i].value, limits[i].value };

      if (setrlimit ((__rlimit_resource_t) limits[i].which, &l) < 0)
        return fail (k, "cannot limit the VMM's resources");
    }
  return 0;
}

/* What it may do. */

static int
drop_rights (const struct child *k)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct kept[2] = { 0 };
  uint64_t caps = k->c->capabilities;
  uid_t id = k->c->id;

  /* The keys of whoever started the monitor.  A container's filter may forbid the call, and with it the keys. */
  syscall (SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
  for (unsigned long cap = 0; cap < ALL_CAPABILITIES && prctl (PR_CAPBSET_READ, cap) >= 0; cap++)
    if (!(caps >> cap & 1) && prctl (PR_CAPBSET_DROP, cap) < 0)
      return fail (k, "cannot drop the VMM's capabilities");
  if (setgroups (0, NULL) < 0 || setresgid (id, id, id) < 0 || setresuid (id, id, id) < 0)
    return fail (k, "cannot become user %u, which RUNCVM_USERS can change,", (unsigned) id);
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int i = 0; i < 2; i++)
    kept[i].permitted = kept[i].effective = (uint32_t) (caps >> 32 * i);
  if (syscall (SYS_capset, &header, kept) < 0 || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail (k, "cannot renounce privileges");
  return 0;
}

/* What the jailer needs to make its root and to become another user, and nothing that its program could get: with the user they go. */
static int
keep_rights_of_jailer (const struct child *k)
{
  static const unsigned long kept[]
      = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_SETUID, CAP_SETGID, CAP_SYS_CHROOT, CAP_SYS_ADMIN, CAP_MKNOD };

  syscall (SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
  for (unsigned long cap = 0; cap < ALL_CAPABILITIES && prctl (PR_CAPBSET_READ, cap) >= 0; cap++)
    {
      bool is_kept = false;

      for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        is_kept |= kept[i] == cap;
      if (!is_kept && prctl (PR_CAPBSET_DROP, cap) < 0)
        return fail (k, "cannot drop the VMM's capabilities");
    }
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (setgroups (0, NULL) < 0 || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return fail (k, "cannot renounce privileges");
  return 0;
}

int
rcvmi_confine_enter (void *confine, char *what, size_t size)
{
  struct child k = { .c = confine, .what = what, .size = size };
  static const char name[] = "vmm";
  enum rcvmi_confine_role role = k.c->jail           ? RCVMI_CONFINE_JAILER
                                 : k.c->capabilities ? RCVMI_CONFINE_SERVER
                                                     : RCVMI_CONFINE_VMM;

  k.trees = calloc (k.c->n + 1, sizeof *k.trees);
  if (!k.trees)
    return fail (&k, "out of memory");
  umask (022);
  if (sethostname (name, sizeof name - 1) < 0 || setdomainname (name, sizeof name - 1) < 0)
    return fail (&k, "cannot name the VMM's host");
  if (mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return fail (&k, "cannot part with the host's mounts");
  if (open_trees (&k) < 0 || (k.c->jail ? make_jail (&k) : make_root (&k)) < 0)
    return -1;
  umask (077);
  if (set_limits (&k) < 0 || (k.c->jail ? keep_rights_of_jailer (&k) : drop_rights (&k)) < 0)
    return -1;
  return rcvmi_confine_filter (role) < 0 ? fail (&k, "cannot filter the VMM's system calls") : 0;
}

int
rcvmi_confine_lightly (void *unused, char *what, size_t size)
{
  struct child k = { .what = what, .size = size };
  struct rlimit none = { 0, 0 };

  (void) unused;
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit (RLIMIT_CORE, &none) < 0)
    return fail (&k, "cannot renounce privileges");
  return 0;
}

/* The first things that a confinement needs, in a child that ends at once, and of which the caller's handlers hear nothing. */
bool
rcvmi_confine_possible (char **reason)
{
  const struct rcvmi_confine none = { .shares_net = false };
  int status = 0, error;
  pid_t pid;

  *reason = NULL;
  if (geteuid () != 0)
    {
      *reason = strdup ("only root can confine a VMM");
      return false;
    }
  pid = (pid_t) syscall (SYS_clone, rcvmi_confine_namespaces (&none), 0, 0, 0, 0);
  if (pid == 0)
    _exit (mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
               && mount ("none", "/proc", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755") == 0
               && mknod ("/proc/null", S_IFCHR | 0600, 0x103) == 0
             ? 0
             : errno);
  error = errno;
  if (pid > 0)
    {
      while (waitpid (pid, &status, __WALL) < 0 && errno == EINTR)
        ;
      error = WIFEXITED (status) ? WEXITSTATUS (status) : EIO;
    }
  if (error && asprintf (reason, "this root cannot make namespaces, mounts and devices: %s", strerrordesc_np (error)) < 0)
    *reason = NULL;
  return error == 0;
}
