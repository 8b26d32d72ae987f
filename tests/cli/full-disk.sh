#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A data directory that is full, and a state directory that may not be written to.  Mounts, so in a mount namespace of its own.
if [ -z "${IN_NAMESPACE:-}" ]; then
  unshare --mount true 2>/dev/null || { echo "skipped: no mount namespace for this user"; exit 77; }
  IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/functions.sh"
fake_guest
rootfs=$work/tree
mkdir -p "$rootfs" "$RUNCVM_ROOT" "$RUNCVM_DATA_DIR"
head -c 20000000 /dev/urandom >"$rootfs/big"

mount -t tmpfs -o size=4m none "$RUNCVM_DATA_DIR"
fails "a disk that becomes full while the image is written" 125 rootfs "No space left on device" \
  run "${guest[@]}" --rootfs "$rootfs" x -- true
is "$(df --output=used -B1 "$RUNCVM_DATA_DIR" | tail -n 1 | tr -d ' ')" 0 "all of the space is free again"
fails "one disk with everything" 125 rootfs "No space left on device" run "${guest[@]}" --rootfs-disk single --rootfs "$rootfs" x -- true
is "$(df --output=used -B1 "$RUNCVM_DATA_DIR" | tail -n 1 | tr -d ' ')" 0 "leaves nothing either"
fails "the same for create" 1 rootfs "No space left on device" create "${guest[@]}" --rootfs "$rootfs" x -- true
fails "rootfs build on a full disk" 1 rootfs "No space left on device" rootfs build "$rootfs" "$RUNCVM_DATA_DIR/image"
mount -o remount,ro "$RUNCVM_DATA_DIR"
fails "a data directory that is read-only" 125 rootfs "ead-only file system" run "${guest[@]}" --rootfs "$rootfs" x -- true
umount "$RUNCVM_DATA_DIR"

mount -t tmpfs -o size=4m none "$RUNCVM_ROOT"
mount -o remount,ro "$RUNCVM_ROOT"
fails "a state directory that is read-only" 125 state "ead-only file system" run "${guest[@]}" --rootfs "$rootfs" x -- true
is "$(runcvm list)" "ID          PID         STATUS      BUNDLE      CREATED     OWNER" "list only reads"
RUNCVM_GUEST_DIR=/nonexistent runcvm check >"$work/out"
like "$(cat "$work/out")" "^fatal +state +$RUNCVM_ROOT: Read-only file system" "check says so"
umount "$RUNCVM_ROOT"

: >"$work/file"
RUNCVM_ROOT=$work/file fails "a state directory that is a file" 125 state "$work/file" run "${guest[@]}" --rootfs "$rootfs" x -- true
