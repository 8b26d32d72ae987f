#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""write-back-rounds.py N SEED MERGED UP HOST IMAGE TOOL...: changes MERGED, an overlay whose upper layer is UP, an ext4 in IMAGE,
N times at random; each time UP is frozen and TOOL writes back what has changed.  Every time HOST has to be MERGED then, and
what others have changed on HOST is still there, if MERGED did not change the same since.  Every third TOOL is killed; what
comes after it has to make up for that.  The last one is of the unmounted image, and not done here."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
here = os.path.dirname(os.path.abspath(__file__))
rounds, seed = int(sys.argv[1]), int(sys.argv[2])
merged, up, host, image = sys.argv[3:7]
tool = sys.argv[7:]
rng = random.Random(seed)
names = ["a", "b", "c", "dd", "e" * 200, "f\n", "g"]


def directories():
    return [d for d, _, _ in os.walk(merged)]


def somewhere():
    return os.path.join(rng.choice(directories()), rng.choice(names))


def something():
    all_of_them = [os.path.join(d, n) for d, dirs, files in os.walk(merged) for n in dirs + files]
    return rng.choice(all_of_them) if all_of_them else somewhere()


def write():
    with open(somewhere(), rng.choice(["w", "a", "r+"])) as f:
        f.seek(rng.choice([0, 0, 100, 70000]))
        f.write(str(rng.random()) * rng.choice([1, 1, 1000]))


def remove():
    path = something()
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def replace():
    path = something()
    remove_it = shutil.rmtree if os.path.isdir(path) and not os.path.islink(path) else os.unlink
    remove_it(path)
    if rng.random() < 0.5:
        os.mkdir(path)
    else:
        with open(path, "w") as f:
            f.write("in its place")


def there_and_back():
    path, other = something(), somewhere()
    os.rename(path, other)
    os.rename(other, path)


def shared_write():
    """What one name gets is seen under the others."""
    path = something()
    if not os.path.islink(path):
        with open(path, "a") as f:
            f.write("more")


ops = [write, write, write, shared_write, remove, replace, there_and_back, lambda: os.mkdir(somewhere()),
       lambda: os.makedirs(somewhere() + "/x/y"), lambda: os.rename(something(), somewhere()),
       lambda: os.rename(something(), somewhere()), lambda: os.link(something(), somewhere()),
       lambda: os.symlink(rng.choice(names), somewhere()), lambda: os.chmod(something(), rng.choice([0o600, 0o755, 0o1777])),
       lambda: os.setxattr(something(), "user.x", str(rng.random()).encode()), lambda: os.truncate(something(), rng.choice([0, 5000])),
       lambda: os.utime(something(), ns=(rng.randrange(2**60), rng.randrange(2**60)))]


def change():
    for _ in range(rng.choice([0, 1, 5, 30])):
        try:
            rng.choice(ops)()
        except OSError:
            pass  # in its own subdirectory, not there, of the wrong kind


def freeze():
    fd = os.open(up, os.O_RDONLY)
    fcntl.ioctl(fd, FIFREEZE, 0)
    return fd, time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE


def run(frozen, kill):
    command = tool + ["--repeated", str(frozen), image, host]
    # A reader whose writer was killed as it forked has its lock for a moment.
    with open(image, "rb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
    p = subprocess.Popen(command)
    if kill:
        time.sleep(rng.random() * rng.choice([0.002, 0.01, 0.03]))
        p.send_signal(signal.SIGKILL)
    return p.wait()


# What the host does, out of the VM's sight: it stays.
others = {}
killed = 0
for number in range(rounds):
    change()
    fd, frozen = freeze()
    try:
        kill = number % 3 == 1
        code = run(frozen, kill)
    finally:
        fcntl.ioctl(fd, FITHAW, 0)
        os.close(fd)
    if code == -signal.SIGKILL:
        killed += 1
        continue
    if code:
        sys.exit(f"round {number} of seed {seed}: the write-back failed with {code}")
    for path in list(others):
        if not os.path.exists(path):
            sys.exit(f"round {number} of seed {seed}: {path} was the host's, and is gone")
        os.unlink(path)
        del others[path]
    code = subprocess.run([sys.executable, os.path.join(here, "compare.py"), merged, host], stdout=subprocess.PIPE, text=True)
    # Removing what was the others' has changed the times of a directory that nobody else has changed.
    wrong = [line for line in code.stdout.splitlines()[:-1] if not line.startswith("b'': st_mtime_ns:")]
    if wrong:
        print("\n".join(wrong))
        sys.exit(f"round {number} of seed {seed}: the host has something else than the VM")
    if [n for n in os.listdir(host) if n.startswith(".runcvm-")]:
        sys.exit(f"round {number} of seed {seed}: the staging directory is left")
    if number % 4 == 0:
        path = os.path.join(host, f"of-others-{number}")
        with open(path, "w") as f:
            f.write("x")
        others[path] = number
for path in others:
    os.unlink(path)
print(f"{rounds} rounds, {killed} killed")
