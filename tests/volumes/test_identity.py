# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose rights a call has."""
import os
import random
import struct
import subprocess
import tempfile

import nfs3
from harness import Skip, Volume, fails, st, test
from nfs3 import *


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
