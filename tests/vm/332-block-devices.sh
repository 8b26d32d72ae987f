#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Block devices of the host as volumes: a loop device is as real a one as any, to the kernel and to the library.
. "$(dirname "$0")/functions.sh"
device=
end() { [ -z "$device" ] || losetup -d "$device"; }
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}

img=$work/disk.img
mkdir "$work/tree" "$work/mnt"
echo hello >"$work/tree/file"
truncate -s 64M "$img"
mke2fs -q -t ext4 -d "$work/tree" "$img"
device=$(losetup -f --show "$img" 2>&1)
if [ ! -b "$device" ]; then
  ok "block devices # skip this kernel has no loop device for us: $device"
  exit 0
fi
trap 'end; finish' EXIT

out=$(with --mount "type=block,src=$device,dst=/data" -- one sh -c 'cat /data/file; grep " /data " /proc/mounts | cut -d" " -f3; dd if=/dev/urandom of=/data/big bs=1M count=20 2>/dev/null; sha256sum </data/big; echo written >/data/new; sync')
like "$(tr '\n' '|' <<<"$out")" '^hello\|ext4\|[0-9a-f]{64}  -\|$' "a device is mounted, and its file system is found out"
sum=$(tail -n 1 <<<"$out")
out=$(with --mount "type=block,src=$device,dst=/data,ro" -- two sh -c 'sha256sum </data/big; cat /data/new; echo x >/data/x' 2>&1)
like "$(tr '\n' '|' <<<"$out")" "^$sum\|written\|.*Read-only file system" "it keeps what was written, and may be for reading"
is "$(e2fsck -fn "$device" >/dev/null 2>&1; echo $?)" 0 "it was left in order"
mount "$device" "$work/mnt"
is "$(sha256sum <"$work/mnt/big"; cat "$work/mnt/new")" "$sum"$'\nwritten' "the host reads the same"
like "$(with --mount "type=block,src=$device,dst=/d" -- mounted true 2>&1)" "'$device' is mounted on the host, at '$work/mnt'" "one that the host has mounted is refused"
umount "$work/mnt"

runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=block,src=$device,dst=/d" holder -- sleep 100000
like "$(with --mount "type=block,src=$device,dst=/d" -- second true 2>&1)" "volumes: .*'$device'" "it is for one VM"
like "$(mount "$device" "$work/mnt" 2>&1)" "already mounted|busy" "and meanwhile not for the host"
runcvm delete --force holder
succeeds "the host has it again" mount "$device" "$work/mnt"
umount "$work/mnt"

out=$(with --mount "type=block,src=$device,dst=/dev/mine,fstype=raw" -- raw sh -c 'ls -l /dev/mine | cut -c1-10; blockdev --getsize64 /dev/mine; printf X | dd of=/dev/mine bs=1 seek=1000000 conv=notrunc 2>/dev/null; sync')
is "$out" $'brw-rw----\n67108864' "raw: a device node"
is "$(dd if="$device" bs=1 skip=1000000 count=1 2>/dev/null)" X "by which it is written to"
end
device=$(losetup -r -f --show "$img")
like "$(with --mount "type=block,src=$device,dst=/data" -- readonly true 2>&1)" "the device '$device' cannot be written to: give it to the VM with 'ro'" "a device that cannot be written to takes 'ro'"
is "$(with --mount "type=block,src=$device,dst=/data,ro" -- asked cat /data/new)" written "and then can be had"
no_leaks
