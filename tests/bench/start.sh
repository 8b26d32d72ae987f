#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The whole of `runcvm run ... true` against bare QEMU with the same kernel and memory and an init that ends at once:
# alternating, in one run.  Then the host's part of a start by itself, and the monitor's memory.
#
#   start.sh [ROUNDS]     BUILD, BUSYBOX and RUNCVM_GUEST_DIR as in tests/run-vm
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
rounds=${1:-7}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data

mkdir "$work/root"
cat >"$work/init.c" <<'C'
#include <sys/reboot.h>
int main (void) { return reboot (RB_AUTOBOOT); }
C
"${GUEST_CC:-musl-gcc}" -static -Os "$work/init.c" -o "$work/root/init"
(cd "$work/root" && echo init | cpio -o -H newc --quiet | gzip -9) >"$work/initrd"

accel=tcg kernel_args="tsc=reliable tsc_early_khz=2500000" cpu=max
if "$BUILD/run" runcvm check --format json | grep -q '"name": *"kvm", *"result": *"ok"'; then accel=kvm kernel_args= cpu=host; fi

# The kernel that the library takes by default.
kernel=$RUNCVM_GUEST_DIR/vmlinux
[ -e "$kernel" ] || kernel=$RUNCVM_GUEST_DIR/vmlinuz

bare() {
  qemu-system-x86_64 -machine microvm,x-option-roms=off,isa-serial=on,rtc=on -accel $accel -cpu $cpu -m 256M -nodefaults \
    -no-user-config -no-reboot -display none -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=ttyS0 panic=-1 reboot=t random.trust_cpu=on cryptomgr.notests quiet $kernel_args" -serial null </dev/null
}
ours() { "$BUILD/run" runcvm run --memory 256M --log-level error --rootfs "$BUSYBOX" -- true </dev/null; }
phases() {
  local id=bench-$1
  "$BUILD/run" runcvm run --keep --memory 256M --log-level error --rootfs "$BUSYBOX" "$id" -- true </dev/null
  "$BUILD/run" runcvm state "$id"
  "$BUILD/run" runcvm delete "$id"
}
ms() { local start=${EPOCHREALTIME/./}; "$@" >/dev/null; echo $(((${EPOCHREALTIME/./} - start) / 1000)); }

for i in $(seq "$rounds"); do
  echo "bare $(ms bare)"
  echo "ours $(ms ours)"
  phases "$i" >"$work/state.$i.json"
done >"$work/times"

"$BUILD/run" runcvm run --detach --memory 256M --log-level error --rootfs "$BUSYBOX" pss -- sleep 1000
pid=$("$BUILD/run" runcvm state pss | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)
pss=$(awk '/^Pss:/ {print $2}' "/proc/$pid/smaps_rollup")
"$BUILD/run" runcvm delete --force pss

python3 - "$work" "$accel" "$pss" <<'PY'
import glob, json, statistics, sys
work, accel, pss = sys.argv[1], sys.argv[2], int(sys.argv[3])
times = {"bare": [], "ours": []}
for line in open(work + "/times"):
    name, value = line.split()
    times[name].append(int(value))
bare, ours = (statistics.median(times[k]) for k in ("bare", "ours"))
phases = {}
for path in glob.glob(work + "/state.*.json"):
    for p in json.load(open(path))["org.runcvm"]["phases"]:
        phases.setdefault(p["name"], []).append(p["usec"] / 1000)
print("start, %s, %d rounds, medians in ms (spread)" % (accel, len(times["bare"])))
for k in ("bare", "ours"):
    print("  %-28s %7.0f  (%d to %d)" % ({"bare": "bare QEMU, trivial init", "ours": "runcvm run true"}[k],
          statistics.median(times[k]), min(times[k]), max(times[k])))
print("  ratio %.2f, difference %.0f ms" % (ours / bare, ours - bare))
medians = {k: statistics.median(v) for k, v in phases.items()}
for k, v in medians.items():
    print("    %-10s %8.1f" % (k, v))
host = sum(v for k, v in medians.items() if k in ("spec", "plan", "rootfs"))
print("  host's part before the VMM (spec + plan + rootfs): %.1f ms (aim: under 30)" % host)
print("  monitor: %d KiB PSS (aim: under 3072)" % pss)
PY
