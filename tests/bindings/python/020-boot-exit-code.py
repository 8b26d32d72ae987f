#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM boots, its exit code is exact, and the handle says what happened."""

import errno
import signal

import runcvm
from harness import Pipe, main, new_vm, raises


def exit_code():
    with new_vm("exit", "exit 42") as vm:
        vm.start()
        assert vm.status == "running" or vm.status == "stopped"
        assert vm.pid and vm.pid > 1
        assert vm.wait(60) == 42
        assert vm.wait() == 42, "the exit code can be asked for again"
        assert vm.status == "stopped"
        state = vm.state()
        assert state["id"] == vm.id and state["status"] == "stopped" and "pid" not in state
        assert state["org.runcvm"]["exitCode"] == 42
        names = [phase.name for phase in vm.phases()]
        assert names == ["spec", "plan", "cgroup", "netns", "hooks", "rootfs", "disks", "virtiofs", "volumes", "notify", "net", "vmm", "kernel", "agent", "process"], names
        assert all(phase.seconds >= 0 for phase in vm.phases())
        assert "runcvm_" in vm.metrics()
        vm.delete()
        raises(runcvm.E_NOT_FOUND, vm.delete)


def killed():
    with new_vm("killed", "echo ready; sleep 1000") as vm:
        out = Pipe()
        vm.set_stdio(stdout=out.w)
        vm.create()
        assert vm.status == "created" and runcvm.list_vms() == [vm.id]
        raises(runcvm.E_TIMEOUT, vm.wait, 0)
        raises(runcvm.E_STATE, vm.create)
        raises(runcvm.E_STATE, setattr, vm, "cpus", 2)
        with runcvm.VM(vm.id, rootfs="/", args=["true"]) as twin:
            raises(runcvm.E_EXISTS, twin.create)
        vm.start()
        raises(runcvm.E_STATE, vm.start)
        raises(runcvm.E_TIMEOUT, vm.wait, 0.1)
        raises(runcvm.E_STATE, vm.delete)
        raises(runcvm.E_INVALID, vm.kill, 12345)
        vm.kill(signal.SIGKILL)
        assert vm.wait(60) == 128 + signal.SIGKILL
        raises(runcvm.E_STATE, vm.kill)
        vm.delete()
        assert b"ready\n".startswith(out.text())


def no_such_program():
    for program, code in {"/no/such/program": 127, "/etc": 126}.items():
        with new_vm("none", "") as vm:
            vm.args = [program]
            error = raises(runcvm.E_PROCESS, vm.start)
            assert error.exit_code == code and program in str(error), (error.exit_code, error)


def no_such_directory():
    with new_vm("missing", "") as vm:
        vm.rootfs = "/nonexistent/rootfs"
        error = raises(runcvm.E_NOT_FOUND, vm.start)
        assert "/nonexistent/rootfs" in str(error) and error.errno == errno.ENOENT, error
        assert error.stage == "rootfs", error.stage


main(exit_code, killed, no_such_program, no_such_directory, boots=True)
