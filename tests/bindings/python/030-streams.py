#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The streams are the caller's, apart from each other, and complete."""

import hashlib
import os
import threading

from harness import Pipe, main, new_vm


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


main(all_three, nothing, a_file_and_the_environment, boots=True)
