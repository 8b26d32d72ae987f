# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client that is not ours: libnfs, by ctypes; and its tools."""
import ctypes
import errno
import os
import subprocess
import time

from harness import Volume, st, test
from ctypes import byref, c_char_p, c_int, c_uint64, c_void_p


class Stat64(ctypes.Structure):
    _fields_ = [(n, c_uint64) for n in ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks",
                                        "atime", "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used")]


class Dirent(ctypes.Structure):
    """Its first fields."""
    _fields_ = [("next", c_void_p), ("name", c_char_p), ("inode", c_uint64)]


class Libnfs:
    def __init__(self, url):
        self.lib = ctypes.CDLL("libnfs.so.13")
        for name in ("nfs_init_context", "nfs_parse_url_dir", "nfs_readdir", "nfs_get_error"):
            getattr(self.lib, name).restype = c_void_p
        self.nfs = c_void_p(self.lib.nfs_init_context())
        parsed = c_void_p(self.lib.nfs_parse_url_dir(self.nfs, url.encode()))
        assert parsed, "the URL does not parse"
        server, path = ctypes.cast(parsed, ctypes.POINTER(c_char_p))[:2]
        self.lib.nfs_set_autoreconnect(self.nfs, 10)
        self.call("mount", server, path)

    def call(self, name, *args):
        """Raises OSError."""
        rc = getattr(self.lib, "nfs_" + name)(self.nfs, *[a.encode() if isinstance(a, str) else a for a in args])
        if rc < 0:
            text = ctypes.cast(c_void_p(self.lib.nfs_get_error(self.nfs)), c_char_p).value
            raise OSError(-rc, "%s: %s" % (name, text))
        return rc

    def open(self, path, flags, mode=None):
        f = c_void_p()
        if mode is None:
            self.call("open", path, c_int(flags), byref(f))
        else:
            self.call("creat", path, c_int(mode), byref(f))
        return f

    def stat(self, path):
        s = Stat64()
        self.call("lstat64", path, byref(s))
        return s

    def list(self, path):
        d, names = c_void_p(), []
        self.call("opendir", path, byref(d))
        while entry := self.lib.nfs_readdir(self.nfs, d):
            names.append(ctypes.cast(c_void_p(entry), ctypes.POINTER(Dirent)).contents.name)
        self.lib.nfs_closedir(self.nfs, d)
        return sorted(n for n in names if n not in (b".", b".."))

    def pwrite(self, f, offset, data):
        done = 0
        while done < len(data):
            done += self.call("pwrite", f, c_uint64(offset + done), c_uint64(len(data) - done), data[done:])

    def pread(self, f, offset, count):
        buf = ctypes.create_string_buffer(count)
        n = self.call("pread", f, c_uint64(offset), c_uint64(count), buf)
        return buf.raw[:n]


def url(v, path="/vol"):
    return "nfs://127.0.0.1%s?nfsport=%d&mountport=%d" % (path, v.server.port, v.server.port)


@test
def t_libnfs():
    with Volume() as v:
        n = Libnfs(url(v))
        n.call("mkdir2", "/d", c_int(0o750))
        f = n.open("/d/f", 0, 0o640)
        data = os.urandom(3 << 20)
        n.pwrite(f, 5, data)
        n.pwrite(f, 6 << 30, b"far")
        n.call("fsync", f)
        s = n.stat("/d/f")
        assert s.size == (6 << 30) + 3 and s.mode & 0o7777 == 0o640 and s.ino == st(v.path + "/d/f").st_ino
        n.call("close", f)
        f = n.open("/d/f", os.O_RDWR)
        assert n.pread(f, 5, 1 << 20) == data[:1 << 20] and n.pread(f, 6 << 30, 10) == b"far"
        n.call("ftruncate", f, c_uint64(10))
        n.call("truncate", "/d/f", c_uint64(7))
        assert st(v.path + "/d/f").st_size == 7
        n.call("chmod", "/d/f", c_int(0o4711))
        n.call("chown", "/d/f", c_int(3), c_int(4))
        assert st(v.path + "/d/f").st_uid == 3
        n.call("link", "/d/f", "/hard")
        n.call("symlink", "d/f", "/soft")
        buf = ctypes.create_string_buffer(100)
        n.call("readlink", "/soft", buf, c_int(100))
        assert buf.value == b"d/f"
        n.call("rename", "/hard", "/d/g")
        n.call("mknod", "/fifo", c_int(0o10600), c_int(0))
        assert n.list("/") == [b"d", b"fifo", b"soft"] and n.list("/d") == [b"f", b"g"]
        for path, flags, code in (("/none", 0, errno.ENOENT), ("/d/f/x", 0, errno.ENOTDIR)):
            try:
                n.open(path, flags)
                raise AssertionError("opened")
            except OSError as e:
                assert e.errno == code, e
        # The server goes and comes back while the file is open.
        n.pwrite(f, 0, b"before")
        v.server.restart()
        n.pwrite(f, 6, b"after")
        assert n.pread(f, 0, 20) == b"beforeafter"
        n.call("fsync", f)
        n.call("close", f)
        for name in ("/d/f", "/d/g", "/soft", "/fifo"):
            n.call("unlink", name)
        n.call("rmdir", "/d")
        assert os.listdir(v.path) == []


@test
def t_libnfs_large_directory():
    with Volume() as v:
        for i in range(5000):
            os.close(os.open(v.path + "/%05d-%s" % (i, "x" * (i % 100)), os.O_CREAT))
        n = Libnfs(url(v))
        assert n.list("/") == sorted(os.fsencode(x) for x in os.listdir(v.path))


@test
def t_libnfs_tools():
    with Volume() as v:
        with open(v.top + "/local", "wb") as f:
            f.write(os.urandom(5 << 20))
        subprocess.run(["nfs-cp", v.top + "/local", url(v, "/vol/copy")], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmp", v.top + "/local", v.path + "/copy"], check=True)
        listing = subprocess.run(["nfs-ls", url(v)], check=True, capture_output=True, text=True).stdout
        assert "copy" in listing and "5242880" in listing


@test
def t_host_changes_are_seen():
    """The server remembers nothing about files: the next call sees what the host did."""
    with Volume() as v:
        f, _, _ = v.c.create(v.root, "f")
        for i in range(200):
            data = b"%d" % time.monotonic_ns()
            with open(v.path + "/f", "wb") as host:
                host.write(data)
            assert v.c.read(f, 0, 100)[0] == data and v.c.getattr(f)["size"] == len(data)
            os.rename(v.path + "/f", v.path + "/g")
            assert v.c.names(v.root) == [b"g"] and v.c.lookup(v.root, "g")[0] == f
            os.rename(v.path + "/g", v.path + "/f")
            v.c.write(f, 0, b"guest")
            assert open(v.path + "/f", "rb").read()[:5] == b"guest"
