#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM's process on the host is confined where root starts it, unless that is not wanted."""

import os

import runcvm
from harness import main, new_vm, raises


def user(vm):
    with open("/proc/%d/status" % vm.state()["org.runcvm"]["vmmPid"]) as f:
        return int(next(line for line in f if line.startswith("Uid:")).split()[1])


def confined():
    for how in ("auto", "off"):
        with new_vm("confined-" + how, "sleep 1000", confinement=how) as vm:
            vm.start()
            if how == "off" or os.geteuid() != 0:
                assert user(vm) == os.geteuid(), user(vm)
            else:
                assert user(vm) >= 1900000000, user(vm)
            vm.delete(force=True)


def refused():
    with new_vm("loose", "true", confinement="loosely") as vm:
        raises(runcvm.E_INVALID, vm.start)


main(confined, refused, boots=True)
