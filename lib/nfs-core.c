/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server without its sockets. */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "nfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include "err.h"

enum
{
  RESERVED_FDS = 160,
  OBJECTS_MIN = 16
};

static bool
has_capability (unsigned cap)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2] = { { 0 } };

  return syscall (SYS_capget, &header, data) == 0 && (data[cap / 32].effective & 1U << cap % 32);
}

/* Each may have three fds, and connections and the rest need some. */
static unsigned
open_files_limit (void)
{
  struct rlimit files;
  rlim_t limit;

  if (getrlimit (RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= RESERVED_FDS + 3 * RCVMI_NFS_OBJECTS)
    return RCVMI_NFS_OBJECTS;
  limit = files.rlim_cur > RESERVED_FDS ? (files.rlim_cur - RESERVED_FDS) / 3 : 0;
  return limit > OBJECTS_MIN ? (unsigned) limit : OBJECTS_MIN;
}

/* /proc/self/fd, through which an O_PATH fd is opened again.  As a mount of its own, read-only, nothing
   else of /proc is in reach of it. */
static int
open_own_fds (void)
{
  struct mount_attr attr
      = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
          .propagation = MS_PRIVATE };
  int fd = (int) syscall (SYS_open_tree, AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

  if (fd >= 0 && syscall (SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0)
    return fd;
  if (fd >= 0)
    close (fd);
  return open ("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void
rcvmi_nfs_core_new_verifier (struct nfs_server *s)
{
  uint64_t v = 0, old = atomic_load (&s->write_verf);

  if (getrandom (&v, sizeof v, 0) != sizeof v || v == old)
    v = old + 1;
  atomic_store (&s->write_verf, v);
}

struct nfs_server *
rcvmi_nfs_core_new (const uint8_t *key, rcvm_error **err)
{
  struct nfs_server *s = calloc (1, sizeof *s);

  if (!s)
    {
      rcvmi_fail_nomem (err);
      return NULL;
    }
  memcpy (s->key, key, sizeof s->key);
  pthread_mutex_init (&s->lock, NULL);
  pthread_mutex_init (&s->bufs.lock, NULL);
  s->objects.limit = open_files_limit ();
  s->write_detached = 64 << 10;
  s->by_handle = has_capability (CAP_DAC_READ_SEARCH);
  s->identities = has_capability (CAP_SETUID) && has_capability (CAP_SETGID) && has_capability (CAP_CHOWN)
                  && has_capability (CAP_DAC_OVERRIDE) && s->by_handle && geteuid () == 0;
  s->proc_fd = open_own_fds ();
  rcvmi_nfs_core_new_verifier (s);
  return s;
}

void
rcvmi_nfs_core_free (struct nfs_server *s)
{
  if (!s)
    return;
  rcvmi_nfs_objects_free (s);
  rcvmi_nfs_exports_free (s);
  rcvmi_nfs_places_free (s);
  rcvmi_nfs_known_free (s);
  rcvmi_nfs_dirs_trim (s);
  rcvmi_nfs_bufs_trim (&s->bufs);
  for (unsigned i = 0; i < RCVMI_NFS_MOUNTED; i++)
    {
      free (s->mounted[i].host);
      free (s->mounted[i].path);
    }
  if (s->proc_fd >= 0)
    close (s->proc_fd);
  pthread_mutex_destroy (&s->lock);
  pthread_mutex_destroy (&s->bufs.lock);
  free (s);
}
