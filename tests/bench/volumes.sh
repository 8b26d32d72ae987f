#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# In a VM: a live volume (strict, and cached) against the VM's own ext4.  Then how long after the host's change the VM has
# said that it sees it (its answer's way through the agent is in the figure), and whether the host sees what the VM closed.
#
#   volumes.sh [CHANGES]     BUILD, BUSYBOX and RUNCVM_GUEST_DIR as in tests/run-vm
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
changes=${1:-300}
work=$(mktemp -d)
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data
runcvm() { "$BUILD/run" runcvm "$@"; }
trap 'runcvm delete --force bench 2>/dev/null || :; rm -rf "$work"' EXIT

mkdir "$work/strict" "$work/cached" "$work/tree"
cp -a "$BUSYBOX/." "$work/tree"
mkdir "$work/tree/local" "$work/tree/strict" "$work/tree/cached"
"${GUEST_CC:-musl-gcc}" -static -O2 tests/bench/volumes-guest.c -o "$work/tree/bin/volumes-guest"
runcvm run --detach --memory 512M --log-level error --rootfs "$work/tree" --rootfs-changes discard --volume "$work/strict:/strict" \
  --volume "$work/cached:/cached:cached=60" bench -- sleep 100000
for at in local strict cached; do runcvm exec bench -- volumes-guest speed "/$at" 32 300 >"$work/$at.figures"; done
echo "in the VM: local ext4 (overlay), strict volume, cached volume"
paste "$work"/{local,strict,cached}.figures | awk '{ printf "%-22s %10s %10s %10s   strict/local %.2f\n", $1, $2, $4, $6, $4 / $2 }'

python3 - "$work/strict" "$changes" "$BUILD/run" <<'PY'
import subprocess, sys, time
at, changes, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(at + "/now", "w") as f:
    f.write("0\n")
p = subprocess.Popen([run, "runcvm", "exec", "bench", "--", "volumes-guest", "see", "/strict/now"], stdout=subprocess.PIPE)
assert p.stdout.readline() == b"0\n"
times = []
with open(at + "/now", "r+b", buffering=0) as f:
    for i in range(1000, 1000 + changes):
        start = time.monotonic()
        f.seek(0)
        f.write(b"%d\n" % i)
        line = p.stdout.readline()
        times.append(time.monotonic() - start)
        assert line == b"%d\n" % i, (line, i)
p.kill()
times.sort()
print("host to VM and back: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms of %d"
      % tuple([1000 * times[min(len(times) - 1, int(len(times) * q))] for q in (0.5, 0.9, 0.99, 1)] + [len(times)]))
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
