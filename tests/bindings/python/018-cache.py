#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cache of base images: built once, in use while somebody holds it, pruned, verified, without a VM."""

import os
import shutil

import runcvm
from harness import main, raises, work_dir

work = work_dir()
tree = os.path.join(work, "tree")
directory = os.path.join(work, "cache")
digest = "sha256:" + "a" * 64


def closed(function):
    try:
        function()
    except ValueError as error:
        assert "is closed" in str(error)
    else:
        raise AssertionError("a closed handle was used")


def add():
    os.makedirs(tree)
    with open(os.path.join(tree, "file"), "w") as f:
        f.write("contents\n")
    with runcvm.Cache(directory) as cache:
        assert cache.path == directory
        assert cache.list() == []
        with cache.add(tree) as image:
            assert not image.hit and image.note is None
            assert image.path == os.path.join(directory, image.key + ".ext4")
            runcvm.verify_rootfs(image.path)
            assert os.fstat(image.fileno()).st_ino == os.stat(image.path).st_ino
            with cache.add(tree) as again:
                assert again.hit and again.key == image.key
            # Every change is another image.
            os.chmod(os.path.join(tree, "file"), 0o600)
            with cache.add(tree) as changed:
                assert not changed.hit and changed.key != image.key
            with cache.add(tree, [digest]) as named:
                assert not named.hit
            with cache.add("/nonexistent", [digest]) as named:
                assert named.hit
            assert [e["inUse"] for e in cache.list() if e["key"] == image.key] == [True]
            # One that is held stays.
            assert cache.prune() > 0
            assert [e["key"] for e in cache.list()] == [image.key]
            raises(runcvm.E_STATE, cache.remove, image.key)
        closed(image.fileno)
        cache.remove(image.key)
        raises(runcvm.E_NOT_FOUND, cache.remove, image.key)
        raises(runcvm.E_INVALID, cache.remove, "../" + image.key)
        cache.add(tree).close()
        assert cache.prune() > 0
        assert cache.list() == []


def limit():
    with runcvm.Cache(directory, limit=0) as cache:
        cache.add(tree).close()
        cache.add(tree, [digest]).close()
        # The new one was in use when the limit was looked at.
        assert [e["key"].split("-")[0] for e in cache.list()] == ["digests"]


def damage():
    with runcvm.Cache(directory) as cache:
        assert [e["good"] for e in cache.verify()] == [True]
        path = cache.list()[0]["path"]
        with open(path, "r+b") as f:
            f.write(bytes(4096))
        assert "changed" in cache.list()[0]["damaged"]
        assert [(e["good"], "problem" in e) for e in cache.verify()] == [(False, True)]
        with cache.add(tree, [digest]) as image:
            assert not image.hit and "built again" in image.note
        with open(path, "r+b") as f:
            f.write(bytes(4096))
        assert [e["removed"] for e in cache.verify(remove=True)] == [True]
        assert cache.list() == []


def errors():
    raises(runcvm.E_NOT_FOUND, runcvm.Cache, os.path.join(tree, "file"))
    with runcvm.Cache(directory) as cache:
        raises(runcvm.E_NOT_FOUND, cache.add, os.path.join(work, "nothing"))
        raises(runcvm.E_INVALID, cache.add, tree, ["latest"])
        raises(runcvm.E_INVALID, cache.add, "")
    closed(cache.list)


try:
    main(add, limit, damage, errors)
finally:
    shutil.rmtree(work)
