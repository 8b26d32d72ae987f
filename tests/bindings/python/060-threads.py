#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting stops no other thread, and log functions run on the thread that makes the call."""

import signal
import threading
import time

import runcvm
from harness import main, new_vm, raises


def wait_and_kill():
    messages = []
    codes = []
    with new_vm("threads", "sleep 1000") as vm:
        vm.set_log(runcvm.LOG_DEBUG,
                   lambda level, stage, message: messages.append((threading.get_ident(), level, stage, message)))
        vm.start()
        waiters = [threading.Thread(target=lambda: codes.append(vm.wait())) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        # With the GIL held by a waiter, this thread would stand still.
        begin, turns = time.monotonic(), 0
        while time.monotonic() - begin < 0.3:
            turns += 1
            vm.status
        assert turns > 10, turns
        assert codes == []
        vm.kill(signal.SIGKILL)
        for waiter in waiters:
            waiter.join(60)
        assert codes == [137, 137, 137], codes
        vm.delete()
    assert messages, "a boot at this level says something"
    idents = {threading.get_ident()} | {waiter.ident for waiter in waiters}
    for ident, level, stage, message in messages:
        assert ident in idents and 0 <= level <= runcvm.LOG_DEBUG and stage and message
        assert "\n" not in message


def close_while_waiting():
    codes = []
    vm = new_vm("closed", "sleep 1000")
    vm.start()
    waiter = threading.Thread(target=lambda: codes.append(vm.wait()))
    waiter.start()
    name = vm.id
    # By the end of this wait, the other one is in the call.
    raises(runcvm.E_TIMEOUT, vm.wait, 0.2)
    vm.close()
    with runcvm.VM.open(name) as other:
        other.kill(signal.SIGKILL)
        waiter.join(60)
        assert codes == [137]
        other.delete(force=True)


def delete_while_waiting():
    codes = []
    with new_vm("deleted", "sleep 1000") as vm:
        vm.start()
        waiter = threading.Thread(target=lambda: codes.append(vm.wait()))
        waiter.start()
        raises(runcvm.E_TIMEOUT, vm.wait, 0.2)
        vm.delete(force=True)
        waiter.join(60)
        assert codes == [137], codes
        assert vm.wait(0) == 137


def a_log_function_that_raises():
    with new_vm("raises", "exit 6") as vm:
        def log(level, stage, message):
            raise RuntimeError("this is printed, and nothing more")

        vm.set_log(runcvm.LOG_DEBUG, log)
        vm.start()
        assert vm.wait(60) == 6
        vm.delete()


main(wait_and_kill, close_while_waiting, delete_while_waiting, a_log_function_that_raises, boots=True)
