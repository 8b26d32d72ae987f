#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM takes over the interfaces of a network namespace; one is attached and detached while it runs."""

import os
import subprocess

import runcvm
from harness import main, new_vm, raises

name = f"pynet{os.getpid()}"


def ip(*args):
    subprocess.check_call(("ip",) + args)


def network():
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
        ip("-n", name, "addr", "add", "192.0.2.7/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        with new_vm("network", "sleep 1000", network=f"/var/run/netns/{name}", network_join="tc", tap_name="pytap0") as vm:
            vm.start()
            net = vm.net()
            assert net["host"]["nics"][0]["tap"] == "pytap0"
            guest = {i["name"]: i for i in net["guest"]["interfaces"]}
            assert [a["address"] for a in guest["eth0"]["addresses"] if "." in a["address"]] == ["192.0.2.7/24"]
            vm.detach_nic("eth0")
            assert "eth0" not in [i["name"] for i in vm.net()["guest"]["interfaces"]]
            vm.attach_nic("eth0")
            assert "eth0" in [i["name"] for i in vm.net()["guest"]["interfaces"]]
            raises(runcvm.E_NOT_FOUND, lambda: vm.attach_nic("eth9"))
            vm.delete(force=True)
    finally:
        ip("netns", "del", name)


def refused():
    for options in ({"network": "wifi"}, {"dhcp": 5}, {"nics": ["eth0"], "network": "none"}, {"ports": ["1:1"]}):
        with new_vm("refused", "true", **options) as vm:
            raises(runcvm.E_INVALID, vm.start)


main(network, refused, boots=True)
