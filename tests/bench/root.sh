#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# root.sh [ROUNDS]: what a start spends on the root (the phase "rootfs") for trees of 2 MB, 200 MB and 2 GB: the first start,
# which builds the base, further ones, further ones by digest, and a copy of everything for each.  And what two VMs of one base
# have of it in the host's page cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox} DEBIAN=${DEBIAN:-$PWD/build/debian}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
rounds=${1:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/root-bench.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data

cp -a "$BUSYBOX/." "$work/large"
for i in 1 2 3 4; do head -c 500000000 /dev/urandom >"$work/large/data$i"; done

runcvm() { "$BUILD/run" runcvm "$@"; }
digest=sha256:$(printf '%064d' 0)
# phase OPTION...: milliseconds
phase() {
  runcvm run --timings --memory 256M --log-level error --rootfs-changes discard "$@" -- true 2>&1 </dev/null | awk '$1 == "rootfs" {print $2}'
}
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
many() { local i; for i in $(seq "$rounds"); do phase "$@"; done | median; }

printf '%-10s %12s %12s %12s %14s\n' tree first again by-digest single-disk
for tree in "$BUSYBOX" "$DEBIAN" "$work/large"; do
  first=$(phase --rootfs "$tree")
  phase --rootfs-digest "$digest" --rootfs "$tree" >/dev/null
  printf '%-10s %9s ms %9s ms %9s ms %11s ms\n' "$(du -sm "$tree" | cut -f 1) MB" "$first" "$(many --rootfs "$tree")" \
    "$(many --rootfs-digest "$digest" --rootfs "$tree")" "$(phase --rootfs-disk single --rootfs "$tree")"
  runcvm cache prune >/dev/null
done

phase --rootfs "$DEBIAN" >/dev/null
image=$(find "$work/data/cache" -name '*.ext4')
# What reading the whole of /usr in a VM brings into the host's page cache.
resident() { python3 - "$image" <<'PY'
import ctypes, mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
pages = (size + 4095) // 4096
vector = ctypes.create_string_buffer(pages)
libc.mincore(address, size, vector)
print(sum(b & 1 for b in vector.raw[:pages]) * 4096 >> 20)
PY
}
reader=(find /usr -xdev -type f -exec cat '{}' +)
for vm in one two; do
  runcvm run --memory 256M --log-level error --rootfs-changes discard --rootfs "$DEBIAN" $vm -- "${reader[@]}" >/dev/null
  echo "page cache of the base of $(($(stat -c %s "$image") >> 20)) MiB when VM $vm has read /usr: $(resident) MiB; images on disk: $(find "$work/data" -name '*.ext4' | wc -l)"
done
