/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"

enum
{
  OUTPUT_MAX = 4096,
  OPEN_FILES = 4096,
  THREADS = 256
};

char *
rcvmi_run_find_server (const char *variable, const char *name, const char *const *places, const char *advice,
                       rcvm_error **err)
{
  char *program = rcvmi_vmm_find_program (variable, name);
  const char *asked = secure_getenv (variable);

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

int
rcvmi_run_server_open (const char *server, const char *source, const char *target, rcvm_error **err)
{
  int fd = open (source, O_PATH | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0 && errno == ENOTDIR)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "'%.200s' is no directory, and %s shares nothing else", source, server);
  return fd < 0 ? rcvmi_fail_errno (err, errno, "cannot open '%.200s', which is to be mounted at '%.200s' in the VM", source,
                                    target)
                : fd;
}

int
rcvmi_run_server_confine (struct rcvmi_confine *c, const char *program, rcvm_error **err)
{
  int code = rcvmi_confine_add_program (c, program, err);

  c->capabilities = RCVMI_CONFINE_FILE_SERVER;
  c->files = OPEN_FILES;
  c->threads = THREADS;
  c->file_size = RLIM_INFINITY;
  return code == 0 ? rcvmi_confine_add_device (c, "/dev/null", "/dev/null", err) : code;
}

int
rcvmi_run_server_pipe (struct rcvmi_run_server *s, int *writer, rcvm_error **err)
{
  int output[2];

  if (pipe2 (output, O_CLOEXEC | O_NONBLOCK) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a pipe");
  s->output_fd = output[0];
  *writer = output[1];
  return 0;
}

int
rcvmi_run_server_watch (struct rcvmi_run_server *s, rcvmi_ev_fn fn, void *user, rcvm_error **err)
{
  s->death = rcvmi_ev_add (s->run->ev, s->proc.pidfd, EPOLLIN, fn, user, err);
  return s->death ? 0 : RCVM_E_SYSTEM;
}

void
rcvmi_run_server_reap (struct rcvmi_run_server *s, struct rcvmi_run_server_end *end)
{
  char text[OUTPUT_MAX], *last = text;
  ssize_t n = read (s->output_fd, text, sizeof text - 1);

  text[n > 0 ? n : 0] = 0;
  while (n > 0 && text[n - 1] == '\n')
    text[--n] = 0;
  if (strrchr (text, '\n'))
    last = strrchr (text, '\n') + 1;
  snprintf (end->text, sizeof end->text, "%.255s", last);
  rcvmi_ev_remove (steal_ptr (s->death));
  end->status = rcvmi_proc_reap (&s->proc);
  rcvmi_proc_describe (end->status, end->how, sizeof end->how);
  end->expected = s->run->process_ended || s->run->ending;
}

int
rcvmi_run_server_error (const struct rcvmi_run_server_end *end, const char *what, rcvm_error **err)
{
  return rcvmi_fail (err, RCVM_E_SYSTEM, 0, "%s ended with %s%s%s", what, end->how, *end->text ? ": " : "", end->text);
}

void
rcvmi_run_server_fail (struct rcvmi_run_server *s, const struct rcvmi_run_server_end *end, const char *what)
{
  rcvm_error *e = NULL;

  rcvmi_run_server_error (end, what, &e);
  rcvmi_run_fail (s->run, e);
}

void
rcvmi_run_server_clear (struct rcvmi_run_server *s)
{
  rcvmi_ev_remove (steal_ptr (s->death));
  rcvmi_proc_kill (&s->proc);
  cleanup_close (&s->output_fd);
}
