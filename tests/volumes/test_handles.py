# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handles that are forged, foreign or stale; file systems without any."""
import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
import time

from harness import Skip, Volume, fails, st, test
from test_procedures import changing_directory
from nfs3 import *


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
def t_handles_of_listings():
    """READDIRPLUS knows handles of before: they are those of LOOKUP, also of names that became other files'."""
    with Volume(dir=os.environ.get("WHERE", "/var/tmp")) as v:
        d = v.path
        for i in range(300):
            open(d + "/f%d" % i, "w").close()
        os.mkdir(d + "/sub")
        os.symlink("f1", d + "/link")
        time.sleep(3.1)  # what was just born is not kept

        # Without LOOKUP the server opens none of them, so that the numbers of what is removed are free at once.
        def check(look=True):
            seen = {}
            for e in v.c.list(v.root, plus=True, maxcount=32768, dircount=32768):
                if e[1] not in (b".", b".."):
                    if look:
                        assert v.c.lookup(v.root, e[1])[0] == e[4] and v.c.getattr(e[4])["fileid"] == e[3]["fileid"], e[1]
                    assert e[3]["fileid"] == st(d + "/" + e[1].decode()).st_ino
                    seen[e[1].decode()] = (e[3]["fileid"], e[4])
            return seen

        first = check(look=False)
        assert check(look=False) == first and len(first) == 302
        for i in range(0, 100, 2):
            os.rename(d + "/f%d" % i, d + "/f%d" % (i + 1))
        for i in range(100, 200):
            os.unlink(d + "/f%d" % i)
        for i in range(100, 200):
            open(d + "/f%d" % i, "w").close()
        os.rename(d + "/f200", d + "/sub/f200")
        os.rename(d + "/sub", d + "/elsewhere")
        second = check()
        assert second["f1"] == first["f0"] and second["elsewhere"] == first["sub"] and second["f250"] == first["f250"]
        # Numbers that are used again come with another handle: of a file that is no more.
        numbers = {ino: h for ino, h in first.values()}
        again = [name for name, (ino, h) in second.items() if ino in numbers and (ino, h) not in first.values()]
        if subprocess.run(["stat", "-f", "-c", "%T", d], stdout=subprocess.PIPE, text=True).stdout.strip() == "ext2/ext3":
            assert again, "ext4 used no number again"
        for name in again:
            assert numbers[second[name][0]] != second[name][1]
            with fails(STALE):
                v.c.getattr(numbers[second[name][0]])
        third = check()
        assert third == second
        # Another export of the same directory has handles of its own.
    with Volume(more=["TOP/vol:name=/again"]) as v:
        open(v.path + "/f", "w").close()
        time.sleep(3.1)
        for _ in range(2):
            one = {e[1]: e[4] for e in v.c.list(v.root, plus=True)}
            other = {e[1]: e[4] for e in v.c.list(v.c.mount("/again"), plus=True)}
            assert one[b"f"] != other[b"f"] == v.c.lookup(v.c.mount("/again"), "f")[0] and one[b"f"] == v.c.lookup(v.root, "f")[0]


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
