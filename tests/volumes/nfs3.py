# SPDX-License-Identifier: LGPL-2.1-or-later
"""An NFSv3 and MOUNT v3 client of its own, so that a test can say exactly what goes over the wire (RFC 1813, 5531)."""
import os
import socket
import struct
import subprocess

NFS, MOUNT = 100003, 100005
(NULL, GETATTR, SETATTR, LOOKUP, ACCESS, READLINK, READ, WRITE, CREATE, MKDIR, SYMLINK, MKNOD, REMOVE, RMDIR, RENAME,
 LINK, READDIR, READDIRPLUS, FSSTAT, FSINFO, PATHCONF, COMMIT) = range(22)
(OK, PERM, NOENT, IO, NXIO, ACCES, EXIST, XDEV, NODEV, NOTDIR, ISDIR, INVAL, FBIG, NOSPC, ROFS, MLINK, NAMETOOLONG,
 NOTEMPTY, DQUOT, STALE, REMOTE, BADHANDLE, NOT_SYNC, BAD_COOKIE, NOTSUPP, TOOSMALL, SERVERFAULT, BADTYPE, JUKEBOX) = (
    0, 1, 2, 5, 6, 13, 17, 18, 19, 20, 21, 22, 27, 28, 30, 31, 63, 66, 69, 70, 71, 10001, 10002, 10003, 10004, 10005,
    10006, 10007, 10008)
UNSTABLE, DATA_SYNC, FILE_SYNC = range(3)
UNCHECKED, GUARDED, EXCLUSIVE = range(3)


class NfsError(Exception):
    def __init__(self, status):
        super().__init__("NFS status %d" % status)
        self.status = status


class RpcError(Exception):
    pass


def opaque(data):
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)


def name_bytes(name):
    return name.encode() if isinstance(name, str) else name


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, n):
        if self.pos + n > len(self.data):
            raise RpcError("reply is too short")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def u64(self):
        return struct.unpack(">Q", self.take(8))[0]

    def opaque(self):
        n = self.u32()
        data = self.take(n)
        self.take(-n % 4)
        return data

    def fattr(self):
        f = struct.unpack(">5IQQIIQQ6I", self.take(84))
        keys = ("type", "mode", "nlink", "uid", "gid", "size", "used", "major", "minor", "fsid", "fileid", "atime",
                "atime_ns", "mtime", "mtime_ns", "ctime", "ctime_ns")
        return dict(zip(keys, f))

    def post_attr(self):
        return self.fattr() if self.u32() else None

    def pre_attr(self):
        if not self.u32():
            return None
        return dict(zip(("size", "mtime", "mtime_ns", "ctime", "ctime_ns"), struct.unpack(">Q4I", self.take(24))))

    def wcc(self):
        return self.pre_attr(), self.post_attr()

    def post_handle(self):
        return self.opaque() if self.u32() else None

    def end(self):
        if self.pos != len(self.data):
            raise RpcError("%d bytes are left in the reply" % (len(self.data) - self.pos))


def sattr(mode=None, uid=None, gid=None, size=None, atime=None, mtime=None):
    """atime and mtime: None, "now", or (seconds, nanoseconds)."""
    out = b""
    for v in (mode, uid, gid):
        out += struct.pack(">I", 0) if v is None else struct.pack(">II", 1, v)
    out += struct.pack(">I", 0) if size is None else struct.pack(">IQ", 1, size)
    for t in (atime, mtime):
        out += struct.pack(">I", 0 if t is None else 1) if t in (None, "now") else struct.pack(">III", 2, *t)
    return out


def auth_sys(uid, gid, gids=(), machine=b"test"):
    body = struct.pack(">I", 0) + opaque(machine) + struct.pack(">II", uid, gid)
    body += struct.pack(">I", len(gids)) + b"".join(struct.pack(">I", g) for g in gids)
    return struct.pack(">I", 1) + opaque(body)


AUTH_NONE = struct.pack(">II", 0, 0)


