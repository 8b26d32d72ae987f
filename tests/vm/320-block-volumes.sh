#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Disks as volumes: image files and block devices, mounted or raw; and who must not have one.
. "$(dirname "$0")/functions.sh"

# with OPTION... -- ID COMMAND...
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}

img=$work/data.img
mkdir "$work/tree"
echo hello >"$work/tree/file"
truncate -s 64M "$img"
mke2fs -q -t ext4 -d "$work/tree" "$img"

out=$(with --mount "type=block,src=$img,dst=/srv/data" -- one sh -c 'cat /srv/data/file; grep " /srv/data " /proc/mounts | cut -d" " -f3; echo written >/srv/data/new; mkdir /srv/data/d')
is "$out" $'hello\next4' "an image is mounted, and its file system is found out"
out=$(with --mount "type=block,src=$img,dst=/srv/data,ro" -- two sh -c 'cat /srv/data/new; ls -d /srv/data/d; echo x >/srv/data/x' 2>&1)
like "$(tr '\n' '|' <<<"$out")" "written\|/srv/data/d\|.*Read-only file system\|" "what was written is there for the next VM, which may only read"
e2fsck -fn "$img" >/dev/null 2>&1
is "$?" 0 "the image was left in order"

mkdir "$work/sq"
echo squashed >"$work/sq/a"
# Another file system, made without its tools: one of the test's own kernel's.
if command -v mksquashfs >/dev/null; then
  mksquashfs "$work/sq" "$work/sq.img" -quiet -no-progress >/dev/null
  is "$(with --mount "type=block,src=$work/sq.img,dst=/sq,ro" -- sq cat /sq/a)" squashed "a squashfs"
fi

# Two disks, several paths, a place below another volume.
truncate -s 16M "$work/b.img" "$work/c,d.img"
mke2fs -q -t ext2 "$work/b.img"
mke2fs -q -t ext4 "$work/c,d.img"
out=$(runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" \
  --mount "type=block,src=$work/b.img,dst=/m" --mount "type=block,src=$img,dst=/m/inner" --mount type=tmpfs,dst=/m/t three -- \
  sh -c 'cat /m/inner/file; ls /m; touch /m/of-b')
is "$(tr '\n' ' ' <<<"$out")" "hello inner lost+found t " "two disks, one below the other, and a tmpfs"

# Raw: the disk itself.
out=$(with --mount "type=block,src=$work/b.img,dst=/dev/mine,fstype=raw" -- raw sh -c 'ls -l /dev/mine | cut -c1-10; blockdev --getsize64 /dev/mine; dd if=/dev/mine bs=1 skip=1080 count=2 2>/dev/null | hexdump -C | head -n 1; dd if=/dev/zero of=/dev/mine bs=1k count=8 2>/dev/null && sync')
like "$(tr '\n' '|' <<<"$out")" "^brw-rw----\|16777216\|00000000  53 ef" "a raw disk is a device node"
with --mount "type=block,src=$work/b.img,dst=/x" -- empty true 2>"$work/err"
is "$?" 125 "what was wiped holds no file system any more"
like "$(cat "$work/err")" "volumes: '$work/b.img' holds no known file system that could be mounted at '/x'.*fstype=raw" "and the error says what to do"
with --mount "type=block,src=$work/b.img,dst=/x,fstype=ext4" -- told true 2>"$work/err"
like "$(cat "$work/err")" "cannot mount .* as ext4: Invalid argument" "one that is not what it is said to be is the guest's error"
with --mount "type=block,src=$img,dst=/x,fstype=nosuchfs" -- nofs true 2>"$work/err"
like "$(cat "$work/err")" "kernel has no file system nosuchfs" "a file system that the guest does not have is named"
truncate -s 1M "$work/swap.img"
mkswap -q "$work/swap.img" 2>/dev/null
like "$(with --mount "type=block,src=$work/swap.img,dst=/x" -- swap true 2>&1)" "holds no file system.* but swap" "swap is no file system"

# Who must not have it.
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=block,src=$img,dst=/d" holder -- sleep 100000
like "$(with --mount "type=block,src=$img,dst=/d" -- second true 2>&1)" "volumes: another VM has '$img'" "a disk is for one VM"
like "$(with --mount "type=block,src=$img,dst=/d,ro" -- second true 2>&1)" "volumes: another VM has '$img', and may write to it" "also one that would only read it"
runcvm delete --force holder
like "$(with --mount "type=block,src=$img,dst=/d,ro" -- dirty true 2>&1)" "it was not unmounted, and its journal has to be written" "one whose VM was killed has to be mounted for writing first"
with --mount "type=block,src=$img,dst=/d" -- clean true
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=block,src=$img,dst=/d,ro" reader -- sleep 100000
is "$(with --mount "type=block,src=$img,dst=/d,ro" -- third cat /d/file)" hello "readers share one"
like "$(with --mount "type=block,src=$img,dst=/d" -- fourth true 2>&1)" "another VM has '$img': only one that nobody writes to" "and nobody else may write to it"
runcvm delete --force reader
ln -s data.img "$work/link"
cat >"$work/mounted.sh" <<'SH'
. /dev/stdin <<<"$functions"
mkdir "$work/mnt"
mount -o loop "$img" "$work/mnt"
with --mount "type=block,src=$work/link,dst=/d" -- fifth true
with --mount "type=block,src=$img,dst=/d,ro" -- sixth true
with --mount "type=block,src=$(findmnt -n -o SOURCE "$work/mnt"),dst=/d,ro" -- seventh true
nsenter --mount=/proc/$outside/ns/mnt bash -c '. /dev/stdin <<<"$functions"; with --mount "type=block,src=$img,dst=/d" -- eighth true'
umount "$work/mnt"
SH
export img work
functions=$(declare -f with runcvm) outside=$$ BUILD=$BUILD BUSYBOX=$BUSYBOX unshare --mount bash "$work/mounted.sh" >"$work/out" 2>&1
is "$(grep -cE "'($img|$work/link)' is mounted on the host, at '$work/mnt': a VM cannot have it" "$work/out")" 2 "an image that the host has mounted by a loop device is refused, for reading too"
is "$(grep -c "'/dev/loop[0-9]*' is mounted on the host, at '$work/mnt'" "$work/out")" 1 "and so is the loop device"
is "$(grep -c "'$img' is in use on the host" "$work/out")" 1 "wherever the mount is"
root=$(findmnt -n -o SOURCE /)
if [ -b "$root" ]; then
  like "$(with --mount "type=block,src=$root,dst=/d,ro" -- rootdisk true 2>&1)" "'$root' is mounted on the host" "the host's own disk is refused"
fi
for bad in /dev/null "$work/tree" "$work/nothing"; do
  like "$(with --mount "type=block,src=$bad,dst=/d" -- bad true 2>&1)" "volumes: .*'$bad'" "$bad is no disk"
done
like "$(with --mount "type=block,src=$img,dst=/d,squash=1:1" -- bad true 2>&1)" "'squash' means nothing to a volume of type 'block'" "options of other kinds are refused"
is "$(with --mount "type=block,src=$img,dst=/srv/data" -- last cat /srv/data/new)" written "after all of that it can be had again"
no_leaks
