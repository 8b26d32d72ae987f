/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A digest of the metadata of a tree that no change leaves as it was.
 *
 * Each change of an inode (contents, owner, mode, attributes, links) sets its time of change, which nobody
 * can set back, and each change of a name that of its directory.  With the inode's number, no other file
 * can have been put in its place.  The kernel's clock for these times ticks every few milliseconds: a
 * change in the very tick in which the walk began could go unseen by the next walk.  So a tree that was
 * changed in that tick is walked again in the next.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cache-priv.h"
#include "cleanup.h"
#include "err.h"
#include "rootfs-scan.h"

enum
{
  DIRENTS_SIZE = 65536,
  /* Directories that are open at once; the others are opened again through "..". */
  OPEN_LEVELS = 48,
  TRIES = 4,
  LATE_TICKS = 250
};

struct entry
{
  uint64_t ino;
  uint32_t name; /* offset */
  bool is_dir;
};

/* A directory on the way from the top to the one that is being read. */
struct level
{
  int fd; /* -1: closed for now */
  uint64_t ino, dev;
  char *names;     /* of subdirectories that are still to be read, each ended by NUL */
  size_t size, at; /* `at`: the next one */
};

struct fs
{
  uint64_t dev;
  bool is_virtual; /* /proc and its like: an empty directory in the image */
};

struct walk
{
  const char *rootfs;
  struct rcvmi_sha256 *sha;
  struct level *levels;
  size_t n, cap;
  struct fs *fs; /* seen so far */
  size_t n_fs;
  struct entry *entries; /* of the directory that is being read */
  size_t n_entries, cap_entries;
  char *names;
  size_t names_size, names_cap;
  char *dirents;
  struct timespec newest; /* time of change */
  uint64_t bytes;
  rcvm_error **err;
};

/* What is digested of an entry, followed by its name and a NUL. */
struct record
{
  uint64_t ino, size, rdev;
  int64_t mtime, ctime;
  uint32_t mtime_nsec, ctime_nsec;
  uint32_t mode, uid, gid;
  uint32_t fs; /* its number among those of the tree */
};

static void
walk_clear (struct walk *w)
{
  for (size_t i = 0; i < w->n; i++)
    {
      cleanup_close (&w->levels[i].fd);
      free (w->levels[i].names);
    }
  free (w->levels);
  free (w->fs);
  free (w->entries);
  free (w->names);
  free (w->dirents);
}

static int
fail_name (struct walk *w, int errnum, const char *name)
{
  return rcvmi_fail_errno (w->err, errnum, "cannot read '%s' in the tree '%s'", name, w->rootfs);
}

static int
fail_changed (struct walk *w)
{
  return rcvmi_fail (w->err, RCVM_E_STATE, 0,
                     "the tree '%s' is being changed; try again when nothing writes there", w->rootfs);
}

/* Where the times of change are the server's, or whatever it likes. */
static bool
is_remote (const struct statfs *fs)
{
  switch ((unsigned long) fs->f_type)
    {
    case 0x65735546: /* FUSE, virtiofs */
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case CIFS_SUPER_MAGIC:
    case SMB2_SUPER_MAGIC:
    case V9FS_MAGIC:
    case CEPH_SUPER_MAGIC:
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
    case CODA_SUPER_MAGIC:
    case 0x0bd00bd0: /* Lustre */
    case 0x786f4256: /* vboxsf */
      return true;
    default:
      return false;
    }
}

