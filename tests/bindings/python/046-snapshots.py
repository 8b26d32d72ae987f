#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container is saved and restored where the VMM can, and goes on where it cannot."""

import os
import shutil

import runcvm
from harness import Pipe, main, new_vm, raises, work_dir


def can_save():
    return os.environ.get("RUNCVM_HYPERVISOR") == "firecracker"


def saved():
    work = work_dir()
    place = os.path.join(work, "saved")
    out = Pipe()
    with new_vm("saved", "read line; echo $line; sleep 1000") as vm:
        raises(runcvm.E_STATE, vm.snapshot, place)
        vm.start()
        if can_save():
            vm.snapshot(place, leave_running=True)
            assert os.path.exists(os.path.join(place, "index"))
            vm.snapshot(place + "2", parent=place)
            assert os.path.exists(os.path.join(place + "2", "changes"))
            assert vm.wait() == 137
            vm.delete()
        else:
            error = raises(runcvm.E_UNSUPPORTED, vm.snapshot, place)
            assert "cannot save or restore a container that runs" in str(error), error
            raises(runcvm.E_UNSUPPORTED, vm.snapshot, place, parent=work)
            raises(runcvm.E_INVALID, vm.snapshot, place, parent="")
            assert not os.path.exists(place)
            assert vm.status == "running"
            vm.delete(force=True)
    if can_save():
        stdin, feed = os.pipe()
        os.write(feed, b"goes on\n")
        with runcvm.VM(f"py-restored-{os.getpid()}", stdin=stdin, stdout=out.w) as vm:
            vm.restore(place)
            vm.delete(force=True)
        os.close(stdin)
        os.close(feed)
    out.text()
    shutil.rmtree(work)


def missing():
    vm = runcvm.VM(f"py-missing-{os.getpid()}")
    error = raises(runcvm.E_NOT_FOUND, vm.restore, "/nowhere/at/all")
    assert "/nowhere/at/all/index" in str(error), error
    raises(runcvm.E_INVALID, vm.restore, "")


main(saved, missing, boots=True)
