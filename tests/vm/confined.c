/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that is run in the VMM's place, as one that has been taken over by its guest: looks for what it should not see and
 * tries what it should not do.  What it finds goes to the guest's console: fd 3, or its standard output without one.
 *
 * What it looks for is said in the kernel's arguments, which QEMU gets among its own:
 * hide=PATH  pid=NUMBER  port=NUMBER  abstract=NAME
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum
{
  CONSOLE_FD = 3,
  FDS = 1024,
  CAPABILITIES = 64
};

static FILE *out;
/* Firecracker's jailer gives its program a root to which it may write. */
static bool jailed;

static void __attribute__ ((format (printf, 2, 3)))
check (bool good, const char *fmt, ...)
{
  int saved = errno;
  va_list ap;

  fprintf (out, good ? "ok - " : "not ok - ");
  va_start (ap, fmt);
  vfprintf (out, fmt, ap);
  va_end (ap);
  fprintf (out, good ? "\n" : " (%s)\n", strerror (saved));
}

/* Files. */

static int
print_name (const char *path, const struct stat *st, int type, struct FTW *ftw)
{
  (void) type;
  (void) ftw;
  if (!S_ISDIR (st->st_mode))
    fprintf (out, "sees %s\n", path);
  return 0;
}

static void
look_around (void)
{
  static const char *const places[] = { "/x", "/dev/x", "/run/x", "/vm/x", "/etc/x", "/usr/x", "/tmp/x" };
  int n = 0;

  nftw ("/", print_name, 16, FTW_PHYS);
  for (size_t i = jailed ? 3 : 0; i < sizeof places / sizeof places[0]; i++)
    n += open (places[i], O_CREAT | O_RDWR, 0600) >= 0;
  check (n == 0, "it can make no file");
  check (open ("/vm/kernel", O_RDONLY) >= 0, "it reads its kernel");
  check (open ("/vm/kernel", O_RDWR) < 0 && chmod ("/vm/kernel", 0777) < 0, "and cannot write to it");
  check (open ("/etc/ld.so.cache", O_RDWR) < 0, "nor to what its libraries are found by");
  check (chroot ("/dev") < 0, "it cannot move to another root");
  check (open ("/../../../etc/passwd", O_RDONLY) < 0, "no path leads out of its own");
  check (jailed || (symlink ("/etc", "/dev/link") < 0 && mkdir ("/dev/dir", 0700) < 0), "it makes no links and no directories");
}

