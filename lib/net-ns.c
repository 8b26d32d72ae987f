/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A namespace is a property of a thread, and the threads belong to whoever links the library: to a Go
 * scheduler that moves goroutines between them, or to Python.  A thread that enters a namespace, fails to
 * come back, and goes on, would be a disaster of somebody else's.  So nobody enters it but a child that
 * lives for some microseconds.  It is made like posix_spawn makes its own (it borrows the caller's memory,
 * all signals blocked, the caller waits), which costs the same for a process of one megabyte and of ten
 * gigabytes; it sends no SIGCHLD and cannot be found by somebody else's wait().  It opens what is wanted
 * and hands it over: an open TAP or socket stays in the namespace where it was made.
 */
#include "config.h"

#define RCVMI_STAGE "net"
#include "net-ns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "cleanup.h"
#include "err.h"

enum
{
  STACK_SIZE = 64 * 1024
};

/* What the child says, and with it go the fds. */
struct answer
{
  int entered; /* errno of setns */
  int result;  /* of fn */
};

struct child
{
  int ns; /* -1: a new one */
  int socket;
  int (*fn) (void *user, int *fds);
  void *user;
};

union control
{
  struct cmsghdr align;
  char space[CMSG_SPACE (sizeof (int) * RCVMI_NETNS_FDS)];
};

