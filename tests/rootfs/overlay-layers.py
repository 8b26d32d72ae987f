#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""overlay-layers.py fill|1|2|3 DIRECTORY: a tree, and three rounds of changes to it in a mounted overlay."""

import os
import shutil
import sys


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def fill():
    for d in range(8):
        os.makedirs(f"d{d}/sub/deep")
        for f in range(10):
            write(f"d{d}/f{f}", f"base {d} {f}\n" * (f * 500))
            write(f"d{d}/sub/deep/f{f}", f"base deep {d} {f}\n")
        os.symlink(f"sub/deep/f{d}", f"d{d}/link")
        os.mkfifo(f"d{d}/fifo")
        os.setxattr(f"d{d}/f1", "user.of", b"base")
    write("gone", "x")
    os.chmod("d1", 0o700)


def first():
    # Whiteouts, opaque directories, changed metadata, files over directories and the other way round.
    os.unlink("gone")
    os.unlink("d0/f0")
    shutil.rmtree("d1")
    os.mkdir("d1")
    write("d1/new", "one")
    shutil.rmtree("d2/sub")
    write("d2/sub", "now a file")
    os.unlink("d3/f3")
    os.mkdir("d3/f3")
    write("d3/f3/in", "now a directory")
    os.chmod("d4", 0o711)
    os.chown("d4/f4", 5, 6)
    os.setxattr("d4/f1", "user.of", b"one")
    os.rename("d5/f5", "d5/renamed")
    os.link("d6/f6", "d6/linked")
    os.mknod("d6/null", 0o20666, os.makedev(1, 3))


def second():
    write("d0/f0", "back again")
    write("gone", "back again")
    shutil.rmtree("d1")
    os.makedirs("d1/sub")
    write("d1/sub/f", "two")
    os.unlink("d2/sub")
    os.mkdir("d2/sub")
    write("d2/sub/x", "two")
    shutil.rmtree("d3")
    with open("d7/f9", "r+") as f:
        f.truncate(100)
    os.utime("d7/f8", ns=(1, 2))


def third():
    shutil.rmtree("d0")
    os.unlink("gone")
    os.mkdir("d3")
    os.symlink("../d7", "d3/link")
    write("d1/sub/f", "three")


os.chdir(sys.argv[2])
{"fill": fill, "1": first, "2": second, "3": third}[sys.argv[1]]()
