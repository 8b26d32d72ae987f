/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * runcvm-monitor ROOT ID: the process that owns one VM.  It is the container's PID on the host, outlives whoever
 * started it, answers whoever asks over its control socket, and exits with the container's exit code.
 *
 * It is started by rcvm_vm_create with the creator's end of the control protocol as fd 3, and not meant to be
 * started by hand.
 */
#include "config.h"

#define RCVMI_STAGE "monitor"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "err.h"
#include "monitor.h"

enum
{
  CREATOR_FD = 3,
  MONITOR_FAILED = MONITOR_REFUSED
};

static void
on_signal (void *user, uint32_t events)
{
  struct rcvmi_monitor *m = user;
  struct signalfd_siginfo info;

  (void) events;
  if (read (m->signal_fd, &info, sizeof info) != sizeof info)
    return;
  if (info.ssi_signo == SIGWINCH)
    {
      if (m->run)
        rcvmi_run_follow_console (m->run);
      return;
    }
  /* A monitor's signals are its container's: `kill PID` means the process in the VM. */
  if (!m->run)
    rcvmi_ev_stop (m->ev);
  else if (rcvmi_run_kill (m->run, (int) info.ssi_signo, false, NULL) < 0 && info.ssi_signo == SIGTERM)
    rcvmi_run_stop (m->run);
}

static int
watch_signals (struct rcvmi_monitor *m, rcvm_error **err)
{
  static const int forwarded[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };
  sigset_t set;

  sigemptyset (&set);
  for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
    sigaddset (&set, forwarded[i]);
  sigprocmask (SIG_BLOCK, &set, NULL);
  signal (SIGPIPE, SIG_IGN);
  m->signal_fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (m->signal_fd < 0)
    return rcvmi_fail_errno (err, errno, "cannot watch for signals");
  return rcvmi_ev_add (m->ev, m->signal_fd, EPOLLIN, on_signal, m, err) ? 0 : RCVM_E_SYSTEM;
}

static void
on_connection (void *user, uint32_t events)
{
  struct rcvmi_monitor *m = user;
  int fd = accept4 (m->listen_fd, NULL, NULL, SOCK_CLOEXEC);

  (void) events;
  if (fd >= 0)
    rcvmi_monitor_client_add (m, fd, false, NULL);
  else if ((errno == EMFILE || errno == ENFILE || errno == ENOMEM) && m->clients)
    rcvmi_ev_set_events (m->listen_source, 0); /* until one of them goes */
}

int
rcvmi_monitor_listen (struct rcvmi_monitor *m, const struct rcvmi_state_dir *dir, rcvm_error **err)
{
  struct sockaddr_un sun = { .sun_family = AF_UNIX };

  /* Through /proc, so that the length of the path does not matter. */
  snprintf (sun.sun_path, sizeof sun.sun_path, "/proc/self/fd/%d/%s", dir->fd, RCVMI_CONTROL_SOCKET);
  m->listen_fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (m->listen_fd < 0 || bind (m->listen_fd, (struct sockaddr *) &sun, sizeof sun) < 0
      || listen (m->listen_fd, 64) < 0)
    return rcvmi_fail_errno (err, errno, "cannot make the control socket '%s/%s'", dir->path,
                             RCVMI_CONTROL_SOCKET);
  m->listen_source = rcvmi_ev_add (m->ev, m->listen_fd, EPOLLIN, on_connection, m, err);
  return m->listen_source ? 0 : RCVM_E_SYSTEM;
}

void
rcvmi_monitor_leave (struct rcvmi_monitor *m)
{
  struct rcvmi_state_dir *dir = m->run ? rcvmi_run_dir (m->run) : NULL;

  if (!dir || dir->fd < 0)
    return;
  unlinkat (dir->fd, RCVMI_CONTROL_SOCKET, 0);
  if (m->remove_dir)
    rcvmi_state_dir_remove (dir, true, NULL);
  rcvmi_state_dir_close (dir);
}

/* Each process in the container takes up to four. */
static void
raise_file_limit (void)
{
  struct rlimit r;

  if (getrlimit (RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max)
    {
      r.rlim_cur = r.rlim_max;
      setrlimit (RLIMIT_NOFILE, &r);
    }
}

int
main (int argc, char **argv)
{
  struct rcvmi_monitor m = { .exit_code = MONITOR_FAILED, .listen_fd = -1, .signal_fd = -1 };
  struct stat st;

  if (argc != 3 || argv[1][0] != '/' || fstat (CREATOR_FD, &st) < 0 || !S_ISSOCK (st.st_mode))
    {
      static const char text[] = "runcvm-monitor is started by libruncvm, not by hand: see runcvm(1)\n";

      return write (2, text, sizeof text - 1) < 0 ? 2 : 2;
    }
  /* The creator waits for this process only; the monitor is its child, and so nobody's zombie. */
  switch (fork ())
    {
    case -1:
      return MONITOR_FAILED;
    case 0:
      break;
    default:
      _exit (0);
    }
  m.root = argv[1];
  close_range (CREATOR_FD + 1, ~0U, 0);
  fcntl (CREATOR_FD, F_SETFD, FD_CLOEXEC);
  setsid ();
  umask (077);
  raise_file_limit ();
  prctl (PR_SET_NAME, "runcvm-monitor");
  prctl (PR_SET_DUMPABLE, 0); /* the environment of the container is in here */
  mallopt (M_ARENA_MAX, 1);
  mallopt (M_MMAP_THRESHOLD, 64 * 1024); /* big buffers go back to the system */
  if (chdir ("/") < 0)
    return MONITOR_FAILED;
  m.ev = rcvmi_ev_new (NULL);
  if (m.ev && watch_signals (&m, NULL) == 0 && rcvmi_monitor_client_add (&m, CREATOR_FD, true, NULL) == 0)
    rcvmi_ev_run (m.ev, NULL);
  /* Where the loop ended without a word of the run's: its files go before the lock does. */
  if (m.run)
    rcvmi_run_undo (m.run);
  rcvmi_monitor_leave (&m);
  rcvmi_run_free (steal_ptr (m.run));
  rcvmi_monitor_clients_end (&m);
  rcvmi_ev_free (m.ev);
  cleanup_close (&m.listen_fd);
  cleanup_close (&m.signal_fd);
  return m.exit_code;
}