/* A file system that was not seen before; `fd` is in it. */
static int
add_fs (struct walk *w, int fd, uint64_t dev)
{
  struct fs *list = reallocarray (w->fs, w->n_fs + 1, sizeof *list);
  uint64_t id[4] = { 0 };
  struct statfs fs;

  if (!list)
    return rcvmi_fail_nomem (w->err);
  w->fs = list;
  if (fstatfs (fd, &fs) < 0)
    return rcvmi_fail_errno (w->err, errno, "cannot tell what file system the tree '%s' is on", w->rootfs);
  list[w->n_fs] = (struct fs){ .dev = dev, .is_virtual = rcvmi_scan_is_virtual (fd) };
  if (is_remote (&fs) || (w->n_fs == 0 && list[0].is_virtual))
    return rcvmi_fail (w->err, RCVM_E_UNSUPPORTED, 0,
                       "the tree '%s' is on a file system that does not tell what was changed (network, "
                       "FUSE); name its contents by digests, or do without the cache",
                       w->rootfs);
  /* btrfs draws the numbers of its subvolumes' devices at each boot, and has an identity of its own for
     each. */
  id[0] = (unsigned long) fs.f_type == BTRFS_SUPER_MAGIC || list[w->n_fs].is_virtual ? 0 : dev;
  id[1] = (uint64_t) fs.f_type;
  if (!list[w->n_fs].is_virtual)
    memcpy (&id[2], &fs.f_fsid, sizeof fs.f_fsid);
  w->n_fs++;
  rcvmi_sha256_update (w->sha, id, sizeof id);
  return 0;
}

/* Its index; -1: not seen yet. */
static int64_t
find_fs (const struct walk *w, uint64_t dev)
{
  for (size_t i = 0; i < w->n_fs; i++)
    if (w->fs[i].dev == dev)
      return (int64_t) i;
  return -1;
}

static uint64_t
stat_dev (const struct statx *sx)
{
  return makedev (sx->stx_dev_major, sx->stx_dev_minor);
}

