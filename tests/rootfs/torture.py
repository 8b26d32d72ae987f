#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""torture.py DIRECTORY [ENTRIES [SUBDIRECTORIES]]: makes a tree of everything that a root disk must keep.  Needs root.

The times lie in a second walk at the end, as making entries changes those of their directories."""

import errno
import os
import socket
import stat
import struct
import sys

# 1901, 1969 (one nanosecond before the epoch), 2038 on both sides, 2100, the last one that ext4 has.
TIMES = [
    (-(1 << 31), 123456789), (-1, 999999999), (0, 1), ((1 << 31) - 1, 5), (1 << 31, 987654321),
    ((1 << 32) - 1, 2), (1 << 32, 3), (4102444800, 42), ((1 << 34) - (1 << 31) - 1, 999999999),
]


def ns(time):
    return time[0] * 10**9 + time[1]


def write(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "wb") as f:
        f.write(data)


def pattern(size, salt):
    unit = b"".join(struct.pack("<IQ", salt, i) for i in range(1024))
    return (unit * (size // len(unit) + 1))[:size]


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


NO_ID = 0xFFFFFFFF
ACCESS = acl((1, 7, NO_ID), (2, 5, 1000), (2, 4, 70000), (4, 5, NO_ID), (8, 7, 5), (16, 7, NO_ID),
             (32, 1, NO_ID))
# VFS_CAP_REVISION_2, effective, cap_net_raw.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def times():
    os.mkdir("times")
    todo = []
    for i, t in enumerate(TIMES):
        other = TIMES[(i + 3) % len(TIMES)]
        write(f"times/file{i}", b"x")
        os.mkdir(f"times/dir{i}")
        os.symlink("x", f"times/link{i}")
        os.symlink("y" * 100, f"times/slow{i}")
        os.mkfifo(f"times/fifo{i}")
        for kind in ("file", "dir", "link", "slow", "fifo"):
            todo.append((f"times/{kind}{i}", ns(other), ns(t)))
    todo.append(("times", ns(TIMES[4]), ns(TIMES[0])))
    return todo


def owners_and_modes():
    os.mkdir("modes")
    for mode in (0, 0o1, 0o444, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777):
        write(f"modes/f{mode:o}", b"data")
        os.chmod(f"modes/f{mode:o}", mode)
        os.mkdir(f"modes/d{mode:o}")
        os.chmod(f"modes/d{mode:o}", mode)
    for uid, gid in ((0, 65535), (65536, 1), (1000, 100000), (4294967294, 4294967294)):
        write(f"modes/u{uid}", b"data")
        os.chown(f"modes/u{uid}", uid, gid)
        os.symlink("target", f"modes/l{uid}")
        os.chown(f"modes/l{uid}", uid, gid, follow_symlinks=False)


def attributes():
    os.mkdir("xattr")
    write("xattr/small", b"x")
    os.setxattr("xattr/small", "user.a", b"1")
    write("xattr/empty")
    os.setxattr("xattr/empty", "user.nothing", b"")
    write("xattr/inode", b"x")
    os.setxattr("xattr/inode", "user.fits", b"v" * 60)
    write("xattr/both", b"x")
    for name, value in (("user.short", b"1"), ("user.long", b"w" * 1500), ("trusted.t", b"\0\1\2"),
                        ("trusted.overlay.opaque", b"y"), ("user." + "n" * 200, b"long name"),
                        ("user.middle", b"m" * 300), ("security.other", b"z" * 33)):
        os.setxattr("xattr/both", name, value)
    write("xattr/many", b"x")
    for i in range(60):
        os.setxattr("xattr/many", f"user.n{i}", bytes(range(i)))
    write("xattr/full", b"x")
    os.setxattr("xattr/full", "user.x", b"f" * 3900)
    write("xattr/bytes", b"x")
    os.setxattr("xattr/bytes", b"user.\xff\xfe\x80", b"name that is not UTF-8")
    write("xattr/capability", b"#!", 0o755)
    os.setxattr("xattr/capability", "security.capability", CAPABILITY)
    write("xattr/acl", b"x")
    os.setxattr("xattr/acl", "system.posix_acl_access", ACCESS)
    os.mkdir("xattr/acldir")
    os.setxattr("xattr/acldir", "system.posix_acl_access", ACCESS)
    os.setxattr("xattr/acldir", "system.posix_acl_default", ACCESS)
    os.setxattr("xattr/acldir", "user.big", b"d" * 2000)
    os.symlink("x", "xattr/link")
    os.setxattr("xattr/link", "trusted.on.link", b"l" * 400, follow_symlinks=False)
    os.symlink("s" * 200, "xattr/slow")
    os.setxattr("xattr/slow", "trusted.on.link", b"l" * 400, follow_symlinks=False)
    os.mkfifo("xattr/fifo")
    os.setxattr("xattr/fifo", "trusted.on.fifo", b"f" * 400)
    os.mknod("xattr/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr("xattr/null", "trusted.on.device", b"1")


def links():
    os.makedirs("links/a/b")
    write("links/file", b"one inode")
    for name in ("links/a/file", "links/a/b/z", "links/zz"):
        os.link("links/file", name)
    os.symlink("t" * 70, "links/slow")
    os.link("links/slow", "links/a/slow", follow_symlinks=False)
    os.mkfifo("links/fifo")
    os.link("links/fifo", "links/a/fifo")
    os.mkdir("symlinks")
    for n in (1, 58, 59, 60, 61, 255, 1000, 1023, 1024, 4095):
        try:
            os.symlink("p" * n, f"symlinks/{n}")
        except OSError as e:
            # XFS has less room than ext4.
            if e.errno != errno.ENAMETOOLONG or n < 1024:
                raise
    os.symlink("/etc/passwd", "symlinks/absolute")
    os.symlink("../../../../../../etc/passwd", "symlinks/out")
    os.symlink("loop", "symlinks/loop")
    os.symlink(b"\xff\xfe not UTF-8", "symlinks/bytes")


def special():
    os.mkdir("special")
    for kind, major, minor in ((stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 7, 0), (stat.S_IFCHR, 255, 255),
                               (stat.S_IFBLK, 256, 0), (stat.S_IFCHR, 300, 70000),
                               (stat.S_IFCHR, 4095, 1048575), (stat.S_IFCHR, 0, 0)):
        try:
            os.mknod(f"special/{kind:o}-{major}-{minor}", kind | 0o640, os.makedev(major, minor))
        except OSError as e:
            # XFS has fewer bits for them.
            if e.errno != errno.EINVAL or minor < 1 << 18:
                raise
    os.mkfifo("special/fifo", 0o622)
    s = socket.socket(socket.AF_UNIX)
    s.bind("special/socket")
    s.close()


def segments(name, size, parts):
    with open(name, "wb") as f:
        f.truncate(size)
        for offset, length in parts:
            f.seek(offset)
            f.write(pattern(length, offset & 0xFFFF))


def contents():
    os.mkdir("sizes")
    for n in (0, 1, 511, 512, 4095, 4096, 4097, 8192, 65536, 131071, 131072, 131073, 1048575,
              1048576, 1048577, 5000000, 20000001):
        write(f"sizes/{n}", pattern(n, n & 0xFFFF))
    os.mkdir("sparse")
    mib = 1 << 20
    segments("sparse/all", 10 * mib + 1, [])
    segments("sparse/start", mib, [(mib - 10, 10)])
    segments("sparse/end", 10 * mib, [(0, 100)])
    segments("sparse/middle", 10 * mib + 17, [(0, 5000), (4 * mib + 100, 70000), (10 * mib, 17)])
    segments("sparse/huge", 5 << 30, [(0, 4096), ((4 << 30) + 12345, 300000), ((5 << 30) - 1, 1)])
    segments("sparse/tera", 3 << 40, [((2 << 40) + 1, 10)])
    # Trees of extents of one, two and three levels.
    segments("sparse/five", 10 * mib, [(i * 2 * mib, 4096) for i in range(5)])
    segments("sparse/comb", 20 * mib, [(i * 8192, 4096) for i in range(2000)])
    segments("sparse/long-comb", 1300 * mib, [(i * 8192, 100) for i in range(150000)])


def names():
    os.mkdir("names")
    for name in (b"n" * 255, "\u00e4".encode() * 127, b"\xff\xfe\x80 not UTF-8", b"new\nline", b" ",
                 b"-rf", b"tab\there", bytes(range(1, 47)), b"\\", b"...", b"a" * 254 + b"\xff"):
        write(b"names/" + name, b"contents of " + name)
    for n in range(1, 256, 7):
        os.mkdir("names/" + "d" * n)
    # Deeper than PATH_MAX.
    start = os.open(".", os.O_RDONLY)
    for i in range(40):
        os.mkdir("deep" + "x" * 200)
        os.chdir("deep" + "x" * 200)
        write("file", b"%d" % i)
    os.fchdir(start)
    # Deeper than file descriptors that a process may have open.
    for i in range(1500):
        os.mkdir("d")
        write("f", b"%d" % i)
        os.chdir("d")
    os.fchdir(start)


def directories(entries, subdirs):
    os.mkdir("wide")
    for i in range(entries):
        write(f"wide/entry-{i:08}")
    os.mkdir("long")
    for i in range(10000):
        os.mkfifo(f"long/{i:08}" + "l" * 247)
    # Just at, and just over, one block of entries.
    for n in (337, 338, 339):
        os.mkdir(f"block{n}")
        for i in range(n):
            os.symlink("x", f"block{n}/{i:04}")
    os.mkdir("subdirs")
    for i in range(subdirs):
        os.mkdir(f"subdirs/{i:05}")


def main():
    os.makedirs(sys.argv[1])
    os.chdir(sys.argv[1])
    os.umask(0)
    owners_and_modes()
    attributes()
    links()
    special()
    contents()
    names()
    numbers = [int(n) for n in sys.argv[2:4]] + [100000, 66000][len(sys.argv) - 2:]
    directories(*numbers)
    for path, atime, mtime in times():
        os.utime(path, ns=(atime, mtime), follow_symlinks=False)
    os.utime(".", ns=(ns(TIMES[7]), ns(TIMES[7])))


main()
