#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""compare.py SOURCE COPY [SINCE]: compares two trees in everything that a root disk keeps.

Prints each difference; exit code 1 if there is any.  Both trees should be mounted without access times.
SINCE (nanoseconds): times of access that somebody else has set after it do not count."""

import os
import stat
import sys

BLOCK = 4096


class Compare:
    def __init__(self, since):
        self.since = since
        self.differences = 0
        self.entries = 0
        self.inodes = {}
        self.links = {}

    def differ(self, path, what, a, b):
        self.differences += 1
        if self.differences <= 50:
            print(f"{path!r}: {what}: {a!r} / {b!r}")

    def metadata(self, path, a, b):
        fields = ["st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_atime_ns"]
        if stat.S_ISBLK(a.st_mode) or stat.S_ISCHR(a.st_mode):
            fields.append("st_rdev")
        if not stat.S_ISDIR(a.st_mode):
            fields.append("st_size")
        for field in fields:
            if field == "st_atime_ns" and self.since is not None and a.st_atime_ns >= self.since:
                continue
            if getattr(a, field) != getattr(b, field):
                self.differ(path, field, getattr(a, field), getattr(b, field))
        # Links to what lies outside of the source are not in the copy: what counts is the names that were met.
        if not stat.S_ISDIR(b.st_mode):
            key = (b.st_dev, b.st_ino)
            _, n, _ = self.links.get(key, (path, 0, 0))
            self.links[key] = (path, n + 1, b.st_nlink)
        # The same names must be the same inode on both sides.
        if not stat.S_ISDIR(a.st_mode) and (a.st_nlink > 1 or b.st_nlink > 1):
            known = self.inodes.setdefault(("a", a.st_dev, a.st_ino), b.st_ino)
            back = self.inodes.setdefault(("b", b.st_dev, b.st_ino), a.st_ino)
            if known != b.st_ino or back != a.st_ino:
                self.differ(path, "hard link", (a.st_ino, back), (b.st_ino, known))

    def attributes(self, path, a, b):
        def read(fd, name):
            p = f"/proc/self/fd/{fd}/{name}" if isinstance(name, str) else b"/proc/self/fd/%d/" % fd + name
            return {n: os.getxattr(p, n, follow_symlinks=False)
                    for n in os.listxattr(p, follow_symlinks=False)}
        xa, xb = read(*a), read(*b)
        if xa != xb:
            self.differ(path, "attributes", xa, xb)

    def data_ranges(self, fd, size):
        ranges = []
        end = 0
        while end < size:
            try:
                start = os.lseek(fd, end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(fd, start, os.SEEK_HOLE)
            start, stop = start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK
            if ranges and ranges[-1][1] >= start:
                ranges[-1][1] = stop
            else:
                ranges.append([start, stop])
        return ranges

    def contents(self, path, a, b, st):
        fa = os.open(a[1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=a[0])
        fb = os.open(b[1], os.O_RDONLY | os.O_NOFOLLOW, dir_fd=b[0])
        try:
            ranges = [[0, st.st_size]]
            if st.st_blocks * 512 < st.st_size:
                ranges = self.data_ranges(fa, st.st_size)
                other = self.data_ranges(fb, st.st_size)
                if ranges != other:
                    self.differ(path, "holes", ranges[:5], other[:5])
                    ranges = [[0, min(st.st_size, 1 << 30)]]
            for start, stop in ranges:
                while start < stop:
                    n = min(stop - start, 1 << 20)
                    if os.pread(fa, n, start) != os.pread(fb, n, start):
                        self.differ(path, "contents", start, n)
                        return
                    start += n
        finally:
            os.close(fa)
            os.close(fb)

    def entry(self, path, a, b):
        """Returns true for a directory."""
        self.entries += 1
        sa = os.stat(a[1], dir_fd=a[0], follow_symlinks=False)
        sb = os.stat(b[1], dir_fd=b[0], follow_symlinks=False)
        self.metadata(path, sa, sb)
        self.attributes(path, a, b)
        if stat.S_IFMT(sa.st_mode) != stat.S_IFMT(sb.st_mode):
            return False
        if stat.S_ISLNK(sa.st_mode):
            ta, tb = os.readlink(a[1], dir_fd=a[0]), os.readlink(b[1], dir_fd=b[0])
            if ta != tb:
                self.differ(path, "target", ta, tb)
        elif stat.S_ISREG(sa.st_mode):
            self.contents(path, a, b, sa)
        return stat.S_ISDIR(sa.st_mode)

    def names(self, fd):
        # Of bytes, through a descriptor.
        return sorted(os.fsencode(n) for n in os.listdir(fd))

    def directory(self, path, fa, fb):
        """Returns the subdirectories; looks each name up, so that an index that lies is found out."""
        na, nb = self.names(fa), self.names(fb)
        if na != nb:
            sa, sb = set(na), set(nb)
            self.differ(path, "names", sorted(sa - sb)[:10], sorted(sb - sa)[:10])
            na = sorted(sa & sb)
        subdirs = [n for n in na if self.entry(path + b"/" + n, (fa, n), (fb, n))]
        sb = os.fstat(fb)
        if sb.st_nlink not in (1, len(subdirs) + 2):
            self.differ(path, "st_nlink", len(subdirs) + 2, sb.st_nlink)
        return subdirs

    def tree(self, a, b):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        fa, fb = os.open(a, flags), os.open(b, flags)
        self.entry(b"", (fa, b"."), (fb, b"."))
        # A stack without recursion or open files: ".." leads back up.
        stack = [(b"", self.directory(b"", fa, fb))]
        while stack:
            path, todo = stack[-1]
            if todo:
                name = todo.pop()
                na, nb = os.open(name, flags, dir_fd=fa), os.open(name, flags, dir_fd=fb)
                stack.append((path + b"/" + name, self.directory(path + b"/" + name, na, nb)))
            else:
                stack.pop()
                na, nb = os.open("..", flags, dir_fd=fa), os.open("..", flags, dir_fd=fb)
            os.close(fa)
            os.close(fb)
            fa, fb = na, nb
        os.close(fa)
        os.close(fb)
        for path, names, nlink in self.links.values():
            if names != nlink:
                self.differ(path, "st_nlink", names, nlink)


def main():
    since = sys.argv[3] if len(sys.argv) > 3 else "none"
    c = Compare(None if since == "none" else int(since))
    c.tree(sys.argv[1], sys.argv[2])
    print(f"{c.entries} entries, {c.differences} differences")
    sys.exit(1 if c.differences else 0)


main()
