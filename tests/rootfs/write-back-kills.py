#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""write-back-kills.py N TREE NEW HOST IMAGE COMMAND...: kills COMMAND N times at random moments, each time on a fresh
copy of TREE at HOST.  Whenever it was killed, each path must be what it is in TREE or what it is in NEW; and when the
command has run once more, HOST must be NEW.  Kills of one round may follow each other.

write-back-kills.py mixed TREE NEW HOST: only whether each path of HOST is one or the other."""

import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time


def data_digest(path, size):
    h = hashlib.blake2b()
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        at = start
        while at < end:
            piece = os.pread(fd, min(end - at, 1 << 20), at)
            # Where data lies does not matter here, what it is does.
            if piece.strip(b"\0"):
                h.update(b"%d:" % at + piece)
            at += len(piece)
    os.close(fd)
    return h.hexdigest()


def fingerprint(root):
    """What each path is; directories apart, as theirs change in steps; and which names are one inode."""
    files, dirs, inodes = {}, {}, {}
    root = os.fsencode(root)
    for path, dnames, fnames in os.walk(root):
        if path == root:
            dnames[:] = [d for d in dnames if not d.startswith(b".runcvm-")]
        for n in dnames + fnames + [b"."]:
            p = os.path.join(path, n)
            rel = os.path.relpath(p, root)
            st = os.lstat(p)
            xattrs = tuple(sorted((x, os.getxattr(p, x, follow_symlinks=False))
                                  for x in os.listxattr(p, follow_symlinks=False)))
            what = (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, xattrs)
            if stat.S_ISDIR(st.st_mode):
                dirs[rel] = what
                continue
            if stat.S_ISREG(st.st_mode):
                what += (st.st_size, data_digest(p, st.st_size))
            elif stat.S_ISLNK(st.st_mode):
                what += (os.readlink(p),)
            else:
                what += (st.st_rdev,)
            files[rel] = what
            if st.st_nlink > 1:
                inodes.setdefault((st.st_dev, st.st_ino), []).append(rel)
    links = sorted(tuple(sorted(names)) for names in inodes.values())
    return files, dirs, links


def mixed(host, old, new):
    """Paths that are neither."""
    wrong = []
    for p in set(host[0]) | set(old[0]) | set(new[0]):
        is_dir = p in host[1]
        have = "dir" if is_dir else host[0].get(p)
        states = ["dir" if p in t[1] else t[0].get(p) for t in (old, new)]
        if have not in states:
            wrong.append((p, have, states))
    return wrong


def check_mixed(tree, new_tree, host):
    have, old, new = fingerprint(host), fingerprint(tree), fingerprint(new_tree)
    wrong = mixed(have, old, new)
    print(f"{len(wrong)} paths are neither old nor new: {wrong[:3]}; "
          f"{sum(have[0].get(p) != w for p, w in old[0].items())} files are not the old ones")
    sys.exit(1 if wrong else 0)


def main():
    if sys.argv[1] == "mixed":
        check_mixed(*sys.argv[2:])
    n, tree, new_tree, host, image = int(sys.argv[1]), *sys.argv[2:6]
    command = sys.argv[6:]
    seed = int(os.environ.get("SEED", time.time_ns()))
    random.seed(seed)
    old, new = fingerprint(tree), fingerprint(new_tree)
    failures = 0

    def copy():
        shutil.rmtree(host, ignore_errors=True)
        subprocess.run(["cp", "-a", "--", tree, host], check=True)

    copy()
    start = time.monotonic()
    subprocess.run(command, check=True)
    duration = time.monotonic() - start
    killed = 0
    for i in range(n):
        copy()
        for _ in range(random.choice([1, 1, 2])):
            start = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                # The moment, or its end before that: then it takes less than was thought.
                process.wait(random.random() * duration)
                duration = time.monotonic() - start
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
        wrong = mixed(fingerprint(host), old, new)
        if wrong:
            failures += 1
            print(f"kill {i}: {len(wrong)} paths are neither old nor new, as {wrong[:3]}")
        if subprocess.run(command).returncode:
            failures += 1
            print(f"kill {i}: the repeated run failed")
            continue
        have = fingerprint(host)
        if have != new:
            failures += 1
            for a, b in zip(have[:2], new[:2]):
                print(f"kill {i}: differs:", [(p, a.get(p), b.get(p)) for p in set(a) | set(b)
                                              if a.get(p) != b.get(p)][:3])
            if have[2] != new[2]:
                print(f"kill {i}: hard links differ")
        if os.path.exists(image + ".write-back") or [x for x in os.listdir(host) if x.startswith(".runcvm-")]:
            failures += 1
            print(f"kill {i}: something was left")
    print(f"{n} rounds, killed {killed} times (run of {duration:.2f} s), {failures} failures, seed {seed}")
    # A run that ends before it is killed proves nothing.
    sys.exit(1 if failures or killed < n // 2 else 0)


main()
