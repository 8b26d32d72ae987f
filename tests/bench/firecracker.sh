#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A start by its phases under QEMU, under Firecracker and under Firecracker from a template, with the same kernel and KVM, alternating,
# in the lab: the first, for which the root's image (and the template) is made, and later ones; then what a VM with a live volume that runs takes
# beyond its guest's memory: VMM, monitor and volume server.  Ratios count: everything in there takes ten times as long as on a real machine.
#
#   firecracker.sh [ROUNDS]     BUILD, BUSYBOX and RUNCVM_GUEST_DIR as in tests/run-vm
set -eu
cd "$(dirname "$0")/../.."
export BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
rounds=${1:-7}
if [ -z "${RUNCVM_LAB:-}" ]; then LAB_LIMIT=${LAB_LIMIT:-900} exec tests/lab/run "tests/bench/firecracker.sh" "$rounds"; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data
run() { "$BUILD/run" runcvm "$@"; }
mkdir "$work/shared"
echo shared >"$work/shared/file"
# What it takes: PSS of a process, less what of it is the guest's memory (the one mapping of that size).
beyond_guest() {
  awk -v guest=$((256 * 1024)) '
    /^[0-9a-f]+-[0-9a-f]+ / { size = 0 }
    /^Size:/ { size = $2 }
    /^Pss:/ && size < guest { sum += $2 }
    END { print sum }' "/proc/$1/smaps"
}

for i in $(seq 0 "$rounds"); do
  for vmm in qemu firecracker template; do
    how="--hypervisor $vmm"
    if [ $vmm = template ]; then how="--hypervisor firecracker --template on"; fi
    # The first start of all makes the image, and that from a template the template.
    nth=second
    if [ "$i" = 0 ]; then nth=first; run cache prune >/dev/null; fi
    start=${EPOCHREALTIME/./}
    # shellcheck disable=SC2086
    run run --keep --memory 256M --log-level error $how --rootfs "$BUSYBOX" start -- true </dev/null
    total=$(((${EPOCHREALTIME/./} - start) / 1000))
    run state start | /usr/bin/python3 -c '
import json, sys
phases = json.load(sys.stdin)["org.runcvm"]["phases"]
for p in phases: print(sys.argv[3], sys.argv[1], p["name"], p["usec"] / 1000)
print(sys.argv[3], sys.argv[1], "start", sum(p["usec"] for p in phases) / 1000)
print(sys.argv[3], sys.argv[1], "command", sys.argv[2])' "$vmm" "$total" "$nth"
    run delete start
  done
done >"$work/times"
for vmm in qemu firecracker; do
  run run --detach --memory 256M --log-level error --hypervisor $vmm --volume "$work/shared:/shared" --rootfs "$BUSYBOX" pss -- sleep 1000
  # It is there, and has been used.
  run exec pss -- sh -c 'cat /shared/file >/dev/null; echo x >/shared/new'
  pids=$(run state pss | sed -n 's/.*"\(pid\|vmmPid\)": *\([0-9]*\).*/\2/p' | sort -u)
  for pid in $pids $(pgrep -P "$(echo "$pids" | head -n 1)" -x runcvm-volumes); do echo "$vmm $(cat "/proc/$pid/comm") $(beyond_guest "$pid")"; done
  run delete --force pss
done >"$work/memory"

/usr/bin/python3 - "$work" "$rounds" <<'PY'
import statistics, sys
times = {}
for line in open(sys.argv[1] + "/times"):
    nth, vmm, phase, ms = line.split()
    times.setdefault(nth, {}).setdefault(phase, {}).setdefault(vmm, []).append(float(ms))
for nth in "first", "second":
    print("%s start under KVM in the lab, %s, medians in ms" % (nth, "once" if nth == "first" else sys.argv[2] + " rounds"))
    print("  %-10s %10s %12s %7s %12s %7s" % ("", "qemu", "firecracker", "ratio", "template", "ratio"))
    for phase, by in times[nth].items():
        q, f, t = (statistics.median(by.get(v, [0])) for v in ("qemu", "firecracker", "template"))
        print("  %-10s %10.1f %12.1f %7.2f %12.1f %7.2f" % (phase, q, f, f / q if q else 0, t, t / f if f else 0))
print("beyond the guest's memory, KiB PSS")
sums = {}
for line in open(sys.argv[1] + "/memory"):
    vmm, what, kib = line.split()
    print("  %-12s %-16s %8s" % (vmm, what, kib))
    sums[vmm] = sums.get(vmm, 0) + int(kib)
for vmm, kib in sums.items():
    print("  %-12s %-16s %8d" % (vmm, "all", kib))
PY
