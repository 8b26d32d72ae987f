/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent.h"
#include "agent-wire.h"
#include "attach.h"
#include "cgroup.h"
#include "channel.h"
#include "cleanup.h"
#include "copies.h"
#include "devices.h"
#include "disks.h"
#include "handoff.h"
#include "idmap.h"
#include "kernel.h"
#include "link.h"
#include "log.h"
#include "loop.h"
#include "machine.h"
#include "mask.h"
#include "mounts.h"
#include "net.h"
#include "netmounts.h"
#include "netspace.h"
#include "program.h"
#include "request.h"
#include "resolv.h"
#include "sysctl.h"
#include "volumes.h"

/* PID, mount and network namespaces are always made. */
#define OPTIONAL_NAMESPACES                                                                       \
  (K_CLONE_NEWUTS | K_CLONE_NEWIPC | K_CLONE_NEWCGROUP | K_CLONE_NEWUSER | K_CLONE_NEWTIME)

static void handoff_ready (struct watch *w, uint32_t events);

static struct
{
  enum
  {
    NONE,
    PREPARING,
    WAITING, /* for EXEC */
    RUNNING,
    OVER
  } state;
  pid_t init;
  int pidfd, mount_namespace, own_pid_namespace;
  uint64_t namespaces;
  uint64_t began_usec;
  struct watch handoff;
} the = {
  .pidfd = -1,
  .mount_namespace = -1,
  .own_pid_namespace = -1,
  .handoff = { .fd = -1, .ready = handoff_ready },
};

/* The first process */

static int
set_names (const struct setup *s, struct failure *f)
{
  if (s->hostname && *s->hostname && sethostname (s->hostname, strlen (s->hostname)) < 0)
    return fail (f, "hostname", errno, "cannot set the host name to \"%.100s\"", s->hostname);
  if (s->domainname && *s->domainname && setdomainname (s->domainname, strlen (s->domainname)) < 0)
    return fail (f, "hostname", errno, "cannot set the domain name to \"%.100s\"", s->domainname);
  return 0;
}

static int
assemble (struct setup *s, int root_tree, int trees, struct failure *f)
{
  autoclose int root = -1;

  if (set_names (s, f) < 0 || sysctl_apply (s, false, f) < 0)
    return -1;
  if (netmounts_take (s, trees) < 0)
    _exit (1);
  root = mounts_attach (s, root_tree, f);
  if (root >= 0)
    resolv_attach (s, root);
  if (root < 0 || devices_make (s, root, f) < 0 || mask_apply (s, root, f) < 0)
    return -1;
  return mounts_enter (s, root, f);
}

static int
run_first_program (const struct setup *s, int handoff, struct failure *f)
{
  struct request q;
  struct program p = { .request = &q, .handoff = handoff, .first = true,
                       .root_readonly = s->root_readonly };
  struct stat st;
  char dummy[16];
  size_t len = sizeof dummy;
  int fds[HANDOFF_FDS];
  void *record;

  if (handoff_recv (handoff, dummy, &len, fds) != HANDOFF_START)
    _exit (0); /* the machine goes down */
  record = fstat (fds[0], &st) < 0
               ? MAP_FAILED
               : mmap (NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fds[0], 0);
  if (record == MAP_FAILED)
    return fail (f, "exec", errno, "cannot read the EXEC record");
  if (request_parse (&q, record, (size_t) st.st_size, f) < 0)
    return -1;
  memcpy (p.stdio, fds + 1, sizeof p.stdio);
  program_run (&p, f);
  return -1;
}

static int
check_program (const struct setup *s, struct failure *f)
{
  struct request q;
  int code = 0;

  if (s->program && (code = request_parse (&q, s->program, s->program_len, f)) == 0)
    code = program_check (&q, f);
  if (s->program)
    request_free (&q);
  return code;
}

static _Noreturn void
first_process (struct setup *s, int root_tree, int trees, int handoff)
{
  struct failure f = { 0 };
  char self[16];
  ssize_t n = readlink ("/proc/self", self, sizeof self - 1);
  pid_t pid;

  self[n > 0 ? n : 0] = 0;
  pid = atoi (self); /* in the initial namespace, as its /proc is */
  if (assemble (s, root_tree, trees, &f) == 0 && check_program (s, &f) == 0)
    {
      handoff_send (handoff, HANDOFF_READY, &pid, sizeof pid, NULL, 0);
      run_first_program (s, handoff, &f);
    }
  handoff_send_failure (handoff, &f);
  _exit ((int) f.exit_code);
}

