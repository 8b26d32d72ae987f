#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What whole snapshots and differences take (docs/snapshots.md): for how long the container stands still, the whole command, and room
on the disk.  In the lab:

    RUNCVM_HYPERVISOR=firecracker tests/lab/run build/run tests/bench/snapshots.py [MIB_OF_MEMORY [MIB_IN_USE [MIB_CHANGED]]]
"""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

memory, used, changed = (int(a) for a in (sys.argv[1:] + ["512", "128", "8"][len(sys.argv) - 1:]))
work = tempfile.mkdtemp(prefix="runcvm-bench.")
os.environ["RUNCVM_ROOT"], os.environ["RUNCVM_DATA_DIR"] = work + "/state", work + "/data"
rootfs = work + "/rootfs"
subprocess.run(["cp", "-a", os.path.realpath(os.environ["BUSYBOX"]), rootfs], check=True)


def runcvm(*args):
    subprocess.run(["runcvm", *args], check=True)


class Ticks:
    """When the container has spoken."""

    def __init__(self, pipe):
        self.times = []
        self.pipe = pipe
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while os.read(self.pipe.fileno(), 4096):
            self.times.append(time.monotonic())

    def pause_since(self, start):
        time.sleep(2)
        late = [t for t in self.times if t >= start - 1]
        return max(b - a for a, b in zip(late, late[1:]))


def room(place):
    total = 0
    for name in os.listdir(place):
        if name in ("memory", "changes"):
            total += os.stat(os.path.join(place, name)).st_blocks * 512
    return total


def measure(tracking):
    vm = "b-" + tracking
    p = subprocess.Popen(
        ["runcvm", "run", "--memory", "%dM" % memory, "--annotation", "org.runcvm.track-memory=" + tracking, "--rootfs", rootfs,
         "--rootfs-changes", "discard", vm, "--", "sh", "-c",
         "dd if=/dev/urandom of=/dev/null bs=%dM count=1 2>/dev/null; while :; do echo; usleep 10000; done" % used],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    ticks = Ticks(p.stdout)
    while len(ticks.times) < 10:
        time.sleep(0.1)
    parent = []
    for n in range(3):
        begin = time.monotonic()
        runcvm("exec", vm, "dd", "if=/dev/urandom", "of=/dev/shm/change", "bs=1M", "count=%d" % changed)
        wrote = time.monotonic() - begin
        time.sleep(3)
        begin = time.monotonic()
        place = "%s/%s%d" % (work, tracking, n)
        runcvm("checkpoint", "--leave-running", "--image-path", place, *parent, vm)
        whole = time.monotonic() - begin
        print("tracking %s, %s: stands still %.2f s, the command %.2f s, %.1f MiB (the guest wrote for %.2f s)"
              % (tracking, "difference" if parent else "whole", ticks.pause_since(begin), whole, room(place) / (1 << 20), wrote), flush=True)
        parent = ["--parent-path", "../%s%d" % (tracking, n)]
    runcvm("delete", "--force", vm)
    p.wait()


try:
    for which in "off", "on":
        measure(which)
finally:
    shutil.rmtree(work)
