/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state directory: see state.h for its layout and locks. */
#include "config.h"

#define RCVMI_STAGE "state"
#include "state.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cgroup.h"
#include "cleanup.h"
#include "disks.h"
#include "net.h"
#include "plan.h"
#include "proc.h"
#include "snapshot.h"

enum
{
  /* The annotations of a request of the largest size, with every byte escaped. */
  MAX_STATE_BYTES = 6 * AGENT_REQUEST_MAX + 1024 * 1024
};

char *
rcvmi_state_root (const char *root, rcvm_error **err)
{
  const char *runtime = getenv ("XDG_RUNTIME_DIR");
  char *path = NULL;

  if (!root)
    root = secure_getenv ("RUNCVM_ROOT");
  if (root && *root)
    path = root[0] == '/' ? strdup (root) : NULL;
  if (root && *root && root[0] != '/')
    {
      /* The monitor has another working directory. */
      autofree char *cwd = get_current_dir_name ();

      if (!cwd || asprintf (&path, "%s/%s", cwd, root) < 0)
        path = NULL;
    }
  else if (!path && geteuid () != 0 && runtime && *runtime)
    {
      if (asprintf (&path, "%s/runcvm", runtime) < 0)
        path = NULL;
    }
  else if (!path)
    path = strdup ("/run/runcvm");
  if (!path && errno != ENOMEM)
    rcvmi_fail_errno (err, errno, "cannot tell what the state directory '%s' is relative to", root ? root : "");
  else if (!path)
    rcvmi_fail_nomem (err);
  return path;
}

static int
make_root (const char *root, rcvm_error **err)
{
  autofree char *path = strdup (root);

  if (!path)
    return rcvmi_fail_nomem (err);
  for (char *p = path + 1;; p++)
    if (*p == '/' || *p == 0)
      {
        char c = *p;

        *p = 0;
        if (mkdir (path, c ? 0755 : 0700) < 0 && errno != EEXIST)
          return rcvmi_fail_errno (err, errno, "cannot make the state directory '%s'", path);
        *p = c;
        if (c == 0)
          return 0;
      }
}

