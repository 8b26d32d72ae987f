#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Failures are exceptions that say what, where and with which exit code.  No VM."""

import errno
import gc
import os
import weakref

import runcvm
from harness import main, raises


def bad_ids():
    for bad in ["", ".", "..", "a/b", "a b", "x" * 129, "line\nbreak"]:
        error = raises(runcvm.E_INVALID, runcvm.VM, bad)
        assert error.stage in ("api", "plan") and error.message and str(error) == error.message
        assert error.exit_code == 125 and error.code_name == "RCVM_E_INVALID" and error.errno == 0
    runcvm.VM("x" * 128).close()


def missing():
    raises(runcvm.E_NOT_FOUND, runcvm.VM.open, "py-nobody")
    with runcvm.VM("py-nobody") as vm:
        assert vm.status == "new" and vm.id == "py-nobody" and vm.pid is None and vm.fileno() == -1
        assert vm.phases() == []
        raises(runcvm.E_STATE, vm.wait, 0)
        raises(runcvm.E_STATE, vm.state)
        raises(runcvm.E_STATE, vm.metrics)
        raises(runcvm.E_STATE, vm.kill)
        with vm.exec(["true"]) as process:
            raises(runcvm.E_NOT_FOUND, process.start)
        raises(runcvm.E_INVALID, vm.create)
        raises(runcvm.E_NOT_FOUND, vm.delete)
        vm.delete(force=True)
        assert vm.status == "new"
        raises(runcvm.E_STATE, vm.state)
    assert runcvm.list_vms() == []


def setters():
    with runcvm.VM("py-nobody", memory=512 << 20, cpus=2, env={"A": "1"}, annotations={"k": "v"},
                   cwd="/tmp", user="0:0", hostname="h", terminal=True, readonly_rootfs=True,
                   hypervisor="qemu", rootfs_size=1 << 30, kernel_args="quiet") as vm:
        assert vm.memory == 512 << 20 and vm.cpus == 2 and vm.kernel is None
        raises(runcvm.E_INVALID, setattr, vm, "env", ["NOVALUE"])
        raises(runcvm.E_INVALID, setattr, vm, "args", [])
        assert raises(runcvm.E_SYSTEM, vm.set_stdio, 12345).errno == errno.EBADF
    for option, value in {"hypervisor": "bochs", "cwd": "relative", "memory": 1, "cpus": 100000}.items():
        with runcvm.VM("py-nobody", rootfs="/", args=["true"], kernel="/k", initramfs="/i",
                       **{option: value}) as vm:
            assert raises(runcvm.E_INVALID, vm.create).stage == "plan"
    try:
        runcvm.VM("py-nobody", memroy=1)
    except TypeError as error:
        assert "memroy" in str(error)
    else:
        raise AssertionError("a mistyped option was taken")


def wrong_types():
    vm = runcvm.VM("py-nobody")
    for what, attribute, value in [(TypeError, "args", "sh -c true"), (TypeError, "args", [1]),
                                   (ValueError, "cwd", "/a\0b"), (TypeError, "memory", "1G"),
                                   (OverflowError, "memory", -1), (TypeError, "rootfs", 5)]:
        try:
            setattr(vm, attribute, value)
        except what:
            pass
        else:
            raise AssertionError(f"{attribute} = {value!r} was taken")
    vm.close()
    vm.close()
    try:
        vm.cpus = 2
    except ValueError as error:
        assert "closed" in str(error)
    else:
        raise AssertionError("a closed handle was used")


def specs():
    error = raises(runcvm.E_SPEC, runcvm.check_spec, "{")
    assert error.stage == "spec"
    spec = runcvm.default_spec()
    runcvm.check_spec(spec)
    del spec["process"]["cwd"]
    assert "cwd" in str(raises(runcvm.E_SPEC, runcvm.check_spec, spec))
    assert runcvm.features()["ociVersionMin"]
    assert runcvm.version().split(".")[0].isdigit()


class Callback:
    def __call__(self, level, stage, message):
        pass


def callbacks_are_released():
    def gone(reference):
        gc.collect()
        return reference() is None

    first, second = Callback(), Callback()
    refs = weakref.ref(first), weakref.ref(second)
    vm = runcvm.VM("py-nobody")
    vm.set_log(runcvm.LOG_DEBUG, first)
    del first
    assert not gone(refs[0])
    vm.set_log(runcvm.LOG_DEBUG, second)
    del second
    assert gone(refs[0]) and not gone(refs[1])
    third = Callback()
    ref = weakref.ref(third)
    raises(runcvm.E_INVALID, vm.set_log, 99, third)
    del third
    assert gone(ref), "a failed call keeps the function"
    vm.close()
    assert gone(refs[1])


def no_fd_is_lost():
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        with runcvm.VM("py-nobody") as vm:
            with open(os.devnull, "r+") as null:
                vm.set_stdio(null, null, null)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def host():
    checks = {check.name: check for check in runcvm.host_check()}
    for name in ["kvm", "qemu", "kernel", "initramfs", "state"]:
        assert checks[name].detail, name
        assert checks[name].result == runcvm.CHECK_OK or checks[name].advice, name


main(bad_ids, missing, setters, wrong_types, specs, callbacks_are_released, no_fd_is_lost, host)
