#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""rootfs.py ROUNDS BUILD TREE DIRECTORY LABEL: measures ways to make an ext4 image of TREE in DIRECTORY.

The ways take turns within each round; medians are printed, and ratios of them.  What each way leaves to be
written is synced before the next one starts.  CPU time is that of the process and its children: what the
kernel does for a loop device is left out, in favour of the loop way.  `cp` is the physical limit: the same bytes
to the same file system, and nothing else."""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

rounds, build, tree, directory, label = int(sys.argv[1]), *sys.argv[2:6]
image = os.path.join(directory, "bench.img")
copy = os.path.join(directory, "copy")
tar = os.path.join(directory, "layer.tar")
mount = os.path.join(directory, "mnt")


def size():
    """Bytes of an image that is large enough for any of the ways."""
    total = int(subprocess.check_output(["du", "-s", "--block-size=1", tree]).split()[0])
    return (total * 13 // 10 + (128 << 20)) >> 20 << 20


SIZE = size()


def run(*command):
    """The process's peak memory in KiB.  Asked of time(1), as a child of Python itself would be charged with
    the memory that it had before exec."""
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(["/usr/bin/time", "-f", "%M", "-o", out.name, *command], check=True,
                       stdout=subprocess.DEVNULL)
        return int(out.read())


def ours(*options):
    return lambda: run(build, *options, f"--size={SIZE}", tree, image)


def layer(*options):
    return lambda: run(build, *options, f"--size={SIZE}", f"--layer={tar}", image)


def mke2fs():
    with open(image, "xb") as f:
        f.truncate(SIZE)
    return run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image)


def loop(fill=None):
    with open(image, "xb") as f:
        f.truncate(SIZE)
    peak = run("mke2fs", "-q", "-F", "-t", "ext4", image)
    os.makedirs(mount, exist_ok=True)
    run("mount", "-o", "loop", image, mount)
    try:
        peak = max(peak, run(*(fill or ["cp", "-a", tree + "/.", mount])))
    finally:
        run("umount", mount)
    # Unmounting has flushed to the backing file's disk.
    return peak


def loop_tar():
    return loop(["tar", "--xattrs", "-xpf", tar, "-C", mount])


def cp(sync):
    def way():
        peak = run("cp", "-a", tree, copy)
        if sync:
            run("sync", "-f", copy)
        return peak
    return way


WAYS = {
    "ours": ours(),
    "ours, not synced": ours("--no-sync"),
    "mke2fs -d": mke2fs,
    "mkfs, loop, cp -a": loop,
    "ours, from a tar": layer(),
    "mkfs, loop, tar -x": loop_tar,
    "cp -a, synced": cp(True),
    "cp -a": cp(False),
}


def clean():
    if os.path.exists(image):
        os.unlink(image)
    shutil.rmtree(copy, ignore_errors=True)
    os.sync()


def measure(way):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    peak = way()
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, peak


results = {name: [] for name in WAYS}
clean()
# All of it in the page cache, for everybody.
subprocess.run(["tar", "-cf", "/dev/null", "-C", tree, "."], check=True)
subprocess.run(f"find {tree} -type f -print0 | xargs -0 cat > /dev/null", shell=True, check=True)
subprocess.run(["tar", "--format=posix", "--xattrs", "-cf", tar, "-C", tree, "."], check=True)
os.sync()
for _ in range(rounds):
    for name, way in WAYS.items():
        results[name].append(measure(way))
        clean()

entries = sum(1 for _ in os.popen(f"find {tree}"))
print(f"{label}: {entries} entries, image of {SIZE >> 20} MiB, {rounds} rounds")
print(f"  {'':20}{'wall s':>9}{'cpu s':>9}{'peak MiB':>10}{'wall of it':>12}{'cpu of it':>11}")
medians = {name: [statistics.median(column) for column in zip(*r)] for name, r in results.items()}
wall, cpu, _ = medians["ours"]
for name, (w, c, peak) in medians.items():
    print(f"  {name:20}{w:9.3f}{c:9.3f}{peak / 1024:10.1f}{wall / w:11.2f}x{cpu / c if c else 0:10.2f}x")
print(f"  The physical limit is that of cp -a: ours takes {wall / medians['cp -a, synced'][0]:.2f}x of it, and not synced "
      f"{medians['ours, not synced'][0] / medians['cp -a'][0]:.2f}x; from a tar "
      f"{medians['ours, from a tar'][0] / medians['mkfs, loop, tar -x'][0]:.2f}x of the loop way.")
os.unlink(tar)
