/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of a snapshot, which may be a difference: then it has the pages only that are others than its parent's, and `changes` says
 * which these are, a bit for each.  Holes say nothing: a page that has become zero is a hole and a change, and copies of a snapshot have
 * holes wherever their file system likes.
 */
#include "config.h"

#define RCVMI_STAGE "snapshot"
#include "snapshot.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  PAGE = RCVMI_SNAPSHOT_PAGE,
  CHUNK = 64 * PAGE
};

static bool
is_set (const uint8_t *bits, uint64_t n)
{
  return bits[n / 8] >> (n % 8) & 1;
}

size_t
rcvmi_snapshot_changes_len (uint64_t memory)
{
  return (size_t) ((memory / PAGE + 7) / 8);
}

void
rcvmi_snapshot_memory_close (struct rcvmi_snapshot_memory *m)
{
  for (size_t i = 0; i < m->n; i++)
    {
      cleanup_close (&m->layers[i].fd);
      free (m->layers[i].changes);
    }
  *m = (struct rcvmi_snapshot_memory){ 0 };
}

/* Of one directory, behind those that are there. */
static int
open_layer (struct rcvmi_snapshot_memory *m, const char *dir, struct rcvmi_snapshot *s, rcvm_error **err)
{
  autoclose int dir_fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char hex[RCVMI_SHA256_HEX + 1];
  struct stat st;
  char *changes;
  size_t len;
  int code;

  if (dir_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open the snapshot '%.200s'", dir);
  code = rcvmi_snapshot_read_index (s, dir_fd, dir, err);
  if (code < 0)
    return code;
  if (s->memory % PAGE || (m->n && s->memory != m->size))
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' has %ju bytes of memory, which cannot be", dir, (uintmax_t) s->memory);
  m->size = s->memory;
  m->layers[m->n].changes = NULL;
  m->layers[m->n].fd = openat (dir_fd, "memory", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (m->layers[m->n].fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%.200s/memory', which a snapshot has", dir);
  m->n++;
  if (fstat (m->layers[m->n - 1].fd, &st) < 0 || !S_ISREG (st.st_mode) || (uint64_t) st.st_size != s->memory)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s/memory' has %jd bytes, and was made with %ju", dir,
                       (intmax_t) st.st_size, (uintmax_t) s->memory);
  if (!s->parent[0])
    return 0;
  code = rcvmi_snapshot_read_file (dir_fd, dir, "changes", rcvmi_snapshot_changes_len (s->memory), &changes, &len, err);
  m->layers[m->n - 1].changes = (uint8_t *) changes;
  if (code < 0)
    return code;
  rcvmi_snapshot_digest (changes, len, hex);
  if (len != rcvmi_snapshot_changes_len (s->memory) || strcmp (hex, s->changes_digest) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot's file '%.200s/changes' is not what was written", dir);
  return 0;
}

static int
open_parent (struct rcvmi_snapshot_memory *m, const char *child_dir, const char *dir, const struct rcvmi_snapshot *child,
             struct rcvmi_snapshot *s, rcvm_error **err)
{
  struct stat st;
  int code;

  if (stat (dir, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the snapshot '%.200s' is a difference to '%.200s', which is not there any more: put it back",
                       child_dir, dir);
  code = open_layer (m, dir, s, err);
  if (code < 0)
    return code;
  if (strcmp (s->digest, child->parent_digest) != 0)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "'%.200s' is another snapshot than the one to which '%.200s' is a difference: put that one back", dir, child_dir);
  if (s->depth + 1 != child->depth)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' cannot be a difference to '%.200s'", child_dir, dir);
  return 0;
}

int
rcvmi_snapshot_memory_open (struct rcvmi_snapshot_memory *m, const char *dir, struct rcvmi_snapshot *top, rcvm_error **err)
{
  struct rcvmi_snapshot_pair
  {
    struct rcvmi_snapshot child, parent;
  } *pair = malloc (sizeof *pair);
  char *path = strdup (dir), *next;
  int code;

  *m = (struct rcvmi_snapshot_memory){ 0 };
  code = pair && path ? open_layer (m, path, &pair->child, err) : rcvmi_fail_nomem (err);
  if (code == 0)
    *top = pair->child;
  /* The depth that each says is one less than that of the one above. */
  while (code == 0 && pair->child.depth > 0)
    {
      next = rcvmi_snapshot_path (path, pair->child.parent);
      code = next ? open_parent (m, path, next, &pair->child, &pair->parent, err) : rcvmi_fail_nomem (err);
      free (path);
      path = next;
      pair->child = pair->parent;
    }
  free (path);
  free (pair);
  if (code < 0)
    rcvmi_snapshot_memory_close (m);
  return code;
}

int
rcvmi_snapshot_memory_open_known (struct rcvmi_snapshot_memory *m, const char *dir, const char *digest, rcvm_error **err)
{
  struct rcvmi_snapshot *top = malloc (sizeof *top);
  int code = top ? rcvmi_snapshot_memory_open (m, dir, top, err) : rcvmi_fail_nomem (err);

  if (code == 0 && strcmp (top->digest, digest) != 0)
    {
      code = rcvmi_fail (err, RCVM_E_INVALID, 0, "the snapshot '%.200s' has become another one meanwhile", dir);
      rcvmi_snapshot_memory_close (m);
    }
  free (top);
  return code;
}

static size_t
layer_of (const struct rcvmi_snapshot_memory *m, uint64_t page)
{
  size_t i = 0;

  while (m->layers[i].changes && !is_set (m->layers[i].changes, page))
    i++;
  return i;
}

/* Bytes from `at` on that are of the same layer. */
static uint64_t
run_of (const struct rcvmi_snapshot_memory *m, uint64_t at, uint64_t end, size_t *layer)
{
  uint64_t to = at + PAGE;

  *layer = layer_of (m, at / PAGE);
  while (to < end && layer_of (m, to / PAGE) == *layer)
    to += PAGE;
  return to - at;
}

int
rcvmi_snapshot_memory_copy (const struct rcvmi_snapshot_memory *m, int to, rcvm_error **err)
{
  size_t layer;

  if (m->n == 1 && ioctl (to, FICLONE, m->layers[0].fd) == 0)
    return 0;
  if (ftruncate (to, (off_t) m->size) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a file of %ju bytes for the snapshot's memory", (uintmax_t) m->size);
  for (uint64_t at = 0, n; at < m->size; at += n)
    {
      n = m->n == 1 ? m->size : run_of (m, at, m->size, &layer);
      if (rcvmi_snapshot_copy_range (m->layers[m->n == 1 ? 0 : layer].fd, to, (off_t) at, (off_t) (at + n)) < 0)
        return rcvmi_fail_errno (err, errno, "cannot copy the snapshot's memory");
    }
  return 0;
}

int
rcvmi_snapshot_memory_put (const char *dir, const char *digest, const char *path, int flags, rcvm_error **err)
{
  autoclose int fd = open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
  struct rcvmi_snapshot_memory m = { 0 };
  int code;

  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot write to '%.200s'", path);
  code = rcvmi_snapshot_memory_open_known (&m, dir, digest, err);
  if (code == 0)
    code = rcvmi_snapshot_memory_copy (&m, fd, err);
  rcvmi_snapshot_memory_close (&m);
  return code;
}

static int
read_at (int fd, char *buf, size_t len, uint64_t at)
{
  while (len > 0)
    {
      ssize_t n = pread (fd, buf, len, (off_t) at);

      if (n < 0 && errno == EINTR)
        continue;
      if (n == 0)
        errno = EIO;
      if (n <= 0)
        return -1;
      buf += n;
      at += (uint64_t) n;
      len -= (size_t) n;
    }
  return 0;
}

static int
read_memory (const struct rcvmi_snapshot_memory *m, char *buf, size_t len, uint64_t at)
{
  uint64_t end = at + len, n;
  size_t layer;

  for (; at < end; at += n, buf += n)
    {
      n = run_of (m, at, end, &layer);
      if (read_at (m->layers[layer].fd, buf, (size_t) n, at) < 0)
        return -1;
    }
  return 0;
}

static int
forget (int fd, uint64_t at, uint64_t len)
{
  if (len == 0 || fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) at, (off_t) len) == 0 || errno == EOPNOTSUPP)
    return 0;
  return -1;
}

int
rcvmi_snapshot_memory_reduce (const struct rcvmi_snapshot_memory *m, int fd, uint8_t *changes, rcvm_error **err)
{
  autofree char *here = malloc (CHUNK), *there = malloc (CHUNK);
  uint64_t same = 0; /* bytes before `at` that are */
  struct stat st;

  if (!here || !there)
    return rcvmi_fail_nomem (err);
  if (fstat (fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot read the new snapshot's memory");
  if ((uint64_t) st.st_size != m->size)
    return rcvmi_fail (err, RCVM_E_VMM, 0, "the VMM has saved %jd bytes of memory, and the VM had %ju when the snapshot below was made",
                       (intmax_t) st.st_size, (uintmax_t) m->size);
  memset (changes, 0, rcvmi_snapshot_changes_len (m->size));
  for (uint64_t at = 0, n; at < m->size; at += n)
    {
      n = m->size - at < CHUNK ? m->size - at : CHUNK;
      if (read_at (fd, here, (size_t) n, at) < 0 || read_memory (m, there, (size_t) n, at) < 0)
        return rcvmi_fail_errno (err, errno, "cannot compare the snapshot's memory with that of the one below");
      for (size_t i = 0; i < n; i += PAGE)
        if (memcmp (here + i, there + i, PAGE) == 0)
          same += PAGE;
        else
          {
            changes[(at + i) / PAGE / 8] |= (uint8_t) (1 << (at + i) / PAGE % 8);
            if (forget (fd, at + i - same, same) < 0)
              return rcvmi_fail_errno (err, errno, "cannot make holes in the snapshot's memory");
            same = 0;
          }
    }
  return forget (fd, m->size - same, same) < 0 ? rcvmi_fail_errno (err, errno, "cannot make holes in the snapshot's memory") : 0;
}
