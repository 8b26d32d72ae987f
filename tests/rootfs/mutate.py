#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""mutate.py DIRECTORY: works on a mounted image of the torture tree as a guest would: splits and empties index
blocks, grows and cuts extent trees, moves attributes.  What e2fsck says afterwards is the result."""

import os
import sys

os.chdir(sys.argv[1])
wide = len(os.listdir("wide"))
for i in range(5000):
    with open(f"wide/new-{i}", "w") as f:
        f.write("x" * i)
for i in range(0, wide, 3):
    os.unlink(f"wide/entry-{i:08}")
for i in range(3000):
    os.mkfifo(f"long/new{i:05}" + "n" * 240)
for i in range(0, 3000, 2):
    os.unlink(f"long/{i:08}" + "l" * 247)
for i in range(500):
    os.mkdir(f"subdirs/new{i}")
    os.rmdir(f"subdirs/{i:05}")
for n in (337, 338, 339):
    for i in range(500):
        os.symlink("y", f"block{n}/new{i}")
with open("sparse/long-comb", "r+b") as f:
    for i in range(0, 100000, 7):
        f.seek(i * 8192 + 4096)
        f.write(b"z" * 4096)
with open("sparse/comb", "r+b") as f:
    f.truncate(8192 * 300 + 5)
os.unlink("sparse/huge")
for name in ("both", "many", "acl", "empty", "inode"):
    os.setxattr(f"xattr/{name}", "user.new", b"n" * 90)
os.removexattr("xattr/full", "user.x")
os.removexattr("xattr/both", "user.long")
os.rename("wide/entry-00000001", "long/renamed")
os.link("links/file", "links/again")