/* Not opened for reading, so that a device or a FIFO does nothing. */
static int
add_fs_of (struct walk *w, int dirfd, const char *name, uint64_t dev)
{
  autoclose int fd = openat (dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

  if (fd < 0)
    return fail_name (w, errno, name);
  return add_fs (w, fd, dev);
}

static void
note_change (struct walk *w, int64_t sec, uint32_t nsec)
{
  if (sec > w->newest.tv_sec || (sec == w->newest.tv_sec && (long) nsec > w->newest.tv_nsec))
    w->newest = (struct timespec){ .tv_sec = (time_t) sec, .tv_nsec = (long) nsec };
}

/* Its file system has been seen. */
static void
add_record (struct walk *w, const struct statx *sx, const char *name)
{
  size_t fs = (size_t) find_fs (w, stat_dev (sx));
  struct record r;

  memset (&r, 0, sizeof r);
  r.mode = sx->stx_mode;
  r.fs = (uint32_t) fs;
  /* The numbers and times there are drawn anew with each look. */
  if (!w->fs[fs].is_virtual)
    {
      r.ino = sx->stx_ino;
      r.size = S_ISDIR (sx->stx_mode) ? 0 : sx->stx_size;
      r.rdev = makedev (sx->stx_rdev_major, sx->stx_rdev_minor);
      r.mtime = sx->stx_mtime.tv_sec;
      r.mtime_nsec = sx->stx_mtime.tv_nsec;
      r.ctime = sx->stx_ctime.tv_sec;
      r.ctime_nsec = sx->stx_ctime.tv_nsec;
      r.uid = sx->stx_uid;
      r.gid = sx->stx_gid;
      note_change (w, r.ctime, r.ctime_nsec);
    }
  rcvmi_sha256_update (w->sha, &r, sizeof r);
  rcvmi_sha256_update (w->sha, name, strlen (name) + 1);
  w->bytes += 512;
  w->bytes += S_ISREG (sx->stx_mode) ? sx->stx_blocks * 512 : S_ISDIR (sx->stx_mode) ? 4096 : 0;
}

static int
add_name (struct walk *w, const struct dirent64 *d)
{
  size_t len = strlen (d->d_name) + 1;

  if (w->n_entries == w->cap_entries)
    {
      size_t cap = w->cap_entries ? w->cap_entries * 2 : 256;
      struct entry *p = reallocarray (w->entries, cap, sizeof *p);

      if (!p)
        return -1;
      w->entries = p;
      w->cap_entries = cap;
    }
  if (w->names_cap - w->names_size < len)
    {
      size_t cap = w->names_cap * 2 + 4096;
      char *p = realloc (w->names, cap);

      if (!p)
        return -1;
      w->names = p;
      w->names_cap = cap;
    }
  memcpy (w->names + w->names_size, d->d_name, len);
  w->entries[w->n_entries++] = (struct entry){ .ino = d->d_ino, .name = (uint32_t) w->names_size };
  w->names_size += len;
  return w->names_size > UINT32_MAX ? -1 : 0;
}

/* By inode number, for a cold cache; by name where there are several, so that the order is always the
   same. */
static int
compare (const void *a, const void *b, void *names)
{
  const struct entry *x = a, *y = b;

  if (x->ino != y->ino)
    return x->ino < y->ino ? -1 : 1;
  return strcmp ((char *) names + x->name, (char *) names + y->name);
}

static int
read_names (struct walk *w, int fd)
{
  ssize_t n;

  w->n_entries = w->names_size = 0;
  while ((n = getdents64 (fd, w->dirents, DIRENTS_SIZE)) > 0)
    for (char *p = w->dirents; p < w->dirents + n;)
      {
        struct dirent64 *d = (struct dirent64 *) p;

        p += d->d_reclen;
        if (strcmp (d->d_name, ".") != 0 && strcmp (d->d_name, "..") != 0 && add_name (w, d) < 0)
          return rcvmi_fail_nomem (w->err);
      }
  if (n < 0)
    return rcvmi_fail_errno (w->err, errno, "cannot read a directory of the tree '%s'", w->rootfs);
  if (w->n_entries)
    qsort_r (w->entries, w->n_entries, sizeof *w->entries, compare, w->names);
  return 0;
}

static int
read_entry (struct walk *w, int fd, const char *name, bool *is_dir)
{
  struct statx sx;
  int r;

  if (statx (fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &sx)
      < 0)
    return errno == ENOENT ? fail_changed (w) : fail_name (w, errno, name);
  if (find_fs (w, stat_dev (&sx)) < 0)
    {
      r = add_fs_of (w, fd, name, stat_dev (&sx));
      if (r < 0)
        return r;
    }
  add_record (w, &sx, name);
  *is_dir = S_ISDIR (sx.stx_mode);
  return 0;
}

static int
read_level (struct walk *w, struct level *l)
{
  size_t size = 0;
  int r = read_names (w, l->fd);

  for (size_t i = 0; r == 0 && i < w->n_entries; i++)
    {
      const char *name = w->names + w->entries[i].name;
      bool is_dir = false;

      r = read_entry (w, l->fd, name, &is_dir);
      w->entries[i].is_dir = is_dir;
      if (is_dir)
        size += strlen (name) + 1;
    }
  if (r < 0 || size == 0)
    return r;
  l->names = malloc (size);
  if (!l->names)
    return rcvmi_fail_nomem (w->err);
  for (size_t i = 0; i < w->n_entries; i++)
    if (w->entries[i].is_dir)
      {
        const char *name = w->names + w->entries[i].name;
        size_t len = strlen (name) + 1;

        memcpy (l->names + l->size, name, len);
        l->size += len;
      }
  return 0;
}

static int
push_level (struct walk *w, int fd, const struct stat *st)
{
  if (w->n == w->cap)
    {
      size_t cap = w->cap ? w->cap * 2 : 64;
      struct level *p = reallocarray (w->levels, cap, sizeof *p);

      if (!p)
        return rcvmi_fail_nomem (w->err);
      w->levels = p;
      w->cap = cap;
    }
  if (w->n >= OPEN_LEVELS)
    {
      struct level *old = &w->levels[w->n - OPEN_LEVELS];

      cleanup_close (&old->fd);
      old->fd = -1;
    }
  w->levels[w->n++] = (struct level){ .fd = fd, .ino = st->st_ino, .dev = st->st_dev };
  return 0;
}

static int
enter (struct walk *w, const char *name)
{
  struct level *parent = &w->levels[w->n - 1];
  autoclose int fd = -1;
  struct stat st;
  int r;

  fd = openat (parent->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? fail_changed (w)
                                                                 : fail_name (w, errno, name);
  if (fstat (fd, &st) < 0)
    return fail_name (w, errno, name);
  rcvmi_sha256_update (w->sha, "/", 1);
  rcvmi_sha256_update (w->sha, name, strlen (name) + 1);
  /* As the builder does. */
  if (st.st_dev != parent->dev && rcvmi_scan_is_virtual (fd))
    return 0;
  r = push_level (w, fd, &st);
  if (r < 0)
    return r;
  steal_fd (&fd);
  return read_level (w, &w->levels[w->n - 1]);
}

/* Back in the parent, which may have been closed. */
static int
leave (struct walk *w)
{
  struct level *l = &w->levels[w->n - 1], *parent = l - 1;
  struct stat st;
  int r = 0;

  if (w->n > 1 && parent->fd < 0)
    {
      parent->fd = openat (l->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (parent->fd < 0 || fstat (parent->fd, &st) < 0)
        r = fail_name (w, errno, "..");
      else if (st.st_ino != parent->ino || st.st_dev != parent->dev)
        r = fail_changed (w);
    }
  cleanup_close (&l->fd);
  free (l->names);
  w->n--;
  return r;
}

static int
read_top (struct walk *w)
{
  autoclose int fd = open (w->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct statx sx;
  struct stat st;
  int r;

  w->dirents = malloc (DIRENTS_SIZE);
  if (!w->dirents)
    return rcvmi_fail_nomem (w->err);
  if (fd < 0 || fstat (fd, &st) < 0
      || statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &sx) < 0)
    return rcvmi_fail_errno (w->err, errno, "cannot read the tree '%s'", w->rootfs);
  r = add_fs (w, fd, stat_dev (&sx));
  if (r < 0)
    return r;
  add_record (w, &sx, "");
  r = push_level (w, fd, &st);
  if (r < 0)
    return r;
  steal_fd (&fd);
  return read_level (w, &w->levels[0]);
}

static int
walk_once (struct walk *w)
{
  int r = read_top (w);

  while (r == 0 && w->n)
    {
      struct level *l = &w->levels[w->n - 1];

      if (l->at < l->size)
        {
          const char *name = l->names + l->at;

          l->at += strlen (name) + 1;
          r = enter (w, name);
        }
      else
        r = leave (w);
    }
  return r;
}

static int64_t
nanoseconds_until (const struct timespec *from, const struct timespec *to)
{
  return ((int64_t) to->tv_sec - from->tv_sec) * 1000000000 + to->tv_nsec - from->tv_nsec;
}

static struct timespec
later (struct timespec t, long nanoseconds)
{
  t.tv_nsec += nanoseconds;
  if (t.tv_nsec >= 1000000000)
    {
      t.tv_sec++;
      t.tv_nsec -= 1000000000;
    }
  return t;
}

/* The clock's next tick after `newest` is a moment that is known, and that nothing announces.  It comes
   late if the machine is busy: it is looked for again after each further one. */
static void
await_tick (struct timespec newest)
{
  struct timespec tick = { .tv_nsec = 10000000 }, now, until;

  clock_getres (CLOCK_REALTIME_COARSE, &tick);
  until = newest;
  for (int i = 0; i < LATE_TICKS; i++)
    {
      until = later (until, tick.tv_nsec);
      while (clock_nanosleep (CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
      if (clock_gettime (CLOCK_REALTIME_COARSE, &now) < 0 || nanoseconds_until (&now, &newest) < 0)
        return;
    }
}

int
rcvmi_cache_walk (const char *rootfs, struct rcvmi_sha256 *sha, uint64_t *bytes, rcvm_error **err)
{
  const struct rcvmi_sha256 start = *sha;

  for (int i = 0; i < TRIES; i++)
    {
      __attribute__ ((cleanup (walk_clear)))
      struct walk w = { .rootfs = rootfs, .sha = sha, .err = err };
      struct timespec began;
      int64_t ahead;
      int r;

      *sha = start;
      if (clock_gettime (CLOCK_REALTIME_COARSE, &began) < 0)
        return rcvmi_fail_errno (err, errno, "cannot tell the time");
      r = walk_once (&w);
      if (r < 0)
        return r;
      *bytes = w.bytes;
      ahead = nanoseconds_until (&began, &w.newest);
      /* Far ahead: the host's clock was set back.  It will not stand at that very tick again. */
      if (ahead < 0 || ahead > 1000000000)
        return 0;
      await_tick (w.newest);
    }
  return rcvmi_fail (err, RCVM_E_STATE, 0,
                     "the tree '%s' is being changed; try again when nothing writes there", rootfs);
}
