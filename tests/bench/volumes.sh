#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# In a VM: a live volume (strict, and cached) and virtiofs against the VM's own ext4.  Then how long after the host's change the VM
# sees it: it answers by one write to a file of the volume, which the host waits for.  What such a write takes is measured by itself;
# half of its median is what the answer's way takes, and is told, and not taken off.  Last, whether the host sees what the VM closed.
#
#   volumes.sh [CHANGES]     BUILD, BUSYBOX and RUNCVM_GUEST_DIR as in tests/run-vm; TRANSPORT: of the volumes (default: as without one)
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
changes=${1:-300}
by=${TRANSPORT:+,transport=$TRANSPORT}
work=$(mktemp -d)
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data
runcvm() { "$BUILD/run" runcvm "$@"; }
trap 'runcvm delete --force bench 2>/dev/null || :; rm -rf "$work"' EXIT

mkdir "$work/strict" "$work/cached" "$work/virtiofs" "$work/tree"
cp -a "$BUSYBOX/." "$work/tree"
mkdir "$work"/tree/{local,strict,cached,virtiofs}
"${GUEST_CC:-musl-gcc}" -static -O2 tests/bench/volumes-guest.c -o "$work/tree/bin/volumes-guest"
runcvm run --detach --memory 512M --log-level error --rootfs "$work/tree" --rootfs-changes discard --volume "$work/strict:/strict:rw$by" \
  --volume "$work/cached:/cached:cached=60$by" --volume "$work/virtiofs:/virtiofs:virtiofs" bench -- sleep 100000
for at in local strict cached virtiofs; do runcvm exec bench -- volumes-guest speed "/$at" 32 300 >"$work/$at.figures"; done
echo "in the VM: local ext4 (overlay), strict volume, cached volume, virtiofs (strict)"
paste "$work"/{local,strict,cached,virtiofs}.figures | awk '{ printf "%-22s %10s %10s %10s %10s   strict/virtiofs %.2f\n", $1, $2, $4, $6, $8, $4 / $8 }'

python3 - "$work/strict" "$changes" "$BUILD/run" <<'PY'
import ctypes, os, select, struct, subprocess, sys, time
at, changes, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
with open(at + "/now", "w") as f:
    f.write("0\n")
with open(at + "/seen", "w") as f:
    pass
out = subprocess.run([run, "runcvm", "exec", "bench", "--", "volumes-guest", "write", "/strict/seen", "200"], stdout=subprocess.PIPE, check=True)
answer = sorted(int(l) for l in out.stdout.split())[100] / 2000
watch = libc.inotify_init1(os.O_CLOEXEC)
assert libc.inotify_add_watch(watch, (at + "/seen").encode(), 2) >= 0  # IN_MODIFY
def seen():
    with open(at + "/seen", "rb") as f:
        return f.read(32).split(b"\n")[0]
def wait_for(what):
    while seen() != what:
        if not select.select([watch], [], [], 60)[0]:
            raise SystemExit("the VM did not see %r within a minute" % what)
        os.read(watch, 4096)
p = subprocess.Popen([run, "runcvm", "exec", "bench", "--", "volumes-guest", "see", "/strict/now", "/strict/seen"])
times = []
with open(at + "/now", "r+b", buffering=0) as f:
    f.write(b"999\n")
    wait_for(b"999")
    for i in range(1000, 1000 + changes):
        start = time.monotonic()
        f.seek(0)
        f.write(b"%d\n" % i)
        wait_for(b"%d" % i)
        times.append(time.monotonic() - start)
p.kill()
times.sort()
print("host to VM, and its answer: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms of %d; of which the answer %.1f ms"
      % tuple([1000 * times[min(len(times) - 1, int(len(times) * q))] for q in (0.5, 0.9, 0.99, 1)] + [len(times), answer]))
# What was closed is there when the VM says so.
p = subprocess.Popen([run, "runcvm", "exec", "bench", "--", "sh", "-c",
                      "i=0; while [ $i -lt 100 ]; do echo $i >/strict/said; echo $i; read go; i=$((i + 1)); done"],
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
late = 0
for i in range(100):
    line = p.stdout.readline()
    with open(at + "/said", "rb") as f:
        late += f.read() != line
    p.stdin.write(b"go\n")
    p.stdin.flush()
p.wait()
print("VM to host after close: %d of 100 not there" % late)
PY
