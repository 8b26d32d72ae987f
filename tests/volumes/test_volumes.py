#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""runcvm-volumes, called over loopback: every procedure, both identities, errors, restarts, retransmissions, abuse.

    test_volumes.py [NAME...]     VOLUMES: the program; RACE_SECONDS: how long the race runs
"""
import contextlib
import ctypes
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import nfs3
from nfs3 import *

tests = []


class Skip(Exception):
    pass


def test(f):
    tests.append(f)
    return f


@contextlib.contextmanager
def fails(status):
    try:
        yield
    except NfsError as e:
        assert e.status == status, "status %d, not %d" % (e.status, status)
    else:
        raise AssertionError("it did not fail with %d" % status)


class Volume:
    """A directory, exported as /vol, and a client."""

    def __init__(self, options="", dir=None, key=None, client=True, more=(), args=()):
        self.top = tempfile.mkdtemp(prefix="volumes.", dir=dir)
        os.chmod(self.top, 0o755)
        self.path = self.top + "/vol"
        os.mkdir(self.path)
        os.chmod(self.path, 0o755)
        self.server = Server([self.path + ":name=/vol" + ("," + options if options else ""),
                              *[m.replace("TOP", self.top) for m in more]], key=key, options=args)
        self.c = Client(self.server.port) if client else None
        self.root = self.c.mount("/vol") if client else None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        try:
            if kind is None:
                assert self.server.alive(), "the server died"
                self.server.stop()
            else:
                self.server.kill()
        finally:
            shutil.rmtree(self.top, ignore_errors=True)


def st(path):
    return os.lstat(path)


# ---- procedures


@test
def t_null_and_versions():
    with Volume() as v:
        v.c.raw(NFS, NULL).end()
        v.c.raw(MOUNT, 0).end()
        for bad in ({"prog": 100227, "proc": 0}, {"prog": NFS, "proc": 22}, {"prog": NFS, "proc": 0, "vers": 4}):
            try:
                v.c.raw(**bad)
                raise AssertionError("accepted")
            except RpcError as e:
                assert "accept_stat" in str(e)
        try:
            v.c.raw(NFS, NULL, rpcvers=3)
            raise AssertionError("accepted")
        except RpcError as e:
            assert "denied" in str(e)
        try:
            v.c.raw(NFS, NULL, cred=struct.pack(">I", 6) + opaque(b"xxxx"))
            raise AssertionError("accepted")
        except RpcError as e:
            assert "denied" in str(e)
        v.c.raw(NFS, NULL).end()


@test
def t_mount_protocol():
    with Volume(more=["TOP/vol:name=/other,ro"]) as v:
        os.makedirs(v.path + "/a/b")
        os.symlink("/", v.path + "/a/out")
        open(v.path + "/a/f", "w").close()
        r = v.c.raw(MOUNT, 5)
        names = []
        while r.u32():
            names.append(r.opaque())
            assert r.u32() == 0
        assert sorted(names) == [b"/other", b"/vol"], names
        deep = v.c.mount("/vol/a/b/")
        assert deep == v.c.walk(v.root, "a/b")
        for path, status in (("/", NOENT), ("/vo", NOENT), ("/volx", NOENT), ("/vol/none", NOENT), ("/vol/../vol", ACCES),
                             ("/vol/a/out", NOTDIR), ("/vol/a/f", NOTDIR), ("", NOENT)):
            with fails(status):
                v.c.mount(path)
        r = v.c.raw(MOUNT, 2)
        seen = []
        while r.u32():
            seen.append((r.opaque(), r.opaque()))
        assert (b"test", b"/vol") in seen and (b"test", b"/vol/a/b") in seen, seen
        v.c.raw(MOUNT, 3, opaque(b"/vol"))
        v.c.raw(MOUNT, 4)
        assert v.c.raw(MOUNT, 2).u32() == 0


@test
def t_attributes():
    with Volume() as v:
        path = v.path + "/f"
        with open(path, "wb") as f:
            f.write(b"x" * 10000)
        os.chown(path, 1234, 5678)
        os.chmod(path, 0o4751)
        os.utime(path, ns=(1234567890123456789, 987654321987654321))
        h, a = v.c.lookup(v.root, "f")
        s = st(path)
        assert a == v.c.getattr(h)
        assert (a["type"], a["mode"], a["nlink"], a["uid"], a["gid"], a["size"], a["fileid"]) == (
            1, 0o4751, 1, 1234, 5678, 10000, s.st_ino), a
        assert a["used"] == s.st_blocks * 512
        assert (a["atime"], a["atime_ns"], a["mtime"], a["mtime_ns"]) == (1234567890, 123456789, 987654321, 987654321)
        pre, post = v.c.setattr(h, mode=0o640, uid=1, gid=2, atime=(5, 6), mtime=(7, 8))
        assert pre["size"] == 10000 and pre["mtime"] == 987654321 and post["mode"] == 0o640
        s = st(path)
        assert (s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_atime_ns, s.st_mtime_ns) == (
            0o640, 1, 2, 5000000006, 7000000008), s
        v.c.setattr(h, mtime="now")
        assert abs(st(path).st_mtime - time.time()) < 60 and st(path).st_atime_ns == 5000000006
        v.c.setattr(h, size=77)
        assert st(path).st_size == 77
        v.c.setattr(h, size=5 << 30)
        assert st(path).st_size == 5 << 30 and st(path).st_blocks * 512 < 1 << 20
        a = v.c.getattr(h)
        with fails(NOT_SYNC):
            v.c.setattr(h, guard=(a["ctime"] - 1, a["ctime_ns"]), mode=0o600)
        v.c.setattr(h, guard=(a["ctime"], a["ctime_ns"]), mode=0o600)
        assert st(path).st_mode & 0o777 == 0o600
        with fails(ISDIR):
            v.c.setattr(v.root, size=0)
        with fails(FBIG):
            v.c.setattr(h, size=1 << 63)
        # A set-id mode given together with an owner survives the change of the owner.
        v.c.setattr(h, uid=3, mode=0o4755)
        assert st(path).st_mode & 0o7777 == 0o4755


@test
def t_lookup():
    with Volume() as v:
        os.makedirs(v.path + "/a/b")
        os.symlink("/etc", v.path + "/link")
        a, attr = v.c.lookup(v.root, "a")
        assert attr["type"] == 2
        assert v.c.lookup(v.root, ".")[0] == v.root
        assert v.c.lookup(v.root, "..")[0] == v.root, "the root's parent is not the root"
        b, _ = v.c.lookup(a, "b")
        assert v.c.lookup(b, "..")[0] == a
        assert v.c.lookup(b, ".")[0] == b
        link, attr = v.c.lookup(v.root, "link")
        assert attr["type"] == 5 and v.c.readlink(link) == b"/etc"
        with fails(NOTDIR):
            v.c.lookup(link, "passwd")
        with fails(NOENT):
            v.c.lookup(v.root, "none")
        for name in ("", "a/b", "../vol", "/etc", b"a\0b"):
            with fails(ACCES):
                v.c.lookup(v.root, name)
        with fails(NAMETOOLONG):
            v.c.lookup(v.root, "x" * 256)
        with fails(INVAL):
            v.c.readlink(a)


@test
def t_names():
    """Long, not UTF-8, with newlines."""
    with Volume() as v:
        for name in (b"x" * 255, b"\xff\xfe\x80", b"new\nline", b" ", b"-rf", bytes(range(1, 47)) + bytes(range(48, 256))):
            h, attr, _ = v.c.create(v.root, name)
            assert v.c.lookup(v.root, name)[0] == h
            assert os.lstat(os.path.join(os.fsencode(v.path), name)).st_ino == attr["fileid"]
            assert name in v.c.names(v.root) and name in v.c.names(v.root, plus=True)
            v.c.remove(v.root, name)
        for make in (lambda: v.c.create(v.root, "y" * 256), lambda: v.c.mkdir(v.root, "y" * 300)):
            with fails(NAMETOOLONG):
                make()
        for bad in ("", "a/b", b"a\0"):
            with fails(ACCES):
                v.c.create(v.root, bad)
        for dots in (".", ".."):
            with fails(EXIST):
                v.c.mkdir(v.root, dots)


@test
def t_read_write():
    with Volume() as v:
        h, attr, (pre, post) = v.c.create(v.root, "f", mode=0o600)
        assert pre and post and post["mtime_ns"] is not None and attr["size"] == 0
        assert v.c.read(h, 0, 100) == (b"", True)
        n, committed, verf, pre, post = v.c.write(h, 0, b"hello")
        assert (n, committed, pre["size"], post["size"]) == (5, UNSTABLE, 0, 5)
        for stable in (DATA_SYNC, FILE_SYNC):
            assert v.c.write(h, 5, b" world", stable)[:3] == (6, stable, verf)
        assert v.c.commit(h) == verf
        assert open(v.path + "/f", "rb").read() == b"hello world"
        assert v.c.read(h, 0, 5) == (b"hello", False)
        assert v.c.read(h, 6, 5) == (b"world", True)
        assert v.c.read(h, 6, 100) == (b"world", True)
        assert v.c.read(h, 100, 100) == (b"", True)
        assert v.c.read(h, 1 << 63, 100) == (b"", True)
        assert v.c.write(h, 0, b"")[0] == 0
        with fails(FBIG):
            v.c.write(h, 1 << 63, b"x")
        with fails(ISDIR):
            v.c.read(v.root, 0, 1)
        with fails(ISDIR):
            v.c.write(v.root, 0, b"x")
        data = os.urandom(1 << 20)
        assert v.c.write(h, 3, data)[0] == len(data)
        got, eof = v.c.read(h, 3, 4 << 20)
        assert got == data and eof
        for size in (1, 4095, 4096, 65535, 65537, 131072, 1 << 20):
            assert v.c.write(h, 7, data[:size])[0] == size
            assert v.c.read(h, 7, size)[0] == data[:size]


@test
def t_large_and_sparse():
    with Volume() as v:
        h, _, _ = v.c.create(v.root, "big")
        at = (5 << 30) + 123
        v.c.write(h, at, b"end")
        assert v.c.getattr(h)["size"] == at + 3
        assert v.c.read(h, at, 10) == (b"end", True)
        assert v.c.read(h, 3 << 30, 1000) == (b"\0" * 1000, False)
        assert st(v.path + "/big").st_blocks * 512 < 1 << 20
        # A read that the page cache cannot answer at once.
        with open(v.path + "/cold", "wb") as f:
            f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        cold, _ = v.c.lookup(v.root, "cold")
        assert v.c.read(cold, 0, 1 << 20)[0] == open(v.path + "/cold", "rb").read()


@test
def t_create():
    with Volume() as v:
        h, attr, _ = v.c.create(v.root, "f", mode=0o4711, uid=11, gid=12, size=100, mtime=(99, 1))
        s = st(v.path + "/f")
        assert (s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_size, s.st_mtime_ns) == (0o4711, 11, 12, 100, 99000000001), s
        assert attr["fileid"] == s.st_ino and attr["size"] == 100
        assert v.c.create(v.root, "f", mode=0o600)[0] == h
        assert st(v.path + "/f").st_size == 100 and st(v.path + "/f").st_mode & 0o7777 == 0o4711
        v.c.create(v.root, "f", size=0)
        assert st(v.path + "/f").st_size == 0
        with fails(EXIST):
            v.c.create(v.root, "f", how=GUARDED)
        v.c.create(v.root, "g", how=GUARDED, mode=0o640)
        assert st(v.path + "/g").st_mode & 0o7777 == 0o640
        os.mkdir(v.path + "/d")
        os.symlink("/etc/passwd", v.path + "/l")
        for name in ("d", "l"):
            with fails(EXIST):
                v.c.create(v.root, name, size=0)
        with fails(NOTDIR):
            v.c.create(h, "x")
        assert os.path.getsize("/etc/passwd") > 0


@test
def t_exclusive_create():
    with Volume() as v:
        verf, other = os.urandom(8), os.urandom(8)
        h, _, _ = v.c.create(v.root, "x", how=EXCLUSIVE, verf=verf)
        # A repetition under another xid, which the cache of replies does not know.
        assert v.c.create(v.root, "x", how=EXCLUSIVE, verf=verf)[0] == h
        with fails(EXIST):
            v.c.create(v.root, "x", how=EXCLUSIVE, verf=other)
        v.server.restart()
        v.c.connect()
        assert v.c.create(v.root, "x", how=EXCLUSIVE, verf=verf)[0] == h
        v.c.setattr(h, mode=0o644, atime="now", mtime="now")
        with fails(EXIST):
            v.c.create(v.root, "x", how=EXCLUSIVE, verf=verf)


@test
def t_mkdir_symlink_mknod():
    with Volume() as v:
        h, attr, _ = v.c.mkdir(v.root, "d", mode=0o1775, gid=7)
        assert attr["mode"] == 0o1775 and st(v.path + "/d").st_gid == 7
        with fails(EXIST):
            v.c.mkdir(v.root, "d")
        h, attr, _ = v.c.symlink(v.root, "s", "../../etc/passwd", uid=5)
        assert attr["type"] == 5 and v.c.readlink(h) == b"../../etc/passwd" and st(v.path + "/s").st_uid == 5
        long = b"a/" * 2047 + b"x"
        h, _, _ = v.c.symlink(v.root, "long", long)
        assert v.c.readlink(h) == long
        for target, status in ((b"", INVAL), (b"a\0b", INVAL), (b"x" * 4096, NAMETOOLONG)):
            with fails(status):
                v.c.symlink(v.root, "bad", target)
        for name, kind, device, check in (("c", 4, (1, 3), stat.S_ISCHR), ("b", 3, (7, 200), stat.S_ISBLK),
                                          ("p", 7, None, stat.S_ISFIFO), ("sock", 6, None, stat.S_ISSOCK)):
            h, attr, _ = v.c.mknod(v.root, name, kind, device, mode=0o620)
            s = st(v.path + "/" + name)
            assert check(s.st_mode) and s.st_mode & 0o777 == 0o620 and attr["type"] == kind, name
            if device:
                assert (os.major(s.st_rdev), os.minor(s.st_rdev)) == device == (attr["major"], attr["minor"])
            v.c.setattr(h, mode=0o600, uid=9)
            assert st(v.path + "/" + name).st_mode & 0o777 == 0o600 and st(v.path + "/" + name).st_uid == 9
            with fails(INVAL):
                v.c.read(h, 0, 1)
            with fails(INVAL):
                v.c.write(h, 0, b"x")
        with fails(BADTYPE):
            v.c.mknod(v.root, "bad", 1)


@test
def t_remove_rename_link():
    with Volume() as v:
        d, _, _ = v.c.mkdir(v.root, "d")
        f, _, _ = v.c.create(v.root, "f")
        attr, _ = v.c.link(f, d, "hard")
        assert attr["nlink"] == 2 and v.c.lookup(d, "hard")[0] == f
        with fails(EXIST):
            v.c.link(f, d, "hard")
        with fails(PERM):
            v.c.link(d, v.root, "dirlink")
        s, _, _ = v.c.symlink(v.root, "s", "f")
        v.c.link(s, d, "s2")
        assert os.readlink(v.path + "/d/s2") == "f"
        with fails(NOTEMPTY):
            v.c.rmdir(v.root, "d")
        with fails(NOTDIR):
            v.c.rmdir(v.root, "f")
        with fails(ISDIR):
            v.c.remove(v.root, "d")
        (pre, post), (pre2, post2) = v.c.rename(v.root, "f", d, "moved")
        assert pre and post and pre2 and post2
        assert v.c.lookup(d, "moved")[0] == f, "the handle changed with the name"
        with fails(NOENT):
            v.c.rename(v.root, "f", d, "x")
        for a, b in ((".", "x"), ("..", "x"), ("d", "."), ("d", "..")):
            with fails(INVAL):
                v.c.rename(v.root, a, v.root, b)
        with fails(INVAL):
            v.c.rename(v.root, "d", d, "below-itself")
        v.c.create(v.root, "over")
        v.c.rename(d, "moved", v.root, "over")
        assert v.c.lookup(v.root, "over")[0] == f
        for name in ("hard", "s2"):
            v.c.remove(d, name)
        v.c.rmdir(v.root, "d")
        with fails(STALE):
            v.c.getattr(d)
        with fails(ISDIR):
            v.c.remove(v.root, ".")
        with fails(INVAL):
            v.c.rmdir(v.root, ".")
        with fails(EXIST):
            v.c.rmdir(v.root, "..")


@test
def t_removed_while_used():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        v.c.write(f, 0, b"x" * (64 << 10))
        free = os.statvfs(v.path).f_bfree
        v.c.remove(v.root, "f")
        for use in (lambda: v.c.getattr(f), lambda: v.c.read(f, 0, 1), lambda: v.c.write(f, 0, b"y"), lambda: v.c.commit(f)):
            with fails(STALE):
                use()
        # By the host, while the server has it open.
        g, _, _ = v.c.create(v.root, "g")
        v.c.write(g, 0, b"x")
        os.unlink(v.path + "/g")
        with fails(STALE):
            v.c.getattr(g)
        assert free > 0


@test
def t_access():
    with Volume() as v:
        open(v.path + "/f", "w").close()
        os.chmod(v.path + "/f", 0o640)
        os.chown(v.path + "/f", 1000, 2000)
        os.mkdir(v.path + "/d")
        os.chmod(v.path + "/d", 0o751)
        os.chown(v.path + "/d", 1000, 2000)
        R, L, M, E, D, X = 1, 2, 4, 8, 16, 32
        f, d = v.c.walk(v.root, "f"), v.c.walk(v.root, "d")
        users = {"root": v.c, "owner": v.c.as_user(1000, 1), "group": v.c.as_user(1, 2000),
                 "listed": v.c.as_user(1, 1, [7, 2000]), "other": v.c.as_user(1, 1)}
        wanted = {"root": (R | M | E, R | L | M | E | D), "owner": (R | M | E, R | L | M | E | D), "group": (R, R | L),
                  "listed": (R, R | L), "other": (0, L)}
        for who, c in users.items():
            got = c.access(f, 63), c.access(d, 63)
            assert got == wanted[who], (who, got)
        assert users["other"].access(d, R | X) == 0 and users["root"].access(f, R) == R
        if shutil.which("setfacl"):
            subprocess.run(["setfacl", "-m", "u:77:rw", v.path + "/f"], check=True)
            assert v.c.as_user(77, 77).access(f, 63) == R | M | E, "an ACL does not count"


@test
def t_readdir():
    with Volume() as v:
        d, _, _ = v.c.mkdir(v.root, "d")
        assert [e[1] for e in v.c.list(d)] and v.c.names(d) == []
        for i in range(300):
            v.c.create(d, "file-%d" % i)
        v.c.mkdir(d, "dir")
        v.c.symlink(d, "link", "x")
        want = sorted(os.fsencode(n) for n in os.listdir(v.path + "/d"))
        inos = {os.fsencode(n): st(v.path + "/d/" + n).st_ino for n in os.listdir(v.path + "/d")}
        for count in (200, 512, 4096, 65536):
            entries = v.c.list(d, count=count)
            assert sorted(e[1] for e in entries if e[1] not in (b".", b"..")) == want, count
            assert all(e[0] == inos[e[1]] for e in entries if e[1] in inos)
        for maxcount, dircount in ((600, 512), (4096, 100), (32768, 8192), (1 << 20, 1 << 20)):
            entries = v.c.list(d, plus=True, maxcount=maxcount, dircount=dircount)
            assert sorted(e[1] for e in entries if e[1] not in (b".", b"..")) == want, maxcount
            for ino, name, _, attr, h in entries:
                if name in inos:
                    assert attr["fileid"] == inos[name] == ino and v.c.lookup(d, name)[0] == h
                elif name == b".":
                    assert h == d
                else:
                    assert attr is None and h is None, "what is above is told"
        root = {e[1]: e[0] for e in v.c.list(v.root)}
        assert root[b".."] == root[b"."] == st(v.path).st_ino, "the inode above the export is told"
        for bad in (lambda: v.c.readdir_page(d, count=20), lambda: v.c.readdir_page(d, count=110),
                    lambda: v.c.readdirplus_page(d, maxcount=120)):
            with fails(TOOSMALL):
                bad()
        with fails(BAD_COOKIE):
            v.c.readdir_page(d, cookie=5, verf=b"x" * 8)
        with fails(BAD_COOKIE):
            v.c.readdir_page(d, cookie=1 << 63)
        with fails(NOTDIR):
            v.c.readdir_page(v.c.walk(d, "file-1"))


def changing_directory(v, n, plus):
    d, _, _ = v.c.mkdir(v.root, "many")
    path = v.path + "/many/"
    for i in range(n):
        os.close(os.open(path + "stay-%05d" % i, os.O_CREAT))
        if i % 5 == 0:
            os.close(os.open(path + "go-%05d" % i, os.O_CREAT))

    def change(done, made=[0]):
        for _ in range(5):
            victims = path + "go-%05d" % (random.randrange(n) // 5 * 5)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(victims)
            made[0] += 1
            os.close(os.open(path + "new-%05d" % made[0], os.O_CREAT))

    more = {"maxcount": 8192, "dircount": 8192} if plus else {"count": 4096}
    names = [e[1] for e in v.c.list(d, plus=plus, between=change, **more)]
    stay = [x for x in names if x.startswith(b"stay-")]
    assert len(stay) == len(set(stay)), "an entry came twice"
    assert len(stay) == n, "%d of %d entries" % (len(stay), n)


@test
def t_readdir_while_it_changes():
    with Volume() as v:
        changing_directory(v, 5000, False)


@test
def t_readdirplus_while_it_changes():
    with Volume() as v:
        changing_directory(v, 5000, True)


@test
def t_two_readers_of_one_directory():
    """The pages of two listings in turn: each goes on where it was."""
    with Volume() as v:
        for i in range(2000):
            os.close(os.open(v.path + "/f%d" % i, os.O_CREAT))
        want = sorted(os.fsencode(n) for n in os.listdir(v.path))
        readers = [{"c": Client(v.server.port), "names": [], "cookie": 0, "eof": False} for _ in range(6)]
        while not all(r["eof"] for r in readers):
            for r in readers:
                if not r["eof"]:
                    page, r["eof"], _ = r["c"].readdirplus_page(v.root, r["cookie"], maxcount=random.choice((2000, 8192)))
                    r["names"] += [e[1] for e in page]
                    r["cookie"] = page[-1][2] if page else r["cookie"]
        for r in readers:
            assert sorted(x for x in r["names"] if x not in (b".", b"..")) == want


@test
def t_file_system_calls():
    with Volume() as v:
        s = os.statvfs(v.path)
        total, free, avail, files, ffree, afiles, invar = v.c.fsstat(v.root)
        assert total == s.f_blocks * s.f_frsize and files == s.f_files and invar == 0 and avail <= free <= total
        info = v.c.fsinfo(v.root)
        assert info[0] == info[3] == 1 << 20 and info[7] == (1 << 63) - 1 and info[10] == 1 | 2 | 8 | 16, info
        linkmax, name_max, no_trunc, restricted, insensitive, preserving = v.c.pathconf(v.root)
        assert (name_max, no_trunc, restricted, insensitive, preserving) == (255, 1, 1, 0, 1) and linkmax > 1


# ---- identity


@test
def t_preserve():
    with Volume() as v:
        os.chmod(v.path, 0o777)
        user, other = v.c.as_user(1000, 1001, [1002]), v.c.as_user(2000, 2001)
        f, attr, _ = user.create(v.root, "f", mode=0o600)
        assert (attr["uid"], attr["gid"]) == (1000, 1001)
        d, attr, _ = user.mkdir(v.root, "d", mode=0o700)
        assert (attr["uid"], attr["gid"]) == (1000, 1001)
        with fails(ACCES):
            other.read(f, 0, 1)
        with fails(ACCES):
            other.write(f, 0, b"x")
        with fails(ACCES):
            other.lookup(d, "x")
        with fails(ACCES):
            other.readdir_page(d)
        with fails(ACCES):
            other.create(d, "x")
        with fails(PERM):
            other.setattr(f, mode=0o777)
        with fails(PERM):
            user.setattr(f, uid=0)
        with fails(PERM):
            user.mknod(v.root, "dev", 4, (1, 3), mode=0o666)
        user.setattr(f, gid=1002)
        assert st(v.path + "/f").st_gid == 1002
        with fails(PERM):
            user.setattr(f, gid=4242)
        # The owner may use a file that he has open, whatever its mode has become.
        user.setattr(f, mode=0o400)
        assert user.write(f, 0, b"still")[0] == 5
        user.setattr(f, mode=0)
        assert user.read(f, 0, 5)[0] == b"still"
        user.setattr(f, size=2)
        with fails(ACCES):
            other.read(f, 0, 5)
        # Who may execute it may read it, to run it.
        user.setattr(f, mode=0o711)
        assert other.read(f, 0, 2)[0] == b"st"
        assert other.access(f, 1 | 32) == 32
        # A directory that is sticky, and one of another's.
        os.chmod(v.path, 0o1777)
        with fails(PERM):
            other.remove(v.root, "f")
        os.mkdir(v.path + "/roots")
        with fails(ACCES):
            user.create(v.c.walk(v.root, "roots"), "x")
        with fails(ACCES):
            user.link(f, v.c.walk(v.root, "roots"), "x")
        user.link(f, d, "mine")
        # Set-id bits go when another than root writes.
        user.setattr(f, mode=0o6755)
        user.write(f, 0, b"x")
        assert st(v.path + "/f").st_mode & 0o7777 == 0o755
        # Root may all of that.
        v.c.write(f, 0, b"root")
        v.c.setattr(f, uid=5, gid=6, mode=0o4700)
        v.c.remove(d, "mine")
        # AUTH_NONE is nobody.
        nobody = v.c.as_user(0, 0)
        nobody.cred = nfs3.AUTH_NONE
        assert nobody.access(v.c.walk(v.root, "roots"), 4 | 1) == 1
        with fails(ACCES):
            nobody.read(f, 0, 1)


@test
def t_identities_do_not_mix():
    """Many users at once over one connection, some calls in workers: everyone's files are everyone's own."""
    with Volume() as v:
        os.chmod(v.path, 0o777)
        users = [v.c.as_user(3000 + i, 4000 + i) for i in range(8)]
        handles = [u.create(v.root, "u%d" % i, mode=0o600)[0] for i, u in enumerate(users)]
        pending = {}
        for round in range(60):
            for i, u in enumerate(users):
                j = random.randrange(8)
                v.c.xid += 1
                data = b"%d" % i * (1 if round % 2 else 100000)
                args = opaque(handles[j]) + struct.pack(">QII", 0, len(data), round % 3) + opaque(data)
                v.c.send(v.c.record(NFS, WRITE, args, xid=v.c.xid, cred=u.cred))
                pending[v.c.xid] = OK if i == j else ACCES
            while pending and len(pending) > 16:
                xid, r = v.c.receive()
                assert r.u32() == pending.pop(xid)
        while pending:
            xid, r = v.c.receive()
            assert r.u32() == pending.pop(xid)
        for i in range(8):
            s = st(v.path + "/u%d" % i)
            assert (s.st_uid, s.st_gid) == (3000 + i, 4000 + i)


@test
def t_squash():
    with Volume("uid=1500,gid=1600") as v:
        os.chown(v.path, 1500, 1600)
        open(v.path + "/root", "w").close()
        os.chmod(v.path + "/root", 0o600)
        for c in (v.c, v.c.as_user(77, 78)):
            f, attr, _ = c.create(v.root, "f", mode=0o600, uid=0, gid=0)
            assert (attr["uid"], attr["gid"]) == (1500, 1600)
            c.write(f, 0, b"x")
            c.remove(v.root, "f")
            with fails(ACCES):
                c.read(v.c.walk(v.root, "root"), 0, 1)
        f, _, _ = v.c.create(v.root, "f")
        with fails(PERM):
            v.c.setattr(f, uid=0)


@test
def t_read_only():
    with Volume("ro") as v:
        open(v.path + "/f", "w").write("text")
        os.mkdir(v.path + "/d")
        f, d = v.c.walk(v.root, "f"), v.c.walk(v.root, "d")
        assert v.c.read(f, 0, 9) == (b"text", True)
        for change in (lambda: v.c.write(f, 0, b"x"), lambda: v.c.setattr(f, mode=0o777), lambda: v.c.setattr(f, size=0),
                       lambda: v.c.create(v.root, "x"), lambda: v.c.create(v.root, "x", how=EXCLUSIVE, verf=b"12345678"),
                       lambda: v.c.mkdir(v.root, "x"), lambda: v.c.symlink(v.root, "x", "y"),
                       lambda: v.c.mknod(v.root, "x", 7), lambda: v.c.remove(v.root, "f"), lambda: v.c.rmdir(v.root, "d"),
                       lambda: v.c.rename(v.root, "f", v.root, "g"), lambda: v.c.link(f, d, "g")):
            with fails(ROFS):
                change()
        assert v.c.access(d, 63) == 1 | 2 and v.c.access(f, 63) == 1
        v.c.commit(f)
        assert sorted(os.listdir(v.path)) == ["d", "f"]


@test
def t_full_disk_and_quota():
    """ENOSPC as itself; the quota's error needs a file system with quotas and is tested by the mapping alone."""
    top = tempfile.mkdtemp(prefix="volumes.")
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "none", top]).returncode:
            raise Skip("no tmpfs can be mounted")
        try:
            with Volume(dir=top) as v:
                h, _, _ = v.c.create(v.root, "f")
                at = 0
                with fails(NOSPC):
                    while at < 4 << 20:
                        at += v.c.write(h, at, b"x" * 65536)[0]
                with fails(NOSPC):
                    for i in range(40):
                        v.c.create(v.root, "f%d" % i)
        finally:
            subprocess.run(["umount", "-l", top], check=True)
    finally:
        os.rmdir(top)