static bool
same (const struct stat *a, const struct stat *b)
{
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* `what` names the namespace in errors. */
static int
check (struct rcvmi_netns *ns, const char *what, rcvm_error **err)
{
  struct statfs fs;
  struct stat st, own;
  int type;

  if (fstatfs (ns->fd, &fs) < 0 || fstat (ns->fd, &st) < 0)
    return rcvmi_fail_errno (err, errno, "cannot look at %s", what);
  if (fs.f_type != NSFS_MAGIC)
    return rcvmi_fail (err, RCVM_E_INVALID, 0,
                       "%s is not a namespace; `ip netns add` or the container's engine makes one", what);
  /* Only now is it known to be safe to open: a device or a FIFO may do something at that. */
  if (fcntl (ns->fd, F_GETFL) & O_PATH)
    {
      char self[32];
      int fd;

      snprintf (self, sizeof self, "/proc/self/fd/%d", ns->fd);
      fd = open (self, O_RDONLY | O_CLOEXEC);
      if (fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot open %s", what);
      close (ns->fd);
      ns->fd = fd;
    }
  type = ioctl (ns->fd, NS_GET_NSTYPE);
  if (type < 0)
    return rcvmi_fail_errno (err, errno, "cannot ask for the kind of %s", what);
  if (type != CLONE_NEWNET)
    return rcvmi_fail (err, RCVM_E_INVALID, 0, "%s is a namespace, but not of the network", what);
  ns->dev = st.st_dev;
  ns->ino = st.st_ino;
  ns->own = stat ("/proc/thread-self/ns/net", &own) == 0 && same (&st, &own);
  return 0;
}

int
rcvmi_netns_open (struct rcvmi_netns *ns, const char *path, pid_t pid, int fd, rcvm_error **err)
{
  autofree char *what = NULL;
  char link[64];
  int code;

  *ns = RCVMI_NETNS_INIT;
  if (fd >= 0)
    {
      ns->fd = fcntl (fd, F_DUPFD_CLOEXEC, 3);
      if (ns->fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot use fd %d as a network namespace", fd);
      code = asprintf (&what, "fd %d", fd);
    }
  else if (pid > 0)
    {
      snprintf (link, sizeof link, "/proc/%d/ns/net", (int) pid);
      ns->fd = open (link, O_PATH | O_CLOEXEC);
      if (ns->fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot open the network namespace of process %d", (int) pid);
      code = asprintf (&what, "the network namespace of process %d", (int) pid);
    }
  else
    {
      ns->fd = open (path ? path : "/proc/thread-self/ns/net", O_PATH | O_CLOEXEC);
      if (ns->fd < 0 && path)
        return rcvmi_fail_errno (err, errno, "cannot open the network namespace '%s'", path);
      if (ns->fd < 0)
        return rcvmi_fail_errno (err, errno, "cannot open this process's network namespace");
      code = path ? asprintf (&what, "'%s'", path) : asprintf (&what, "this process's network namespace");
    }
  if (code < 0)
    {
      what = NULL;
      code = rcvmi_fail_nomem (err);
    }
  else
    code = check (ns, what, err);
  if (code < 0)
    rcvmi_netns_close (ns);
  return code;
}

void
rcvmi_netns_close (struct rcvmi_netns *ns)
{
  cleanup_close (&ns->fd);
  *ns = RCVMI_NETNS_INIT;
}

/* In the child.  Ends by returning: the C library's exit would run what is the caller's. */
static int
child_main (void *user)
{
  const struct child *c = user;
  struct answer answer = { 0 };
  union control control;
  struct iovec iov = { .iov_base = &answer, .iov_len = sizeof answer };
  struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
  int fds[RCVMI_NETNS_FDS], n = 0;

  for (int i = 0; i < RCVMI_NETNS_FDS; i++)
    fds[i] = -1;
  if ((c->ns < 0 ? unshare (CLONE_NEWNET) : setns (c->ns, CLONE_NEWNET)) < 0)
    answer.entered = errno;
  else
    answer.result = c->fn (c->user, fds);
  while (n < RCVMI_NETNS_FDS && fds[n] >= 0)
    n++;
  if (n > 0)
    {
      struct cmsghdr *h;

      memset (&control, 0, sizeof control);
      msg.msg_control = &control;
      msg.msg_controllen = CMSG_SPACE (sizeof (int) * (size_t) n);
      h = CMSG_FIRSTHDR (&msg);
      h->cmsg_level = SOL_SOCKET;
      h->cmsg_type = SCM_RIGHTS;
      h->cmsg_len = CMSG_LEN (sizeof (int) * (size_t) n);
      memcpy (CMSG_DATA (h), fds, sizeof (int) * (size_t) n);
    }
  return sendmsg (c->socket, &msg, MSG_NOSIGNAL) < 0;
}

static int
receive (int socket, struct answer *answer, int *fds)
{
  union control control;
  struct iovec iov = { .iov_base = answer, .iov_len = sizeof *answer };
  struct msghdr msg
      = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
  struct cmsghdr *h;
  ssize_t n;

  do
    n = recvmsg (socket, &msg, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n != (ssize_t) sizeof *answer)
    return n < 0 ? errno : ECHILD;
  h = CMSG_FIRSTHDR (&msg);
  if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
    memcpy (fds, CMSG_DATA (h), h->cmsg_len - CMSG_LEN (0));
  /* No room for fds in this process, for instance: they were dropped on the way. */
  return msg.msg_flags & MSG_CTRUNC ? EMFILE : 0;
}

/* Returns the child, or -errno. */
static pid_t
start (struct child *c, void *stack)
{
  sigset_t all, old;
  int cancel;
  pid_t pid;

  /* A handler of the caller's must not run in the child: it would see the caller's memory in another
     process. */
  sigfillset (&all);
  pthread_setcancelstate (PTHREAD_CANCEL_DISABLE, &cancel);
  pthread_sigmask (SIG_SETMASK, &all, &old);
  pid = clone (child_main, (char *) stack + STACK_SIZE, CLONE_VM | CLONE_VFORK, c);
  if (pid < 0)
    pid = -errno;
  pthread_sigmask (SIG_SETMASK, &old, NULL);
  pthread_setcancelstate (cancel, NULL);
  return pid;
}

/* As rcvmi_netns_run, in the namespace that `ns` is open at; -1: in a new one. */
static int
run_in_child (int ns, int (*fn) (void *user, int *fds), void *user, int *fds, rcvm_error **err)
{
  struct child c = { .ns = ns, .fn = fn, .user = user };
  struct answer answer = { 0 };
  int pair[2], errnum;
  void *stack;
  pid_t pid;

  for (int i = 0; i < RCVMI_NETNS_FDS; i++)
    fds[i] = -1;
  stack = mmap (NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED)
    return -rcvmi_fail_nomem (err);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    {
      errnum = errno;
      munmap (stack, STACK_SIZE);
      return -rcvmi_fail_errno (err, errnum, "cannot make a socket pair");
    }
  c.socket = pair[1];
  pid = start (&c, stack);
  close (pair[1]);
  errnum = pid < 0 ? -pid : receive (pair[0], &answer, fds);
  close (pair[0]);
  if (pid > 0)
    while (waitpid (pid, NULL, __WCLONE) < 0 && errno == EINTR)
      ;
  munmap (stack, STACK_SIZE);
  if (errnum)
    {
      for (int i = 0; i < RCVMI_NETNS_FDS; i++)
        {
          cleanup_close (&fds[i]);
          fds[i] = -1;
        }
      return -rcvmi_fail_errno (err, errnum, "the child that enters the network namespace failed");
    }
  if (answer.entered == EPERM)
    return -rcvmi_fail (err, RCVM_E_PERMISSION, EPERM,
                        "making or entering a network namespace needs CAP_SYS_ADMIN, which this process has not");
  if (answer.entered)
    return -rcvmi_fail_errno (err, answer.entered, "cannot enter the network namespace");
  return answer.result;
}

int
rcvmi_netns_run (const struct rcvmi_netns *ns, int (*fn) (void *user, int *fds), void *user, int *fds,
                 rcvm_error **err)
{
  if (!ns->own)
    return run_in_child (ns->fd, fn, user, fds, err);
  for (int i = 0; i < RCVMI_NETNS_FDS; i++)
    fds[i] = -1;
  return fn (user, fds);
}

static int
open_own (void *user, int *fds)
{
  (void) user;
  fds[0] = open ("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  return fds[0] < 0 ? -errno : 0;
}

int
rcvmi_netns_new (struct rcvmi_netns *ns, rcvm_error **err)
{
  int fds[RCVMI_NETNS_FDS], code;
  int r = run_in_child (-1, open_own, NULL, fds, err);

  *ns = RCVMI_NETNS_INIT;
  if (r != 0)
    return r > 0 ? -r : rcvmi_fail_errno (err, -r, "cannot open a network namespace that was just made");
  code = rcvmi_netns_open (ns, NULL, 0, fds[0], err);
  close (fds[0]);
  return code;
}

struct socket_args
{
  int domain, type, protocol;
};

static int
make_socket (void *user, int *fds)
{
  const struct socket_args *a = user;

  fds[0] = socket (a->domain, a->type | SOCK_CLOEXEC, a->protocol);
  return fds[0] < 0 ? -errno : 0;
}

int
rcvmi_netns_socket (const struct rcvmi_netns *ns, int domain, int type, int protocol, rcvm_error **err)
{
  struct socket_args args = { domain, type, protocol };
  int fds[RCVMI_NETNS_FDS];
  int r = rcvmi_netns_run (ns, make_socket, &args, fds, err);

  if (r > 0)
    return -r;
  if (r < 0)
    return rcvmi_fail_errno (err, -r, "cannot make a socket in the network namespace");
  return fds[0];
}

struct sysctl_args
{
  const char *path;
  int flags;
};

static int
open_sysctl (void *user, int *fds)
{
  const struct sysctl_args *a = user;

  fds[0] = open (a->path, a->flags | O_CLOEXEC);
  return fds[0] < 0 ? -errno : 0;
}

int
rcvmi_netns_sysctl_set (const struct rcvmi_netns *ns, const char *path, const char *value, rcvm_error **err)
{
  struct sysctl_args args = { path, O_WRONLY };
  int fds[RCVMI_NETNS_FDS];
  int r = rcvmi_netns_run (ns, open_sysctl, &args, fds, err);

  if (r != 0)
    return r;
  if (write (fds[0], value, strlen (value)) < 0)
    r = -errno;
  close (fds[0]);
  return r;
}

int
rcvmi_netns_sysctl_get (const struct rcvmi_netns *ns, const char *path, int *value, rcvm_error **err)
{
  struct sysctl_args args = { path, O_RDONLY };
  int fds[RCVMI_NETNS_FDS];
  int r = rcvmi_netns_run (ns, open_sysctl, &args, fds, err);
  char text[32] = "";

  if (r != 0)
    return r;
  if (read (fds[0], text, sizeof text - 1) < 0)
    r = -errno;
  else
    *value = atoi (text);
  close (fds[0]);
  return r;
}
