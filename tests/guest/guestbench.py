# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of rcvm-init run on: images, the VMs that most share, and a program that looks at what it was given."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile

from guestvm import *  # noqa: F403

NO_STDIN, TTY = u32(20, 1), u32(9, 1)


class Bench:
    """Images and the VMs that most tests share."""

    def __init__(self, guest):
        self.guest = guest
        self.dir = tempfile.mkdtemp(prefix="test-guest.")
        self.tree = os.path.join(self.dir, "tree")
        self.make_tree()
        self.shared = None

    def make_tree(self):
        t = self.tree
        for d in "bin etc tmp proc sys dev root home/joe data secret ro deep".split():
            os.makedirs(os.path.join(t, d))
        os.chmod(t + "/tmp", 0o1777)
        shutil.copy("/usr/bin/busybox", t + "/bin/busybox")
        for a in subprocess.check_output(["/usr/bin/busybox", "--list"], text=True).split():
            if a != "busybox":
                os.symlink("busybox", t + "/bin/" + a)
        files = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n#comment\nbroken\n"
                               "joe:x:1000:1001:Joe:/home/joe:/bin/sh\nfar:x:99999999999:1::/:\n",
                 "etc/group": "root:x:0:\ntty:x:5:\njoe:x:1001:\nwheel:x:10:root,joe\n"
                              "audio:x:63:joe\nvideo:x:44:\n",
                 "secret/file": "secret\n", "ro/file": "ro\n", "data/f": "data\n",
                 "bin/noexec": "#!/bin/sh\n", "bin/badscript": "#!/no/such\n",
                 "bin/garbage": "\177BAD\n", "deep/file": "deep\n"}
        for name, content in files.items():
            with open(os.path.join(t, name), "w") as f:
                f.write(content)
        os.chmod(t + "/bin/badscript", 0o755)
        os.chmod(t + "/bin/garbage", 0o755)
        os.chown(t + "/home/joe", 1000, 1001)
        os.chmod(t + "/home/joe", 0o700)
        os.symlink("/", t + "/escape")
        os.symlink("../../../../../../etc", t + "/up")
        os.symlink("/not/there/yet", t + "/dangling")
        source = os.path.join(self.dir, "probe.c")
        with open(source, "w") as f:
            f.write(PROBE)
        subprocess.check_call(["gcc", "-static", "-O1", "-w", "-o", t + "/bin/probe", source])

    def image(self, name, tree=None, size="64M"):
        path = os.path.join(self.dir, name)
        subprocess.check_call(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree or self.tree, path,
                               size], stdout=subprocess.DEVNULL)
        return path

    def vm(self, *more, disks=(), setup=None, run_first=True, append="", **kw):
        """A VM whose process 0 sleeps."""
        image = self.image("root-%d.img" % len(os.listdir(self.dir)))
        vm = VM(self.guest, [("root", image, False)] + list(disks), append=append,
                **{k: kw.pop(k) for k in ("memory", "qemu") if k in kw})
        vm.image = image
        try:
            ok = vm.setup(setup or setup_record(*more, **kw))
            assert ok, vm.setup_failed
            if run_first:
                vm.first = vm.start(["sleep", "100000"], NO_STDIN, number=0)
                vm.until(lambda: vm.first.started or vm.first.failed)
                assert vm.first.started, vm.first.failed
        except BaseException:
            vm.close()
            raise
        return vm

    def common(self):
        if not self.shared:
            self.shared = self.vm(
                text(13, "/secret"), text(13, "/deep/file"), text(13, "/not/here"),
                text(14, "/ro"), text(14, "/not/here"),
                field(12, text(1, "net.ipv4.ip_forward") + text(2, "1")),
                field(12, text(1, "kernel.msgmax") + text(2, "12345")),
                field(22, text(1, "pids.max") + text(2, "500")),
                field(11, text(1, "/dev/sub/mine") + u32(2, 0o020000) + u32(3, 1) + u32(4, 5)
                      + u32(5, 0o640) + u32(6, 1000) + u32(7, 63)),
                mounts=oci_mounts() + [
                    mount("/data", "bind", "/data", MS_BIND | MS_REC | MS_RDONLY | MS_NOEXEC),
                    mount("/new/dir/file", "bind", "/etc/passwd", MS_BIND),
                    mount("/escape/up/esc", "tmpfs", data="size=1m"),
                    mount("/dangling/x", "tmpfs", data="size=1m,mode=700"),
                    mount("/home", "tmpfs", copy_up=1, flags=MS_NOSUID),
                    mount("/tmp", "tmpfs", data="size=40m"),
                    mount("/nowhere", "nosuchfs", optional=1),
                    mount("/down", "nfs", "10.9.9.9:/", data="vers=3,nolock,proto=tcp,port=1,"
                          "mountport=1,mountproto=tcp,addr=10.9.9.9,mountaddr=10.9.9.9", optional=1),
                    mount("stage:one", "tmpfs", data="mode=711"),
                    mount("/staged", "bind", "stage:one", MS_BIND | MS_RDONLY),
                    mount("/slave", "tmpfs", propagation=MS_SHARED),
                    mount("/sys", "sysfs", flags=32 | MS_RDONLY | MS_NOSUID),
                ])
        return self.shared

    def close(self):
        if self.shared:
            self.shared.close()
        shutil.rmtree(self.dir)


PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
static void winch (int s) { struct winsize w; ioctl (0, TIOCGWINSZ, &w); printf ("%dx%d\n", w.ws_row, w.ws_col); fflush (stdout); }
int main (int argc, char **argv)
{
  char *c = argv[1];
  if (!strcmp (c, "die")) { struct rlimit r = { 0, 0 }; setrlimit (RLIMIT_CORE, &r); kill (getpid (), atoi (argv[2])); pause (); }
  if (!strcmp (c, "winch")) { signal (SIGWINCH, winch); winch (0); for (;;) pause (); }
  if (!strcmp (c, "fds")) { for (int i = 0; i < 1000; i++) if (fcntl (i, F_GETFD) >= 0) printf ("%d ", i); return 0; }
  if (!strcmp (c, "nonblock")) { for (int i = 0; i < 3; i++) printf ("%d ", !!(fcntl (i, F_GETFL) & O_NONBLOCK)); return 0; }
  if (!strcmp (c, "signals")) { sigset_t s; sigprocmask (0, NULL, &s); int n = 0; for (int i = 1; i < 65; i++) { struct sigaction a; n += sigismember (&s, i) > 0; if (sigaction (i, NULL, &a) == 0) n += a.sa_handler != SIG_DFL; } return n; }
  if (!strcmp (c, "limit")) { struct rlimit r; getrlimit (atoi (argv[2]), &r); printf ("%ld %ld", (long) r.rlim_cur, (long) r.rlim_max); return 0; }
  if (!strcmp (c, "sched")) { printf ("%d %d %d", (int) syscall (SYS_sched_getscheduler, 0), getpriority (PRIO_PROCESS, 0), (int) syscall (SYS_ioprio_get, 1, 0)); return 0; }
  if (!strcmp (c, "session")) { printf ("%d %d %d", getsid (0) == getpid (), tcgetsid (0) == getpid (), isatty (0) + isatty (1) + isatty (2)); return 0; }
  if (!strcmp (c, "mkdir")) { int r = mkdir (argv[2], 0700); printf ("%s", r ? strerror (errno) : "ok"); return 0; }
  if (!strcmp (c, "open")) { int fd = open (argv[2], O_WRONLY); printf ("%s", fd < 0 ? strerror (errno) : "ok"); return 0; }
  if (!strcmp (c, "pattern")) { long n = atol (argv[2]); static unsigned b[16384]; unsigned x = 0; while (n > 0) { for (int i = 0; i < 16384; i++) b[i] = x++; long k = n < 65536 ? n : 65536; char *p = (char *) b; n -= k; while (k) { long w = write (1, p, k); if (w < 0) return 9; p += w; k -= w; } } return 0; }
  if (!strcmp (c, "double")) { for (int i = 0; i < 50; i++) if (fork () == 0) { if (fork () == 0) { setsid (); usleep (1000); _exit (0); } _exit (0); } while (wait (0) > 0); return 0; }
  if (!strcmp (c, "holder")) { if (fork () == 0) { setsid (); for (;;) { if (argc > 2) write (1, "x", 1); else pause (); } } write (1, "parent\n", 7); return 4; }
  if (!strcmp (c, "both")) { for (int i = 0; i < 2000; i++) { printf ("out %d\n", i); fflush (stdout); fprintf (stderr, "err %d\n", i); } return 0; }
  if (!strcmp (c, "handler")) { signal (SIGTERM, (void (*) (int)) _exit); write (1, "up\n", 3); for (;;) pause (); }
  return 99;
}
"""
