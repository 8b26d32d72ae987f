/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host is believed, the container is not: it may change its tree meanwhile.  Each directory is opened beneath the container's
 * root, by no symlink and across no mount; what is new is made under a name that nobody knows, and looked at by its fd.
 *
 * The container's mounts are entered, none of its namespaces else: owners are those of the disk.
 */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "container.h"
#include "handoff.h"
#include "kernel.h"
#include "le.h"
#include "put-wire.h"
#include "tlv.h"

enum
{
  BUFFER = 128 * 1024
};

struct entry
{
  const char *path, *target, *link;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  struct timespec times[2];
  uint64_t size;
  uint32_t major, minor;
  struct tlv_reader all; /* for the attributes */
};

static struct
{
  int root;
  uint64_t left; /* of the entry's data */
  char *buffer;
} the;

static int
open_in (int dir, const char *path, int flags)
{
  struct k_open_how how = { .flags = (uint64_t) (flags | O_NOFOLLOW | O_CLOEXEC),
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
  int fd;

  do
    fd = k_openat2 (dir, path, &how);
  while (fd < 0 && errno == EAGAIN); /* a rename raced with the walk */
  return fd;
}

/* The directory of a path, and its last component. */
static int
open_parent (const char *path, const char **name)
{
  const char *slash = strrchr (path, '/');
  char parent[PATH_MAX];

  *name = slash ? slash + 1 : path;
  if (!**name || strcmp (*name, "..") == 0 || strcmp (*name, ".") == 0)
    {
      errno = EINVAL;
      return -1;
    }
  if (!slash)
    return open_in (the.root, ".", O_PATH | O_DIRECTORY);
  if ((size_t) (slash - path) >= sizeof parent)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  memcpy (parent, path, (size_t) (slash - path));
  parent[slash - path] = 0;
  return open_in (the.root, parent, O_PATH | O_DIRECTORY);
}

/* 1; 0 at the end; -1. */
static int
read_all (void *data, size_t len)
{
  char *p = data;

  while (len)
    {
      ssize_t n = read (0, p, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return -1;
      if (n == 0)
        return 0;
      p += n;
      len -= (size_t) n;
    }
  return 1;
}

/* What is left of the data goes to `fd`, or nowhere. */
static int
take_data (int fd)
{
  while (the.left)
    {
      size_t n = the.left < BUFFER ? (size_t) the.left : BUFFER;

      /* Without its end, nothing is there. */
      if (read_all (the.buffer, n) <= 0)
        _exit (1);
      the.left -= n;
      for (size_t done = 0; fd >= 0 && done < n;)
        {
          ssize_t written = write (fd, the.buffer + done, n - done);

          if (written < 0 && errno != EINTR)
            return -1;
          done += written > 0 ? (size_t) written : 0;
        }
    }
  return 0;
}

/* Attributes that the guest's file system does not know are left out, as cp does. */
static int
set_xattrs (int fd, const struct entry *e)
{
  struct tlv_reader all = e->all;
  struct tlv_field f;

  while (tlv_next (&all, &f))
    if (f.tag == P_XATTR)
      {
        struct tlv_reader one = tlv_get_record (&f);
        const void *value = NULL;
        const char *name = "";
        struct tlv_field g;
        size_t len = 0;

        while (tlv_next (&one, &g))
          if (g.tag == K_NAME)
            name = tlv_get_str (&one, &g);
          else if (g.tag == K_VALUE)
            {
              value = g.data;
              len = g.len;
            }
        if (!one.bad && *name && fsetxattr (fd, name, value, len, 0) < 0 && errno != ENOTSUP)
          return -1;
      }
  return 0;
}

/* A capability of a file goes with a change of its owner: so it comes last. */
static int
set_metadata (int fd, const struct entry *e)
{
  if (fchown (fd, e->uid, e->gid) < 0 || fchmod (fd, e->mode & 07777) < 0 || set_xattrs (fd, e) < 0)
    return -1;
  return futimens (fd, e->times);
}

static int
put_dir (int parent, const char *name, const struct entry *e)
{
  autoclose int fd = -1;
  struct stat st;

  if (mkdirat (parent, name, 0700) < 0)
    {
      if (errno != EEXIST || fstatat (parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
      if (!S_ISDIR (st.st_mode) && (unlinkat (parent, name, 0) < 0 || mkdirat (parent, name, 0700) < 0))
        return -1;
    }
  fd = open_in (parent, name, O_RDONLY | O_DIRECTORY);
  return fd < 0 ? -1 : set_metadata (fd, e);
}

/* What was made under a secret name, where another may have come into its place. */
static int
own_special (int parent, const char *name, const struct entry *e)
{
  autoclose int fd = open_in (parent, name, O_PATH);
  struct stat st;

  if (fd < 0 || fstat (fd, &st) < 0)
    return -1;
  if ((st.st_mode & S_IFMT) != (e->mode & S_IFMT) || st.st_nlink != 1)
    {
      errno = EBUSY;
      return -1;
    }
  if (fchownat (fd, "", e->uid, e->gid, AT_EMPTY_PATH) < 0)
    return -1;
  return utimensat (fd, "", e->times, AT_EMPTY_PATH);
}

static int
make_file (int parent, const char *name, const struct entry *e)
{
  autoclose int fd = openat (parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

  return fd < 0 || take_data (fd) < 0 ? -1 : set_metadata (fd, e);
}

/* One more name for what came before, if that is still what it was. */
static int
make_link (int parent, const char *name, const struct entry *e)
{
  const char *old;
  autoclose int dir = open_parent (e->link, &old);
  struct stat st;

  if (dir < 0 || linkat (dir, old, parent, name, 0) < 0)
    return -1;
  if (fstatat (parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mode == e->mode && st.st_uid == e->uid && st.st_gid == e->gid)
    return 0;
  errno = EBUSY;
  return -1;
}

static int
make (int parent, const char *name, const struct entry *e)
{
  if (e->link)
    return make_link (parent, name, e);
  switch (e->mode & S_IFMT)
    {
    case S_IFREG:
      return make_file (parent, name, e);
    case S_IFLNK:
      return symlinkat (e->target, parent, name) < 0 ? -1 : own_special (parent, name, e);
    case S_IFIFO:
    case S_IFCHR:
    case S_IFBLK:
      return mknodat (parent, name, e->mode & (S_IFMT | 0777), makedev (e->major, e->minor)) < 0 ? -1
                                                                                               : own_special (parent, name, e);
    default:
      errno = EINVAL;
      return -1;
    }
}

static int
put_other (int parent, const char *name, const struct entry *e)
{
  char fresh[40];
  uint64_t secret;
  int r, saved;

  if (getrandom (&secret, sizeof secret, 0) != sizeof secret)
    return -1;
  snprintf (fresh, sizeof fresh, ".runcvm-put-%016llx", (unsigned long long) secret);
  r = make (parent, fresh, e);
  if (r == 0)
    r = renameat (parent, fresh, parent, name);
  /* An empty directory gives way, as with any who unpacks. */
  if (r < 0 && errno == EISDIR && unlinkat (parent, name, AT_REMOVEDIR) == 0)
    r = renameat (parent, fresh, parent, name);
  saved = errno;
  /* Two names of one file are left by rename. */
  if (r < 0 || e->link)
    unlinkat (parent, fresh, 0);
  errno = saved;
  return r;
}

static int
put (const struct entry *e)
{
  const char *name;
  autoclose int parent = open_parent (e->path, &name);

  if (parent < 0)
    return -1;
  return S_ISDIR (e->mode) ? put_dir (parent, name, e) : put_other (parent, name, e);
}

static bool
parse (struct entry *e, const void *record, size_t len)
{
  struct tlv_reader r;
  struct tlv_field f;

  *e = (struct entry){ .path = "", .target = "", .times = { { .tv_nsec = UTIME_NOW } } };
  tlv_reader_init (&r, record, len);
  e->all = r;
  while (tlv_next (&r, &f))
    switch (f.tag)
      {
      case P_PATH:
        e->path = tlv_get_str (&r, &f);
        break;
      case P_TARGET:
        e->target = tlv_get_str (&r, &f);
        break;
      case P_LINK:
        e->link = tlv_get_str (&r, &f);
        break;
      case P_MODE:
        e->mode = tlv_get_u32 (&r, &f);
        break;
      case P_UID:
        e->uid = tlv_get_u32 (&r, &f);
        break;
      case P_GID:
        e->gid = tlv_get_u32 (&r, &f);
        break;
      case P_MTIME_SEC:
        e->times[1].tv_sec = (time_t) tlv_get_u64 (&r, &f);
        break;
      case P_MTIME_NSEC:
        e->times[1].tv_nsec = tlv_get_u32 (&r, &f);
        break;
      case P_SIZE:
        e->size = tlv_get_u64 (&r, &f);
        break;
      case P_MAJOR:
        e->major = tlv_get_u32 (&r, &f);
        break;
      case P_MINOR:
        e->minor = tlv_get_u32 (&r, &f);
        break;
      }
  return !r.bad;
}

/* 0: the end. */
static int
take_entry (void)
{
  unsigned char length[PUT_LENGTH], answer;
  autofree unsigned char *record = NULL;
  struct entry e;
  size_t len;
  int r = read_all (length, sizeof length);

  if (r <= 0)
    return r;
  len = (size_t) le_get (length, PUT_LENGTH);
  record = len <= PUT_RECORD_MAX ? malloc (len + 1) : NULL;
  if (!record || read_all (record, len) <= 0 || !parse (&e, record, len))
    return -1;
  the.left = e.size;
  r = put (&e) < 0 ? errno : 0;
  take_data (-1);
  answer = (unsigned char) (r > 255 ? EIO : r);
  return write (1, &answer, 1) == 1 ? 1 : -1;
}

void
unpack_run (int in, int out, int handoff, struct failure *f)
{
  int root = -1, r;

  prctl (PR_SET_NAME, "rcvm-unpack");
  umask (0);
  the.buffer = malloc (BUFFER);
  if (!the.buffer || container_enter_mounts () < 0 || (root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0
      || dup2 (in, 0) < 0 || dup2 (out, 1) < 0 || dup2 (root, 2) < 0)
    {
      fail (f, "exec", the.buffer ? errno : ENOMEM, "cannot enter the container's mounts");
      return;
    }
  the.root = 2;
  handoff_send (handoff, HANDOFF_EXEC, NULL, 0, NULL, 0);
  /* The agent's ends of the pipes are among those. */
  syscall (SYS_close_range, 3U, ~0U, 0U);
  do
    r = take_entry ();
  while (r > 0);
  _exit (r < 0);
}