# ---- exports


@test
def t_single_file():
    top = tempfile.mkdtemp(prefix="volumes.")
    try:
        path = top + "/resolv.conf"
        open(path, "w").write("nameserver 1\n")
        open(top + "/neighbour", "w").write("no\n")
        server = Server([path + ":name=/etc/resolv.conf", top + "/neighbour:name=/n,ro"])
        c = Client(server.port)
        root = c.mount("/etc/resolv.conf")
        a = c.getattr(root)
        assert a["type"] == 2 and a["mode"] == 0o555
        assert c.names(root) == [b"resolv.conf"] == c.names(root, plus=True)
        f, attr = c.lookup(root, "resolv.conf")
        assert attr["fileid"] == st(path).st_ino != a["fileid"]
        assert c.lookup(root, "..")[0] == root == c.lookup(root, ".")[0]
        assert c.access(root, 63) == 1 | 2
        for name in ("neighbour", "resolv.conf2"):
            with fails(NOENT):
                c.lookup(root, name)
        for change in (lambda: c.create(root, "x"), lambda: c.remove(root, "resolv.conf"), lambda: c.mkdir(root, "x"),
                       lambda: c.rename(root, "resolv.conf", root, "x"), lambda: c.setattr(root, mode=0o777)):
            with fails(ROFS):
                change()
        assert c.read(f, 0, 100)[0] == b"nameserver 1\n"
        c.write(f, 0, b"NAMESERVER")
        c.setattr(f, size=12)
        c.commit(f)
        assert open(path).read() == "NAMESERVER 1"
        n, _ = c.lookup(c.mount("/n"), "n")
        assert c.read(n, 0, 9)[0] == b"no\n"
        with fails(ROFS):
            c.write(n, 0, b"x")
        with fails(ROFS):
            c.call(LINK, opaque(f) + opaque(c.mount("/n")) + opaque(b"x"))
        # As with a bind mount: replacing the file on the host leaves the old one here ...
        open(top + "/new", "w").write("new\n")
        os.link(path, top + "/old")
        os.rename(top + "/new", path)
        assert c.read(f, 0, 100)[0] == b"NAMESERVER 1"
        # ... and what is written to the file that it was is seen.
        open(top + "/old", "a").write("!")
        assert c.read(f, 0, 100)[0] == b"NAMESERVER 1!"
        c.fsstat(root), c.fsinfo(root), c.pathconf(root)
        server.stop()
    finally:
        shutil.rmtree(top)


