/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where that was asked for, and it is installed: unfsd (unfs3) in place of our own volume server.  It can only listen, so it does
 * at NFS's own port of a network namespace that it has for itself, in which the connections of the guest's tunnels are made.
 * It follows paths, and is confined as diod is: its root has the exports, its libraries, and a directory in memory with its
 * list of exports, in which it writes the file of its number when it listens.
 */
#include "config.h"

#define RCVMI_STAGE "volumes"
#include "run-server.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "net-ns.h"

enum
{
  NFS_PORT = 2049,
  READY_MS = 60000
};

#define PLACE "/run"
#define EXPORTS "exports"
#define READY "pid"

struct rcvmi_run_unfsd
{
  struct rcvmi_run_server server;
  struct rcvmi_netns ns;
  struct rcvmi_ev_source *ready, *timer;
  int ready_fd;
};

/* In the child: nothing else is there to be brought up. */
static int
enter (void *confine, char *what, size_t size)
{
  struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || ioctl (fd, SIOCSIFFLAGS, &lo) < 0)
    {
      snprintf (what, size, "cannot bring up the loopback interface of unfsd's network namespace");
      return -1;
    }
  close (fd);
  return rcvmi_confine_enter (confine, what, size);
}

/* In the monitor. */

static void
describe (const struct rcvmi_run_unfsd *u, char *what, size_t size)
{
  snprintf (what, size, "unfsd, which serves the volumes of VM '%.128s',", u->server.run->options.id);
}

static void
on_death (void *user, uint32_t events)
{
  struct rcvmi_run_unfsd *u = user;
  struct rcvmi_run_server_end end;
  char what[256];

  (void) events;
  rcvmi_run_server_reap (&u->server, &end);
  if (end.expected)
    return;
  describe (u, what, sizeof what);
  rcvmi_run_server_fail (&u->server, &end, what);
}

/* Its namespace.  One that has ended already has none any more, and then its end is the error. */
static int
open_namespace (struct rcvmi_run_unfsd *u, rcvm_error **err)
{
  struct pollfd p = { .fd = u->server.proc.pidfd, .events = POLLIN };
  struct rcvmi_run_server_end end;
  rcvm_error *e = NULL;
  char what[256];
  int code = rcvmi_netns_open (&u->ns, NULL, u->server.proc.pid, -1, &e);

  if (code == 0)
    return 0;
  if (poll (&p, 1, 0) != 1)
    return rcvmi_error_pass (err, e);
  rcvm_error_free (e);
  rcvmi_run_server_reap (&u->server, &end);
  describe (u, what, sizeof what);
  return rcvmi_run_server_error (&end, what, err);
}

static void
on_ready (void *user, uint32_t events)
{
  struct rcvmi_run_unfsd *u = user;
  union
  {
    struct inotify_event event;
    char bytes[512];
  } b;

  (void) events;
  /* No other file is written there. */
  if (read (u->ready_fd, &b, sizeof b) <= 0)
    return;
  rcvmi_ev_remove (steal_ptr (u->ready));
  rcvmi_ev_remove (steal_ptr (u->timer));
  rcvmi_run_advance (u->server.run);
}

static void
on_timeout (void *user, uint32_t events)
{
  struct rcvmi_run_unfsd *u = user;
  rcvm_error *e = NULL;

  (void) events;
  rcvmi_ev_remove (steal_ptr (u->timer));
  rcvmi_fail (&e, RCVM_E_TIMEOUT, 0, "unfsd did not say within %d seconds that it is ready", READY_MS / 1000);
  rcvmi_run_fail (u->server.run, e);
}

