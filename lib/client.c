/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#define RCVMI_STAGE "monitor"
#include "client.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "defaults.h"
#include "err.h"
#include "proc.h"

enum
{
  CREATOR_FD = 3
};

extern char **environ;

static int
spawn_monitor (const char *path, const char *root, const char *id, int fd, pid_t *pid)
{
  char *argv[] = { (char *) "runcvm-monitor", (char *) (uintptr_t) root, (char *) (uintptr_t) id, NULL };
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  sigset_t none, all;
  int e;

  sigemptyset (&none);
  sigfillset (&all);
  e = posix_spawn_file_actions_init (&actions);
  if (e)
    return e;
  e = posix_spawnattr_init (&attr);
  if (e)
    {
      posix_spawn_file_actions_destroy (&actions);
      return e;
    }
  e = posix_spawn_file_actions_addopen (&actions, 0, "/dev/null", O_RDWR, 0);
  if (e == 0)
    e = posix_spawn_file_actions_adddup2 (&actions, 0, 1);
  if (e == 0)
    e = posix_spawn_file_actions_adddup2 (&actions, 0, 2);
  if (e == 0)
    e = posix_spawn_file_actions_adddup2 (&actions, fd, CREATOR_FD);
  posix_spawnattr_setflags (&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask (&attr, &none);
  posix_spawnattr_setsigdefault (&attr, &all);
  if (e == 0)
    e = posix_spawn (pid, path, &actions, &attr, argv, environ);
  posix_spawnattr_destroy (&attr);
  posix_spawn_file_actions_destroy (&actions);
  return e;
}

int
rcvmi_client_spawn (struct rcvmi_link *link, const char *root, const char *id, rcvm_error **err)
{
  autofree char *path = rcvmi_default_monitor ();
  int pair[2], high, status = 0, e;
  pid_t pid;

  link->fd = -1;
  if (!path)
    return rcvmi_fail_nomem (err);
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a socket for the monitor");
  /* dup2 of an fd onto itself would leave it close-on-exec. */
  high = fcntl (pair[1], F_DUPFD_CLOEXEC, CREATOR_FD + 1);
  close (pair[1]);
  if (high < 0)
    {
      e = errno;
      close (pair[0]);
      return rcvmi_fail_errno (err, e, "cannot make a socket for the monitor");
    }
  e = spawn_monitor (path, root, id, high, &pid);
  close (high);
  if (e)
    {
      close (pair[0]);
      return rcvmi_fail (err, RCVM_E_MONITOR, e, "cannot start the monitor '%s'", path);
    }
  /* It forks and ends at once; whoever else reaps children may have been faster. */
  while (waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  return rcvmi_link_init (link, pair[0], "the monitor", AGENT_REQUEST_MAX, err);
}

int
rcvmi_client_connect (struct rcvmi_link *link, const struct rcvmi_state_dir *dir, rcvm_error **err)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  link->fd = -1;
  snprintf (sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", dir->fd, RCVMI_CONTROL_SOCKET);
  if (fd < 0 || connect (fd, (struct sockaddr *) &sun, sizeof sun) < 0)
    {
      int saved = errno;

      cleanup_close (&fd);
      return rcvmi_fail (err, RCVM_E_MONITOR, saved, "the monitor of '%s' does not answer", dir->path);
    }
  return rcvmi_link_init (link, fd, "the monitor", AGENT_REQUEST_MAX, err);
}

static int
read_pid (const unsigned char *payload, size_t len)
{
  struct tlv_reader r;
  struct tlv_field f;
  int pid = -1;

  tlv_reader_init (&r, payload, len);
  while (tlv_next (&r, &f))
    if (f.tag == A_PID)
      pid = (int) tlv_get_u32 (&r, &f);
  return pid;
}

static int
send_request (struct rcvmi_link *link, uint16_t type, struct tlv_writer *record, const int *stdio,
              rcvm_error **err)
{
  uint32_t mask = 0;
  size_t n = 0;
  int fds[3], code;

  if (record->failed)
    return rcvmi_fail_nomem (err);
  for (int i = 0; stdio && i < 3; i++)
    if (stdio[i] >= 0)
      {
        mask |= 1U << i;
        fds[n++] = stdio[i];
      }
  if (n > 0)
    code = rcvmi_link_send_fds (link, type, mask, record->data, record->len, fds, n, err);
  else
    code = rcvmi_link_send (link, type, mask, record->data, record->len, err);
  return code;
}

int
rcvmi_client_request (struct rcvmi_link *link, uint16_t type, struct tlv_writer *record,
                      const int *stdio, int timeout_ms, rcvmi_client_news_fn news, void *user, int *pid,
                      rcvm_error **err)
{
  int64_t deadline = rcvmi_clock_ms () + timeout_ms;
  const unsigned char *payload;
  struct agent_header h;
  int code = send_request (link, type, record, stdio, err);

  tlv_writer_free (record);
  while (code >= 0)
    {
      int64_t left = timeout_ms < 0 ? -1 : deadline - rcvmi_clock_ms ();
      rcvm_error *e = NULL;

      /* News without end are no answer. */
      code = rcvmi_link_wait (link, timeout_ms >= 0 && left < 0 ? 0 : (int) left, &h, &payload, &e);
      if (code == RCVM_E_TIMEOUT || (code > 0 && timeout_ms >= 0 && left < 0))
        code = rcvmi_fail (err, RCVM_E_TIMEOUT, 0, "%s did not answer within %d ms", link->peer, timeout_ms);
      if (e)
        rcvmi_error_pass (err, e);
      if (code == 0)
        code = rcvmi_fail (err, RCVM_E_MONITOR, 0, "the VM's monitor ended before it answered");
      if (code < 0)
        break;
      if (h.type == CONTROL_OK)
        {
          if (pid)
            *pid = read_pid (payload, h.len);
          return 0;
        }
      if (h.type == CONTROL_ERROR)
        {
          code = rcvmi_control_get_error (payload, h.len, err);
          return code < 0 ? code
                          : rcvmi_fail (err, RCVM_E_PROTOCOL, 0, "the monitor reported an error without a code");
        }
      news (user, &h, payload);
    }
  return code;
}

int
rcvmi_client_dispatch (struct rcvmi_link *link, rcvmi_client_news_fn news, void *user,
                       rcvm_error **err)
{
  const unsigned char *payload;
  struct agent_header h;
  int code = 0;

  if (link->fd < 0)
    return 0;
  if (!link->eof)
    code = rcvmi_link_fill (link, err);
  while (code >= 0 && (code = rcvmi_link_next (link, &h, &payload, err)) > 0)
    news (user, &h, payload);
  return code;
}

bool
rcvmi_client_wait_gone (pid_t pid, unsigned long long start_time, int timeout_ms)
{
  autoclose int fd = pid > 0 ? pidfd_open (pid, 0) : -1;
  struct pollfd p = { .fd = fd, .events = POLLIN };
  int r;

  if (fd < 0 || rcvmi_proc_start_time (pid) != start_time)
    return true;
  while ((r = poll (&p, 1, timeout_ms)) < 0 && errno == EINTR)
    ;
  return r > 0;
}
