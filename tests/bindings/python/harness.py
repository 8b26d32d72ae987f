# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the Python binding share.

From the environment:

    ROOTFS              a root directory with a POSIX shell and the usual tools (busybox does)
                        (BUSYBOX, which tests/run-vm sets, is taken where it is not set)
    KERNEL, INITRAMFS   what guests boot; without them, what the library finds by itself
    RUNCVM_ROOT         where the state of VMs goes; without it, a directory of the test's own
"""

import os
import shutil
import sys
import tempfile
import threading

import runcvm

SKIP = 77


def rootfs():
    """The root directory for VMs; without one, the test is skipped."""
    path = os.environ.get("ROOTFS") or os.environ.get("BUSYBOX")
    if not path:
        print("SKIP: ROOTFS is not set", file=sys.stderr)
        sys.exit(SKIP)
    return path


def work_dir():
    return tempfile.mkdtemp(prefix="runcvm-py.", dir=os.environ.get("TMPDIR", "/tmp"))


_work = None
if "RUNCVM_ROOT" not in os.environ:
    _work = work_dir()
    os.environ["RUNCVM_ROOT"] = os.path.join(_work, "state")
    os.environ.setdefault("RUNCVM_DATA_DIR", os.path.join(_work, "data"))


def machine():
    options = {"rootfs": rootfs(), "memory": 160 << 20}
    if os.environ.get("KERNEL"):
        options["kernel"] = os.environ["KERNEL"]
    if os.environ.get("INITRAMFS"):
        options["initramfs"] = os.environ["INITRAMFS"]
    return options


def new_vm(name, script, **options):
    """A VM that runs a shell script."""
    return runcvm.VM(f"py-{name}-{os.getpid()}", args=["/bin/sh", "-c", script], **machine(), **options)


class Pipe:
    """Collects what is written into `w`, on a thread of its own."""

    def __init__(self):
        self._r, self.w = os.pipe()
        self._data = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with os.fdopen(self._r, "rb") as f:
            self._data.append(f.read())

    def text(self):
        """Everything, once every writer has closed its end; this process's end is closed here."""
        os.close(self.w)
        self._thread.join(60)
        assert not self._thread.is_alive(), "somebody keeps the pipe open"
        return self._data[0]


def raises(code, function, *args, **kwargs):
    """The error that the call raises, which has to have this code."""
    try:
        function(*args, **kwargs)
    except runcvm.Error as error:
        assert error.code == code, f"{error.code_name} ({error}), not {code}"
        return error
    raise AssertionError(f"{function} did not fail")


def main(*tests, boots=False):
    assert tests, "no test is named"
    try:
        if boots:
            rootfs()
        for test in tests:
            print(f"{test.__name__} ...", flush=True)
            test()
            left = runcvm.list_vms()
            assert not [vm for vm in left if vm.startswith("py-") and vm.endswith(f"-{os.getpid()}")], left
    finally:
        if _work:
            shutil.rmtree(_work)
