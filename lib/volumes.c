/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * runcvm-volumes: serves the volumes of one VM over NFSv3.  The monitor starts it with --config-fd
 * (nfs-control.h); by hand:
 *
 *   runcvm-volumes --listen ADDRESS:PORT... --export PATH[:OPTION,...]... [--key HEX] [--workers N] [--no-sandbox]
 *
 * Options of an export: ro, uid=N and gid=N (squash), name=NAME, cached=SECONDS, durable.  It says where it
 * listens on standard output, one line each.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "nfs-server.h"
#include "nfs-settings.h"

/* Only for use by hand: the monitor passes sockets. */
static int
listen_at (struct nfs_daemon *d, const char *text, rcvm_error **err)
{
  struct sockaddr_in a = { .sin_family = AF_INET };
  socklen_t len = sizeof a;
  const char *colon = strrchr (text, ':');
  char host[INET_ADDRSTRLEN] = "";
  int fd, one = 1;
  char *end;
  unsigned long port;

  if (!colon || (size_t) (colon - text) >= sizeof host)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no ADDRESS:PORT", text);
  memcpy (host, text, (size_t) (colon - text));
  port = strtoul (colon + 1, &end, 10);
  if (inet_pton (AF_INET, host, &a.sin_addr) != 1 || !colon[1] || *end || port > 65535)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "'%.60s' is no ADDRESS:PORT", text);
  a.sin_port = htons ((uint16_t) port);
  fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot make a socket");
  setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind (fd, (struct sockaddr *) &a, sizeof a) < 0 || listen (fd, SOMAXCONN) < 0
      || getsockname (fd, (struct sockaddr *) &a, &len) < 0)
    {
      rcvmi_fail_errno (err, errno, "cannot listen at %s", text);
      close (fd);
      return RCVM_E_SYSTEM;
    }
  printf ("%s:%u\n", host, (unsigned) ntohs (a.sin_port));
  return rcvmi_nfs_daemon_listen (d, fd, err);
}

/* Everything that needs files or rights that are given up then. */
static int
set_up (struct nfs_daemon *d, const struct nfs_settings *s, rcvm_error **err)
{
  int rc = 0;

  for (unsigned i = 0; rc == 0 && i < s->n_exports; i++)
    {
      const struct nfs_export_settings *e = &s->exports[i];

      rc = rcvmi_nfs_export_add (d->core, e->fd, e->path, e->name, &e->options, err);
      if (e->fd >= 0)
        close (e->fd);
    }
  for (unsigned i = 0; rc == 0 && i < s->n_listen; i++)
    rc = listen_at (d, s->listen[i], err);
  for (unsigned i = 0; rc == 0 && i < s->n_listen_fds; i++)
    rc = rcvmi_nfs_daemon_listen (d, s->listen_fds[i], err);
  for (unsigned i = 0; rc == 0 && i < s->n_stream_fds; i++)
    rc = rcvmi_nfs_conn_add (d, s->stream_fds[i], err);
  return rc < 0 ? rc : rcvmi_nfs_daemon_signals (d, err);
}

static int
serve (const struct nfs_settings *s, rcvm_error **err)
{
  struct nfs_daemon *d = rcvmi_nfs_daemon_new (s->key, s->workers, err);
  bool isolated = false;
  int rc;

  if (!d)
    return RCVM_E_SYSTEM;
  rc = set_up (d, s, err);
  if (rc == 0 && !s->no_sandbox && d->core->identities)
    {
      rc = rcvmi_nfs_sandbox_files (err);
      isolated = true;
    }
  if (rc == 0 && !s->no_sandbox)
    rc = rcvmi_nfs_sandbox_rights (d->core, err);
  if (rc == 0 && s->control_fd >= 0)
    rc = rcvmi_nfs_control_start (d, s->control_fd, isolated, err);
  fflush (stdout);
  if (rc == 0)
    rc = rcvmi_nfs_daemon_run (d, err);
  rcvmi_nfs_daemon_free (d);
  return rc;
}

enum
{
  OPEN_FILES = 4096
};

/* As many as the cache of open files can use; no more, for the process's own sake. */
static void
set_open_files (void)
{
  struct rlimit files;

  if (getrlimit (RLIMIT_NOFILE, &files) < 0)
    return;
  files.rlim_cur = files.rlim_max < OPEN_FILES ? files.rlim_max : OPEN_FILES;
  setrlimit (RLIMIT_NOFILE, &files);
}

int
main (int argc, char **argv)
{
  struct nfs_settings s;
  rcvm_error *err = NULL;
  sigset_t stop;
  int rc;

  signal (SIGPIPE, SIG_IGN);
  signal (SIGXFSZ, SIG_IGN);
  signal (SIGHUP, SIG_IGN);
  sigemptyset (&stop);
  sigaddset (&stop, SIGTERM);
  sigaddset (&stop, SIGINT);
  sigprocmask (SIG_BLOCK, &stop, NULL);
  umask (0);
  set_open_files ();
  rc = rcvmi_nfs_settings_command_line (argc, argv, &s, &err);
  if (rc == 0 && s.n_listen + s.n_listen_fds + s.n_stream_fds + (s.control_fd >= 0) == 0)
    rc = rcvmi_fail (&err, RCVM_E_INVALID, 0,
                     "nowhere to serve: use --listen ADDRESS:PORT, --config-fd N or --control-fd N");
  if (rc == 0 && !s.has_key && getrandom (s.key, sizeof s.key, 0) != sizeof s.key)
    rc = rcvmi_fail_errno (&err, errno, "cannot make a key");
  if (rc == 0)
    rc = serve (&s, &err);
  rcvmi_nfs_settings_free (&s);
  if (rc < 0)
    fprintf (stderr, "runcvm-volumes: %s\n", rcvm_error_get_message (err));
  rcvm_error_free (err);
  return rc < 0;
}
