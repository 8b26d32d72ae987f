#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""write-back-torture.py base DIR: makes the tree that a VM starts from.
write-back-torture.py change DIR SINCE: does to it what a container may do; the same in each copy of it.
write-back-torture.py again DIR SINCE: and what it may do after that.

`change` ends by setting the times of all that it has touched to something that the path decides, so that two copies
can be compared in their times, too.  MANY is the size of its largest directory."""

import errno
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import zlib

PAST = 1_500_000_000_123_456_789


def write(path, text, mode=0o644):
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(path, mode)


def append(path, text):
    with open(path, "ab") as f:
        f.write(text.encode())


def content(n, seed):
    return (b"%08d " % seed) * (n // 9 + 1)


def cap(value):
    return struct.pack("<IIIII", 0x02000001, value, 0, 0, 0)


def mksock(name):
    s = socket.socket(socket.AF_UNIX)
    s.bind(name)
    s.close()


def base(root):
    os.chdir(root)
    for d in ["etc", "usr/bin", "usr/lib/deep/er", "var/lib", "tmp", "opaque/sub/subsub", "dirtofile/x/y", "gone/a/b",
              "many", "keep", "mvdir/in", "links", "xattr", "swap", "emptied", "merged/sub", "nested/one/two/three",
              "big", "linktodir", "acl", "mnt"]:
        os.makedirs(d)
    os.chmod("tmp", 0o1777)
    for i in range(50):
        write(f"etc/file{i}", f"base {i}\n")
    for i in range(300):
        write(f"many/m{i}", f"{i}\n")
    for i in range(5):
        write(f"keep/k{i}", content(100_000, i))
        write(f"gone/a/b/g{i}", "x")
        write(f"opaque/sub/o{i}", "x")
        write(f"opaque/sub/subsub/o{i}", "x")
        write(f"opaque/o{i}", "x")
        write(f"mvdir/in/f{i}", f"move me {i}")
        write(f"emptied/e{i}", "x")
        write(f"merged/sub/m{i}", "x")
        write(f"nested/one/two/three/n{i}", "x")
    write("dirtofile/x/y/z", "z")
    write("filetodir", "a file")
    write("filetolink", "a file")
    write("var/lib/data", content(3_000_000, 7))
    write("var/lib/truncated", content(1_000_000, 8))
    write("var/lib/patched", content(1_000_000, 9))
    write("usr/bin/suid", "suid", 0o4755)
    write("usr/bin/caps", "caps", 0o755)
    write("usr/bin/plain", "plain", 0o755)
    write("swap/a", "a")
    os.mkdir("swap/b")
    write("swap/b/inside", "b")
    os.symlink("keep", "linktodir/l")
    os.symlink("/etc/file1", "usr/lib/abs")
    os.symlink("nowhere", "usr/lib/dangling")
    os.symlink("x" * 200, "usr/lib/long")
    with open("big/sparse", "wb") as f:
        f.truncate(50 << 20)
        f.seek(20 << 20)
        f.write(content(1 << 20, 4)[:1 << 20])  # a copy-up takes pieces of this size
    # Hard links, in several directories.
    for name in ["changed", "removed", "renamed", "untouched", "chmodded", "relinked", "through", "replaced", "both",
                 "moved"]:
        write(f"links/{name}1", content(20_000, len(name)))
        os.link(f"links/{name}1", f"links/{name}2")
        os.link(f"links/{name}1", f"usr/lib/deep/{name}3")
    os.symlink("target", "links/sym1")
    os.link("links/sym1", "links/sym2", follow_symlinks=False)
    os.mkfifo("links/fifo1")
    os.link("links/fifo1", "usr/lib/fifo2")
    os.mkfifo("var/fifo")
    os.mknod("var/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    mksock("var/sock")
    write("xattr/some", "x")
    os.setxattr("xattr/some", "user.one", b"1")
    os.setxattr("xattr/some", "trusted.two", b"2" * 500)
    os.setxattr("xattr/some", "security.three", b"3")
    os.setxattr("xattr", "user.dir", b"d")
    os.setxattr("usr/bin/caps", "security.capability", cap(0x400))
    subprocess.run(["setfacl", "-m", "u:1234:rwx,d:u:1234:rx", "acl"], check=True)
    write("acl/inherits", "x")
    os.makedirs("acl/sub")
    write(b"etc/\xff\xfe not utf-8 \n", "x")
    deep = b"usr/lib/deep"
    for i in range(60):
        deep += b"/level%02d" % i
    os.makedirs(deep)
    write(deep + b"/bottom", "x")
    for path, dirs, files in os.walk(os.fsencode("."), topdown=False):
        for n in files + dirs:
            p = os.path.join(path, n)
            if not (os.lstat(p).st_uid or b"usr" in p):
                os.lchown(p, zlib.crc32(n) % 70000, zlib.crc32(n + b"g") % 70000)
    os.chmod("usr/bin/suid", 0o4755)
    os.setxattr("usr/bin/caps", "security.capability", cap(0x400))
    for path, dirs, files in os.walk(os.fsencode("."), topdown=False):
        for n in files + [b"."]:
            p = os.path.join(path, n)
            t = PAST + zlib.crc32(p) * 1000003
            os.utime(p, ns=(t + 5, t), follow_symlinks=False)


def replace(path, text):
    """As editors and package managers do."""
    write(path + ".new", text)
    os.rename(path + ".new", path)


def move_dir(a, b):
    """As mv: overlayfs without redirect_dir refuses to rename a directory of the base."""
    try:
        os.rename(a, b)
    except OSError as e:
        if e.errno != errno.EXDEV:
            raise
        subprocess.run(["cp", "-a", "--", a, b], check=True)
        shutil.rmtree(a)


def change(root):
    os.chdir(root)
    # Contents.
    append("etc/file1", "appended\n")
    replace("etc/file2", "replaced\n")
    os.truncate("var/lib/truncated", 12345)
    with open("var/lib/patched", "r+b") as f:
        f.seek(500_000)
        f.write(b"patched")
    write("etc/file3", "")
    write("new", content(5_000_000, 1))
    write("etc/new\nline", "newline in the name")
    write(b"etc/\xff\xfd new", "not utf-8")
    replace("etc/file4", "x" * 4096)
    # Holes: one that stays, one that is punched, one that is new.
    with open("big/sparse", "r+b") as f:
        f.seek(40 << 20)
        f.write(b"more")
    with open("big/newsparse", "wb") as f:
        f.seek(1 << 20)
        f.write(content(70_000, 3))
        f.truncate(1 << 32)
    subprocess.run(["fallocate", "-p", "-o", "1048576", "-l", "524288", "var/lib/data"], check=True)
    with open("big/onlyhole", "wb") as f:
        f.truncate(123_456_789)
    # Names.
    os.rename("etc/file5", "etc/renamed5")
    os.rename("etc/file6", "var/lib/moved6")
    os.rename("etc/file7", "etc/file8")
    os.remove("etc/file9")
    shutil.rmtree("gone")
    move_dir("mvdir", "var/moveddir")
    for i in range(0, 300, 3):
        os.remove(f"many/m{i}")
    for i in range(5):
        os.remove(f"emptied/e{i}")
    os.remove("nested/one/two/three/n1")
    os.remove("nested/one/two/three/n2")
    os.mkdir("nested/one/new")
    write("nested/one/new/f", "x")
    write("merged/sub/added", "x")
    # Opaque: removed and made again.
    shutil.rmtree("opaque")
    os.mkdir("opaque", 0o711)
    os.makedirs("opaque/sub")
    write("opaque/sub/o1", "only this one")
    os.makedirs("opaque/fresh/er")
    shutil.rmtree("nested/one/two")
    os.makedirs("nested/one/two/three")
    write("nested/one/two/three/n1", "back again")
    # Other types.
    shutil.rmtree("dirtofile")
    write("dirtofile", "now a file")
    os.remove("filetodir")
    os.mkdir("filetodir")
    write("filetodir/inside", "now a directory")
    os.remove("filetolink")
    os.symlink("/etc/passwd", "filetolink")
    os.remove("linktodir/l")
    os.mkdir("linktodir/l")
    write("linktodir/l/file", "x")
    os.rename("swap/a", "swap/tmp")
    move_dir("swap/b", "swap/a")
    os.rename("swap/tmp", "swap/b")
    shutil.rmtree("swap/a")
    write("swap/a", "file again")
    # Metadata alone.
    os.chmod("etc/file10", 0o600)
    os.chown("etc/file11", 12, 70001)
    os.chmod("keep", 0o2750)
    os.chown("var", 5, 6)
    os.utime("etc/file12", ns=(-2_000_000_000_000_000_001, -1_900_000_000_123_456_789))
    os.utime("etc/file13", ns=(4_102_444_800_000_000_001, 5_000_000_000_000_000_007))
    os.utime("usr/lib/dangling", ns=(1, 2), follow_symlinks=False)
    os.utime("usr/lib/deep/er", ns=(1, 2))
    os.lchown("usr/lib/abs", 7, 8)
    os.chmod("usr/bin/plain", 0o6755)
    os.setxattr("xattr/some", "user.new", b"n" * 1000)
    os.removexattr("xattr/some", "trusted.two")
    os.setxattr("xattr/some", "security.three", b"other")
    os.setxattr("xattr", "trusted.dir", b"t")
    os.removexattr("xattr", "user.dir")
    os.setxattr("usr/bin/plain", "security.capability", cap(0x2000))
    os.setxattr("usr/lib/dangling", "trusted.link", b"l", follow_symlinks=False)
    os.chown("usr/bin/caps", 0, 0)  # takes the capability away
    subprocess.run(["setfacl", "-m", "u:77:rw", "etc/file14"], check=True)
    subprocess.run(["setfacl", "-x", "u:1234", "acl"], check=True)
    write("acl/new", "inherits the default")
    os.mkdir("acl/newdir")
    # Special files.
    os.mkfifo("var/newfifo", 0o600)
    os.mknod("var/newchr", stat.S_IFCHR | 0o620, os.makedev(4, 300))
    os.mknod("var/newblk", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    mksock("var/newsock")
    os.chmod("var/fifo", 0o622)
    os.remove("var/sock")
    os.rename("var/null", "var/zero")
    os.symlink("/" + "long/" * 300, "var/longlink")
    os.symlink(b"\xff\xfe", "var/bytes")
    # Hard links: new ones, and those of the base.
    write("links/n1", "new")
    os.link("links/n1", "links/n2")
    os.link("links/n1", "var/n3")
    os.link("etc/file15", "links/of15")
    os.symlink("s", "links/news1")
    os.link("links/news1", "links/news2", follow_symlinks=False)
    append("links/changed2", "changed through one name")
    os.remove("links/removed1")
    os.rename("links/renamed1", "links/renamed")
    append("links/renamed", "and changed")
    os.chmod("usr/lib/deep/chmodded3", 0o640)
    os.link("links/relinked1", "links/relinked4")
    append("links/through1", "changed")
    os.remove("links/through1")
    replace("links/replaced1", "another file")
    append("links/replaced2", "the others")
    append("links/both1", "one")
    append("links/both2", "two")
    append("usr/lib/deep/moved3", "changed")
    os.rename("usr/lib/deep/moved3", "links/moved1.new")
    os.rename("links/moved1.new", "links/moved1")
    os.lchown("links/sym1", 3, 4)
    os.chmod("links/fifo1", 0o611)
    # Many, and deep.
    os.mkdir("big/dir")
    for i in range(int(os.environ.get("MANY", 5000))):
        write(f"big/dir/a file with quite a long name number {i}", "%d" % i if i % 7 else "")
    deep = "big/deep"
    for i in range(120):
        deep += "/d%03d" % i
    os.makedirs(deep)
    write(deep + "/bottom", "x")
    bottom = "usr/lib/deep" + "".join("/level%02d" % i for i in range(60))
    append(bottom + "/bottom", "deep change")
    os.chmod("tmp", 0o1770)
    os.chmod(".", 0o751)


def change_again(root):
    """A second life, on what the first has left."""
    os.chdir(root)
    # What came with the first one's changes, and has nothing below it.
    for n in ["links/n1", "links/n2", "var/n3", "links/of15", "new", "etc/new\nline", "var/newchr", "links/news1"]:
        os.remove(n)
    os.remove("links/news2")
    shutil.rmtree("big/dir")
    shutil.rmtree("nested/one/new")
    shutil.rmtree("var/moveddir")
    os.mkdir("var/moveddir")
    write("var/moveddir/f3", "again")
    move_dir("big/deep", "big/deeper")
    shutil.rmtree("opaque/fresh")
    os.remove("opaque/sub/o1")
    write("opaque/sub/o9", "x")
    # A directory that replaced a file, and the reverse.
    shutil.rmtree("filetodir")
    write("filetodir", "a file again")
    os.remove("dirtofile")
    os.makedirs("dirtofile/x")
    append("etc/file1", "twice\n")
    append("links/changed1", "and once more")
    os.remove("links/relinked4")
    append("etc/file16", "only now\n")
    os.remove("etc/file17")
    os.rename("var/lib/moved6", "etc/file6")
    write("etc/file9", "back")


def touched(st, since):
    return any(since <= t < since + 3600 * 10**9 for t in (st.st_mtime_ns, st.st_atime_ns))


def settle(root, since):
    """Everything that was touched gets the time that belongs to its path."""
    os.chdir(root)
    for path, dirs, files in os.walk(os.fsencode("."), topdown=False):
        for n in sorted(files) + sorted(d for d in dirs if os.path.islink(os.path.join(path, d))) + [b"."]:
            p = os.path.normpath(os.path.join(path, n))
            st = os.lstat(p)
            if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
                continue
            if touched(st, since):
                t = 1_600_000_000_000_000_000 + zlib.crc32(p) * 999_999_937
                os.utime(p, ns=(t + 1, t), follow_symlinks=False)
    # Of links, the first name decides, in an order that is the same everywhere.
    names = []
    for path, dirs, files in os.walk(os.fsencode(".")):
        names += [os.path.normpath(os.path.join(path, n)) for n in files + dirs]
    for p in sorted(names):
        st = os.lstat(p)
        if stat.S_ISDIR(st.st_mode) or st.st_nlink < 2:
            continue
        t = 1_600_000_000_000_000_000 + zlib.crc32(p) * 999_999_937
        if touched(st, since):
            os.utime(p, ns=(t + 1, t), follow_symlinks=False)


if __name__ == "__main__":
    if sys.argv[1] == "base":
        base(sys.argv[2])
    elif sys.argv[1] == "change":
        change(sys.argv[2])
        settle(".", int(sys.argv[3]))
    elif sys.argv[1] == "again":
        change_again(sys.argv[2])
        settle(".", int(sys.argv[3]))
    else:
        sys.exit("base, change or again")