@test
def t_nested_mounts():
    """A mount beneath the directory is part of the volume, with a file system id and handles of its own; also after a
    restart, when nobody looks its name up again."""
    top = tempfile.mkdtemp(prefix="volumes.")
    os.makedirs(top + "/vol/sub/m")
    if subprocess.run(["mount", "-t", "tmpfs", "none", top + "/vol/sub/m"]).returncode:
        os.system("rm -rf " + top)
        raise Skip("no tmpfs can be mounted")
    try:
        open(top + "/vol/sub/m/inner", "w").write("inner")
        server = Server([top + "/vol:name=/vol"])
        c = Client(server.port)
        root = c.mount("/vol")
        sub = c.walk(root, "sub")
        m, attr = c.lookup(sub, "m")
        assert attr["fsid"] != c.getattr(sub)["fsid"]
        inner, _ = c.lookup(m, "inner")
        assert c.read(inner, 0, 9)[0] == b"inner"
        assert c.lookup(m, "..")[0] == sub
        entries = {e[1]: e for e in c.list(sub, plus=True)}
        assert entries[b"m"][4] == m and entries[b"m"][3]["fsid"] == attr["fsid"]
        f, _, _ = c.create(root, "f")
        with fails(XDEV):
            c.rename(root, "f", m, "f")
        with fails(XDEV):
            c.link(f, m, "f")
        os.mkdir(top + "/vol/sub/empty")
        for change in (lambda: c.rmdir(sub, "m"), lambda: c.rename(sub, "m", sub, "n"), lambda: c.rename(sub, "empty", sub, "m")):
            with fails(ACCES):
                change()
        server.restart()
        c.connect()
        assert c.read(inner, 0, 9)[0] == b"inner"
        # What the host mounts later is not part of it.
        os.mkdir(top + "/vol/later")
        subprocess.run(["mount", "-t", "tmpfs", "none", top + "/vol/later"], check=True)
        try:
            open(top + "/vol/later/x", "w").close()
            assert c.names(c.walk(root, "later")) == []
        finally:
            subprocess.run(["umount", top + "/vol/later"], check=True)
        server.stop()
    finally:
        subprocess.run(["umount", "-l", top + "/vol/sub/m"], check=True)
        shutil.rmtree(top)