/* Held while a directory below root is made or removed. */
static int
lock_root (const char *root, rcvm_error **err)
{
  autofree char *path = NULL;
  int fd;

  if (asprintf (&path, "%s/.lock", root) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s' in the state directory", path);
  while (flock (fd, LOCK_EX) < 0)
    if (errno != EINTR)
      {
        int code = rcvmi_fail_errno (err, errno, "cannot lock '%s'", path);

        close (fd);
        return code;
      }
  return fd;
}

static int
open_dir (struct rcvmi_state_dir *d, const char *root, const char *id, rcvm_error **err)
{
  *d = RCVMI_STATE_DIR_INIT;
  d->root = strdup (root);
  if (!d->root || asprintf (&d->path, "%s/%s", root, id) < 0)
    {
      d->path = NULL;
      rcvmi_state_dir_close (d);
      return rcvmi_fail_nomem (err);
    }
  d->fd = open (d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (d->fd < 0)
    {
      int saved = errno;

      rcvmi_state_dir_close (d);
      if (saved == ENOENT)
        return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "there is no VM '%s' in '%s'", id, root);
      return rcvmi_fail_errno (err, saved, "cannot open the state of VM '%s' in '%s'", id, root);
    }
  return 0;
}

int
rcvmi_state_dir_open (struct rcvmi_state_dir *d, const char *root, const char *id, rcvm_error **err)
{
  return open_dir (d, root, id, err);
}

void
rcvmi_state_dir_close (struct rcvmi_state_dir *d)
{
  if (d->fd >= 0)
    close (d->fd);
  if (d->lock_fd >= 0)
    close (d->lock_fd);
  free (d->root);
  free (d->path);
  *d = RCVMI_STATE_DIR_INIT;
}

/* 1: the lock is ours; 0: a monitor lives; the fd is in *fd. */
static int
try_lock (const struct rcvmi_state_dir *d, int *fd, rcvm_error **err)
{
  struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

  *fd = openat (d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (*fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot open '%s/lock'", d->path);
  if (fcntl (*fd, F_OFD_SETLK, &whole) == 0)
    return 1;
  if (errno == EAGAIN || errno == EACCES)
    return 0;
  return rcvmi_fail_errno (err, errno, "cannot lock '%s/lock'", d->path);
}

bool
rcvmi_state_dir_alive (const struct rcvmi_state_dir *d)
{
  struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  autoclose int fd = openat (d->fd, "lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

  /* Asks without taking it, so that two who ask at once do not take each other for a monitor. */
  return fd >= 0 && fcntl (fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

int
rcvmi_state_dir_write (const struct rcvmi_state_dir *d, const struct rcvmi_state *s, rcvm_error **err)
{
  static const char temp[] = "state.json.new";
  autofree char *json = rcvmi_state_to_json (s, true, err);
  autoclose int fd = -1;
  size_t len;
  ssize_t n;

  if (!json)
    return RCVM_E_NOMEM;
  len = strlen (json);
  fd = openat (d->fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot write '%s/%s'", d->path, temp);
  n = write (fd, json, len);
  if (n != (ssize_t) len || renameat (d->fd, temp, d->fd, "state.json") < 0)
    {
      int saved = n >= 0 && n != (ssize_t) len ? ENOSPC : errno;

      unlinkat (d->fd, temp, 0);
      return rcvmi_fail_errno (err, saved, "cannot write '%s/state.json'", d->path);
    }
  return 0;
}

int
rcvmi_state_dir_read (const struct rcvmi_state_dir *d, struct rcvmi_state *s, rcvm_error **err)
{
  autoclose int fd = openat (d->fd, "state.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  autofree char *json = NULL;
  struct stat st;
  ssize_t n;

  *s = (struct rcvmi_state){ .status = RCVM_STATUS_CREATING };
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s/state.json'", d->path);
  if (fstat (fd, &st) < 0 || st.st_size > MAX_STATE_BYTES || !(json = malloc ((size_t) st.st_size + 1)))
    return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "cannot take in '%s/state.json'", d->path);
  n = read (fd, json, (size_t) st.st_size);
  if (n < 0)
    return rcvmi_fail_errno (err, errno, "cannot read '%s/state.json'", d->path);
  json[n] = 0;
  return rcvmi_state_from_json (s, json, err);
}

/* Removes the files; with `keep`, all but that one and the lock. */
static int
empty_dir (const struct rcvmi_state_dir *d, const char *keep, rcvm_error **err)
{
  int fd = openat (d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir (fd);
  struct dirent *e;
  int code = 0;

  if (!dir)
    {
      code = rcvmi_fail_errno (err, errno, "cannot read the directory '%s'", d->path);
      cleanup_close (&fd);
      return code;
    }
  while ((e = readdir (dir)))
    {
      if (strcmp (e->d_name, ".") == 0 || strcmp (e->d_name, "..") == 0
          || (keep && (strcmp (e->d_name, keep) == 0 || strcmp (e->d_name, "lock") == 0)))
        continue;
      if (unlinkat (d->fd, e->d_name, 0) < 0 && errno != ENOENT)
        code = rcvmi_fail_errno (err, errno, "cannot remove '%s/%s'", d->path, e->d_name);
    }
  closedir (dir);
  return code;
}

static int
remove_dir (const struct rcvmi_state_dir *d, rcvm_error **err)
{
  int code = empty_dir (d, NULL, err);

  if (code == 0 && rmdir (d->path) < 0 && errno != ENOENT)
    code = rcvmi_fail_errno (err, errno, "cannot remove the directory '%s'", d->path);
  return code;
}

/* Whether nobody has removed the directory since it was opened, and perhaps made another of its name. */
static bool
is_there (const struct rcvmi_state_dir *d)
{
  struct stat ours, there;

  return fstat (d->fd, &ours) == 0 && lstat (d->path, &there) == 0 && ours.st_ino == there.st_ino
         && ours.st_dev == there.st_dev;
}

/* What a dead monitor left outside of the directory. */
static void
clean_outside (struct rcvmi_state *s)
{
  rcvmi_proc_kill_stranger (s->vmm_pid, s->vmm_start);
  if (s->network)
    rcvmi_net_undo_record (s->network, NULL);
  free (steal_ptr (s->network));
  if (s->cgroup)
    rcvmi_cgroup_remove_record (s->cgroup, NULL);
  free (steal_ptr (s->cgroup));
  if (s->saving)
    rcvmi_snapshot_discard (s->saving);
  free (steal_ptr (s->saving));
}

/* The monitor is dead and has left this. */
static void
bury (const char *id, struct rcvmi_state *s, rcvm_error *disks)
{
  static const char *const doing[]
      = { "was made", "was made", "waited to be started", "ran", "was paused", "had stopped" };

  clean_outside (s);
  rcvm_error_free (s->error);
  s->error = NULL;
  rcvmi_fail_at (&s->error, "monitor", RCVM_E_MONITOR, 0,
                 "the monitor of VM '%s' (pid %d) died while the container %s; %s%s", id, s->pid, doing[s->status],
                 disks ? "its changes could not be written back: " : "what it left has been cleaned up",
                 disks ? rcvm_error_get_message (disks) : "");
  s->status = RCVM_STATUS_STOPPED;
}

/* A state that cannot be read is that of a VM of which nothing is known. */
static int
read_or_guess (const struct rcvmi_state_dir *d, const char *id, struct rcvmi_state *s, rcvm_error **err)
{
  int code = rcvmi_state_dir_read (d, s, NULL);

  if (code == RCVM_E_NOMEM)
    return rcvmi_fail_nomem (err);
  if (code < 0)
    *s = (struct rcvmi_state){ .status = RCVM_STATUS_CREATING, .id = strdup (id) };
  return 0;
}

/* The lock of the directory is free and that of the root is the caller's, so the monitor is dead and there will be
   no other.  The caller does not take the first one: who looks would take the caller for a monitor. */
static int
lock_out_monitors (const struct rcvmi_state_dir *d, const char *id, int *root_lock, bool *alive, rcvm_error **err)
{
  *alive = true;
  *root_lock = lock_root (d->root, err);
  if (*root_lock < 0)
    return *root_lock;
  if (!is_there (d))
    return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "VM '%s' has just been deleted", id);
  *alive = rcvmi_state_dir_alive (d);
  return 0;
}

/* What takes its time is done without the root's lock: other VMs are not held up.  The disks have one of their own. */
int
rcvmi_state_dir_recover (const struct rcvmi_state_dir *d, const char *id, rcvm_error **err)
{
  autoclose int root_lock = -1;
  rcvm_error *disks = NULL;
  struct rcvmi_state s;
  bool alive;
  int code;

  if (rcvmi_state_dir_alive (d))
    return 0;
  code = lock_out_monitors (d, id, &root_lock, &alive, err);
  if (code < 0 || alive)
    return code;
  code = read_or_guess (d, id, &s, err);
  if (code < 0)
    return code;
  if (s.status == RCVM_STATUS_STOPPED)
    {
      rcvmi_state_clear (&s);
      return 0;
    }
  clean_outside (&s);
  if (s.disks)
    {
      close (steal_fd (&root_lock));
      if (rcvmi_disks_recover (s.disks, false, &disks) == 0)
        free (steal_ptr (s.disks));
      code = lock_out_monitors (d, id, &root_lock, &alive, err);
    }
  if (code == 0 && !alive)
    {
      bury (id, &s, disks);
      code = empty_dir (d, "state.json", err);
      if (code == 0)
        code = rcvmi_state_dir_write (d, &s, err);
    }
  rcvm_error_free (disks);
  rcvmi_state_clear (&s);
  return code;
}

int
rcvmi_state_dir_create (struct rcvmi_state_dir *d, const char *root, const char *id, rcvm_error **err)
{
  autofree char *path = NULL;
  autoclose int root_lock = -1;
  int code = make_root (root, err);

  *d = RCVMI_STATE_DIR_INIT;
  if (code < 0)
    return code;
  root_lock = lock_root (root, err);
  if (root_lock < 0)
    return root_lock;
  if (asprintf (&path, "%s/%s", root, id) < 0)
    {
      path = NULL;
      return rcvmi_fail_nomem (err);
    }
  if (mkdir (path, 0700) < 0)
    {
      struct rcvmi_state s;
      bool stopped;

      if (errno != EEXIST)
        return rcvmi_fail_errno (err, errno, "cannot make the directory '%s'", path);
      code = open_dir (d, root, id, err);
      if (code < 0)
        return code;
      code = try_lock (d, &d->lock_fd, err);
      if (code == 0)
        code = rcvmi_fail (err, RCVM_E_EXISTS, 0, "the id '%s' is in use by a VM that lives", id);
      if (code < 0)
        goto fail;
      stopped = rcvmi_state_dir_read (d, &s, NULL) == 0
                && (s.status == RCVM_STATUS_STOPPED && rcvm_error_get_code (s.error) != RCVM_E_MONITOR);
      if (stopped)
        code = rcvmi_fail (err, RCVM_E_EXISTS, 0, "the id '%s' is in use by a VM that has stopped: delete it first",
                           id);
      else
        {
          clean_outside (&s);
          code = empty_dir (d, "lock", err);
        }
      rcvmi_state_clear (&s);
      if (code < 0)
        goto fail;
      return 0;
    }
  code = open_dir (d, root, id, err);
  if (code < 0)
    {
      rmdir (path);
      return code;
    }
  code = try_lock (d, &d->lock_fd, err);
  if (code == 1)
    return 0;
  rmdir (path);
  if (code == 0)
    code = rcvmi_fail (err, RCVM_E_EXISTS, 0, "the id '%s' is in use", id);
fail:
  rcvmi_state_dir_close (d);
  return code;
}

/* The disks of a VM that died, or whose changes could not be written back when it stopped. */
static int
remove_disks (const char *dir, bool force, rcvm_error **err)
{
  rcvm_error *e = NULL;
  int code = rcvmi_disks_recover (dir, false, &e);

  if (code < 0 && force)
    {
      rcvm_error_free (e);
      return rcvmi_disks_recover (dir, true, err);
    }
  return code < 0 ? rcvmi_error_pass (err, e) : 0;
}

int
rcvmi_state_dir_remove (struct rcvmi_state_dir *d, bool force, rcvm_error **err)
{
  autoclose int root_lock = lock_root (d->root, err);
  int code = 0;

  if (root_lock < 0)
    return root_lock;
  if (d->lock_fd < 0)
    {
      struct rcvmi_state s;

      if (!is_there (d))
        return rcvmi_fail (err, RCVM_E_NOT_FOUND, 0, "the VM of '%s' has just been deleted", d->path);
      if (rcvmi_state_dir_alive (d))
        return rcvmi_fail (err, RCVM_E_STATE, 0, "the VM of '%s' still lives", d->path);
      if (rcvmi_state_dir_read (d, &s, NULL) == 0)
        {
          if (s.status != RCVM_STATUS_STOPPED)
            clean_outside (&s);
          if (s.disks)
            code = remove_disks (s.disks, force, err);
        }
      rcvmi_state_clear (&s);
    }
  return code < 0 ? code : remove_dir (d, err);
}
