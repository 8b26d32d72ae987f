/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose changes they are is told by the time of change, which no program can set: what is younger than our last write-back is not
 * ours.  The upper directory is walked for that, as it holds all that is not of the image; what is found there is read through the
 * mount, where files are whole.
 *
 * The container's own files are there, too, as deep as it has made its directories: nothing here recurses, and no symlink is followed.
 */
#include "config.h"

#define RCVMI_STAGE "rootfs"
#include "put-scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"
#include "le.h"
#include "put-list.h"
#include "put-wire.h"
#include "tlv.h"

enum
{
  XATTRS_MAX = 64 * 1024,
  BUFFER = 256 * 1024
};

/* A directory that is to be read, or one that has been. */
struct item
{
  char *path;
  bool is_new, left;
};

/* A file with several names that was told. */
struct linked
{
  dev_t dev;
  ino_t ino;
  char *path;
};

struct scan
{
  const struct rcvmi_put_scan *q;
  int upper, merged;
  struct rcvmi_puts before;
  struct item *items;
  size_t n, cap;
  struct linked *linked;
  size_t n_linked, cap_linked;
  char *buffer;
};

static int
open_in (int dir, const char *path, int flags)
{
  struct open_how how = { .flags = (unsigned) (flags | O_CLOEXEC | O_NOFOLLOW),
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

  return (int) syscall (SYS_openat2, dir, *path ? path : ".", &how, sizeof how);
}

static int
write_all (int fd, const void *data, size_t len, rcvm_error **err)
{
  const char *p = data;

  while (len)
    {
      ssize_t n = write (fd, p, len);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return rcvmi_fail_errno (err, errno, "the guest does not take what others have put into the container's root");
      p += n;
      len -= (size_t) n;
    }
  return 0;
}

static int
push (struct scan *s, char *path, bool is_new, bool left, rcvm_error **err)
{
  if (s->n == s->cap)
    {
      size_t cap = s->cap * 2 + 64;
      struct item *items = reallocarray (s->items, cap, sizeof *items);

      if (!items)
        {
          free (path);
          return rcvmi_fail_nomem (err);
        }
      s->items = items;
      s->cap = cap;
    }
  s->items[s->n++] = (struct item){ .path = path, .is_new = is_new, .left = left };
  return path ? 0 : rcvmi_fail_nomem (err);
}

/* What overlayfs notes for itself is not the file's. */
static bool
is_carried (const char *name)
{
  return strncmp (name, "trusted.overlay.", 16) != 0 && strcmp (name, "security.selinux") != 0;
}

static void
put_xattrs (struct scan *s, struct tlv_writer *w, const char *path, mode_t mode)
{
  autoclose int fd = S_ISREG (mode) || S_ISDIR (mode) ? open_in (s->merged, path, O_RDONLY | O_NONBLOCK | O_NOCTTY) : -1;
  ssize_t len = fd < 0 ? 0 : flistxattr (fd, s->buffer, XATTRS_MAX);
  size_t total = 0;

  for (const char *name = s->buffer; len > 0 && name < s->buffer + len; name += strlen (name) + 1)
    {
      ssize_t n = is_carried (name) ? fgetxattr (fd, name, s->buffer + XATTRS_MAX, XATTRS_MAX) : -1;
      size_t mark;

      if (n < 0 || (total += (size_t) n) > XATTRS_MAX)
        continue;
      mark = tlv_begin (w, P_XATTR);
      tlv_put_str (w, K_NAME, name);
      tlv_put (w, K_VALUE, s->buffer + XATTRS_MAX, (size_t) n);
      tlv_end (w, mark);
    }
}

/* The file may change while it is read: then it is read again, and so many bytes it has for now. */
static int
send_data (struct scan *s, int fd, uint64_t size, rcvm_error **err)
{
  while (size)
    {
      size_t want = size < BUFFER ? (size_t) size : BUFFER;
      ssize_t n = read (fd, s->buffer, want);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        {
          memset (s->buffer, 0, want);
          n = (ssize_t) want;
        }
      if (write_all (s->q->out, s->buffer, (size_t) n, err) < 0)
        return -1;
      size -= (uint64_t) n;
    }
  return 0;
}

static const char *
earlier_name (struct scan *s, const struct stat *st, const char *path)
{
  if (S_ISDIR (st->st_mode) || st->st_nlink < 2)
    return NULL;
  for (size_t i = 0; i < s->n_linked; i++)
    if (s->linked[i].dev == st->st_dev && s->linked[i].ino == st->st_ino)
      return s->linked[i].path;
  if (s->n_linked == s->cap_linked)
    {
      size_t cap = s->cap_linked * 2 + 16;
      struct linked *linked = reallocarray (s->linked, cap, sizeof *linked);

      /* It becomes a file of its own. */
      if (!linked)
        return NULL;
      s->linked = linked;
      s->cap_linked = cap;
    }
  s->linked[s->n_linked] = (struct linked){ .dev = st->st_dev, .ino = st->st_ino, .path = strdup (path) };
  s->n_linked += s->linked[s->n_linked].path != NULL;
  return NULL;
}

static int
send_record (struct scan *s, struct tlv_writer *w, const char *path, const struct stat *st, rcvm_error **err)
{
  struct rcvmi_put put = { .path = (char *) path, .change = st->st_ctim, .dir = S_ISDIR (st->st_mode) };
  unsigned char length[PUT_LENGTH];

  if (w->failed)
    return rcvmi_fail_nomem (err);
  le_put (length, w->len, PUT_LENGTH);
  if (write_all (s->q->out, length, sizeof length, err) < 0 || write_all (s->q->out, w->data, w->len, err) < 0)
    return -1;
  return rcvmi_puts_append (s->q->list, &put, err);
}

/* What is seen in the mount, if it is what was found.  What is gone again, or covered, is left out. */
static int
send_entry (struct scan *s, const char *path, mode_t found, rcvm_error **err)
{
  autoclose int fd = open_in (s->merged, path, O_PATH), data = -1;
  struct tlv_writer w = TLV_WRITER_INIT;
  char target[PATH_MAX];
  const char *earlier;
  struct stat st;
  int code;

  if (fd < 0 || fstat (fd, &st) < 0 || (st.st_mode & S_IFMT) != (found & S_IFMT) || S_ISSOCK (st.st_mode))
    return 0;
  if (S_ISREG (st.st_mode) && (data = open_in (s->merged, path, O_RDONLY | O_NONBLOCK | O_NOCTTY)) < 0)
    return 0;
  tlv_put_str (&w, P_PATH, path);
  tlv_put_u32 (&w, P_MODE, st.st_mode);
  tlv_put_u32 (&w, P_UID, st.st_uid);
  tlv_put_u32 (&w, P_GID, st.st_gid);
  tlv_put_u64 (&w, P_MTIME_SEC, (uint64_t) st.st_mtim.tv_sec);
  tlv_put_u32 (&w, P_MTIME_NSEC, (uint32_t) st.st_mtim.tv_nsec);
  earlier = earlier_name (s, &st, path);
  if (earlier)
    tlv_put_str (&w, P_LINK, earlier);
  else if (S_ISREG (st.st_mode))
    tlv_put_u64 (&w, P_SIZE, (uint64_t) st.st_size);
  else if (S_ISLNK (st.st_mode))
    {
      ssize_t n = readlinkat (fd, "", target, sizeof target - 1);

      target[n < 0 ? 0 : n] = 0;
      tlv_put_str (&w, P_TARGET, target);
    }
  else if (S_ISCHR (st.st_mode) || S_ISBLK (st.st_mode))
    {
      tlv_put_u32 (&w, P_MAJOR, major (st.st_rdev));
      tlv_put_u32 (&w, P_MINOR, minor (st.st_rdev));
    }
  if (!earlier)
    put_xattrs (s, &w, path, st.st_mode);
  code = send_record (s, &w, path, &st, err);
  tlv_writer_free (&w);
  if (code == 0 && data >= 0 && !earlier)
    code = send_data (s, data, (uint64_t) st.st_size, err);
  return code;
}

static bool
is_new (const struct scan *s, const char *path, const struct stat *st)
{
  const struct rcvmi_put *put;

  if (st->st_ctim.tv_sec < s->q->since.tv_sec
      || (st->st_ctim.tv_sec == s->q->since.tv_sec && st->st_ctim.tv_nsec < s->q->since.tv_nsec))
    return false;
  put = rcvmi_puts_find (&s->before, path);
  return !put || put->change.tv_sec != st->st_ctim.tv_sec || put->change.tv_nsec != st->st_ctim.tv_nsec;
}

static int
look_at (struct scan *s, int dir, const char *where, const char *name, rcvm_error **err)
{
  char *path;
  struct stat st;
  int code;

  if (strcmp (name, ".") == 0 || strcmp (name, "..") == 0 || fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return 0;
  /* Whiteouts; and what an interrupted write-back has left. */
  if ((S_ISCHR (st.st_mode) && st.st_rdev == 0) || (!*where && strncmp (name, ".runcvm-", 8) == 0))
    return 0;
  if (asprintf (&path, "%s%s%s", where, *where ? "/" : "", name) < 0)
    return rcvmi_fail_nomem (err);
  if (S_ISDIR (st.st_mode))
    return push (s, path, is_new (s, path, &st), false, err);
  code = is_new (s, path, &st) ? send_entry (s, path, st.st_mode, err) : 0;
  free (path);
  return code;
}

static int
read_dir (struct scan *s, const char *path, rcvm_error **err)
{
  int fd = open_in (s->upper, path, O_RDONLY | O_DIRECTORY), code = 0;
  DIR *dir = fd < 0 ? NULL : fdopendir (fd);
  struct dirent *e;

  if (!dir)
    {
      cleanup_close (&fd);
      return 0;
    }
  while (code == 0 && (e = readdir (dir)))
    code = look_at (s, dirfd (dir), path, e->d_name, err);
  closedir (dir);
  return code;
}

static int
take_item (struct scan *s, struct item item, rcvm_error **err)
{
  int code = item.is_new ? send_entry (s, item.path, S_IFDIR, err) : 0;

  if (item.left)
    return code;
  /* Its time comes when all that is in it is there. */
  if (code == 0 && item.is_new)
    code = push (s, strdup (item.path), true, true, err);
  return code < 0 ? code : read_dir (s, item.path, err);
}

static int
walk (struct scan *s, rcvm_error **err)
{
  int code = push (s, strdup (""), false, false, err);

  while (code == 0 && s->n)
    {
      struct item item = s->items[--s->n];

      code = take_item (s, item, err);
      free (item.path);
    }
  return code;
}

int
rcvmi_put_scan (const struct rcvmi_put_scan *q, rcvm_error **err)
{
  struct scan s = { .q = q, .upper = open (q->upper, O_PATH | O_DIRECTORY | O_CLOEXEC), .buffer = malloc (BUFFER) };
  int code = 0;

  s.merged = open (q->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (!s.buffer)
    code = rcvmi_fail_nomem (err);
  else if (s.upper < 0 || s.merged < 0)
    code = rcvmi_fail_errno (err, errno, "cannot look for what others have put into '%s'", q->rootfs);
  if (code == 0 && q->before >= 0)
    code = rcvmi_puts_read (&s.before, q->before, err);
  if (code == 0)
    code = walk (&s, err);
  while (s.n)
    free (s.items[--s.n].path);
  free (s.items);
  while (s.n_linked)
    free (s.linked[--s.n_linked].path);
  free (s.linked);
  free (s.buffer);
  rcvmi_puts_clear (&s.before);
  cleanup_close (&s.upper);
  cleanup_close (&s.merged);
  return code;
}