static void
look_at_fds (void)
{
  int directories = 0, changed = 0, files = 0;

  for (int fd = 0; fd < FDS; fd++)
    {
      struct stat st;

      if (fstat (fd, &st) < 0)
        continue;
      directories += S_ISDIR (st.st_mode);
      if (S_ISREG (st.st_mode))
        {
          files++;
          changed += fchmod (fd, 0777) == 0 || fchown (fd, getuid (), getgid ()) == 0;
        }
      if (S_ISREG (st.st_mode) && (fcntl (fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
        changed += write (fd, "x", 1) >= 0 || ftruncate (fd, 0) == 0;
    }
  fprintf (out, "files %d\n", files);
  check (directories == 0, "it has no directory of the host open");
  check (changed == 0, "what it has open of files it cannot give to others, and writes to none that is to be read");
}

/* Rights. */

static void
look_at_rights (void)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2] = { { 0 } };
  struct rlimit core, files, threads, size;
  gid_t groups[8];
  uid_t r = 0, e = 0, s = 0;
  int bounding = 0;

  check (getresuid (&r, &e, &s) == 0 && r > 0 && r == e && e == s && getgid () == r && getegid () == r, "it is a user of its own");
  check (getgroups (8, groups) == 0, "of no other group");
  check (setuid (0) < 0 && setresuid (0, 0, 0) < 0 && setgid (0) < 0 && setgroups (0, NULL) < 0, "and cannot become another");
  syscall (SYS_capget, &header, data);
  check (!(data[0].permitted | data[0].effective | data[0].inheritable | data[1].permitted | data[1].effective | data[1].inheritable),
         "it has no capabilities");
  for (unsigned long c = 0; c < CAPABILITIES; c++)
    bounding += prctl (PR_CAPBSET_READ, c) == 1;
  check (bounding == 0 || (jailed && bounding == 8), "and can get none");
  check (prctl (PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "nor by executing a program");
  check (unshare (CLONE_NEWUSER) < 0, "it cannot make a user namespace");
  check (syscall (SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0, "nor a process in one");
  check (unshare (CLONE_NEWNS) < 0 && unshare (CLONE_NEWNET) < 0 && mount ("none", "/dev", "tmpfs", 0, NULL) < 0, "nor mount anything");
  check (mknod ("/run/sda", S_IFBLK | 0600, 0x800) < 0 && mknod ("/dev/mem2", S_IFCHR | 0600, 0x101) < 0, "nor make devices");
  check (open ("/dev/mem", O_RDONLY) < 0 && open ("/dev/sda", O_RDONLY) < 0, "it has none of the host's");
  check (syscall (SYS_reboot, 0, 0, 0, 0) < 0 && errno == EPERM, "it cannot reboot");
  check (clock_settime (CLOCK_REALTIME, &(struct timespec){ 0 }) < 0, "nor set the clock");
  check (syscall (SYS_keyctl, 0, -3, 0, 0, 0) < 0, "nor ask for keys");
  check (syscall (SYS_bpf, 0, NULL, 0) < 0 && syscall (SYS_perf_event_open, NULL, 0, 0, 0, 0) < 0, "nor use what kernels are attacked by");
  getrlimit (RLIMIT_CORE, &core);
  getrlimit (RLIMIT_NOFILE, &files);
  getrlimit (RLIMIT_NPROC, &threads);
  getrlimit (RLIMIT_FSIZE, &size);
  check (core.rlim_max == 0 && files.rlim_max <= 4096 && threads.rlim_max <= 512 && size.rlim_max != RLIM_INFINITY,
         "its files, threads and their sizes have limits, and it leaves no core");
}

/* Others. */

static void
look_for_others (void)
{
  struct utsname uts;
  struct if_nameindex *interfaces = if_nameindex ();
  int n = 0;

  check (getpid () == 1 && getppid () == 0, "it is alone among processes");
  check (kill (-1, 0) < 0 && errno == ESRCH, "there is nobody to kill");
  check (access ("/proc/self", F_OK) < 0 && access ("/sys/kernel", F_OK) < 0, "it has neither /proc nor /sys");
  uname (&uts);
  check (strcmp (uts.nodename, "vmm") == 0, "it does not know the host's name");
  for (struct if_nameindex *i = interfaces; i && i->if_index; i++)
    {
      fprintf (out, "interface %s\n", i->if_name);
      n++;
    }
  fprintf (out, "interfaces %d\n", n);
}

static void
look_for (const char *what)
{
  const char *value = strchr (what, '=') + 1;
  pid_t pid = atoi (value);
  char byte;

  if (strncmp (what, "hide=", 5) == 0)
    check (access (value, F_OK) < 0 && errno == ENOENT, "it does not see %s", value);
  else if (strncmp (what, "pid=", 4) == 0)
    check (kill (pid, 0) < 0 && ptrace (PTRACE_ATTACH, pid, NULL, NULL) < 0
               && syscall (SYS_process_vm_readv, pid, &byte, 0, NULL, 0, 0) < 0 && syscall (SYS_pidfd_open, pid, 0) < 0,
           "it cannot get at process %d", pid);
  else if (strncmp (what, "port=", 5) == 0)
    {
      struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons ((uint16_t) pid), .sin_addr = { htonl (INADDR_LOOPBACK) } };
      int fd = socket (AF_INET, SOCK_STREAM, 0);

      check (connect (fd, (struct sockaddr *) &sin, sizeof sin) < 0, "it does not reach port %d of the host", pid);
    }
  else if (strncmp (what, "abstract=", 9) == 0)
    {
      struct sockaddr_un sun = { .sun_family = AF_UNIX };
      int fd = socket (AF_UNIX, SOCK_STREAM, 0), len = snprintf (sun.sun_path + 1, sizeof sun.sun_path - 1, "%s", value);

      check (connect (fd, (struct sockaddr *) &sun, (socklen_t) (offsetof (struct sockaddr_un, sun_path) + 1 + (size_t) len)) < 0,
             "nor a socket of the host that has no file");
    }
}

int
main (int argc, char **argv)
{
  char *list = NULL;
  struct stat st;

  /* Firecracker is asked before it is run. */
  if (argc == 2 && strcmp (argv[1], "--version") == 0)
    return puts ("Firecracker v1.16.1") < 0;
  for (int i = 1; i < argc; i++)
    jailed |= strcmp (argv[i], "--start-time-us") == 0;
  out = fstat (CONSOLE_FD, &st) == 0 && S_ISSOCK (st.st_mode) ? fdopen (CONSOLE_FD, "w") : stdout;
  look_around ();
  look_at_fds ();
  look_at_rights ();
  look_for_others ();
  for (int i = 1; i + 1 < argc; i++)
    if (strcmp (argv[i], "-append") == 0)
      list = argv[i + 1];
  for (char *what = list ? strtok (list, " ") : NULL; what; what = strtok (NULL, " "))
    if (strchr (what, '='))
      look_for (what);
  fprintf (out, "done\n");
  fflush (out);
  for (;;)
    pause ();
}
