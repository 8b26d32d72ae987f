#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMs in a loop of the caller's own."""

import select
import threading

from harness import main, new_vm


def loop():
    vms = [new_vm(f"poll{i}", f"exit {i}") for i in (1, 2)]
    codes = {}
    poller = select.epoll()
    by_fd = {}
    for vm in vms:
        vm.create()
        by_fd[vm.fileno()] = vm
        poller.register(vm.fileno(), select.EPOLLIN)
    for vm in vms:
        vm.start()
    while len(codes) < len(vms):
        events = poller.poll(60)
        assert events, "nothing happens"
        for fd, _ in events:
            vm = by_fd[fd]
            if vm.dispatch() == "stopped":
                codes[vm.id] = vm.wait(0)
                poller.unregister(fd)
    assert sorted(codes.values()) == [1, 2]
    for vm in vms:
        vm.delete()
        vm.close()


def loop_and_waiter():
    with new_vm("both", "exit 4") as vm:
        vm.create()
        codes = []
        waiter = threading.Thread(target=lambda: codes.append(vm.wait()))
        waiter.start()
        vm.start()
        poller = select.epoll()
        poller.register(vm.fileno(), select.EPOLLIN)
        while vm.dispatch() != "stopped":
            assert poller.poll(60), "nothing happens"
        for _ in range(100):
            vm.dispatch()
        waiter.join(60)
        assert codes == [4], codes
        # Nobody waits any more: the descriptor comes to rest.
        vm.dispatch()
        assert poller.poll(0) == []
        vm.delete()


main(loop, loop_and_waiter, boots=True)
