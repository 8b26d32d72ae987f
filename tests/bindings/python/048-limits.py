#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM that runs is paused, and gets other limits; what it uses can be asked for."""

import json
import os

import runcvm
from harness import main, new_vm, raises


def limits():
    with new_vm("limits", "sleep 1000", cgroup_driver="cgroupfs") as vm:
        raises(runcvm.E_STATE, vm.pause)
        vm.start()
        vm.pause()
        assert vm.status == "paused", vm.status
        raises(runcvm.E_STATE, vm.pause)
        vm.resume()
        assert vm.status == "running", vm.status
        raises(runcvm.E_STATE, vm.resume)
        assert vm.pid in vm.processes() and len(vm.processes()) > 1
        vm.update({"pids": {"limit": 50}})
        vm.update(json.dumps({"pids": {"limit": 60}}))
        assert vm.stats()["org.runcvm"]["guest"]["pids"] == {"current": 1, "limit": 60}
        assert vm.oom_kills == 0
        raises(runcvm.E_UNSUPPORTED, lambda: vm.update({"memory": {"limit": 1 << 40}}))
        raises(runcvm.E_SPEC, lambda: vm.update("[]"))
        os.kill(vm.pid, 0)
        vm.flush()
        vm.pause()
        vm.flush()
        vm.delete(force=True)
        raises(runcvm.E_STATE, vm.flush)
        raises(runcvm.E_STATE, vm.stats)


def refused():
    with new_vm("refused", "true", cgroup_driver="other") as vm:
        raises(runcvm.E_INVALID, vm.start)


main(limits, refused, boots=True)
