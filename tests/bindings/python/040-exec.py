#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Further processes in a running container."""

import signal

import runcvm
from harness import Pipe, main, new_vm, raises


def execs():
    with new_vm("exec", "trap 'exit 9' TERM; while :; do sleep 1; done", env={"FROM": "container"}) as vm:
        vm.start()

        out, err = Pipe(), Pipe()
        with vm.exec(["sh", "-c", 'echo "$FROM $MORE $(pwd)"; echo no >&2; exit 5'], env={"MORE": "exec"},
                     cwd="/tmp", stdout=out.w, stderr=err.w) as process:
            assert process.fileno() == -1 and process.guest_pid is None
            raises(runcvm.E_STATE, process.wait, 0)
            process.start()
            assert process.guest_pid > 1 and process.fileno() >= 0
            raises(runcvm.E_STATE, process.start)
            assert process.wait(60) == 5
            assert process.wait(0) == 5
            raises(runcvm.E_STATE, process.kill)
        assert out.text() == b"container exec /tmp\n"
        assert err.text() == b"no\n"

        with vm.exec(["/no/such/program"]) as process:
            error = raises(runcvm.E_PROCESS, process.start)
            assert error.exit_code == 127

        with vm.exec(json={"args": ["sleep", "1000"], "cwd": "/"}) as process:
            process.start()
            raises(runcvm.E_TIMEOUT, process.wait, 0.05)
            process.kill(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM

        with vm.exec(["sleep", "4242"], tied=True) as process:
            process.start()
        # It ends with its handle.
        with vm.exec(["sh", "-c", "while pgrep -f 'sleep 424[2]'; do :; done"]) as process:
            process.start()
            assert process.wait(60) == 0

        # The container's own process did not notice.
        raises(runcvm.E_TIMEOUT, vm.wait, 0)
        with vm.exec(["sleep", "1000"]) as survivor:
            survivor.start()
            vm.kill(signal.SIGTERM)
            assert vm.wait(60) == 9
            assert survivor.wait(60) == 128 + signal.SIGKILL
        with vm.exec(["true"]) as late:
            raises(runcvm.E_STATE, late.start)
        vm.delete()


main(execs, boots=True)
