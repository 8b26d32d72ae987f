# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the volume server's tests share."""
import contextlib
import os
import shutil
import tempfile

from nfs3 import Client, NfsError, Server

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
