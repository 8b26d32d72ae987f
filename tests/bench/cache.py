#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""cache.py ROUNDS DIRECTORY: see cache.sh.  Medians; the images take turns."""

import os
import shutil
import statistics
import sys
import time

import runcvm

rounds, top = int(sys.argv[1]), sys.argv[2]
ENTRIES = 20000


def make_tree(name, megabytes):
    tree = os.path.join(top, name)
    os.mkdir(tree)
    noise = os.urandom(1 << 20)
    for i in range(megabytes):
        with open(os.path.join(tree, str(i)), "wb") as f:
            f.write(noise)
    return tree


def make_small_files(name):
    tree = os.path.join(top, name)
    for d in range(ENTRIES // 50):
        path = os.path.join(tree, f"{d % 20:02}", f"{d:03}")
        os.makedirs(path)
        for f in range(48):
            with open(os.path.join(path, f"file-{f:03}"), "wb") as out:
                out.write(b"x" * 100)
    return tree


def timed(fn, *args):
    start = time.perf_counter()
    fn(*args)
    return (time.perf_counter() - start) * 1000


def digest(name):
    return ["sha256:" + name.encode().hex().rjust(64, "0")]


def main():
    trees = {"20 MB": make_tree("small", 20), "2 GB": make_tree("large", 2000)}
    many = make_small_files("many")
    with runcvm.Cache(os.path.join(top, "cache"), limit=1 << 40) as cache:
        built, hits, paths = {}, {name: [] for name in trees}, {}
        for name, tree in trees.items():
            built[name] = timed(lambda: cache.add(tree, digest(name)).close())
            with cache.add(tree, digest(name)) as image:
                assert image.hit
                paths[name] = image.path
        for _ in range(rounds):
            for name, tree in trees.items():
                hits[name].append(timed(lambda: cache.add(tree, digest(name)).close()))
        hit = {name: statistics.median(values) for name, values in hits.items()}
        built["many"] = timed(lambda: cache.add(many).close())
        walks = [timed(lambda: cache.add(many).close()) for _ in range(max(3, rounds // 20))]
    copied = timed(shutil.copyfile, paths["2 GB"], os.path.join(top, "copy"))
    for name in trees:
        print(f"{name:6}  hit {hit[name]:8.3f} ms (worst {max(hits[name]):.3f})   build {built[name]:9.1f} ms"
              f"   {built[name] / hit[name]:8.0f}x")
    print(f"2 GB against 20 MB: {hit['2 GB'] / hit['20 MB']:.2f}x   (aim: under 5 ms each)")
    print(f"a copy of the 2 GB image: {copied:.0f} ms, {copied / hit['2 GB']:.0f} times a hit")
    walk = statistics.median(walks)
    print(f"found by a tree's metadata, {ENTRIES} entries: {walk:.1f} ms, {walk / built['many']:.3f} of the build")


main()