# ---- restarts and retransmissions


@test
def t_restart():
    with Volume() as v:
        d, _, _ = v.c.mkdir(v.root, "d")
        f, _, _ = v.c.create(d, "f")
        verf = v.c.write(f, 0, b"data")[2]
        page, eof, _ = v.c.readdir_page(v.root, count=512)
        v.server.restart()
        v.c.connect()
        assert v.c.getattr(f)["size"] == 4 and v.c.read(f, 0, 9)[0] == b"data"
        assert v.c.lookup(v.root, "d")[0] == d and v.c.mount("/vol") == v.root
        assert v.c.commit(f) != verf, "the write verifier did not change"
        v.c.write(f, 4, b"more")
        assert open(v.path + "/d/f").read() == "datamore"


@test
def t_stop_answers_what_is_under_way():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        data = os.urandom(1 << 20)
        for i in range(4):
            v.c.send(v.c.record(NFS, WRITE, opaque(f) + struct.pack(">QII", i << 20, 1 << 20, FILE_SYNC) + opaque(data), xid=i))
        assert v.c.receive()[1].u32() == OK
        v.server.stop()
        answered = 1
        with contextlib.suppress(RpcError, ConnectionError):
            while True:
                assert v.c.receive()[1].u32() == OK
                answered += 1
        assert st(v.path + "/f").st_size >= answered << 20
        v.server.start()


