# SPDX-License-Identifier: LGPL-2.1-or-later
"""Single files, and mounts beneath an export."""
import os
import shutil
import subprocess
import tempfile

from harness import Skip, Volume, fails, st, test
from nfs3 import *


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
        # ... also when no name of it is left.
        os.unlink(top + "/old")
        c.write(f, 0, b"nameserver 2")
        assert c.lookup(root, "resolv.conf")[0] == f and c.getattr(f)["nlink"] == 1
        assert c.read(f, 0, 100)[0] == b"nameserver 2!"
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
        assert entries[b"m"][3] is None and entries[b"m"][4] is None, "a mount point's number is not its root's"
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


@test
def t_host_executes_what_was_written():
    """The server keeps no file open for writing that was made stable: the host would get ETXTBSY."""
    with Volume() as v:
        program = open("/bin/true", "rb").read()
        for name, stable in (("committed", UNSTABLE), ("stable", FILE_SYNC)):
            f, _, _ = v.c.create(v.root, name, mode=0o755)
            at = 0
            while at < len(program):
                at += v.c.write(f, at, program[at:at + 65536], stable)[0]
            if stable == UNSTABLE:
                v.c.commit(f)
            subprocess.run([v.path + "/" + name], check=True)
