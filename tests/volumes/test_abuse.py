# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fragments, garbage, crowds, slow readers, races."""
import contextlib
import ctypes
import os
import random
import socket
import struct
import threading
import time

from harness import Volume, st, test
from nfs3 import *


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
