#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes of other kinds: scratch disks, disks, copies, virtiofs."""

import os
import tempfile

import runcvm
from harness import main, new_vm, raises


def kinds():
    with tempfile.TemporaryDirectory() as host:
        os.mkdir(f"{host}/copy")
        os.mkdir(f"{host}/share")
        with new_vm("kinds", "echo kept >/kept/file && echo own >/own/file && echo new >/copy/new && echo new >/share/new"
                    " && ! echo x >/readonly/x") as vm:
            vm.attach_scratch("/own", 64 << 20)
            vm.attach_scratch("/kept", 64 << 20, f"{host}/kept.img")
            vm.attach_copy(f"{host}/copy", "/copy", write_back="exit")
            vm.attach_copy(f"{host}/copy", "/readonly", readonly=True)
            vm.attach_virtiofs(f"{host}/share", "/share", cached=1)
            vm.start()
            assert vm.wait(60) == 0
            vm.delete()
        for name in ("copy", "share"):
            with open(f"{host}/{name}/new") as f:
                assert f.read() == "new\n", name
        with new_vm("disk", "grep -q kept /disk/file && ! echo x >/disk/x") as vm:
            vm.attach_block(f"{host}/kept.img", "/disk", readonly=True)
            vm.start()
            assert vm.wait(60) == 0
            vm.delete()
        with new_vm("raw", "test -b /dev/mine") as vm:
            vm.attach_block(f"{host}/kept.img", "/dev/mine", fstype="raw")
            vm.start()
            assert vm.wait(60) == 0
            vm.delete()


def come_and_go():
    with tempfile.TemporaryDirectory() as host:
        with new_vm("made", "echo kept >/kept/file") as vm:
            vm.attach_scratch("/kept", 16 << 20, f"{host}/kept.img")
            vm.start()
            assert vm.wait(60) == 0
            vm.delete()
        with new_vm("hot", "sleep 1000", annotations={"org.runcvm.hotplug": "on"}) as vm:
            raises(runcvm.E_STATE, lambda: vm.attach_disk(f"{host}/kept.img", "/hot"))
            vm.start()
            raises(runcvm.E_INVALID, lambda: vm.attach_disk("", "/hot"))
            raises(runcvm.E_INVALID, lambda: vm.attach_disk(f"{host}/kept.img", "/"))
            raises(runcvm.E_NOT_FOUND, lambda: vm.detach_disk("/hot"))
            vm.attach_disk(f"{host}/kept.img", "/hot", readonly=True)
            assert [d["destination"] for d in vm.volumes()["disks"]] == ["/hot"]
            with vm.exec(["test", "-e", "/hot/file"]) as process:
                process.start()
                assert process.wait(60) == 0
            vm.detach_disk("/hot")
            assert vm.volumes()["disks"] == []
            with vm.exec(["test", "-e", "/hot/file"]) as process:
                process.start()
                assert process.wait(60) == 1
            vm.delete(force=True)


def refused():
    with new_vm("refused", "true") as vm:
        raises(runcvm.E_INVALID, lambda: vm.attach_scratch("/x"))
        raises(runcvm.E_INVALID, lambda: vm.attach_block("", "/x"))
        raises(runcvm.E_INVALID, lambda: vm.attach_block("/x", "/x", fstype="a,b"))
        raises(runcvm.E_INVALID, lambda: vm.attach_copy("/x", "x"))
        raises(runcvm.E_INVALID, lambda: vm.attach_virtiofs("", "/x"))
        raises(runcvm.E_INVALID, lambda: vm.attach_9p("/x", "x"))
        vm.attach_9p("/x", "/9p", readonly=True)
        vm.attach_block("/dev/null", "/x")
        raises(runcvm.E_INVALID, vm.start)


main(kinds, come_and_go, refused, boots=True)
