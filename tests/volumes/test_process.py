# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the process may do, and what it keeps."""
import os
import random
import subprocess
import time

from harness import Volume, test
from nfs3 import *


@test
def t_least_privilege():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        v.c.write(f, 0, b"x", FILE_SYNC)  # there is a worker then
        pid = v.server.process.pid
        for task in os.listdir("/proc/%d/task" % pid):
            status = dict(line.split(":\t", 1) for line in open("/proc/%d/task/%s/status" % (pid, task)) if ":\t" in line)
            # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, MKNOD
            assert int(status["CapPrm"], 16) == 0x80000df, status["CapPrm"]
            assert int(status["CapBnd"], 16) == 0 and int(status["CapAmb"], 16) == 0 and int(status["CapInh"], 16) == 0
            assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        mounts = open("/proc/%d/mountinfo" % pid).read().splitlines()
        assert len(mounts) == 1 and "tmpfs" in mounts[0] and " ro," in mounts[0], mounts
        assert os.listdir("/proc/%d/root" % pid) == []
        assert "core" in open("/proc/%d/limits" % pid).read() and os.readlink("/proc/%d/cwd" % pid) == "/"


@test
def t_leaks():
    """Nothing is kept after use: fds, memory, threads."""
    with Volume() as v:
        for i in range(1500):
            h, _, _ = v.c.create(v.root, "f%d" % i)
            v.c.write(h, 0, b"x")
        most = v.server.fds()
        assert most < 2200, most
        v.c.names(v.root, plus=True)
        deadline = time.monotonic() + 30
        while v.server.fds() > 30 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert v.server.fds() <= 30, v.server.fds()
        for _ in range(3):
            for i in range(1500):
                v.c.getattr(v.c.lookup(v.root, "f%d" % i)[0])
        assert v.server.rss() < 8 << 10, v.server.rss()


@test
def t_few_fds():
    """A low limit of open files makes the cache smaller, and nothing fail."""
    with Volume(client=False) as v:
        v.server.stop()
        v.server.args = ["prlimit", "--nofile=256:256", *v.server.args]
        v.server.start()
        v.c = Client(v.server.port)
        v.root = v.c.mount("/vol")
        handles = [v.c.create(v.root, "f%d" % i)[0] for i in range(300)]
        for i, h in enumerate(handles):
            v.c.write(h, 0, b"%d" % i)
        for i, h in enumerate(handles):
            assert v.c.read(h, 0, 9)[0] == b"%d" % i
        assert v.server.fds() <= 256
        others = [Client(v.server.port) for _ in range(60)]
        assert all(c.getattr(v.root) for c in others)


@test
def t_memory_with_many_entries():
    """100,000 entries known to the client cost the server nothing that stays."""
    with Volume() as v:
        n = 100000
        for i in range(n):
            os.close(os.open(v.path + "/%06d" % i, os.O_CREAT))
        entries = v.c.list(v.root, plus=True, maxcount=65536, dircount=65536)
        assert len(entries) == n + 2
        for e in random.sample(entries, 3000):
            if e[4]:
                v.c.getattr(e[4])
        deadline = time.monotonic() + 20
        while v.server.rss() >= 4096 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert v.server.rss() < 4096, "%d KiB" % v.server.rss()


@test
def t_command_line():
    program = os.environ["VOLUMES"]
    for args, text in ((["--export", "/tmp"], "nowhere to serve"), (["--what", "x"], "unknown"), (["--listen"], "lacks its value"),
                       (["--listen", "127.0.0.1"], "no ADDRESS:PORT"), (["--listen", "127.0.0.1:x"], "no ADDRESS:PORT"),
                       (["--listen", "127.0.0.1:0", "--export", "/nonexistent/x"], "cannot open the volume"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:what"], "cannot be"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:uid=5"], "cannot be"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:name=tmp"], "no absolute path"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp", "--export", "/tmp"], "already"),
                       (["--listen", "127.0.0.1:0", "--export", "/dev/null:name=/x"], "neither a directory nor"),
                       (["--listen", "127.0.0.1:0", "--key", "12"], "cannot be"), (["--config-fd", "99"], "cannot read"),
                       (["--config-fd", "x"], "number of an fd")):
        p = subprocess.run([program, *args], capture_output=True, text=True, timeout=20)
        assert p.returncode == 1 and text in p.stderr and p.stderr.count("\n") == 1, (args, p.returncode, p.stderr)
