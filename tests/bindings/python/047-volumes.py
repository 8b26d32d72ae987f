#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes: a directory of the host is live in the VM, and a tmpfs is the VM's own."""

import os
import tempfile

import runcvm
from harness import main, new_vm, raises


def run(vm, script):
    with vm.exec(["sh", "-c", script]) as process:
        process.start()
        return process.wait(60)


def volumes():
    with tempfile.TemporaryDirectory() as host:
        os.chown(host, 12345, 54321)
        with open(f"{host}/in", "w") as f:
            f.write("from the host")
        with new_vm("volumes", 'cat /data/in && echo from the VM >/data/out && ! echo x >/ro/in && sleep 1000') as vm:
            vm.attach_nfs(host, "/data", uid=12345, gid=54321)
            vm.attach_nfs(host, "/ro", readonly=True, cached=3)
            vm.attach_tmpfs("/scratch", 65536, 0o700)
            vm.start()
            assert run(vm, "until [ -s /data/out ]; do sleep 0.1; done") == 0
            with open(f"{host}/out") as f:
                assert f.read() == "from the VM\n"
            st = os.stat(f"{host}/out")
            assert (st.st_uid, st.st_gid) == (12345, 54321)
            # One page more than fits.
            assert run(vm, "dd if=/dev/zero of=/scratch/x bs=4096 count=17") == 1
            all = vm.volumes()
            assert [v["destination"] for v in all["volumes"]] == ["/data", "/ro"]
            assert all["volumes"][1]["cachedSeconds"] == 3
            assert all["server"]["bytesWritten"] == 12
            raises(runcvm.E_STATE, lambda: vm.attach_tmpfs("/late"))
            vm.delete(force=True)


def refused():
    with new_vm("refused", "true") as vm:
        raises(runcvm.E_INVALID, lambda: vm.attach_nfs("/tmp", "/data", uid=5))
        raises(runcvm.E_INVALID, lambda: vm.attach_nfs("/tmp", "/data", cached=100000))
        raises(runcvm.E_INVALID, lambda: vm.attach_nfs("/tmp", "/data", transport=""))
        raises(runcvm.E_INVALID, lambda: vm.attach_tmpfs("/x", mode=0o10000))
        vm.attach_nfs("/nonexistent/volume", "/data")
        raises(runcvm.E_NOT_FOUND, vm.start)
    with new_vm("pigeon", "true") as vm:
        vm.attach_nfs("/tmp", "/data", transport="pigeon")
        raises(runcvm.E_INVALID, vm.start)
    with new_vm("unfsd", "true") as vm:
        raises(runcvm.E_INVALID, lambda: vm.attach_nfs("/tmp", "/data", server="ganesha"))
        vm.attach_nfs("/tmp", "/data", server="unfsd", transport="tcp")
        raises(runcvm.E_UNSUPPORTED, vm.start)
    # It has no network.
    with new_vm("tcp", "true") as vm:
        vm.attach_nfs("/tmp", "/data", transport="tcp:1000-1050")
        raises(runcvm.E_UNSUPPORTED, vm.start)
    with new_vm("binds", "true", binds="dead") as vm:
        raises(runcvm.E_INVALID, vm.start)


main(volumes, refused, boots=True)