@test
def t_retransmission():
    """What cannot be repeated is answered from memory, over another connection, too, and only if it is the same."""
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        d, _, _ = v.c.mkdir(v.root, "d")
        n = opaque(v.root)

        def twice(proc, args, xid):
            first = v.c.raw(NFS, proc, args, xid=xid).data
            v.c.connect()
            second = v.c.raw(NFS, proc, args, xid=xid).data
            assert first == second, "the second answer is another"
            return struct.unpack(">I", first[24:28])[0]

        assert twice(REMOVE, n + opaque(b"f"), 100) == OK
        assert twice(MKDIR, n + opaque(b"e") + sattr(mode=0o755), 101) == OK
        assert twice(RENAME, n + opaque(b"e") + n + opaque(b"g"), 102) == OK
        assert twice(RMDIR, n + opaque(b"g"), 103) == OK
        assert twice(SYMLINK, n + opaque(b"s") + sattr() + opaque(b"x"), 104) == OK
        assert twice(MKNOD, n + opaque(b"p") + struct.pack(">I", 7) + sattr(mode=0o600), 105) == OK
        assert twice(CREATE, n + opaque(b"c") + struct.pack(">I", GUARDED) + sattr(mode=0o600), 106) == OK
        c, _ = v.c.lookup(v.root, "c")
        assert twice(LINK, opaque(c) + n + opaque(b"l"), 107) == OK
        a = v.c.getattr(c)
        assert twice(SETATTR, opaque(c) + sattr(mode=0o640) + struct.pack(">III", 1, a["ctime"], a["ctime_ns"]), 108) == OK
        # The same xid, another call, or another caller: not the same.
        with fails(NOENT):
            v.c.call(REMOVE, n + opaque(b"never"), xid=100)
        with fails(ACCES):
            v.c.as_user(9, 9).call(RMDIR, n + opaque(b"d"), xid=109)
        v.c.call(RMDIR, n + opaque(b"d"), xid=109)
        # More of them than are remembered.
        for i in range(600):
            v.c.call(MKDIR, n + opaque(b"m%d" % i) + sattr(), xid=1000 + i)
        with fails(EXIST):
            v.c.call(MKDIR, n + opaque(b"m0") + sattr(), xid=1000)


@test
def t_durable():
    with Volume("durable") as v:
        f, _, _ = v.c.create(v.root, "f")
        v.c.rename(v.root, "f", v.root, "g")
        first = v.c.raw(NFS, REMOVE, opaque(v.root) + opaque(b"g"), xid=5).data
        assert v.c.raw(NFS, REMOVE, opaque(v.root) + opaque(b"g"), xid=5).data == first
        # Twice at once: the first is still being worked on.
        for i in range(50):
            args = opaque(v.root) + opaque(b"d%d" % i) + sattr()
            v.c.send(v.c.record(NFS, MKDIR, args, xid=100 + i))
            v.c.send(v.c.record(NFS, MKDIR, args, xid=100 + i))
            assert v.c.receive()[1].u32() == OK
            v.c.send(v.c.record(NFS, NULL, xid=9999))
            while True:
                xid, r = v.c.receive()
                if xid == 9999:
                    break
                assert r.u32() == OK, "the repetition failed"
        assert len(os.listdir(v.path)) == 50


# ---- handles


@test
def t_forged_handles():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        for h in (b"", b"\0" * 4, b"\0" * 64, b"\0" + os.urandom(31), f[:-1], f[:16], f + b"\0", f[:8], f[:-8] + v.root[-8:]):
            with fails(BADHANDLE):
                v.c.getattr(h)
        try:
            v.c.getattr(b"x" * 65)
            raise AssertionError("accepted")
        except RpcError as e:
            assert "accept_stat 4" in str(e)
        refused = 0
        for i in range(len(f)):
            for bit in range(8):
                h = bytearray(f)
                h[i] ^= 1 << bit
                try:
                    v.c.getattr(bytes(h))
                    raise AssertionError("a changed handle was accepted")
                except NfsError as e:
                    assert e.status in (BADHANDLE, STALE), e.status
                    refused += 1
        assert refused == 8 * len(f)
        # A handle of the kernel's for something outside, in the form of one of ours.
        libc = ctypes.CDLL(None, use_errno=True)
        buf = ctypes.create_string_buffer(struct.pack("Ii", 64, 0) + b"\0" * 64)
        mount_id = ctypes.c_int()
        if libc.name_to_handle_at(-100, v.top.encode(), buf, ctypes.byref(mount_id), 0) == 0:
            n, kind = struct.unpack("Ii", buf.raw[:8])
            if n == f[3]:
                with fails(BADHANDLE):
                    v.c.getattr(f[:2] + bytes([kind]) + f[3:8] + buf.raw[8:8 + n] + f[-8:])
        assert v.c.getattr(f)