/* The helper */

static int
enter_namespaces (const struct setup *s, int handoff, int *root_tree, struct setup *prepared, struct failure *f)
{
  int flags = (int) (the.namespaces & OPTIONAL_NAMESPACES & ~(uint64_t) K_CLONE_NEWUSER);

  if (k_unshare (K_CLONE_NEWNS) < 0)
    return fail (f, "namespace", errno, "cannot make the mount namespace");
  if (cgroup_join (0, f) < 0 || mounts_prepare (prepared, root_tree, f) < 0
      || devices_prepare (prepared, f) < 0 || copies_pass (s, handoff, f) < 0)
    return -1;
  if (s->namespaces & K_CLONE_NEWUSER)
    {
      if (idmap_enter (s, f) < 0)
        return -1;
      flags |= K_CLONE_NEWNS; /* one that belongs to the user namespace */
    }
  if (k_unshare (flags | K_CLONE_NEWPID | K_CLONE_NEWNET) < 0)
    return fail (f, "namespace", errno, "cannot make the container's namespaces");
  return 0;
}

/* The agent gives the namespace its interfaces. */
static int
pass_network (int handoff, struct failure *f)
{
  autoclose int fd = open ("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

  if (fd < 0 || handoff_send (handoff, HANDOFF_NET, NULL, 0, &fd, 1) < 0)
    return fail (f, "namespace", errno, "cannot pass on the container's network namespace");
  return 0;
}

/* Those that are -1 are not there. */
static void
close_all_but (const int *kept, size_t n)
{
  unsigned from = 3;

  for (;;)
    {
      unsigned next = ~0u;

      for (size_t i = 0; i < n; i++)
        if (kept[i] >= 0 && (unsigned) kept[i] >= from && (unsigned) kept[i] < next)
          next = (unsigned) kept[i];
      if (next > from)
        syscall (SYS_close_range, from, next == ~0u ? next : next - 1, 0);
      if (next == ~0u)
        return;
      from = next + 1;
    }
}

static _Noreturn void
helper (struct setup *s, int trees, int handoff)
{
  struct failure f = { 0 };
  int root_tree = -1;
  long pid;

  handoff_begin_child (handoff);
  close_all_but ((int[]){ handoff, trees, volumes_socket () }, 3);
  umask (022);
  if (enter_namespaces (s, handoff, &root_tree, s, &f) == 0 && pass_network (handoff, &f) == 0)
    {
      volumes_disconnect ();
      /* A child of the agent, which is to reap it. */
      pid = syscall (SYS_clone, K_CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
      if (pid == 0)
        first_process (s, root_tree, trees, handoff);
      if (pid > 0)
        _exit (0);
      fail (&f, "namespace", errno, "cannot make the container's first process");
    }
  handoff_send_failure (handoff, &f);
  _exit (1);
}

/* The agent */

static void
setup_failed (const struct failure *f)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  failure_put (&w, f);
  channel_send_record (AGENT_FAILED, 0, &w);
  the.state = OVER;
}

static bool
tunnels_are_wanted (const struct setup *s)
{
  for (size_t i = 0; i < s->n_mounts; i++)
    if ((mount_is_volume (&s->mounts[i]) && !s->link_server) || mount_is_share (&s->mounts[i]))
      return true;
  return false;
}

/* Disks of a machine that goes on from a template, which had none of these. */
static int
await_disks (const struct setup *s, struct failure *f)
{
  for (size_t i = 0; i < s->n_disk_sizes; i++)
    {
      const struct setup_pair *d = &s->disk_sizes[i];
      bool of_root = strcmp (d->name, s->root_disk) == 0 || (s->upper_disk && strcmp (d->name, s->upper_disk) == 0);

      if (disk_await_size (d->name, d->value, !of_root, f) < 0)
        return -1;
    }
  return 0;
}

static int
set_up (struct setup *s, struct failure *f)
{
  int fds[2], trees;
  pid_t pid;

  if (s->log_level >= 0)
    log_set_level (s->log_level);
  if (s->memory_comes && machine_check_memory (f) < 0)
    return -1;
  /* Exchanged disks are a template's sign, and others have started from it with the same random numbers. */
  if (!machine_add_entropy (s->entropy, s->entropy_len) && s->n_disk_sizes)
    return fail (f, "setup", 0, "the random number generator cannot be seeded anew, which a VM from a template needs");
  machine_set_clock (s->clock_nsec);
  machine_bring_up_loopback ();
  if (await_disks (s, f) < 0)
    return -1;
  if ((tunnels_are_wanted (s) && volumes_start (f) < 0) || (s->link_server && link_bring_up (&s->link, f) < 0))
    return -1;
  if (cgroup_make (s, f) < 0 || net_setup (s, f) < 0)
    return -1;
  the.own_pid_namespace = open ("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  if (the.own_pid_namespace < 0)
    return fail (f, "namespace", errno, "cannot open the PID namespace");
  the.namespaces = s->namespaces;
  if (handoff_pair (fds) < 0)
    return fail (f, "setup", errno, "cannot make a socket pair");
  if (netmounts_start (s, fds[1], &trees, f) < 0)
    {
      close (fds[0]);
      close (fds[1]);
      return -1;
    }
  pid = fork ();
  if (pid == 0)
    helper (s, trees, fds[1]);
  close (fds[1]);
  if (trees >= 0)
    close (trees);
  if (pid < 0 || loop_add (&the.handoff, fds[0], EPOLLIN) < 0)
    {
      fail (f, "setup", errno, "cannot make the container's first process");
      close (fds[0]);
      return -1;
    }
  return 0;
}

void
container_setup (const void *record, size_t len)
{
  struct failure f = { 0 };
  struct setup s;

  if (the.state != NONE)
    fatal ("the host sent SETUP twice");
  the.state = PREPARING;
  the.began_usec = machine_usec (CLOCK_MONOTONIC);
  if (setup_parse (&s, record, len, &f) < 0 || set_up (&s, &f) < 0)
    setup_failed (&f);
  setup_free (&s);
}

/* Both the first process and the network. */
static void
check_ready (void)
{
  struct tlv_writer w = TLV_WRITER_INIT;

  if (the.state != PREPARING || the.init <= 0 || !net_is_ready ())
    return;
  the.state = WAITING;
  attach_begin ();
  tlv_put_u64 (&w, A_SETUP_USEC, machine_usec (CLOCK_MONOTONIC) - the.began_usec);
  channel_send_record (AGENT_READY, 0, &w);
}

void
container_network_ready (void)
{
  netmounts_go (netspace_container ());
  check_ready ();
}

void
container_network_failed (const struct failure *f)
{
  if (the.state == PREPARING)
    setup_failed (f);
}

static void
container_ready (pid_t init)
{
  struct failure f = { 0 };
  char path[64];

  the.init = init;
  the.pidfd = (int) syscall (SYS_pidfd_open, init, 0);
  snprintf (path, sizeof path, "/proc/%d/ns/mnt", (int) init);
  the.mount_namespace = open (path, O_RDONLY | O_CLOEXEC);
  if (the.pidfd < 0 || the.mount_namespace < 0)
    fail (&f, "namespace", errno, "cannot open the container's namespaces");
  else
    copies_watch (&f);
  if (f.message[0])
    {
      setup_failed (&f);
      return;
    }
  check_ready ();
}

static void
handoff_ready (struct watch *w, uint32_t events)
{
  unsigned char data[HANDOFF_MAX];
  size_t len = sizeof data;
  int fds[HANDOFF_FDS], type = handoff_recv (w->fd, data, &len, fds);
  struct failure f = { 0 };
  pid_t pid;

  (void) events;
  switch (type)
    {
    case HANDOFF_LOG:
      agent_forward_log (data, len);
      return;
    case HANDOFF_READY:
      memcpy (&pid, data, sizeof pid);
      container_ready (pid);
      return;
    case HANDOFF_COPIES:
      copies_take (data, len, fds[0]);
      return;
    case HANDOFF_NET:
      net_begin (fds[0]);
      return;
    case HANDOFF_FAILED:
      if (the.state == PREPARING)
        channel_send (AGENT_FAILED, 0, data, len);
      the.state = OVER;
      break;
    case -1:
      if (errno == EAGAIN)
        return;
      /* fall through */
    default:
      if (the.state == PREPARING)
        {
          fail (&f, "setup", 0, "the container's first process died while it was set up");
          setup_failed (&f);
        }
      break;
    }
  loop_close (w);
}

pid_t
container_init_pid (void)
{
  return the.init;
}

bool
container_is_wanted (void)
{
  return the.state != NONE;
}

bool
container_is_waiting (void)
{
  return the.state == WAITING;
}

int
container_start (const int *fds, size_t n_fds)
{
  int handoff;

  if (the.state != WAITING || the.handoff.fd < 0)
    {
      errno = ESRCH;
      return -1;
    }
  handoff = loop_remove (&the.handoff);
  the.state = RUNNING;
  if (handoff_send (handoff, HANDOFF_START, NULL, 0, fds, n_fds) < 0)
    {
      close (handoff);
      errno = ESRCH;
      return -1;
    }
  return handoff;
}

pid_t
container_fork (void)
{
  pid_t pid;
  int saved;

  if (the.pidfd < 0 || the.state == OVER)
    {
      errno = ESRCH;
      return -1;
    }
  if (k_setns (the.pidfd, K_CLONE_NEWPID) < 0)
    return -1;
  pid = fork ();
  if (pid == 0)
    return 0;
  saved = errno;
  if (k_setns (the.own_pid_namespace, K_CLONE_NEWPID) < 0)
    fatal ("cannot return to the PID namespace: %s", strerror (errno));
  /* The kernel's word for a PID namespace that dies. */
  errno = pid < 0 && saved == ENOMEM && kill (the.init, 0) == 0 ? ESRCH : saved;
  return pid;
}

int
container_enter (struct failure *f)
{
  int flags = K_CLONE_NEWNS | K_CLONE_NEWNET | (int) (the.namespaces & OPTIONAL_NAMESPACES);

  if (cgroup_join (the.init, f) < 0)
    return -1;
  if (k_setns (the.pidfd, flags) < 0)
    return fail (f, "namespace", errno,
                 errno == ESRCH ? "the container has stopped"
                                : "cannot enter the container's namespaces");
  return 0;
}

int
container_rename (const char *hostname, struct failure *f)
{
  int status;
  pid_t pid;

  if (!(the.namespaces & K_CLONE_NEWUTS))
    return fail (f, "hostname", EINVAL, "the container has no UTS namespace of its own");
  pid = fork ();
  if (pid == 0)
    _exit (k_setns (the.pidfd, K_CLONE_NEWUTS) < 0 || sethostname (hostname, strlen (hostname)) < 0 ? errno : 0);
  if (pid < 0 || waitpid (pid, &status, 0) != pid)
    return fail (f, "hostname", errno, "cannot set the host name to \"%.100s\"", hostname);
  if (status)
    return fail (f, "hostname", WIFEXITED (status) ? WEXITSTATUS (status) : EINTR, "cannot set the host name to \"%.100s\"", hostname);
  return 0;
}

void
container_signal_all (int signum)
{
  pid_t pid;

  if (the.init <= 0 || the.state == OVER)
    return;
  /* With its first process, the kernel kills all of a PID namespace. */
  if (signum != SIGKILL)
    {
      pid = container_fork ();
      if (pid == 0)
        {
          kill (-1, signum);
          _exit (0);
        }
      if (pid < 0)
        log_write (LOG_WARNING, "cannot signal all processes: %s", strerror (errno));
    }
  kill (the.init, signum);
}

void
container_reaped (pid_t pid, int status)
{
  struct failure f = { 0 };

  if (pid != the.init || pid <= 0)
    return;
  /* It never got its program: the host still learns of its end. */
  if (the.state == WAITING && !agent_is_shutting_down ())
    agent_send_exit (0, status);
  else if (the.state == PREPARING)
    {
      fail (&f, "setup", 0, "the container's first process died while it was set up");
      setup_failed (&f);
    }
  loop_close (&the.handoff);
  the.state = OVER;
  the.init = 0;
}

int
container_enter_mounts (void)
{
  return the.mount_namespace < 0 ? -1 : k_setns (the.mount_namespace, K_CLONE_NEWNS);
}

pid_t
container_release (void)
{
  pid_t pid = -1;
  int gate[2];

  loop_close (&the.handoff);
  if (the.pidfd >= 0)
    close (steal_fd (&the.pidfd));
  the.state = OVER;
  if (the.mount_namespace < 0)
    return -1;
  /* The last reference to the namespace: closing it unmounts everything in it, before close returns.  The child's has
     to be the last. */
  if (pipe2 (gate, O_CLOEXEC) == 0)
    {
      pid = fork ();
      if (pid == 0)
        {
          char none;

          close (gate[1]);
          if (read (gate[0], &none, 1) < 0)
            _exit (1);
          close (the.mount_namespace);
          _exit (0);
        }
    }
  close (steal_fd (&the.mount_namespace));
  if (pid > 0)
    {
      close (gate[0]);
      close (gate[1]);
    }
  return pid;
}
