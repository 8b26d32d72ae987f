# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every procedure, and its errors."""
import contextlib
import os
import random
import shutil
import stat
import struct
import subprocess
import time

from harness import Volume, fails, st, test
from nfs3 import *


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