@test
def t_foreign_handles():
    """Of another VM (another key), of another export, of the same directory under another name."""
    with Volume(more=["TOP/vol:name=/again", "TOP:name=/outer"]) as v:
        f, _, _ = v.c.create(v.root, "f")
        again = v.c.walk(v.c.mount("/again"), "f")
        assert again != f and v.c.getattr(again)["fileid"] == v.c.getattr(f)["fileid"]
        with fails(XDEV):
            v.c.call(RENAME, opaque(v.root) + opaque(b"f") + opaque(v.c.mount("/again")) + opaque(b"g"))
        # The tag of one scope with the rest of the other's.
        with fails(BADHANDLE):
            v.c.getattr(f[:4] + again[4:8] + f[8:])
        other = Server([v.path + ":name=/vol"])
        c = Client(other.port)
        with fails(STALE):
            c.getattr(f)
        with fails(STALE):
            v.c.getattr(c.mount("/vol"))
        other.stop()
        # The export's directory is another: nothing of the old one is served.
        os.rename(v.path, v.path + ".old")
        os.mkdir(v.path)
        v.server.restart()
        v.c.connect()
        with fails(STALE):
            v.c.getattr(f)


@test
def t_moved_out():
    """A directory that leaves the export is stale, and so is all that can be met in it."""
    with Volume() as v:
        os.makedirs(v.path + "/a/b/c")
        open(v.path + "/a/b/f", "w").write("secret later")
        a, b, c = (v.c.walk(v.root, p) for p in ("a", "a/b", "a/b/c"))
        os.rename(v.path + "/a", v.top + "/outside")
        time.sleep(1.2)
        for h in (a, b, c):
            with fails(STALE):
                v.c.lookup(h, "f")
            with fails(STALE):
                v.c.lookup(h, "..")
            with fails(STALE):
                v.c.readdir_page(h)
            with fails(STALE):
                v.c.create(h, "new")
        v.server.restart()
        v.c.connect()
        with fails(STALE):
            v.c.getattr(b)
        os.rename(v.top + "/outside", v.path + "/back")
        assert v.c.lookup(v.root, "back")[0] == a and v.c.names(b) == [b"c", b"f"]


def overlay(top):
    for n in ("lower", "upper", "work", "merged"):
        os.mkdir(top + "/" + n)
    options = "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (top, top, top)
    return subprocess.run(["mount", "-t", "overlay", "-o", options, "none", top + "/merged"]).returncode == 0


def fallback(v, path):
    """The same on file systems without handles: an export at /vol of `path`."""
    c, root = v
    d, _, _ = c.mkdir(root, "d")
    e, _, _ = c.mkdir(d, "e")
    f, _, _ = c.create(e, "f")
    c.write(f, 0, b"data")
    assert c.walk(root, "d/e/f") == f
    c.rename(e, "f", root, "g")
    assert c.read(f, 0, 9)[0] == b"data", "lost by a rename"
    assert c.lookup(root, "g")[0] == f
    c.rename(root, "g", e, "f")
    for i in range(500):
        os.close(os.open(path + "/d/e/n%03d" % i, os.O_CREAT))
    names = c.names(e, count=700)
    assert names == sorted([b"f"] + [b"n%03d" % i for i in range(500)])
    for _, name, _, attr, h in c.list(e, plus=True, maxcount=3000):
        if name not in (b".", b".."):
            assert c.getattr(h)["fileid"] == attr["fileid"] == st(path + "/d/e/" + name.decode()).st_ino
    return d, e, f


@test
def t_overlay():
    top = tempfile.mkdtemp(prefix="volumes.")
    mounted = overlay(top)
    try:
        if not mounted:
            raise Skip("no overlay can be mounted")
        os.makedirs(top + "/lower/low")
        subprocess.run(["umount", top + "/merged"], check=True)
        open(top + "/lower/low/file", "w").write("lower")
        options = "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (top, top, top)
        subprocess.run(["mount", "-t", "overlay", "-o", options, "none", top + "/merged"], check=True)
        server = Server([top + "/merged:name=/vol"])
        c = Client(server.port)
        root = c.mount("/vol")
        low = c.walk(root, "low/file")
        assert low[1] == 2, "an overlay has handles now: this tests nothing"
        d, e, f = fallback((c, root), top + "/merged")
        c.write(low, 0, b"LOWER")
        assert c.read(low, 0, 9)[0] == b"LOWER" and open(top + "/lower/low/file").read() == "lower"
        server.restart()
        c.connect()
        assert c.read(f, 0, 9)[0] == b"data", "lost by a restart"
        assert c.read(low, 0, 9)[0] == b"LOWER"
        # Moved by the host while the server was away.
        os.rename(top + "/merged/d/e", top + "/merged/moved")
        server.restart()
        c.connect()
        assert c.read(f, 0, 9)[0] == b"data", "not found again"
        os.unlink(top + "/merged/moved/f")
        with fails(STALE):
            c.getattr(f)
        server.stop()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", top + "/merged"], check=True)
        shutil.rmtree(top)


@test
def t_overlay_directory_changes():
    top = tempfile.mkdtemp(prefix="volumes.")
    mounted = overlay(top)
    try:
        if not mounted:
            raise Skip("no overlay can be mounted")
        with Volume(dir=top + "/merged") as v:
            changing_directory(v, 1500, False)
            shutil.rmtree(v.path + "/many")
            changing_directory(v, 800, True)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", top + "/merged"], check=True)
        shutil.rmtree(top)


@test
def t_unprivileged():
    """Without root: squashed to whom it runs as, and refused with a reason otherwise."""
    top = tempfile.mkdtemp(prefix="volumes.")
    program = top + "/runcvm-volumes"
    try:
        os.mkdir(top + "/vol")
        os.chown(top + "/vol", 1234, 1234)
        os.chmod(top, 0o755)
        shutil.copy(os.environ["VOLUMES_BINARY"], program)
        server = Server([top + "/vol:name=/vol,uid=1234,gid=1234"], program=program, user=1234)
        c = Client(server.port)
        root = c.mount("/vol")
        d, e, f = fallback((c, root), top + "/vol")
        assert st(top + "/vol/d").st_uid == 1234
        c.setattr(f, mode=0o400)
        c.link(f, root, "hard")
        assert st(top + "/vol/hard").st_nlink == 2
        with fails(PERM):
            c.setattr(f, uid=0)
        server.restart()
        c.connect()
        assert c.getattr(f)["nlink"] == 2
        server.stop()
        for options in ("", ":uid=0,gid=0"):
            p = subprocess.run([program, "--listen", "127.0.0.1:0", "--export", top + "/vol" + options], user=1234,
                               group=1234, extra_groups=[], capture_output=True, text=True)
            assert p.returncode == 1 and "started as root" in p.stderr, p.stderr
    finally:
        shutil.rmtree(top)


# ---- abuse


def fragments(record, sizes):
    out, pos = b"", 0
    for n in sizes:
        out += struct.pack(">I", n) + record[pos:pos + n]
        pos += n
    rest = record[pos:]
    return out + struct.pack(">I", 0x80000000 | len(rest)) + rest


