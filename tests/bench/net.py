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


TAP = "b9fc_12345678"
inside = ["ip", "netns", "exec", ns]


def commands_make():
    subprocess.run([*inside, "ip", "tuntap", "add", "dev", TAP, "mode", "tap"], check=True)
    subprocess.run([*inside, "ip", "link", "set", TAP, "up"], check=True)


def commands_delete(unused):
    subprocess.run([*inside, "ip", "link", "delete", TAP], check=True)


ways = {
    "ip, three forks": (commands_make, commands_delete),
    "library": (lambda: runcvm.tap_in_netns(path, name=TAP), lambda tap: tap.close()),
    "library, persistent": (lambda: runcvm.tap_in_netns(path, name=TAP, persistent=True),
                            lambda tap: runcvm.delete_tap(TAP, path)),
}
times = {name: [] for name in ways}
subprocess.run(["ip", "netns", "add", ns], check=True)
try:
    for i in range(rounds + 2):
        for name, (make, delete) in ways.items():
            start = time.perf_counter()
            made = make()
            between = time.perf_counter()
            delete(made)
            end = time.perf_counter()
            if i >= 2:
                times[name].append((between - start, end - between, end - start))
finally:
    subprocess.run(["ip", "netns", "del", ns], check=True)
print(f"a TAP in a namespace, median of {rounds}, taking turns; deleting it is the kernel waiting for RCU, whoever asks")
print(f"  {'':20} {'make':>22} {'delete':>22} {'both':>22}")
theirs = [statistics.median(t) for t in zip(*times["ip, three forks"])]
for name, t in times.items():
    ours = [statistics.median(x) for x in zip(*t)]
    print(f"  {name:20} " + " ".join(f"{o * 1e3:8.2f} ms, {r / o:7.1f}x" for o, r in zip(ours, theirs)))
