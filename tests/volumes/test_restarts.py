# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restarts and retransmissions."""
import contextlib
import os
import struct

from harness import Volume, fails, st, test
from nfs3 import *


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
