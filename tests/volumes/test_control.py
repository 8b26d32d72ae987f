# SPDX-License-Identifier: LGPL-2.1-or-later
"""Configured and controlled as the monitor does it."""
import os
import shutil
import socket
import struct
import subprocess
import tempfile

from harness import fails, test
from nfs3 import *


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