class Client:
    def __init__(self, port, uid=0, gid=0, gids=()):
        self.port = port
        self.sock = None
        self.cred = auth_sys(uid, gid, gids)
        self.xid = int.from_bytes(os.urandom(3), "big")
        self.connect()

    def connect(self):
        if self.sock:
            self.sock.close()
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.sock.close()

    def as_user(self, uid, gid, gids=()):
        """Another caller over the same connection."""
        other = Client.__new__(Client)
        other.__dict__.update(self.__dict__)
        other.cred = auth_sys(uid, gid, gids)
        other.xid = int.from_bytes(os.urandom(3), "big")
        return other

    def record(self, prog, proc, args=b"", xid=None, vers=3, cred=None, rpcvers=2):
        if xid is None:
            self.xid += 1
            xid = self.xid
        head = struct.pack(">6I", xid, 0, rpcvers, prog, vers, proc)
        return head + (self.cred if cred is None else cred) + AUTH_NONE + args

    def send(self, record):
        self.sock.sendall(struct.pack(">I", 0x80000000 | len(record)) + record)

    def receive_exactly(self, n):
        data = bytearray()
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise RpcError("the connection ended")
            data += part
        return bytes(data)

    def receive(self):
        """One reply: (xid, reader after the header)."""
        data = b""
        while True:
            mark = struct.unpack(">I", self.receive_exactly(4))[0]
            data += self.receive_exactly(mark & 0x7fffffff)
            if mark & 0x80000000:
                break
        r = Reader(data)
        xid, kind, stat = r.u32(), r.u32(), r.u32()
        if kind != 1:
            raise RpcError("no reply")
        if stat != 0:
            raise RpcError("denied: %s" % data[12:].hex())
        r.u32(), r.opaque()
        accept = r.u32()
        if accept != 0:
            raise RpcError("accept_stat %d" % accept)
        return xid, r

    def raw(self, prog, proc, args=b"", **more):
        self.send(self.record(prog, proc, args, **more))
        return self.receive()[1]

    def call(self, proc, args, prog=NFS, **more):
        r = self.raw(prog, proc, args, **more)
        status = r.u32()
        if status != OK:
            e = NfsError(status)
            e.reader = r
            raise e
        return r

    # MOUNT
    def mount(self, path):
        r = self.call(1, opaque(path.encode()), prog=MOUNT)
        h = r.opaque()
        r.u32()
        return h

    # NFS
    def getattr(self, h):
        return self.call(GETATTR, opaque(h)).fattr()

    def setattr(self, h, guard=None, **attrs):
        g = struct.pack(">I", 0) if guard is None else struct.pack(">III", 1, *guard)
        return self.call(SETATTR, opaque(h) + sattr(**attrs) + g).wcc()

    def lookup(self, d, name):
        r = self.call(LOOKUP, opaque(d) + opaque(name_bytes(name)))
        h = r.opaque()
        attr = r.post_attr()
        r.post_attr()
        r.end()
        return h, attr

    def walk(self, h, path):
        for part in path.split("/"):
            h, _ = self.lookup(h, part)
        return h

    def access(self, h, bits):
        r = self.call(ACCESS, opaque(h) + struct.pack(">I", bits))
        r.post_attr()
        return r.u32()

    def readlink(self, h):
        r = self.call(READLINK, opaque(h))
        r.post_attr()
        return r.opaque()

    def read(self, h, offset, count):
        r = self.call(READ, opaque(h) + struct.pack(">QI", offset, count))
        r.post_attr()
        n, eof = r.u32(), r.u32()
        data = r.opaque()
        assert len(data) == n
        r.end()
        return data, bool(eof)

    def write(self, h, offset, data, stable=UNSTABLE):
        r = self.call(WRITE, opaque(h) + struct.pack(">QII", offset, len(data), stable) + opaque(data))
        pre, post = r.wcc()
        n, committed = r.u32(), r.u32()
        verf = r.take(8)
        r.end()
        return n, committed, verf, pre, post

    def commit(self, h):
        r = self.call(COMMIT, opaque(h) + struct.pack(">QI", 0, 0))
        r.wcc()
        return r.take(8)

    def made(self, r):
        h, attr = r.post_handle(), r.post_attr()
        wcc = r.wcc()
        r.end()
        return h, attr, wcc

    def create_args(self, d, name, how=UNCHECKED, verf=None, **attrs):
        args = opaque(d) + opaque(name_bytes(name)) + struct.pack(">I", how)
        return args + (verf if how == EXCLUSIVE else sattr(**attrs))

    def create(self, d, name, how=UNCHECKED, verf=None, **attrs):
        attrs.setdefault("mode", 0o644)
        return self.made(self.call(CREATE, self.create_args(d, name, how, verf, **attrs)))

    def mkdir(self, d, name, **attrs):
        attrs.setdefault("mode", 0o755)
        return self.made(self.call(MKDIR, opaque(d) + opaque(name_bytes(name)) + sattr(**attrs)))

    def symlink(self, d, name, target, **attrs):
        return self.made(self.call(SYMLINK, opaque(d) + opaque(name_bytes(name)) + sattr(**attrs)
                                   + opaque(name_bytes(target))))

    def mknod(self, d, name, kind, device=None, **attrs):
        args = opaque(d) + opaque(name_bytes(name)) + struct.pack(">I", kind)
        if kind in (3, 4, 6, 7):
            args += sattr(**attrs)
        if device:
            args += struct.pack(">II", *device)
        return self.made(self.call(MKNOD, args))

    def remove(self, d, name):
        return self.call(REMOVE, opaque(d) + opaque(name_bytes(name))).wcc()

    def rmdir(self, d, name):
        return self.call(RMDIR, opaque(d) + opaque(name_bytes(name))).wcc()

    def rename(self, d, name, to, new):
        r = self.call(RENAME, opaque(d) + opaque(name_bytes(name)) + opaque(to) + opaque(name_bytes(new)))
        return r.wcc(), r.wcc()

    def link(self, h, d, name):
        r = self.call(LINK, opaque(h) + opaque(d) + opaque(name_bytes(name)))
        return r.post_attr(), r.wcc()

    def readdir_page(self, d, cookie=0, verf=b"\0" * 8, count=4096):
        r = self.call(READDIR, opaque(d) + struct.pack(">Q", cookie) + verf + struct.pack(">I", count))
        r.post_attr()
        verf, entries = r.take(8), []
        while r.u32():
            entries.append((r.u64(), r.opaque(), r.u64()))
        eof = r.u32()
        r.end()
        return entries, bool(eof), verf

    def readdirplus_page(self, d, cookie=0, verf=b"\0" * 8, dircount=4096, maxcount=16384):
        r = self.call(READDIRPLUS, opaque(d) + struct.pack(">Q", cookie) + verf + struct.pack(">II", dircount, maxcount))
        r.post_attr()
        verf, entries = r.take(8), []
        while r.u32():
            entries.append((r.u64(), r.opaque(), r.u64(), r.post_attr(), r.post_handle()))
        eof = r.u32()
        assert len(r.data) - 24 <= maxcount, "the reply is larger than was asked for"
        r.end()
        return entries, bool(eof), verf

    def list(self, d, plus=False, between=None, **more):
        """All entries; `between` is called after each page."""
        entries, cookie, verf, eof = [], 0, b"\0" * 8, False
        while not eof:
            page, eof, verf = (self.readdirplus_page if plus else self.readdir_page)(d, cookie, verf, **more)
            assert page or eof, "a page without entries that is not the last"
            entries += page
            if page:
                cookie = page[-1][2]
            if between:
                between(len(entries))
        return entries

    def names(self, d, **more):
        return sorted(e[1] for e in self.list(d, **more) if e[1] not in (b".", b".."))

    def fsstat(self, h):
        r = self.call(FSSTAT, opaque(h))
        r.post_attr()
        return struct.unpack(">6QI", r.take(52))

    def fsinfo(self, h):
        r = self.call(FSINFO, opaque(h))
        r.post_attr()
        return struct.unpack(">7IQIII", r.take(48))

    def pathconf(self, h):
        r = self.call(PATHCONF, opaque(h))
        r.post_attr()
        return struct.unpack(">6I", r.take(24))


class Server:
    """A runcvm-volumes of its own.  exports: list of "PATH[:options]"."""

    def __init__(self, exports, key=None, options=(), program=None, user=None):
        self.args = [program or os.environ["VOLUMES"]]
        for e in exports:
            self.args += ["--export", e]
        self.args += ["--key", key or os.urandom(16).hex(), *options]
        self.user = user
        self.port = 0
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args + ["--listen", "127.0.0.1:%d" % self.port], stdout=subprocess.PIPE,
                                        user=self.user, group=self.user, extra_groups=[] if self.user else None)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start: exit code %d" % self.process.wait())
        self.port = int(line.rsplit(b":", 1)[1])

    def stop(self, expect=0):
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        assert code == expect, "the server ended with %d" % code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self):
        """As after a crash, at the same port."""
        self.kill()
        self.start()

    def alive(self):
        return self.process.poll() is None

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def rss(self):
        for line in open("/proc/%d/status" % self.process.pid):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