@test
def t_fragments():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        data = os.urandom(5000)
        record = v.c.record(NFS, WRITE, opaque(f) + struct.pack(">QII", 0, len(data), 0) + opaque(data), xid=1)
        for sizes in ((1,), (4, 4, 4), (0, 0, 7, 0), tuple([1] * 200), (len(record),), (len(record) // 2, 0)):
            v.c.sock.sendall(fragments(record, sizes))
            assert v.c.receive()[1].u32() == OK
        # Split at every byte of a call, and the whole of it one byte at a time.
        call = v.c.record(NFS, GETATTR, opaque(f), xid=2)
        stream = struct.pack(">I", 0x80000000 | len(call)) + call
        for i in range(1, len(stream)):
            v.c.sock.sendall(stream[:i])
            v.c.sock.sendall(stream[i:])
            assert v.c.receive()[1].u32() == OK
        for i in range(len(stream)):
            v.c.sock.sendall(stream[i:i + 1])
        assert v.c.receive()[1].u32() == OK
        # Many calls in one write, and the last of them cut.
        v.c.sock.sendall(stream * 50 + stream[:30])
        for _ in range(50):
            assert v.c.receive()[1].u32() == OK
        v.c.sock.sendall(stream[30:])
        assert v.c.receive()[1].u32() == OK
        assert v.c.read(f, 0, 5000)[0] == data


def refused(port, data):
    """The server ends the connection."""
    s = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        s.sendall(data)
        while s.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except socket.timeout:
        return False
    finally:
        s.close()


@test
def t_garbage():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        port = v.server.port
        for data in (struct.pack(">I", 0xffffffff), struct.pack(">I", 0x7fffffff), struct.pack(">I", 0x80000000),
                     struct.pack(">I", 0x80000000 | (2 << 20)), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20,
                     struct.pack(">III", 0x80000008, 1, 1), (struct.pack(">I", 1 << 20) + b"x" * (1 << 20)) * 2):
            assert refused(port, data), data[:20]
        random.seed(7)
        for _ in range(200):
            s = socket.create_connection(("127.0.0.1", port))
            with contextlib.suppress(ConnectionError):
                s.sendall(random.randbytes(random.randrange(1, 3000)))
            s.close()
        # Every call cut off at every word, and with its words replaced.
        calls = [(GETATTR, opaque(f)), (SETATTR, opaque(f) + sattr(mode=0o600, size=5, mtime=(1, 2)) + b"\0" * 4),
                 (LOOKUP, opaque(v.root) + opaque(b"f")), (WRITE, opaque(f) + struct.pack(">QII", 0, 8, 0) + opaque(b"12345678")),
                 (CREATE, opaque(v.root) + opaque(b"n") + struct.pack(">I", 0) + sattr(mode=0o600)),
                 (RENAME, opaque(v.root) + opaque(b"n") + opaque(v.root) + opaque(b"o")),
                 (READDIRPLUS, opaque(v.root) + b"\0" * 16 + struct.pack(">II", 4096, 8192)),
                 (MKNOD, opaque(v.root) + opaque(b"p") + struct.pack(">I", 7) + sattr(mode=0o600))]

        def attempt(record):
            try:
                v.c.send(record)
                v.c.receive()
            except RpcError:
                pass
            except ConnectionError:
                v.c.connect()

        for proc, args in calls:
            record = v.c.record(NFS, proc, args)
            for cut in range(8, len(record), 4):
                attempt(record[:cut])
            for at in range(24, len(record), 4):
                for word in (0, 1, 0x7fffffff, 0xffffffff):
                    attempt(record[:at] + struct.pack(">I", word) + record[at + 4:])
        v.c.connect()
        assert v.c.getattr(v.root)["type"] == 2
        assert sorted(os.listdir(v.top)) == ["vol"], "something was made outside"


@test
def t_thousand_connections():
    with Volume() as v:
        before = v.server.rss()
        socks = []
        for i in range(1000):
            s = socket.create_connection(("127.0.0.1", v.server.port))
            # A record that promises a MiB, and a part of it.
            with contextlib.suppress(ConnectionError):
                s.sendall(struct.pack(">I", 0x80000000 | 1 << 20) + b"x" * 1000)
            socks.append(s)
        c = Client(v.server.port)
        assert c.getattr(v.root)["type"] == 2
        assert v.server.fds() < 200 and v.server.rss() < before + (64 << 10), (v.server.fds(), v.server.rss())
        for s in socks:
            s.close()
        assert c.getattr(v.root)["type"] == 2
        v.c.connect()


@test
def t_slow_reader():
    """Who does not take replies is not read from; others are served; memory stays bounded."""
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        for i in range(4):
            v.c.write(f, i << 20, os.urandom(1 << 20))
        slow = []
        for _ in range(20):
            c = Client(v.server.port)
            c.sock.settimeout(0.2)
            record = c.record(NFS, READ, opaque(f) + struct.pack(">QI", 0, 1 << 20))
            stream = (struct.pack(">I", 0x80000000 | len(record)) + record) * 50
            with contextlib.suppress(socket.timeout, ConnectionError):
                for _ in range(20):
                    c.sock.sendall(stream)
            slow.append(c)
        assert v.c.read(f, 0, 1 << 20)[1] is False
        assert v.server.rss() < 120 << 10, v.server.rss()
        for c in slow:
            c.close()
        assert v.c.getattr(f)["size"] == 4 << 20


@test
def t_out_of_order():
    """Quick calls overtake slow ones."""
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        data = os.urandom(1 << 20)
        for i in range(8):
            v.c.send(v.c.record(NFS, WRITE, opaque(f) + struct.pack(">QII", i << 20, 1 << 20, FILE_SYNC) + opaque(data), xid=i))
        for i in range(100, 120):
            v.c.send(v.c.record(NFS, GETATTR, opaque(v.root), xid=i))
        seen = [v.c.receive() for _ in range(28)]
        assert sorted(x for x, _ in seen) == list(range(8)) + list(range(100, 120))
        assert all(r.u32() == OK for _, r in seen)
        assert v.c.read(f, 7 << 20, 1 << 20)[0] == data


@test
def t_races():
    """Directories and symlinks change places while names beneath them are looked up, read, made and removed: never is
    anything outside seen or changed."""
    seconds = float(os.environ.get("RACE_SECONDS", "4"))
    with Volume() as v:
        outside = v.top + "/outside"
        os.makedirs(outside + "/sub")
        open(outside + "/secret", "w").write("SECRET")
        open(outside + "/sub/secret", "w").write("SECRET")
        os.makedirs(v.path + "/real/sub")
        open(v.path + "/real/secret", "w").write("public")
        open(v.path + "/real/sub/secret", "w").write("public")
        os.symlink(outside, v.path + "/evil")
        os.symlink("/proc/self/root" + outside, v.path + "/magic")
        os.mkdir(v.path + "/swap")
        open(v.path + "/swap/secret", "w").write("public")
        end = time.monotonic() + seconds
        problems = []
        libc = ctypes.CDLL(None)

        def exchange(a, b):
            libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), 2)

        def disturb():
            while time.monotonic() < end:
                exchange(v.path + "/swap", v.path + "/evil")
                exchange(v.path + "/real/sub", v.path + "/magic")
                with contextlib.suppress(OSError):
                    os.rename(v.path + "/real", v.top + "/gone")
                with contextlib.suppress(OSError):
                    os.rename(v.top + "/gone", v.path + "/real")

        def use(seed):
            r = random.Random(seed)
            c = Client(v.server.port, uid=r.choice((0, 0, 1000)))
            root = c.mount("/vol")
            known = [root]
            while time.monotonic() < end:
                d = r.choice(known)
                name = r.choice(("swap", "evil", "real", "sub", "secret", "magic", "..", "new"))
                try:
                    what = r.randrange(8)
                    if what < 4:
                        h, attr = c.lookup(d, name)
                        if len(known) < 60:
                            known.append(h)
                        if attr and attr["fileid"] in forbidden:
                            problems.append("handle of something outside: %s" % name)
                        if attr and attr["type"] == 1 and c.read(h, 0, 100)[0] == b"SECRET":
                            problems.append("read outside")
                    elif what == 4:
                        for e in c.readdirplus_page(d)[0]:
                            if e[3] and e[3]["fileid"] in forbidden:
                                problems.append("listed outside")
                    elif what == 5:
                        c.create(d, "new")
                    elif what == 6:
                        c.remove(d, r.choice(("new", "evil2")))
                    else:
                        c.symlink(d, "evil2", "../../outside")
                except NfsError:
                    pass
                except Exception as e:
                    problems.append(repr(e))
                    return

        forbidden = {st(p).st_ino for p in (v.top, outside, outside + "/secret", outside + "/sub", outside + "/sub/secret")}
        threads = [threading.Thread(target=disturb)] + [threading.Thread(target=use, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not problems, problems[:3]
        assert sorted(os.listdir(outside)) == ["secret", "sub"] and os.listdir(outside + "/sub") == ["secret"]
        v.c.connect()
        assert v.c.getattr(v.root)["type"] == 2


# ---- the process


@test
def t_least_privilege():
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        v.c.write(f, 0, b"x", FILE_SYNC)  # there is a worker then
        pid = v.server.process.pid
        for task in os.listdir("/proc/%d/task" % pid):
            status = dict(line.split(":\t", 1) for line in open("/proc/%d/task/%s/status" % (pid, task)) if ":\t" in line)
            # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETGID, SETUID, MKNOD
            assert int(status["CapPrm"], 16) == 0x80000df, status["CapPrm"]
            assert int(status["CapBnd"], 16) == 0 and int(status["CapAmb"], 16) == 0 and int(status["CapInh"], 16) == 0
            assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
        mounts = open("/proc/%d/mountinfo" % pid).read().splitlines()
        assert len(mounts) == 1 and "tmpfs" in mounts[0] and " ro," in mounts[0], mounts
        assert os.listdir("/proc/%d/root" % pid) == []
        assert "core" in open("/proc/%d/limits" % pid).read() and os.readlink("/proc/%d/cwd" % pid) == "/"


@test
def t_leaks():
    """Nothing is kept after use: fds, memory, threads."""
    with Volume() as v:
        for i in range(1500):
            h, _, _ = v.c.create(v.root, "f%d" % i)
            v.c.write(h, 0, b"x")
        most = v.server.fds()
        assert most < 2200, most
        v.c.names(v.root, plus=True)
        deadline = time.monotonic() + 30
        while v.server.fds() > 30 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert v.server.fds() <= 30, v.server.fds()
        for _ in range(3):
            for i in range(1500):
                v.c.getattr(v.c.lookup(v.root, "f%d" % i)[0])
        assert v.server.rss() < 8 << 10, v.server.rss()


@test
def t_memory_with_many_entries():
    """100,000 entries known to the client cost the server nothing that stays."""
    with Volume() as v:
        n = 100000
        for i in range(n):
            os.close(os.open(v.path + "/%06d" % i, os.O_CREAT))
        entries = v.c.list(v.root, plus=True, maxcount=65536, dircount=65536)
        assert len(entries) == n + 2
        for e in random.sample(entries, 3000):
            if e[4]:
                v.c.getattr(e[4])
        deadline = time.monotonic() + 20
        while v.server.rss() >= 4096 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert v.server.rss() < 4096, "%d KiB" % v.server.rss()


@test
def t_command_line():
    program = os.environ["VOLUMES"]
    for args, text in ((["--export", "/tmp"], "nowhere to serve"), (["--what", "x"], "unknown"), (["--listen"], "lacks its value"),
                       (["--listen", "127.0.0.1"], "no ADDRESS:PORT"), (["--listen", "127.0.0.1:x"], "no ADDRESS:PORT"),
                       (["--listen", "127.0.0.1:0", "--export", "/nonexistent/x"], "cannot open the volume"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:what"], "cannot be"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:uid=5"], "cannot be"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp:name=tmp"], "no absolute path"),
                       (["--listen", "127.0.0.1:0", "--export", "/tmp", "--export", "/tmp"], "already"),
                       (["--listen", "127.0.0.1:0", "--export", "/dev/null:name=/x"], "neither a directory nor"),
                       (["--listen", "127.0.0.1:0", "--key", "12"], "cannot be"), (["--config-fd", "99"], "cannot read"),
                       (["--config-fd", "x"], "number of an fd")):
        p = subprocess.run([program, *args], capture_output=True, text=True, timeout=20)
        assert p.returncode == 1 and text in p.stderr and p.stderr.count("\n") == 1, (args, p.returncode, p.stderr)


# ---- configured and controlled as the monitor does it


def tlv(tag, data):
    if isinstance(data, int):
        data = struct.pack("<I", data)
    elif isinstance(data, str):
        data = data.encode() + b"\0"
    return struct.pack("<HI", tag, len(data)) + data


def fields(data):
    out, pos = {}, 0
    while pos < len(data):
        tag, n = struct.unpack_from("<HI", data, pos)
        out.setdefault(tag, []).append(data[pos + 6:pos + 6 + n])
        pos += 6 + n
    return out


def u32(f, tag):
    return struct.unpack("<i", f[tag][0])[0]


class Controlled:
    def __init__(self, exports, extra=()):
        self.mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stream, stream = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.mine.settimeout(20)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        config = tlv(1, os.urandom(16)) + tlv(2, listener.fileno()) + tlv(3, stream.fileno()) + tlv(4, theirs.fileno())
        config += b"".join(tlv(5, e) for e in exports)
        r, w = os.pipe()
        os.write(w, config)
        os.close(w)
        self.process = subprocess.Popen([os.environ["VOLUMES"], "--config-fd", str(r)],
                                        pass_fds=[r, listener.fileno(), stream.fileno(), theirs.fileno(), *extra])
        for x in (theirs, stream, listener):
            x.close()
        os.close(r)
        self.ready = fields(self.mine.recv(65536))
        self.id = 0

    def request(self, kind, more=b"", fds=()):
        self.id += 1
        socket.send_fds(self.mine, [tlv(1, kind) + tlv(2, self.id) + more], list(fds))
        f = fields(self.mine.recv(65536))
        assert u32(f, 1) == 2 and u32(f, 2) == self.id
        return f

    def end(self):
        code = self.process.wait(timeout=20)
        assert code == 0, code


@test
def t_control():
    top = tempfile.mkdtemp(prefix="volumes.")
    try:
        for n in ("a", "b", "c"):
            os.mkdir(top + "/" + n)
        fd = os.open(top + "/c", os.O_PATH)
        s = Controlled([tlv(1, top + "/a") + tlv(2, "/a"), tlv(1, top + "/c") + tlv(2, "/c") + tlv(3, fd)], extra=[fd])
        os.close(fd)
        assert u32(s.ready, 1) == 1 and u32(s.ready, 9) == 1
        c = Client(s.port)
        a = c.mount("/a")
        f, _, _ = c.create(a, "f")
        c.write(f, 0, b"x" * 1000)
        c.read(f, 0, 400)
        with fails(NOENT):
            c.lookup(a, "none")
        c.create(c.mount("/c"), "in-c")
        assert os.path.exists(top + "/c/in-c")
        # The connected stream that was passed in speaks, too.
        d = Client.__new__(Client)
        d.__dict__.update(c.__dict__)
        d.sock = s.stream
        d.sock.settimeout(20)
        assert d.getattr(f)["size"] == 1000
        figures = fields(s.request(3)[8][0])
        q = lambda x: struct.unpack("<Q", x)[0]
        assert q(figures[1][0]) == 400 and q(figures[2][0]) == 1000 and struct.unpack("<I", figures[5][0])[0] == 2
        procedures = {p[1][0]: p for p in map(fields, figures[7])}
        look = procedures[b"LOOKUP\0"]
        assert q(look[2][0]) == 1 and q(look[3][0]) == 1 and q(look[4][0]) <= q(look[6][0]) <= q(look[8][0])
        assert b"MOUNT.MNT\0" in procedures and b"RENAME\0" not in procedures
        # At run time: with its fd; without, the server cannot see it any more.
        fd = os.open(top + "/b", os.O_RDONLY)
        export = tlv(3, tlv(1, top + "/b") + tlv(2, "/b") + tlv(4, 1))
        assert u32(s.request(4, export, [fd]), 5) == 0
        again = s.request(4, export, [fd])
        assert u32(again, 5) == -5 and b"already" in again[7][0]
        os.close(fd)
        lost = s.request(4, tlv(3, tlv(1, top + "/b") + tlv(2, "/lost")))
        assert u32(lost, 5) < 0 and b"cannot open" in lost[7][0]
        b = c.mount("/b")
        with fails(ROFS):
            c.create(b, "x")
        assert u32(s.request(5, tlv(4, "/a")), 5) == 0
        assert u32(s.request(5, tlv(4, "/a")), 5) == -4
        with fails(STALE):
            c.getattr(f)
        with fails(NOENT):
            c.mount("/a")
        assert c.getattr(b)["type"] == 2
        for bad in (b"\1", tlv(1, 99), tlv(1, 4), tlv(1, 5), tlv(1, 4) + tlv(3, tlv(9, 1))):
            s.mine.send(bad)
            assert u32(fields(s.mine.recv(65536)), 5) < 0
        assert u32(s.request(6), 5) == 0
        s.end()
        # When who started it goes, it goes.
        s = Controlled([tlv(1, top + "/a")])
        s.mine.close()
        s.end()
    finally:
        shutil.rmtree(top)


def main():
    global_filter = sys.argv[1:]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for t in tests:
        name = t.__name__[2:]
        if global_filter and name not in global_filter:
            continue
        start = time.monotonic()
        try:
            t()
            result, detail = "passed", ""
        except Skip as e:
            result, detail = "skipped", " # %s" % e
        except BaseException:
            result, detail = "failed", "\n" + traceback.format_exc()
        counts[result] += 1
        print("%s %s (%.1f s)%s" % (result, name, time.monotonic() - start, detail), flush=True)
    print("volumes: %(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