static int
write_exports (const struct rcvmi_plan *plan, int dir, rcvm_error **err)
{
  autoclose int fd = openat (dir, EXPORTS, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int n = fd < 0 ? -1 : 0;

  for (size_t i = 0; n >= 0 && i < plan->n_volumes; i++)
    {
      const struct rcvmi_plan_volume *v = &plan->volumes[i];
      char squash[64] = "no_root_squash";

      if (v->squash)
        snprintf (squash, sizeof squash, "all_squash,anonuid=%u,anongid=%u", v->uid, v->gid);
      n = dprintf (fd, "/%zu (%s,%s,insecure)\n", i, v->read_only ? "ro" : "rw", squash);
    }
  if (n < 0)
    return rcvmi_fail_errno (err, errno, "cannot write unfsd's list of exports");
  return 0;
}

static int
watch_for_number (struct rcvmi_run_unfsd *u, int dir, rcvm_error **err)
{
  char path[40];

  snprintf (path, sizeof path, "/proc/self/fd/%d", dir);
  u->ready_fd = inotify_init1 (IN_NONBLOCK | IN_CLOEXEC);
  if (u->ready_fd < 0 || inotify_add_watch (u->ready_fd, path, IN_CLOSE_WRITE) < 0)
    return rcvmi_fail_errno (err, errno, "cannot wait for unfsd to be ready");
  return 0;
}

static int
confine (struct rcvmi_run_unfsd *u, struct rcvmi_confine *c, const char *program, const int *exports, rcvm_error **err)
{
  const struct rcvmi_plan *plan = u->server.run->plan;
  autoclose int dir = -1;
  int code = rcvmi_run_server_confine (c, program, err);

  if (code == 0)
    code = rcvmi_confine_add_place (c, PLACE, 0, &dir, err);
  for (size_t i = 0; code == 0 && i < plan->n_volumes; i++)
    {
      char target[48];
      struct stat st;

      if (fstat (exports[i], &st) < 0)
        return rcvmi_fail_errno (err, errno, "cannot look at '%.200s'", plan->volumes[i].source);
      /* A file is the one entry of a directory. */
      snprintf (target, sizeof target, S_ISDIR (st.st_mode) ? "/%zu" : "/%zu/%zu", i, i);
      code = rcvmi_confine_add_tree (c, exports[i], plan->volumes[i].read_only, target, err);
    }
  if (code == 0)
    code = write_exports (plan, dir, err);
  return code == 0 ? watch_for_number (u, dir, err) : code;
}

static int
spawn (struct rcvmi_run_unfsd *u, const char *program, const int *exports, int output, rcvm_error **err)
{
  char *argv[] = { "unfsd", "-d", "-t", "-p", "-n", "2049", "-m", "2049", "-e", PLACE "/" EXPORTS, "-i", PLACE "/" READY, NULL };
  char *env[] = { "PATH=/usr/sbin:/usr/bin", NULL };
  struct rcvmi_confine c = RCVMI_CONFINE_INIT;
  struct rcvmi_proc_how how = { .path = program,
                                .argv = argv,
                                .env = env,
                                .stdout_fd = output,
                                .stderr_fd = output,
                                .dir_fd = -1,
                                .prepare = enter,
                                .user = &c };
  int code = confine (u, &c, program, exports, err);

  how.namespaces = rcvmi_confine_namespaces (&c);
  if (code == 0)
    code = rcvmi_proc_spawn_as (&u->server.proc, &how, err);
  rcvmi_confine_clear (&c);
  return code;
}

int
rcvmi_run_start_unfsd (struct rcvmi_run *run, const int *exports, rcvm_error **err)
{
  static const char *const places[] = { "/usr/sbin/unfsd", "/usr/local/sbin/unfsd", NULL };
  struct rcvmi_ev *ev = run->ev;
  autofree char *program = NULL;
  autoclose int writer = -1;
  struct rcvmi_run_unfsd *u;
  int code;

  if (geteuid () != 0)
    return rcvmi_fail (err, RCVM_E_UNSUPPORTED, 0, "only root can have unfsd serve volumes: leave out 'server=unfsd'");
  program = rcvmi_run_find_server ("RUNCVM_UNFSD", "unfsd", places,
                                   "install unfs3, leave out 'server=unfsd', or say in RUNCVM_UNFSD where it is", err);
  if (!program)
    return RCVM_E_HOST;
  u = run->unfsd = calloc (1, sizeof *u);
  if (!u)
    return rcvmi_fail_nomem (err);
  *u = (struct rcvmi_run_unfsd){ .server = RCVMI_RUN_SERVER_INIT, .ns = RCVMI_NETNS_INIT, .ready_fd = -1 };
  u->server.run = run;
  code = rcvmi_run_server_pipe (&u->server, &writer, err);
  if (code == 0)
    code = spawn (u, program, exports, writer, err);
  if (code == 0)
    code = open_namespace (u, err);
  if (code == 0)
    code = rcvmi_run_server_watch (&u->server, on_death, u, err);
  if (code != 0)
    return code;
  u->ready = rcvmi_ev_add (ev, u->ready_fd, EPOLLIN, on_ready, u, err);
  u->timer = u->ready ? rcvmi_ev_add_timer (ev, READY_MS, on_timeout, u, err) : NULL;
  return u->timer ? 0 : RCVM_E_SYSTEM;
}

void
rcvmi_run_undo_unfsd (struct rcvmi_run *run)
{
  struct rcvmi_run_unfsd *u = steal_ptr (run->unfsd);

  if (!u)
    return;
  rcvmi_run_server_clear (&u->server);
  rcvmi_ev_remove (u->ready);
  rcvmi_ev_remove (u->timer);
  rcvmi_netns_close (&u->ns);
  cleanup_close (&u->ready_fd);
  free (u);
}

int
rcvmi_run_connect_unfsd (struct rcvmi_run *run)
{
  struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (NFS_PORT), .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  autoclose int fd = rcvmi_netns_socket (&run->unfsd->ns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, NULL);
  int one = 1;

  if (fd < 0 || setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0
      || (connect (fd, (struct sockaddr *) &a, sizeof a) < 0 && errno != EINPROGRESS))
    return -1;
  return steal_fd (&fd);
}
