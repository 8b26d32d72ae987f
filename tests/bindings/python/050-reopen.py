#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM outlives the process that made it, and another one takes over."""

import os
import subprocess
import sys

import runcvm
from harness import main, new_vm, raises


def child():
    """Creates the VM, and is gone without any farewell."""
    new_vm("reopen", "exit 17", stdout=1).create()
    os._exit(0)


def parent():
    name = f"py-reopen-{os.getpid()}"
    with subprocess.Popen([sys.executable, __file__, "child"], stdout=subprocess.PIPE) as maker:
        assert maker.wait(120) == 0
        name = f"py-reopen-{maker.pid}"
        with runcvm.VM.open(name) as vm:
            assert vm.status == "created" and vm.pid > 1
            raises(runcvm.E_STATE, setattr, vm, "cpus", 2)
            raises(runcvm.E_STATE, vm.create)
            vm.start()
            with runcvm.VM.open(name) as second:
                assert second.wait(60) == 17
            assert vm.wait(60) == 17
            vm.close()
        with runcvm.VM.open(name) as late:
            assert late.status == "stopped" and late.wait(0) == 17
            assert late.state()["org.runcvm"]["exitCode"] == 17
            late.delete()
        raises(runcvm.E_NOT_FOUND, runcvm.VM.open, name)


if sys.argv[1:] == ["child"]:
    child()
main(parent, boots=True)
