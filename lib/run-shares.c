/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stage "virtiofs": a virtiofsd for each directory that is shared that way.
 *
 * It gets a mount namespace in which the directory, as it was opened here, is mounted by itself, read-only where that was
 * asked for; it makes further namespaces of its own.  Its socket has no name by the time that it runs, so nobody else
 * can connect.  It ends when QEMU does.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-server.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  /* The fds of the child. */
  DIRECTORY_FD = RCVMI_PROC_FORK_FD,
  LISTENER_FD,
  OUTPUT_FD
};

struct server
{
  struct rcvmi_run_server server;
  const struct rcvmi_plan_share *share;
  int error_fd, fd;
};

struct rcvmi_run_shares
{
  char *program;
  struct server list[RCVMI_VMM_SHARES];
  size_t n;
};

/* In the child. */

/* The directory that was opened, whatever its path leads to by now, mounted at one that is there in any case. */
static int
mount_directory (const char *place, bool read_only, rcvm_error **err)
{
  struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
  autoclose int tree = -1;

  /* The working directory moves along into the new namespace; an fd stays in the old one. */
  if (fchdir (DIRECTORY_FD) < 0)
    return rcvmi_fail_errno (err, errno, "cannot enter the directory that is to be shared");
  if (unshare (CLONE_NEWNS) < 0 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a mount namespace for virtiofsd");
  tree = open_tree (AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0 || (read_only && mount_setattr (tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
      || move_mount (tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0 || chdir ("/") < 0)
    return rcvmi_fail_errno (err, errno, "cannot mount the directory for virtiofsd");
  return 0;
}

static int
run_server (void *user, rcvm_error **err)
{
  const struct server *s = user;
  const char *place = s->server.run->disks.dir;
  autofree char *listener = NULL, *options = NULL;
  int code = mount_directory (place, s->share->read_only, err);

  if (code < 0)
    return code;
  if (asprintf (&listener, "--fd=%d", LISTENER_FD) < 0
      || asprintf (&options, "source=%s,cache=auto,timeout=%u,xattr,flock,posix_lock,announce_submounts", place,
                   (unsigned) s->share->cached)
             < 0)
    return rcvmi_fail_nomem (err);
  if (dup2 (OUTPUT_FD, 0) < 0 || dup2 (OUTPUT_FD, 1) < 0 || dup2 (OUTPUT_FD, 2) < 0
      || fcntl (LISTENER_FD, F_SETFD, 0) < 0)
    return rcvmi_fail_errno (err, errno, "cannot pass file descriptors to virtiofsd");
  execl (s->server.run->shares->program, "virtiofsd", listener, "-f", "-o", options, "-o", "log_level=err", NULL);
  return rcvmi_fail_errno (err, errno, "cannot execute '%s'", s->server.run->shares->program);
}

/* In the monitor. */

static void
on_death (void *user, uint32_t events)
{
  struct server *s = user;
  struct rcvmi_run_server_end end;
  rcvm_error *e = NULL;
  char what[256];

  (void) events;
  rcvmi_run_server_reap (&s->server, &end);
  /* With the VMM, it ends as it should. */
  if (end.expected)
    return;
  snprintf (what, sizeof what, "virtiofsd, which shares '%.200s' with the VM,", s->share->source);
  if (*end.text || rcvmi_proc_read_error (steal_fd (&s->error_fd), end.status, what, &e) == 0)
    rcvmi_run_server_fail (&s->server, &end, what);
  else
    rcvmi_run_fail (s->server.run, e);
}

/* A pair of which one end still listens: that is what virtiofsd takes. */
static int
make_sockets (struct server *s, int *listener, rcvm_error **err)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int code = 0;

  *listener = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  s->fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  /* However long the directory's path is. */
  snprintf (address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/virtiofs.sock", s->server.run->disks.dir_fd);
  if (*listener < 0 || s->fd < 0 || bind (*listener, (struct sockaddr *) &address, sizeof address) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the socket of virtiofsd");
  if (listen (*listener, 1) < 0 || connect (s->fd, (struct sockaddr *) &address, sizeof address) < 0)
    code = rcvmi_fail_errno (err, errno, "cannot connect to the socket of virtiofsd");
  unlink (address.sun_path);
  return code;
}

static int
start_server (struct server *s, rcvm_error **err)
{
  autoclose int directory = rcvmi_run_server_open ("virtiofs", s->share->source, s->share->target, err), listener = -1, writer = -1;
  int fds[3], code;

  if (directory < 0)
    return directory;
  code = make_sockets (s, &listener, err);
  if (code == 0)
    code = rcvmi_run_server_pipe (&s->server, &writer, err);
  if (code < 0)
    return code;
  fds[0] = directory;
  fds[1] = listener;
  fds[2] = writer;
  code = rcvmi_proc_fork_with (&s->server.proc, run_server, s, fds, 3, &s->error_fd, err);
  return code == 0 ? rcvmi_run_server_watch (&s->server, on_death, s, err) : code;
}

static int
check (const struct rcvmi_run *run, rcvm_error **err)
{
  const char *source = run->plan->shares[0].source;

  if (!run->vmm.ops->has_virtiofs)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0,
                       "the VMM driver '%s' cannot share '%.200s' by virtiofs: use a live volume (NFS), or QEMU",
                       run->vmm.ops->name, source);
  if (geteuid () != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "only root can share '%.200s' by virtiofs: use a live volume (NFS)",
                       source);
  return 0;
}

enum rcvmi_run_step
rcvmi_run_begin_shares (struct rcvmi_run *run, rcvm_error **err)
{
  /* Debian's QEMU has it, and that of later releases has a package of its own. */
  static const char *const places[] = { "/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", NULL };
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_run_shares *m;

  if (plan->n_shares == 0)
    return RCVMI_STEP_DONE;
  if (check (run, err) < 0)
    return RCVMI_STEP_FAILED;
  m = run->shares = calloc (1, sizeof *m);
  if (!m)
    rcvmi_fail_nomem (err);
  else
    m->program = rcvmi_run_find_server ("RUNCVM_VIRTIOFSD", "virtiofsd", places,
                                        "install qemu-system-common, or say in RUNCVM_VIRTIOFSD where it is", err);
  if (!m || !m->program)
    return RCVMI_STEP_FAILED;
  for (size_t i = 0; i < plan->n_shares; i++)
    {
      m->list[i] = (struct server){ .server = RCVMI_RUN_SERVER_INIT, .share = &plan->shares[i], .error_fd = -1, .fd = -1 };
      m->list[i].server.run = run;
      m->n++;
      if (start_server (&m->list[i], err) < 0)
        return RCVMI_STEP_FAILED;
    }
  return RCVMI_STEP_DONE;
}

void
rcvmi_run_undo_shares (struct rcvmi_run *run)
{
  struct rcvmi_run_shares *m = steal_ptr (run->shares);

  for (size_t i = 0; m && i < m->n; i++)
    {
      struct server *s = &m->list[i];

      rcvmi_run_server_clear (&s->server);
      cleanup_close (&s->error_fd);
      cleanup_close (&s->fd);
    }
  if (m)
    free (m->program);
  free (m);
}

void
rcvmi_run_put_shares (struct rcvmi_run *run, struct rcvmi_vmm_config *config)
{
  config->n_shares = run->shares ? run->shares->n : 0;
  for (size_t i = 0; i < config->n_shares; i++)
    {
      config->shares[i].fd = run->shares->list[i].fd;
      snprintf (config->shares[i].tag, sizeof config->shares[i].tag, RCVMI_PLAN_SHARE_TAG, i);
    }
}
