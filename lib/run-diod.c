/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Volumes by 9P: a diod for each, which has its one client from the start: the end of a socket pair.  The other end waits here for
 * the guest's tunnel.  diod follows paths, and the guest may plant symlinks, so it is confined as a VMM is: its root
 * has the directory, diod's libraries and nothing else.  Of root's rights it keeps those that serving files as others takes.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent-wire.h"
#include "cleanup.h"
#include "confine.h"
#include "err.h"

enum
{
  TEXT_MAX = 1024,
  OPEN_FILES = 4096,
  THREADS = 256
};

struct server
{
  struct rcvmi_run *run;
  const struct rcvmi_plan_diod *share;
  struct rcvmi_proc proc;
  struct rcvmi_ev_source *death;
  int output_fd, fd;
};

struct rcvmi_run_diods
{
  char *program;
  struct server list[AGENT_TUNNELS_MAX];
  size_t n;
};

char *
rcvmi_run_find_server (const char *variable, const char *name, const char *const *places, const char *advice,
                       rcvm_error **err)
{
  char *program = rcvmi_vmm_find_program (variable, name);
  const char *asked = secure_getenv (variable);

  /* Where users' searches do not lead. */
  for (; !program && !(asked && *asked) && *places; places++)
    if (access (*places, X_OK) == 0 && !(program = strdup (*places)))
      {
        rcvmi_fail_nomem (err);
        return NULL;
      }
  if (!program)
    rcvmi_fail (err, RCVM_E_HOST, 0, "%s is not there: %s", name, advice);
  return program;
}

/* Once the client has closed the connection, it ends; before, without it the mount would fail for ever. */
static void
on_death (void *user, uint32_t events)
{
  struct server *s = user;
  rcvm_error *e = NULL;
  char text[TEXT_MAX], how[64];
  ssize_t n = read (s->output_fd, text, sizeof text - 1);
  int status;

  (void) events;
  text[n > 0 ? n : 0] = 0;
  text[strcspn (text, "\n")] = 0;
  rcvmi_ev_remove (steal_ptr (s->death));
  status = rcvmi_proc_reap (&s->proc);
  if (s->run->process_ended || s->run->ending || (s->fd < 0 && WIFEXITED (status) && WEXITSTATUS (status) == 0))
    return;
  rcvmi_proc_describe (status, how, sizeof how);
  rcvmi_fail (&e, RCVM_E_SYSTEM, 0, "diod, which shares '%.200s' with the VM, ended with %s%s%s", s->share->source, how,
              *text ? ": " : "", text);
  rcvmi_run_fail (s->run, e);
}

static int
open_directory (const struct rcvmi_plan_diod *share, rcvm_error **err)
{
  int fd = open (share->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0 && errno == ENOTDIR)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "'%.200s' is no directory, and diod shares nothing else", share->source);
  return fd < 0 ? rcvmi_fail_errno (err, errno, "cannot open '%.200s', which is to be mounted at '%.200s' in the VM",
                                    share->source, share->target)
                : fd;
}

static int
confine (struct rcvmi_confine *c, const char *program, int directory, bool read_only, rcvm_error **err)
{
  int code = rcvmi_confine_add_program (c, program, err);

  c->capabilities = RCVMI_CONFINE_FILE_SERVER;
  c->files = OPEN_FILES;
  c->threads = THREADS;
  c->file_size = RLIM_INFINITY;
  if (code == 0)
    code = rcvmi_confine_add_device (c, "/dev/null", "/dev/null", err);
  if (code == 0)
    code = rcvmi_confine_add_tree (c, directory, read_only, RCVMI_PLAN_DIOD_NAME, err);
  return code;
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
  autoclose int directory = open_directory (s->share, err);
  int code = directory < 0 ? directory : confine (&c, program, directory, s->share->read_only, err);

  how.namespaces = rcvmi_confine_namespaces (&c);
  if (code == 0)
    code = rcvmi_proc_spawn_as (&s->proc, &how, err);
  rcvmi_confine_clear (&c);
  return code;
}

static int
start (struct server *s, const char *program, rcvm_error **err)
{
  autoclose int theirs = -1, writer = -1;
  int ends[2], output[2], code;

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make diod's socket");
  s->fd = ends[0];
  theirs = ends[1];
  if (pipe2 (output, O_CLOEXEC | O_NONBLOCK) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  s->output_fd = output[0];
  writer = output[1];
  code = spawn (s, program, theirs, writer, err);
  if (code < 0)
    return code;
  s->death = rcvmi_ev_add (s->run->ev, s->proc.pidfd, EPOLLIN, on_death, s, err);
  return s->death ? 0 : RCVM_E_SYSTEM;
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
      m->list[i] = (struct server){ .run = run, .share = &plan->diods[i], .proc = RCVMI_PROC_INIT, .output_fd = -1, .fd = -1 };
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

      rcvmi_ev_remove (s->death);
      rcvmi_proc_kill (&s->proc);
      cleanup_close (&s->output_fd);
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
