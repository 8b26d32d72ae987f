/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rcvm-init: PID 1 of the VM, and the agent of the host in it.  It runs from the initramfs and
 * stays there; the container lives in namespaces of its own (container.c).
 *
 * One thread, one loop: frames of the host (channel.c, agent.c), streams of processes (relay.c),
 * children that end.  Whatever may block is done by children.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "channel.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "modules.h"
#include "oom.h"
#include "transport.h"

static void
children_ended (struct watch *w, uint32_t events)
{
  struct signalfd_siginfo info;
  pid_t pid;
  int status;

  (void) events;
  /* Several ends may have become one signal. */
  if (read (w->fd, &info, sizeof info) < 0 && errno != EAGAIN && errno != EINTR)
    fatal ("cannot read signals: %s", strerror (errno));
  while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
    agent_reaped (pid, status);
  agent_go_on_with_shutdown ();
}

static void
watch_children (void)
{
  static struct watch w = { .ready = children_ended };
  sigset_t set;
  int fd;

  sigemptyset (&set);
  sigaddset (&set, SIGCHLD);
  sigprocmask (SIG_BLOCK, &set, NULL);
  fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0 || loop_add (&w, fd, EPOLLIN) < 0)
    fatal ("cannot watch signals: %s", strerror (errno));
}

int
main (int argc, char **argv)
{
  const char *slash = argc > 0 ? strrchr (argv[0], '/') : NULL;

  if (slash && strcmp (slash + 1, "modprobe") == 0)
    return modules_modprobe (argv);
  if (getpid () != 1)
    {
      static const char text[] = "rcvm-init: this runs as the first process of a VM only\n";

      return write (2, text, sizeof text - 1) < 0 ? 2 : 1;
    }
  machine_mount_early ();
  machine_await_timer ();
  reboot (RB_DISABLE_CAD);
  modules_load_boot ();
  if (transport_is_of_template ())
    modules_load_for_template ();
  loop_init ();
  watch_children ();
  oom_watch_pressure ();
  agent_start ();
  loop_run (channel_flush);
}
