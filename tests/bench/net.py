# SPDX-License-Identifier: LGPL-2.1-or-later
"""See net.sh."""
import os
import statistics
import subprocess
import sys
import time

import runcvm

rounds = int(sys.argv[1])
ns = f"rcvmbench{os.getpid()}"
path = f"/run/netns/{ns}"


def commands():
    inside = ["ip", "netns", "exec", ns]
    subprocess.run([*inside, "ip", "tuntap", "add", "dev", "b9fc_12345678", "mode", "tap"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "b9fc_12345678", "up"], check=True)
    subprocess.run([*inside, "ip", "link", "delete", "b9fc_12345678"], check=True)


def library():
    runcvm.tap_in_netns(path, name="b9fc_12345678").close()


def library_persistent():
    runcvm.tap_in_netns(path, name="b9fc_12345678", persistent=True).close()
    runcvm.delete_tap("b9fc_12345678", path)


ways = {"ip, three forks": commands, "library": library, "library, persistent": library_persistent}
times = {name: [] for name in ways}
subprocess.run(["ip", "netns", "add", ns], check=True)
try:
    for i in range(rounds + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if i >= 2:
                times[name].append(time.perf_counter() - start)
finally:
    subprocess.run(["ip", "netns", "del", ns], check=True)
theirs = statistics.median(times["ip, three forks"])
print(f"a TAP made and deleted in a namespace, median of {rounds}, taking turns")
for name, t in times.items():
    print(f"  {name:20} {statistics.median(t) * 1e3:8.3f} ms   {theirs / statistics.median(t):6.1f}x as fast")
