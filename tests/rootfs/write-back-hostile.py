#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""write-back-hostile.py TOOL DIR [ROUNDS]: images that no guest's kernel would write, and a host whose tree is changed
by others meanwhile.  The write-back may fail, with an error; it must not crash, hang, or touch anything outside."""

import ctypes
import os
import random
import shutil
import subprocess
import sys
import threading
import time

TOOL, WORK = sys.argv[1], os.path.realpath(sys.argv[2])
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 150
SECONDS = 60
RENAME_EXCHANGE = 2
libc = ctypes.CDLL(None, use_errno=True)
failures = []


def run(*command, **kw):
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


def make_image(path, fill, features="^metadata_csum,^resize_inode"):
    with open(path, "wb") as f:
        f.truncate(6 << 20)
    run("mkfs.ext4", "-q", "-F", "-O", features, "-b", "1024", "-N", "256", path)
    mnt = os.path.join(WORK, "mnt")
    os.makedirs(mnt, exist_ok=True)
    run("mount", "-o", "loop", path, mnt)
    try:
        os.makedirs(mnt + "/upper")
        os.makedirs(mnt + "/work")
        fill(mnt + "/upper")
    finally:
        run("umount", mnt)


def fill(top):
    os.makedirs(top + "/dir/sub")
    for i in range(20):
        with open(f"{top}/dir/f{i}", "wb") as f:
            f.write(b"x" * (i * 700))
    with open(top + "/EVILNAME", "w") as f:
        f.write("evil")
    with open(top + "/sparse", "wb") as f:
        f.truncate(1 << 20)
        for i in range(0, 1 << 20, 65536):
            f.seek(i)
            f.write(b"y")
    os.link(top + "/dir/f3", top + "/hard")
    os.symlink("t" * 100, top + "/long")
    os.symlink("../sentinel", top + "/out")
    os.mknod(top + "/dir/gone", 0o020000, 0)
    os.makedirs(top + "/opaque")
    os.setxattr(top + "/opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(top + "/dir/f1", "user.x", b"v" * 300)
    os.makedirs(top + "/link/below")
    with open(top + "/link/below/f", "w") as f:
        f.write("f")


def make_host():
    host = WORK + "/jail/host"
    shutil.rmtree(WORK + "/jail", ignore_errors=True)
    os.makedirs(host + "/dir/sub")
    os.makedirs(host + "/opaque/old")
    os.makedirs(WORK + "/jail/sentinel/dir")
    for d in ("", "/dir", "/below"):
        os.makedirs(WORK + "/jail/sentinel" + d, exist_ok=True)
        for n in ("evil", "ev", "f", "gone"):
            with open(f"{WORK}/jail/sentinel{d}/{n}", "w") as f:
                f.write("sentinel")
    with open(host + "/dir/gone", "w") as f:
        f.write("to go")
    # Where the image has a directory, the host has a way out.
    os.symlink("../sentinel", host + "/link")
    return host


def state(path):
    """Everything of a tree but times of access."""
    out = []
    for p, dirs, files in os.walk(path):
        dirs.sort()
        for n in sorted(dirs + files) + ["."]:
            st = os.lstat(os.path.join(p, n))
            out.append((p, n, st.st_mode, st.st_uid, st.st_ino, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns))
    return out


def outside():
    names = sorted(n for n in os.listdir(WORK + "/jail"))
    return names, state(WORK + "/jail/sentinel")


def write_back(image, name, codes=(0, 1)):
    host = make_host()
    before = outside()
    try:
        p = subprocess.run([TOOL, image, host], stdout=subprocess.PIPE, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        failures.append(f"{name}: it hangs")
        return ""
    if p.returncode not in codes:
        failures.append(f"{name}: exit code {p.returncode}: {p.stdout[:300]}")
    if outside() != before:
        failures.append(f"{name}: something outside of the rootfs was changed")
    if os.path.exists(image + ".write-back"):
        os.unlink(image + ".write-back")
    return p.stdout.decode(errors="replace")


def patched(image, old, new, name):
    with open(image, "rb") as f:
        data = f.read()
    if old not in data:
        failures.append(f"{name}: {old} is not in the image")
    out = image + ".patched"
    with open(out, "wb") as f:
        f.write(data.replace(old, new))
    return out


def names(image):
    for new in (b"../../ev", b"../evil\0", b"dir/evil", b"/tmp/evl", b"EVIL\0AME"):
        text = write_back(patched(image, b"EVILNAME", new, "names"), f"name {new}", codes=(1,))
        if "RCVM_E_IMAGE" not in text:
            failures.append(f"name {new}: {text}")


def loops(image):
    """A directory that is its own child."""
    out = image + ".patched"
    shutil.copyfile(image, out)
    run("debugfs", "-w", "-R", "ln /upper/dir /upper/dir/sub/again", out)
    text = write_back(out, "a loop", codes=(1,))
    if "two names" not in text:
        failures.append(f"a loop: {text}")


def features(image):
    out = image + ".patched"
    shutil.copyfile(image, out)
    # The directory "upper" redirected to another place.
    mnt = WORK + "/mnt"
    run("mount", "-o", "loop", out, mnt)
    os.setxattr(mnt + "/upper/dir", "trusted.overlay.redirect", b"/elsewhere")
    run("umount", mnt)
    text = write_back(out, "redirect", codes=(1,))
    if "RCVM_E_UNSUPPORTED" not in text or "redirect" not in text:
        failures.append(f"redirect: {text}")
    with open(out, "wb") as f:
        f.write(b"no image at all" * 1000)
    if "no ext4 image" not in write_back(out, "no image", codes=(1,)):
        failures.append("no image: it is taken for one")
    shutil.copyfile(image, out)
    os.truncate(out, 3 << 20)
    if "cut short" not in write_back(out, "short", codes=(1,)):
        failures.append("a short image is not refused")


def shared_blocks(image):
    """Files that claim the same blocks over and over would fill the host's disk."""
    out = image + ".patched"
    shutil.copyfile(image, out)
    stat = subprocess.run(["debugfs", "-R", "stat /upper/sparse", out], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    assert b"EXTENTS" in stat
    mnt = WORK + "/mnt"
    run("mount", "-o", "loop", out, mnt)
    with open(mnt + "/upper/large", "wb") as f:
        f.write(b"z" * (1 << 20))
    for i in range(40):
        with open(mnt + f"/upper/claims{i}", "wb") as f:
            f.write(b"c")
    run("umount", mnt)
    commands = "".join(f"copy_inode /upper/large /upper/claims{i}\n" for i in range(40))
    run("debugfs", "-w", "-f", "/dev/stdin", out, input=commands.encode())
    text = write_back(out, "shared blocks", codes=(1,))
    if "amount of data" not in text:
        failures.append(f"shared blocks: {text}")


def corrupted(image, what):
    with open(image, "rb") as f:
        good = f.read()
    out = image + ".patched"
    # Where there is something: corruption of zeros is rarely noticed.
    blocks = [i for i in range(0, len(good), 1024) if good[i:i + 1024].strip(b"\0yx")]
    for i in range(ROUNDS):
        data = bytearray(good)
        for _ in range(random.choice([1, 2, 8, 50])):
            at = random.choice(blocks) + random.randrange(1024)
            data[at] = random.choice([0, 1, 0xff, 0x80, random.randrange(256)])
        with open(out, "wb") as f:
            f.write(data)
        n = len(failures)
        write_back(out, f"{what} {i}")
        if len(failures) > n:
            shutil.copyfile(out, f"/tmp/write-back-finding-{what}-{i}.img")


def races(image):
    """A directory of the host turns into a symlink out of it, and back, all the time."""
    for i in range(8):
        host = make_host()
        os.unlink(host + "/link")
        os.makedirs(host + "/link/below")
        os.symlink("../sentinel", host + "/way-out")
        before = outside()
        stop = threading.Event()

        def swap():
            a, b = [os.path.join(host, n).encode() for n in ("link", "way-out")]
            while not stop.is_set():
                libc.renameat2(-100, a, -100, b, RENAME_EXCHANGE)

        t = threading.Thread(target=swap)
        t.start()
        try:
            p = subprocess.run([TOOL, image, host], stdout=subprocess.PIPE, timeout=SECONDS)
        finally:
            stop.set()
            t.join()
        if p.returncode not in (0, 1):
            failures.append(f"race {i}: exit code {p.returncode}")
        if outside() != before:
            failures.append(f"race {i}: something outside of the rootfs was changed")
        if os.path.exists(image + ".write-back"):
            os.unlink(image + ".write-back")


def main():
    seed = int(os.environ.get("SEED", time.time_ns()))
    random.seed(seed)
    os.makedirs(WORK, exist_ok=True)
    image = WORK + "/hostile.img"
    make_image(image, fill)
    text = write_back(image, "the image as it is", codes=(0,))
    names(image)
    loops(image)
    features(image)
    shared_blocks(image)
    races(image)
    corrupted(image, "corrupted")
    make_image(image, fill, "metadata_csum,^resize_inode")
    corrupted(image, "checksummed")
    for f in failures[:20]:
        print(f)
    print(f"hostile: {len(failures)} failures, seed {seed} {text}")
    sys.exit(1 if failures else 0)


main()
