#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the tests of snapshots (docs/snapshots.md).

  snapshots.py compare PID DIR        the memory of the guest of that VMM, which stands still, with that of a snapshot: 0 if they are equal
  snapshots.py at PLACE FILE KILL...  waits until FILE is written to in the directory that becomes PLACE, then runs `kill KILL...`;
                                      FILE "": until the directory is made
  snapshots.py console SOCKET         takes the terminal that comes there (--console-socket); what is typed is the standard input
"""
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys

PAGE = 4096
CREATE, MODIFY = 0x100, 0x2


def layers(place):
    """Of each the memory and the changes, from the top; as docs/snapshots.md has it, and not as the library does."""
    while True:
        with open(os.path.join(place, "index")) as f:
            index = json.loads(f.read().split("\n", 1)[1])
        changes = None
        if "parent" in index:
            with open(os.path.join(place, "changes"), "rb") as f:
                changes = f.read()
        yield open(os.path.join(place, "memory"), "rb", 0), changes
        if not changes:
            return
        place = os.path.join(place, index["parent"])


def memory_of(place):
    stack = list(layers(place))
    size = os.fstat(stack[0][0].fileno()).st_size
    out = bytearray(size)
    for at in range(0, size, PAGE):
        n = at // PAGE
        for f, changes in stack:
            if changes is None or changes[n // 8] >> (n % 8) & 1:
                out[at:at + PAGE] = os.pread(f.fileno(), PAGE, at)
                break
    return bytes(out)


def compare(pid, place):
    wanted = memory_of(place)
    best = None
    with open("/proc/%d/maps" % pid) as f:
        maps = [line.split()[:2] for line in f]
    mem = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
    for span, mode in maps:
        start, end = (int(x, 16) for x in span.split("-"))
        if end - start < len(wanted) or mode[:2] != "rw":
            continue
        for at in {start, end - len(wanted)}:
            other = []
            for done in range(0, len(wanted), 1 << 20):
                want = wanted[done:done + (1 << 20)]
                got = os.pread(mem, len(want), at + done)
                if got != want:
                    other += [(done + i) // PAGE for i in range(0, len(want), PAGE) if got[i:i + PAGE] != want[i:i + PAGE]]
            if best is None or len(other) < len(best):
                best = other
    if best is None:
        sys.exit("the VMM has no mapping of %d bytes" % len(wanted))
    if best:
        sys.exit("%d pages are others, such as %s" % (len(best), best[:10]))


def at(place, name, kill):
    libc = ctypes.CDLL(None)
    fd = libc.inotify_init1(0)
    parent, base = os.path.split(place)

    def watch(path, mask):
        return libc.inotify_add_watch(fd, path.encode(), mask)

    def events():
        data = os.read(fd, 65536)
        while data:
            wd, mask, _, n = struct.unpack("iIII", data[:16])
            yield wd, mask, data[16:16 + n].rstrip(b"\0").decode()
            data = data[16 + n:]

    top = watch(parent, CREATE)
    print("ready", flush=True)
    temp, inner = None, None
    while True:
        for wd, mask, what in events():
            if wd == top and what.startswith(base + ".tmp.") and temp is None:
                temp = os.path.join(parent, what)
                if not name:
                    sys.exit(subprocess.call(["kill", *kill]))
                inner = watch(temp, CREATE | MODIFY)
            elif wd == inner and what == name and mask & MODIFY:
                sys.exit(subprocess.call(["kill", *kill]))
        if temp and os.path.exists(os.path.join(temp, name)) and os.path.getsize(os.path.join(temp, name)):
            sys.exit(subprocess.call(["kill", *kill]))


def console(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        print("ready", flush=True)
        _, fds, _, _ = socket.recv_fds(listener.accept()[0], 4096, 1)
    typed = [0]
    while True:
        for f in select.select(fds + typed, [], [])[0]:
            try:
                data = os.read(f, 4096)
            except OSError:  # nobody has the terminal any more
                data = b""
            if not data and f == fds[0]:
                return
            if not data:
                typed = []
            else:
                os.write(1 if f == fds[0] else fds[0], data)


if sys.argv[1] == "console":
    console(sys.argv[2])
elif sys.argv[1] == "compare":
    compare(int(sys.argv[2]), sys.argv[3])
else:
    at(sys.argv[2], sys.argv[3], sys.argv[4:])
