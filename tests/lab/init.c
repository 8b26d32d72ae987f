/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PID 1 of the lab's VM (tests/lab/run): mounts the host's tree, which comes by 9p and cannot be written to, with a tmpfs over
 * it, runs one program in there, and says how it ended.  Its arguments are that program's path, from the host's root on.
 *
 * What the program prints goes to the virtio port "lab.output" as it is, its exit status to "lab.status".
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "modules.h"

/* For modules.c. */
void
log_write (int level, const char *fmt, ...)
{
  va_list ap;

  (void) level;
  va_start (ap, fmt);
  vfprintf (stderr, fmt, ap);
  va_end (ap);
  fputc ('\n', stderr);
}

static _Noreturn void
die (const char *what)
{
  fprintf (stderr, "lab: %s: %s\n", what, strerror (errno));
  reboot (RB_POWER_OFF);
  _exit (1);
}

static void
mount_at (const char *type, const char *target, const char *data)
{
  if (mkdir (target, 0755) < 0 && errno != EEXIST)
    die (target);
  if (mount (type, target, type, 0, data) < 0)
    die (target);
}

/* Ports are named in sysfs, and their nodes are numbered. */
static int
open_port (const char *wanted)
{
  for (int i = 1; i < 4; i++)
    {
      char path[64], name[64] = "";
      FILE *f;

      snprintf (path, sizeof path, "/sys/class/virtio-ports/vport0p%d/name", i);
      f = fopen (path, "re");
      if (!f)
        continue;
      if (!fgets (name, sizeof name, f))
        name[0] = 0;
      fclose (f);
      name[strcspn (name, "\n")] = 0;
      snprintf (path, sizeof path, "/dev/vport0p%d", i);
      if (strcmp (name, wanted) == 0)
        return open (path, O_WRONLY | O_CLOEXEC);
    }
  errno = ENODEV;
  return -1;
}

static void
bring_up_loopback (void)
{
  struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
  int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || ioctl (fd, SIOCSIFFLAGS, &r) < 0)
    die ("lo");
  close (fd);
}

static void
mount_host (void)
{
  if (mkdir ("/host", 0755) < 0 || mkdir ("/rw", 0755) < 0 || mkdir ("/new", 0755) < 0)
    die ("directories");
  if (mount ("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,cache=loose,msize=512000") < 0)
    die ("9p");
  mount_at ("tmpfs", "/rw", "size=90%");
  if (mkdir ("/rw/upper", 0755) < 0 || mkdir ("/rw/work", 0755) < 0)
    die ("directories");
  if (mount ("overlay", "/new", "overlay", 0, "lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work") < 0)
    die ("overlay");
  mount_at ("proc", "/new/proc", NULL);
  mount_at ("sysfs", "/new/sys", NULL);
  mount_at ("cgroup2", "/new/sys/fs/cgroup", NULL);
  mount_at ("devtmpfs", "/new/dev", NULL);
  mount_at ("devpts", "/new/dev/pts", "ptmxmode=666");
  mount_at ("tmpfs", "/new/dev/shm", NULL);
  mount_at ("tmpfs", "/new/run", "mode=755");
  if (mkdir ("/new/run/scratch", 01777) < 0 || mount ("/dev/vda", "/new/run/scratch", "ext4", 0, NULL) < 0)
    die ("scratch disk");
  if (symlink ("/proc/self/fd", "/new/dev/fd") < 0 || symlink ("/proc/self/fd/0", "/new/dev/stdin") < 0
      || symlink ("/proc/self/fd/1", "/new/dev/stdout") < 0 || symlink ("/proc/self/fd/2", "/new/dev/stderr") < 0)
    die ("links in /dev");
}

static _Noreturn void
run (char **argv, int output)
{
  static char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                               "TERM=dumb", "LANG=C.UTF-8", NULL };
  int null;

  setsid ();
  /* As in a real system: a process that is merely chrooted may make no user namespaces, for one.  The kernel goes on finding
     modprobe here. */
  if (unshare (CLONE_NEWNS) < 0 || chdir ("/new") < 0 || mount (".", "/", NULL, MS_MOVE, NULL) < 0 || chroot (".") < 0 || chdir ("/") < 0)
    die ("chroot");
  null = open ("/dev/null", O_RDONLY);
  if (null < 0 || dup2 (null, 0) < 0 || dup2 (output, 1) < 0 || dup2 (output, 2) < 0)
    die ("streams");
  execve (argv[0], argv, env);
  die (argv[0]);
}

int
main (int argc, char **argv)
{
  const char *slash = argc > 0 ? strrchr (argv[0], '/') : NULL;
  int output, result, status = 0;
  pid_t child, pid;

  if (slash && strcmp (slash + 1, "modprobe") == 0)
    return modules_modprobe (argv);
  if (getpid () != 1 || argc < 2)
    return 2;
  mount_at ("proc", "/proc", NULL);
  mount_at ("sysfs", "/sys", NULL);
  if (mount ("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0 && errno != EBUSY)
    die ("/dev");
  modules_load_boot ();
  bring_up_loopback ();
  mount_host ();
  output = open_port ("lab.output");
  result = open_port ("lab.status");
  if (output < 0 || result < 0)
    die ("virtio ports");
  child = fork ();
  if (child < 0)
    die ("fork");
  if (child == 0)
    run (argv + 1, output);
  while ((pid = wait (&status)) != child)
    if (pid < 0 && errno != EINTR)
      die ("wait");
  dprintf (result, "%d\n", WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status));
  /* The ports are drained when they are closed. */
  close (output);
  close (result);
  sync ();
  reboot (RB_POWER_OFF);
  return 1;
}
