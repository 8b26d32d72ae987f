#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""oci-layers.py SEED LAYERS EXPECTED: OCI layers at random, as tars in the directory LAYERS, and in the directory EXPECTED what
they mean.

EXPECTED is made by the rules, not by the order in a tar: what a layer hides goes first, then its entries come."""

import gzip
import io
import os
import random
import shutil
import sys
import tarfile

seed, out, expected = int(sys.argv[1]), sys.argv[2], sys.argv[3]
rng = random.Random(seed)
os.makedirs(out)
os.makedirs(expected)
os.chmod(expected, 0o755)
os.umask(0)

tree = {"": ("dir", {"mode": 0o755, "uid": 0, "mtime": 0})}
stamp = 1000000000


def below(path):
    return [p for p in tree if p.startswith(path + "/")] if path else [p for p in tree if p]


def remove(path):
    for p in below(path) + [path]:
        tree.pop(p, None)


def directories():
    return sorted(p for p, (kind, _) in tree.items() if kind == "dir")


def join(d, name):
    return f"{d}/{name}" if d else name


def layer(number):
    """A list of whiteouts and of entries (path, kind, what); their order in the tar is up to us."""
    global stamp
    hidden, opaque, entries = [], [], {}
    names = sorted(p for p in tree if p)
    for p in rng.sample(names, min(len(names), 4)):
        hidden.append(p)
    for d in rng.sample(directories(), min(len(directories()), 2)):
        if d:
            opaque.append(d)
    for p in hidden:
        remove(p)
    for d in opaque:
        for p in below(d):
            tree.pop(p, None)
    hidden = [p for p in hidden if os.path.dirname(p) in tree or not os.path.dirname(p)]
    opaque = [d for d in opaque if d in tree]
    for i in range(25):
        stamp += 1
        d = rng.choice(directories())
        path = join(d, f"n{rng.randrange(12)}")
        kind = rng.choice(["file", "file", "dir", "symlink", "fifo", "hardlink"])
        what = {"mode": rng.choice([0o600, 0o644, 0o755, 0o4711]), "uid": rng.randrange(100000), "mtime": stamp}
        if kind == "hardlink":
            files = sorted(p for p, (k, w) in tree.items() if k == "file" and p != path)
            if not files:
                continue
            target = rng.choice(files)
            if target.startswith(path + "/"):
                continue
            what = {"target": target}
        old = tree.get(path)
        # An entry may not take away what other entries of its layer lie in.
        if old and old[0] == "dir" and kind != "dir" and any(e.startswith(path + "/") for e in entries):
            continue
        # Nor the target of a hard link that stands before it.
        if path in entries or any(e[1].get("target") == path for e in entries.values()):
            continue
        if kind == "dir" and old and old[0] == "dir":
            tree[path] = ("dir", what)
        elif kind == "hardlink":
            inode = tree[target]
            remove(path)
            tree[path] = inode
        else:
            if kind == "file":
                what["data"] = rng.randbytes(rng.choice([0, 1, 500, 5000, 70000]))
            elif kind == "symlink":
                what["target"] = f"nowhere-{stamp}"
            remove(path)
            tree[path] = (kind, what)
        entries[path] = (kind, what)
    return hidden, opaque, entries


def info(path, kind, what):
    i = tarfile.TarInfo(rng.choice(["", "./"]) + path)
    i.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "fifo": tarfile.FIFOTYPE,
              "hardlink": tarfile.LNKTYPE}[kind]
    i.linkname = what.get("target", "")
    i.mode, i.uid, i.mtime = what.get("mode", 0), what.get("uid", 0), what.get("mtime", 0)
    i.size = len(what.get("data", b""))
    return i, io.BytesIO(what.get("data", b""))


def write(path, hidden, opaque, entries):
    marks = [(join(os.path.dirname(p), ".wh." + os.path.basename(p)), "file", {}) for p in hidden]
    marks += [(d + "/.wh..wh..opq", "file", {}) for d in opaque]
    every = [(p, *e) for p, e in entries.items()]
    for m in marks:
        every.insert(rng.randrange(len(every) + 1), m)
    fmt = rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=fmt) as tar:
        for e in every:
            tar.addfile(*info(*e))
    data = raw.getvalue()
    with open(path, "wb") as f:
        f.write(gzip.compress(data) if rng.random() < 0.5 else data)


def make(path, kind, what, known):
    p = os.path.join(expected, path)
    if id(what) in known:
        os.link(known[id(what)], p, follow_symlinks=False)
        return
    if kind == "dir":
        if path:
            os.mkdir(p)
    elif kind == "file":
        with open(p, "wb") as f:
            f.write(what["data"])
        known[id(what)] = p
    elif kind == "symlink":
        os.symlink(what["target"], p)
    else:
        os.mkfifo(p)
    os.chown(p, what["uid"], 0, follow_symlinks=False)
    if kind != "symlink":
        os.chmod(p, what["mode"])


for number in range(6):
    write(f"{out}/{number}", *layer(number))
known = {}
for path in sorted(tree):
    make(path, *tree[path], known)
for path in sorted(tree, reverse=True):
    what = tree[path][1]
    os.utime(os.path.join(expected, path), ns=(what["mtime"] * 10**9,) * 2, follow_symlinks=False)
print(f"{len(tree)} entries of {number + 1} layers")
