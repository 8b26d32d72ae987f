#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The streams are the caller's, apart from each other, and complete."""

import fcntl
import hashlib
import os
import pty
import struct
import termios
import threading

import runcvm
from harness import Pipe, main, new_vm, raises


def all_three():
    data = os.urandom(1 << 20)
    out, err = Pipe(), Pipe()
    r, w = os.pipe()

    def feed():
        with os.fdopen(w, "wb") as f:
            f.write(data)

    feeder = threading.Thread(target=feed)
    with new_vm("streams", "cat; echo to stderr >&2; exit 3", stdin=r, stdout=out.w, stderr=err.w) as vm:
        os.close(r)
        feeder.start()
        vm.start()
        assert vm.wait(120) == 3
        vm.delete()
    feeder.join()
    got = out.text()
    assert len(got) == len(data) and hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert err.text() == b"to stderr\n"


def nothing():
    with new_vm("nothing", 'test -z "$(cat)" && echo lost && echo lost >&2') as vm:
        vm.start()
        assert vm.wait(60) == 0
        vm.delete()


def a_file_and_the_environment():
    out = Pipe()
    with new_vm("env", 'echo "$WHO in $(pwd)"', env={"WHO": "wörld", "UNUSED": ""}, cwd="/tmp",
                stdout=out.w) as vm:
        vm.start()
        assert vm.wait(60) == 0
        vm.delete()
    assert out.text() == "wörld in /tmp\n".encode()


def a_terminal():
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 72, 0, 0))
    with new_vm("terminal", "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 1; done") as vm:
        vm.set_console(slave)
        os.close(slave)
        vm.start()
        text = b""
        while b"31 72\r\n" not in text:
            text += os.read(master, 4096)
        # Nobody but the monitor hears of this.
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 41, 82, 0, 0))
        assert vm.wait(60) == 4
        vm.delete()
    assert b"41 82\r\n" in os.read(master, 4096)
    os.close(master)
    with new_vm("no-terminal", "true") as vm, open("/dev/null") as null:
        raises(runcvm.E_INVALID, vm.set_console, null)


main(all_three, nothing, a_terminal, a_file_and_the_environment, boots=True)
