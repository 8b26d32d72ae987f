#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images are built without a VM; the build can be watched, cancelled, and be left by an exception."""

import os
import shutil
import subprocess
import tarfile

import runcvm
from harness import main, raises, work_dir

work = work_dir()
tree = os.path.join(work, "tree")
image = os.path.join(work, "image")


def prepare():
    os.makedirs(os.path.join(tree, "etc"))
    with open(os.path.join(tree, "etc", "motd"), "w") as f:
        f.write("hello\n")
    with open(os.path.join(tree, "big"), "wb") as f:
        f.write(os.urandom(3 << 20))


def build():
    seen = []
    extra = os.path.join(work, "extra")
    with open(extra, "w") as f:
        f.write("extra\n")
    runcvm.build_rootfs(tree, image, size=64 << 20, copies=[(extra, "/etc/extra")],
                        progress=lambda phase, files, size: seen.append((phase, files, size)))
    assert os.path.getsize(image) == 64 << 20
    assert {"scan", "write", "finish"} == {phase for phase, _, _ in seen}
    assert max(size for _, _, size in seen) >= 3 << 20
    cat = subprocess.run(["debugfs", "-R", "cat /etc/extra", image], capture_output=True, check=True)
    assert cat.stdout == b"extra\n", cat
    raises(runcvm.E_EXISTS, runcvm.build_rootfs, tree, image)
    info = runcvm.inspect_rootfs(image)
    assert (info["type"], info["size"], info["journal"], info["clean"]) == ("ext4", 64 << 20, True, True)
    runcvm.verify_rootfs(image)
    runcvm.grow_rootfs(image, 1 << 30)
    assert runcvm.inspect_rootfs(image)["size"] == os.path.getsize(image) == 1 << 30
    runcvm.verify_rootfs(image)
    raises(runcvm.E_INVALID, runcvm.grow_rootfs, image, 1 << 20)
    with open(image, "r+b") as f:
        f.write(bytes(2048))
    raises(runcvm.E_IMAGE, runcvm.verify_rootfs, image)
    os.unlink(image)


def layers():
    lower, upper = os.path.join(work, "lower.tar.gz"), os.path.join(work, "upper.tar")
    with tarfile.open(lower, "w:gz") as tar:
        tar.add(tree, ".")
    with tarfile.open(upper, "w") as tar:
        tar.addfile(tarfile.TarInfo("etc/.wh.motd"))
        tar.addfile(tarfile.TarInfo("etc/new"))
    runcvm.build_rootfs([lower, upper], image, copies=[("/nonexistent", "/mnt/volume", "dir"),
                                                      ("/nonexistent", "/etc/file", "file")])
    ls = subprocess.run(["debugfs", "-R", "ls /etc", image], capture_output=True, check=True).stdout
    assert b"new" in ls and b"file" in ls and b"motd" not in ls, ls
    os.unlink(image)
    raises(runcvm.E_IMAGE, runcvm.build_rootfs, [lower, os.path.join(tree, "big")], image)
    raises(runcvm.E_INVALID, runcvm.build_rootfs, [], image)
    raises(runcvm.E_NOT_FOUND, runcvm.build_rootfs, [lower], image, copies=[("/nonexistent", "/x", "fail")])
    assert not os.path.exists(image)


def cancel():
    raises(runcvm.E_CANCELLED, runcvm.build_rootfs, tree, image, progress=lambda *unused: True)
    assert not os.path.exists(image)


def leave():
    def progress(*unused):
        raise LookupError("enough")

    try:
        runcvm.build_rootfs(tree, image, progress=progress)
    except LookupError as error:
        assert str(error) == "enough"
    else:
        raise AssertionError("the exception was lost")
    assert not os.path.exists(image)


def write_back():
    layer, rootfs = os.path.join(work, "layer"), os.path.join(work, "rootfs")
    os.makedirs(os.path.join(layer, "upper", "etc"))
    os.mkdir(rootfs)
    with open(os.path.join(layer, "upper", "etc", "motd"), "w") as f:
        f.write("changed\n")
    os.symlink("motd", os.path.join(layer, "upper", "etc", "link"))
    runcvm.build_rootfs(layer, image)
    runcvm.write_back_rootfs(image, rootfs)
    with open(os.path.join(rootfs, "etc", "motd")) as f:
        assert f.read() == "changed\n"
    assert os.readlink(os.path.join(rootfs, "etc", "link")) == "motd"
    assert os.listdir(rootfs) == ["etc"], os.listdir(rootfs)
    assert not os.path.exists(image + ".write-back")
    os.unlink(image)
    raises(runcvm.E_NOT_FOUND, runcvm.write_back_rootfs, image, rootfs)
    runcvm.build_rootfs(tree, image)
    raises(runcvm.E_IMAGE, runcvm.write_back_rootfs, image, rootfs)
    os.unlink(image)


def errors():
    raises(runcvm.E_NOT_FOUND, runcvm.build_rootfs, os.path.join(work, "nothing"), image)
    raises(runcvm.E_NO_SPACE, runcvm.build_rootfs, tree, image, size=1 << 20)
    raises(runcvm.E_INVALID, runcvm.build_rootfs, tree, image, copies=[(tree, "relative")])
    assert not os.path.exists(image)


try:
    main(prepare, build, layers, cancel, leave, write_back, errors)
finally:
    shutil.rmtree(work)
