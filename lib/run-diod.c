/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes by 9P: a diod for each, which has its one client from the start: the end of a socket pair.  The other end waits here for
 * the guest's tunnel.  diod follows paths, and the guest may plant symlinks, so it is confined as a VMM is: its root
 * has the directory, diod's libraries and nothing else.  Of root's rights it keeps those that serving files as others takes.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "err.h"

struct server
{
  struct rcvmi_run_server server;
  const struct rcvmi_plan_diod *share;
  int fd;
};

struct rcvmi_run_diods
{
  char *program;
  struct server list[AGENT_TUNNELS_MAX];
  size_t n;
};

/* Once the client has closed the connection, it ends; before, without it the mount would fail for ever. */
static void
on_death (void *user, uint32_t events)
{
  struct server *s = user;
  struct rcvmi_run_server_end end;
  char what[256];

  (void) events;
  rcvmi_run_server_reap (&s->server, &end);
  if (end.expected || (s->fd < 0 && WIFEXITED (end.status) && WEXITSTATUS (end.status) == 0))
    return;
  snprintf (what, sizeof what, "diod, which shares '%.200s' with the VM,", s->share->source);
  rcvmi_run_server_fail (&s->server, &end, what);
}

static int
confine (struct rcvmi_confine *c, const char *program, int directory, bool read_only, rcvm_error **err)
{
  int code = rcvmi_run_server_confine (c, program, err);

  return code == 0 ? rcvmi_confine_add_tree (c, directory, read_only, RCVMI_PLAN_DIOD_NAME, err) : code;
}

static int
spawn (struct server *s, const char *program, int socket, int output, rcvm_error **err)
{
  /* By uid and gid as the VM has them: the host's tables of users mean nothing there. */
  char *argv[] = { "diod", "-f", "-r", "3", "-w", "3", "-n", "-N", "-L", "stderr", "-e", RCVMI_PLAN_DIOD_NAME, NULL };
  char *env[] = { "PATH=/usr/sbin:/usr/bin", NULL };
  struct rcvmi_confine c = RCVMI_CONFINE_INIT;
  struct rcvmi_proc_how how = { .path = program,
                                .argv = argv,
                                .env = env,
                                .stdout_fd = output,
                                .stderr_fd = output,
                                .dir_fd = -1,
                                .fds = &socket,
                                .n_fds = 1,
                                .prepare = rcvmi_confine_enter,
                                .user = &c };
  autoclose int directory = rcvmi_run_server_open ("diod", s->share->source, s->share->target, err);
  int code = directory < 0 ? directory : confine (&c, program, directory, s->share->read_only, err);

  how.namespaces = rcvmi_confine_namespaces (&c);
  if (code == 0)
    code = rcvmi_proc_spawn_as (&s->server.proc, &how, err);
  rcvmi_confine_clear (&c);
  return code;
}

static int
start (struct server *s, const char *program, rcvm_error **err)
{
  autoclose int theirs = -1, writer = -1;
  int ends[2], code;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make diod's socket");
  s->fd = ends[0];
  theirs = ends[1];
  code = rcvmi_run_server_pipe (&s->server, &writer, err);
  if (code == 0)
    code = spawn (s, program, theirs, writer, err);
  return code == 0 ? rcvmi_run_server_watch (&s->server, on_death, s, err) : code;
}

int
rcvmi_run_start_diods (struct rcvmi_run *run, rcvm_error **err)
{
  static const char *const places[] = { "/usr/sbin/diod", NULL };
  const struct rcvmi_plan *plan = run->plan;
  struct rcvmi_run_diods *m;
  int code = 0;

  if (plan->n_diods == 0)
    return 0;
  if (geteuid () != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "only root can share '%.200s' by 9P: use a live volume (NFS)",
                       plan->diods[0].source);
  m = run->diods = calloc (1, sizeof *m);
  if (!m)
    return rcvmi_fail_nomem (err);
  m->program = rcvmi_run_find_server ("RUNCVM_DIOD", "diod", places,
                                      "install the package diod, or say in RUNCVM_DIOD where it is", err);
  if (!m->program)
    return RCVM_E_HOST;
  for (size_t i = 0; code == 0 && i < plan->n_diods; i++)
    {
      m->list[i] = (struct server){ .server = RCVMI_RUN_SERVER_INIT, .share = &plan->diods[i], .fd = -1 };
      m->list[i].server.run = run;
      m->n++;
      code = start (&m->list[i], m->program, err);
    }
  return code;
}

void
rcvmi_run_undo_diods (struct rcvmi_run *run)
{
  struct rcvmi_run_diods *m = steal_ptr (run->diods);

  for (size_t i = 0; m && i < m->n; i++)
    {
      struct server *s = &m->list[i];

      rcvmi_run_server_clear (&s->server);
      cleanup_close (&s->fd);
    }
  if (m)
    free (m->program);
  free (m);
}

int
rcvmi_run_take_diod (struct rcvmi_run *run, uint32_t number)
{
  if (!run->diods || number >= run->diods->n || run->diods->list[number].fd < 0)
    return -1;
  return steal_fd (&run->diods->list[number].fd);
}
