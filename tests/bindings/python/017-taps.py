#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""TAPs in a namespace of the test's own: by path, pid and fd; what is refused; nothing is left."""

import os
import subprocess
import sys
import time

import runcvm
from harness import SKIP, main, raises

if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
    print("SKIP: needs root and /dev/net/tun", file=sys.stderr)
    sys.exit(SKIP)

holder = subprocess.Popen(["unshare", "-n", "sleep", "120"])
path = f"/proc/{holder.pid}/ns/net"
while os.readlink(path) == os.readlink("/proc/self/ns/net"):
    time.sleep(0.01)


def links():
    out = subprocess.run(["nsenter", f"--net={path}", "cat", "/proc/net/dev"], capture_output=True, text=True, check=True)
    return [line.split(":")[0].strip() for line in out.stdout.splitlines()[2:]]


def make():
    with runcvm.tap_in_netns(path, name="b9fc_12345678", mac="02:00:5e:10:00:01", mtu=1400, uid=1, gid=2) as tap:
        assert (tap.name, tap.mac) == ("b9fc_12345678", "02:00:5e:10:00:01") and tap.index > 1
        assert tap.fileno() >= 0 and tap.fileno(1) == -1 and not os.get_inheritable(tap.fileno())
        assert tap.name in links()
        raises(runcvm.E_EXISTS, runcvm.tap_in_netns, path, name=tap.name)
    assert links() == ["lo"], links()


def ways():
    with open(path) as f, runcvm.tap_in_netns(pid=holder.pid, queues=2) as one, runcvm.tap_in_netns(fd=f, vnet_hdr=False) as two:
        assert {one.name, two.name} < set(links()) and one.fileno(1) >= 0
        taken = one.take_fd(0)
        assert one.fileno(0) == -1
        os.close(taken)
    assert links() == ["lo"], links()


def persist():
    runcvm.tap_in_netns(path, name="stays", persistent=True, up=False).close()
    assert "stays" in links()
    runcvm.delete_tap("stays", path)
    raises(runcvm.E_NOT_FOUND, runcvm.delete_tap, "stays", path)
    raises(runcvm.E_INVALID, runcvm.delete_tap, "lo", path)


def refuse():
    raises(runcvm.E_NOT_FOUND, runcvm.tap_in_netns, "/run/netns/nonesuch")
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, "/etc/passwd")
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, "/proc/self/ns/mnt")
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, path, name="sixteen-bytes-xx")
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, path, mac="01:00:5e:10:00:01")
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, path, mtu=1)
    raises(runcvm.E_INVALID, runcvm.tap_in_netns, path, queues=0)
    assert links() == ["lo"], links()


def rounds():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        runcvm.tap_in_netns(path).close()
    assert len(os.listdir("/proc/self/fd")) == before and links() == ["lo"]


try:
    main(make, ways, persist, refuse, rounds)
finally:
    holder.kill()
    holder.wait()
