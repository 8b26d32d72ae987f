/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "array.h"
#include "cleanup.h"
#include "creds.h"
#include "handoff.h"
#include "hooks.h"
#include "log.h"
#include "mounts.h"
#include "path.h"
#include "users.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What other runtimes offer a process with a terminal: the terminal is also /dev/console. */
static void
bind_console (int slave)
{
  char name[64];
  unsigned number;
  autoclose int from = -1, tree = -1, to = -1, root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

  if (ioctl (slave, TIOCGPTN, &number) < 0)
    {
      struct stat st;

      number = fstat (slave, &st) == 0 ? minor (st.st_rdev) : 0;
    }
  snprintf (name, sizeof name, "/dev/pts/%u", number);
  from = root < 0 ? -1 : path_open (root, name, O_PATH);
  tree = from < 0 ? -1 : mount_clone (from, 0);
  to = tree < 0 ? -1 : path_make_file (root, "/dev/console");
  if (to < 0 || k_move_mount (tree, to) < 0)
    log_write (LOG_WARNING, "the container has no /dev/console: %s", strerror (errno));
}

/* Opens a terminal of the container; the agent gets the master. */
static int
open_terminal (const struct program *p, struct failure *f)
{
  struct winsize size = { .ws_row = (unsigned short) p->request->rows,
                          .ws_col = (unsigned short) p->request->cols };
  autoclose int master = open ("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  int unlock = 0, slave, both[2];
  struct stat st;

  if (master < 0)
    return fail (f, "terminal", errno, "cannot open the container's /dev/ptmx");
  if (fstat (master, &st) < 0 || !S_ISCHR (st.st_mode) || st.st_rdev != makedev (5, 2))
    return fail (f, "terminal", ENODEV, "the container's /dev/ptmx is no terminal multiplexer");
  if (ioctl (master, TIOCSPTLCK, &unlock) < 0)
    return fail (f, "terminal", errno, "cannot unlock the terminal");
  slave = ioctl (master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0)
    return fail (f, "terminal", errno, "cannot open the terminal");
  if ((size.ws_row || size.ws_col) && ioctl (slave, TIOCSWINSZ, &size) < 0)
    log_write (LOG_WARNING, "cannot set the size of the terminal: %s", strerror (errno));
  both[0] = master;
  both[1] = slave;
  if (ioctl (slave, TIOCSCTTY, 0) < 0
      || handoff_send (p->handoff, HANDOFF_TTY, NULL, 0, both, 2) < 0)
    {
      fail (f, "terminal", errno, "cannot take over the terminal");
      close (slave);
      return -1;
    }
  return slave;
}

static int
set_stdio (const struct program *p, struct failure *f)
{
  int fds[3];

  memcpy (fds, p->stdio, sizeof fds);
  if (p->request->terminal)
    {
      int slave = open_terminal (p, f);

      if (slave < 0)
        return -1;
      if (p->first)
        bind_console (slave);
      fds[0] = fds[1] = fds[2] = slave;
    }
  for (int i = 0; i < 3; i++)
    {
      /* fds are above 2: the agent keeps 0 to 2 taken. */
      if (dup2 (fds[i], i) < 0)
        return fail (f, "stdio", errno, "cannot set the standard streams");
    }
  return 0;
}

/* /dev/stdout is to be openable for the process's user, as it is where a container is no VM. */
static void
own_stdio (const struct user *u)
{
  struct stat st;

  for (int i = 0; i < 3; i++)
    if (fstat (i, &st) == 0 && (S_ISFIFO (st.st_mode) || isatty (i)) && st.st_uid != u->uid)
      (void) !fchown (i, u->uid, (gid_t) -1); /* not possible in a user namespace */
}

/* The first process's directory is made where the image lacks it. */
static void
make_cwd (const struct program *p)
{
  struct k_mount_attr writable = { .attr_clr = K_ATTR_RDONLY };
  struct k_mount_attr readonly = { .attr_set = K_ATTR_RDONLY };
  autoclose int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = root < 0 ? -1 : path_make_dir (root, p->request->cwd, 0755);

  if (root >= 0 && fd < 0 && errno == EROFS && p->root_readonly
      && k_mount_setattr (root, 0, &writable) == 0)
    {
      fd = path_make_dir (root, p->request->cwd, 0755);
      if (k_mount_setattr (root, 0, &readonly) < 0)
        log_write (LOG_ERROR, "the root stays writable: %s", strerror (errno));
    }
  if (fd >= 0)
    close (fd);
}

static int
set_home (struct request *q, const struct user *u, struct failure *f)
{
  size_t n = q->n_env + 1;
  char **room, *value;

  if (request_env (q, "HOME"))
    return 0;
  value = malloc (strlen (u->home) + sizeof "HOME=");
  room = realloc (q->env, (n + 1) * sizeof *q->env);
  if (!value || !room)
    {
      free (value);
      return fail (f, "exec", ENOMEM, "cannot set HOME");
    }
  strcpy (value, "HOME=");
  strcat (value, u->home);
  q->env = room;
  q->env[q->n_env++] = value;
  q->env[q->n_env] = NULL;
  return 0;
}

/* 0 if the process may execute it. */
static int
is_runnable (const char *path)
{
  struct stat st;

  if (stat (path, &st) < 0)
    return errno;
  if (S_ISDIR (st.st_mode))
    return EISDIR;
  if (!S_ISREG (st.st_mode))
    return EACCES;
  return faccessat (AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

/* As a shell finds it: the first that can be run, or the reason why a candidate cannot. */
static int
find_program (const struct request *q, char *out, size_t size, struct failure *f)
{
  const char *name = q->argv[0], *path = request_env (q, "PATH");
  int found = ENOENT, e;

  if (!*name)
    return fail_exec (f, "exec", ENOENT, "the name of the program is empty");
  if (strchr (name, '/'))
    {
      e = is_runnable (name);
      if (e || strlen (name) >= size)
        return fail_exec (f, "exec", e ? e : ENAMETOOLONG, "cannot run \"%.200s\"", name);
      strcpy (out, name);
      return 0;
    }
  for (const char *p = path ? path : DEFAULT_PATH;; p++)
    {
      size_t n = strcspn (p, ":");
      int len = snprintf (out, size, "%.*s/%s", n ? (int) (n < PATH_MAX ? n : PATH_MAX) : 1,
                          n ? p : ".", name);

      if (len > 0 && (size_t) len < size)
        {
          e = is_runnable (out);
          if (!e)
            return 0;
          if (e != ENOENT && e != ENOTDIR && e != EISDIR)
            found = e;
        }
      p += n;
      if (!*p)
        break;
    }
  if (found == ENOENT)
    {
      fail_exec (f, "exec", ENOENT, "%.200s", name);
      snprintf (f->message, sizeof f->message, "\"%.200s\" is not in the PATH of the process",
                name);
      return -1;
    }
  return fail_exec (f, "exec", found, "cannot run \"%.200s\"", name);
}

int
program_check (const struct request *q, struct failure *f)
{
  autofree char *path = malloc (2 * PATH_MAX);
  struct failure found = { 0 };
  int code = 0;

  /* A directory that is not there yet will be made. */
  if (path && (chdir (q->cwd) == 0 || errno == ENOENT) && find_program (q, path, 2 * PATH_MAX, &found) < 0
      && found.exit_code == EXIT_NOT_FOUND)
    {
      *f = found;
      code = -1;
    }
  (void) !chdir ("/");
  return code;
}

void
program_run (const struct program *p, struct failure *f)
{
  struct request q = *p->request;
  autofree char *path = malloc (2 * PATH_MAX);
  struct user *user = calloc (1, sizeof *user);
  bool in_cwd;

  if (!path || !user)
    {
      fail (f, "exec", ENOMEM, "cannot start the process");
      return;
    }
  setsid ();
  if (set_stdio (p, f) < 0)
    return;
  if (p->first)
    make_cwd (p);
  umask (q.has_umask ? q.mask & 07777 : 022);
  /* Root may enter directories that the user may not, and the other way round (NFS). */
  in_cwd = chdir (q.cwd) == 0;
  if (!in_cwd && errno != EACCES && errno != EPERM)
    {
      fail_exec (f, "cwd", errno, "cannot change to the directory \"%.200s\"", q.cwd);
      return;
    }
  if (user_resolve (user, &q, f) < 0 || set_home (&q, user, f) < 0)
    return;
  own_stdio (user);
  if (creds_assume (&q, user, f) < 0)
    return;
  if (!in_cwd && chdir (q.cwd) < 0)
    {
      fail_exec (f, "cwd", errno, "cannot change to the directory \"%.200s\"", q.cwd);
      return;
    }
  if (find_program (&q, path, 2 * PATH_MAX, f) < 0)
    return;
  if (p->first && hooks_run (&q, f) < 0)
    return;
  syscall (SYS_close_range, 3u, ~0u, K_CLOSE_RANGE_CLOEXEC);
  /* Said before the filter is loaded, which may not let it through. */
  if (handoff_send (p->handoff, HANDOFF_EXEC, NULL, 0, NULL, 0) < 0)
    {
      fail (f, "exec", errno, "the agent has gone");
      return;
    }
  if (creds_seal (&q, f) < 0)
    return;
  execve (path, q.argv, q.env);
  fail_exec (f, "exec", errno, "cannot run \"%.200s\"", path);
  /* The file is there: it is its interpreter that is not. */
  if (errno == ENOENT)
    snprintf (f->message, sizeof f->message,
              "cannot run \"%.200s\": its interpreter is not in the container", path);
}
