/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a cgroup, which may have to be brought about by another process than the one that made it. */
#include "config.h"

#define RCVMI_STAGE "cgroup"
#include "cgroup.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#include "cleanup.h"
#include "clock.h"
#include "err.h"

enum
{
  KILL_TIMEOUT_MS = 10000
};

/* By whether systemd manages it, and whether it is of version 2. */
static const char versions[2][2] = { { '1', '2' }, { 's', 'S' } };

/* Lines of "VERSION INODE PATH"; the version is a letter where systemd removes the group. */
char *
rcvmi_cgroup_to_record (const struct rcvmi_cgroup *c, rcvm_error **err)
{
  char *text = NULL;
  size_t size;
  FILE *f = open_memstream (&text, &size);

  for (size_t i = 0; f && i < c->n; i++)
    if (c->list[i].path)
      fprintf (f, "%c %ju %s\n", versions[c->list[i].managed][c->list[i].v2], (uintmax_t) c->list[i].inode, c->list[i].path);
  if (!f || fclose (f) != 0)
    {
      free (text);
      rcvmi_fail_nomem (err);
      return NULL;
    }
  return text;
}

static int
version_of (char letter, struct rcvmi_cgroup_hierarchy *h)
{
  for (int managed = 0; managed < 2; managed++)
    for (int v2 = 0; v2 < 2; v2++)
      if (letter == versions[managed][v2])
        {
          h->managed = managed;
          h->v2 = v2;
          return 0;
        }
  return -1;
}

static bool
is_cgroup (const char *path, ino_t inode)
{
  struct statfs fs;
  struct stat st;

  return lstat (path, &st) == 0 && S_ISDIR (st.st_mode) && st.st_ino == inode && statfs (path, &fs) == 0
         && (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

/* Only what is there still, and is what was made: another VM may have a group of that name by now. */
static int
read_record (struct rcvmi_cgroup *c, const char *record, rcvm_error **err)
{
  while (*record && c->n < RCVMI_CGROUP_HIERARCHIES)
    {
      struct rcvmi_cgroup_hierarchy *h = &c->list[c->n];
      size_t len = strcspn (record, "\n");
      char *end = NULL;

      if (len > 4 && record[1] == ' ' && version_of (record[0], h) == 0)
        h->inode = (ino_t) strtoumax (record + 2, &end, 10);
      if (end && *end == ' ' && end[1] == '/')
        {
          h->path = strndup (end + 1, len - (size_t) (end + 1 - record));
          h->controllers = strdup ("");
          if (!h->path || !h->controllers)
            {
              c->n++;
              return rcvmi_fail_nomem (err);
            }
          if (is_cgroup (h->path, h->inode))
            c->n++;
          else
            {
              free (h->path);
              free (h->controllers);
              *h = (struct rcvmi_cgroup_hierarchy){ 0 };
            }
        }
      record += len + (record[len] == '\n');
    }
  return 0;
}

static bool
has_process (const struct rcvmi_cgroup *c, pid_t pid)
{
  autofree pid_t *pids = rcvmi_cgroup_processes (c, NULL);
  pid_t *p = pids;

  while (p && *p > 0 && *p != pid)
    p++;
  return p && *p == pid;
}

/* Kills what it finds, and waits for its end.  Returns how many there were. */
static int
kill_round (const struct rcvmi_cgroup *c, int64_t deadline, rcvm_error **err)
{
  autofree pid_t *pids = rcvmi_cgroup_processes (c, err);
  int n = 0;

  for (pid_t *p = pids; p && *p > 0; p++)
    {
      autoclose int fd = *p == getpid () ? -1 : pidfd_open (*p, 0);
      struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
      int64_t left = deadline - rcvmi_clock_ms ();

      /* One that has ended already has nobody to reap it yet, which is no reason to wait. */
      if (fd >= 0 && poll (&poll_fd, 1, 0) > 0)
        continue;
      /* By now the number may be another process's; the one of the pidfd it cannot become. */
      if (fd < 0 || !has_process (c, *p))
        continue;
      n++;
      pidfd_send_signal (fd, SIGKILL, NULL, 0);
      poll (&poll_fd, 1, left > 0 ? (int) left : 0);
    }
  return pids ? n : RCVM_E_SYSTEM;
}

/* It does that itself, when the last process has left: were it gone before systemd has seen that, its unit would stay. */
static int
await_removal (const struct rcvmi_cgroup_hierarchy *h, int64_t deadline, rcvm_error **err)
{
  autoclose int watch = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  struct pollfd p = { .fd = watch, .events = POLLIN };
  char events[4096];

  if (watch < 0 || (inotify_add_watch (watch, h->path, IN_DELETE_SELF) < 0 && errno != ENOENT))
    return rcvmi_fail_errno (err, errno, "cannot watch the cgroup '%s'", h->path);
  while (is_cgroup (h->path, h->inode))
    {
      int64_t left = deadline - rcvmi_clock_ms ();

      if (left <= 0)
        return rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "systemd has not removed the cgroup '%s'", h->path);
      poll (&p, 1, (int) left);
      while (read (watch, events, sizeof events) > 0)
        ;
    }
  return 0;
}

static int
remove_one (const struct rcvmi_cgroup_hierarchy *h, int64_t deadline, rcvm_error **err)
{
  if (h->managed)
    return await_removal (h, deadline, err);
  return rmdir (h->path) < 0 && errno != ENOENT ? rcvmi_fail_errno (err, errno, "cannot remove the cgroup '%s'", h->path) : 0;
}

int
rcvmi_cgroup_remove_record (const char *record, rcvm_error **err)
{
  struct rcvmi_cgroup c = { 0 };
  int64_t deadline = rcvmi_clock_ms () + KILL_TIMEOUT_MS;
  int code = read_record (&c, record, err), found = 1;

  while (code == 0 && c.n && found > 0 && rcvmi_clock_ms () < deadline)
    {
      found = kill_round (&c, deadline, err);
      if (found < 0)
        code = found;
    }
  for (size_t i = 0; i < c.n; i++)
    {
      rcvm_error *e = NULL;
      int r = remove_one (&c.list[i], deadline, &e);

      if (code == 0 && r < 0)
        code = rcvmi_error_pass (err, e);
      else
        rcvm_error_free (e);
    }
  rcvmi_cgroup_clear (&c);
  return code;
}
