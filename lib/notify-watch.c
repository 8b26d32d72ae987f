/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that watches a volume's tree on the host by inotify, directory by directory, and says what others have done
 * there, a path a packet.
 *
 * VMs write to the tree, so no path is trusted: each directory is opened beneath the root without following symlinks, or
 * the VM would hear of what happens elsewhere.  Changes of attributes are not watched: that is what the guest makes of what it is
 * told, and it must not come back.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include "notify-watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  WATCHES_MAX = 200000,
  BUFFER = 64 * 1024,
  CHANGES = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
};

struct watcher
{
  int root, notify, out;
  char **paths; /* by watch descriptor; "" is the root */
  size_t cap, n;
  bool full;
  char last[PATH_MAX];
};

static void
say (struct watcher *w, char kind, const char *text)
{
  char packet[PATH_MAX + 1];
  int len = snprintf (packet, sizeof packet, "%c%s", kind, text);

  /* Nobody reads: nobody is there any more. */
  if (len < (int) sizeof packet && send (w->out, packet, (size_t) len, MSG_NOSIGNAL) < 0 && errno != EINTR)
    _exit (0);
}

/* An editor does several things to a file at once. */
static void
report (struct watcher *w, const char *path)
{
  if (strcmp (w->last, path) == 0)
    return;
  snprintf (w->last, sizeof w->last, "%s", path);
  say (w, NOTIFY_CHANGED, path);
}

static int
open_beneath (struct watcher *w, const char *path)
{
  struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC,
                          .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

  return (int) syscall (SYS_openat2, w->root, *path ? path : ".", &how, sizeof how);
}

static bool
keep_path (struct watcher *w, int wd, const char *path)
{
  char *copy = strdup (path);

  if ((size_t) wd >= w->cap)
    {
      size_t cap = (size_t) wd * 2 + 64;
      char **paths = reallocarray (w->paths, cap, sizeof *paths);

      if (!paths)
        {
          free (copy);
          return false;
        }
      memset (paths + w->cap, 0, (cap - w->cap) * sizeof *paths);
      w->paths = paths;
      w->cap = cap;
    }
  w->n += !w->paths[wd];
  free (w->paths[wd]);
  w->paths[wd] = copy;
  return copy;
}

static bool
watch_fd (struct watcher *w, int fd, const char *path, uint32_t mask)
{
  char self[40];
  int wd;

  snprintf (self, sizeof self, "/proc/self/fd/%d", fd);
  wd = w->n < WATCHES_MAX ? inotify_add_watch (w->notify, self, mask | IN_EXCL_UNLINK) : -1;
  if (wd >= 0)
    return keep_path (w, wd, path);
  if (!w->full)
    say (w, NOTIFY_TROUBLE, "not all of its directories can be watched (fs.inotify.max_user_watches)");
  w->full = true;
  return false;
}

struct stack
{
  char **paths;
  size_t n, cap;
};

static void
push (struct stack *s, const char *dir, const char *name)
{
  char *path;

  if (s->n == s->cap)
    {
      size_t cap = s->cap * 2 + 32;
      char **paths = reallocarray (s->paths, cap, sizeof *paths);

      if (!paths)
        return;
      s->paths = paths;
      s->cap = cap;
    }
  if (asprintf (&path, "%s%s%s", dir, *dir && *name ? "/" : "", name) >= 0)
    s->paths[s->n++] = path;
}

/* A directory and all below it.  `fresh`: what is found came with it. */
static void
watch_tree (struct watcher *w, const char *top, bool fresh)
{
  struct stack s = { 0 };

  push (&s, top, "");
  while (s.n > 0)
    {
      autofree char *path = s.paths[--s.n];
      autoclose int fd = strlen (path) < PATH_MAX - NAME_MAX - 2 ? open_beneath (w, path) : -1;
      DIR *dir;
      struct dirent *e;

      if (fd < 0 || !watch_fd (w, fd, path, CHANGES | IN_ONLYDIR) || !(dir = fdopendir (fd)))
        continue;
      (void) steal_fd (&fd);
      while ((e = readdir (dir)))
        {
          struct stat st;

          if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0)
            continue;
          if (e->d_type == DT_DIR
              || (e->d_type == DT_UNKNOWN && fstatat (dirfd (dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
                  && S_ISDIR (st.st_mode)))
            push (&s, path, e->d_name);
          else if (fresh)
            {
              char file[PATH_MAX];

              if (snprintf (file, sizeof file, "%s%s%s", path, *path ? "/" : "", e->d_name) < (int) sizeof file)
                report (w, file);
            }
        }
      closedir (dir);
    }
  free (s.paths);
}

/* It has another name now, or none: whoever moved it in here says so. */
static void
forget_tree (struct watcher *w, const char *top)
{
  size_t len = strlen (top);

  for (size_t wd = 0; wd < w->cap; wd++)
    if (w->paths[wd] && strncmp (w->paths[wd], top, len) == 0 && (w->paths[wd][len] == '/' || !w->paths[wd][len]))
      inotify_rm_watch (w->notify, (int) wd);
}

static void
take (struct watcher *w, const struct inotify_event *e)
{
  const char *dir = e->wd >= 0 && (size_t) e->wd < w->cap ? w->paths[e->wd] : NULL;
  char path[PATH_MAX];

  if (e->mask & IN_Q_OVERFLOW)
    {
      say (w, NOTIFY_TROUBLE, "more happened at once than was told");
      report (w, "");
      return;
    }
  if (!dir)
    return;
  if (e->mask & IN_IGNORED)
    {
      free (steal_ptr (w->paths[e->wd]));
      w->n--;
      return;
    }
  if (snprintf (path, sizeof path, "%s%s%s", dir, *dir && e->len ? "/" : "", e->len ? e->name : "") >= (int) sizeof path)
    return;
  if ((e->mask & IN_ISDIR) && (e->mask & IN_MOVED_FROM))
    forget_tree (w, path);
  if (e->mask & (IN_DELETE | IN_MOVED_FROM))
    /* There is nothing left to be touched but where it was. */
    report (w, dir);
  else
    report (w, path);
  if ((e->mask & IN_ISDIR) && (e->mask & (IN_CREATE | IN_MOVED_TO)))
    watch_tree (w, path, true);
}

int
rcvmi_notify_watch (int root, int out, rcvm_error **err)
{
  struct watcher w = { .root = root, .out = out, .notify = inotify_init1 (IN_CLOEXEC) };
  autofree char *buffer = malloc (BUFFER);
  struct stat st;

  if (!buffer)
    return rcvmi_fail_nomem (err);
  if (w.notify < 0 || fstat (root, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch a volume");
  if (S_ISDIR (st.st_mode))
    watch_tree (&w, "", false);
  else
    watch_fd (&w, root, "", IN_CLOSE_WRITE);
  say (&w, NOTIFY_READY, "");
  for (;;)
    {
      ssize_t n = read (w.notify, buffer, BUFFER);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return rcvmi_fail_errno (err, errno, "cannot read what happens in a volume");
      w.last[0] = '/';
      w.last[1] = 0;
      for (ssize_t at = 0; at < n;)
        {
          const struct inotify_event *e = (const struct inotify_event *) (buffer + at);

          take (&w, e);
          at += (ssize_t) (sizeof *e + e->len);
        }
    }
}
