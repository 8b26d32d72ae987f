#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Disks that come to a VM that runs, and go: mounted and raw, for reading alone, refused, in use, and twenty times over.
. "$(dirname "$0")/functions.sh"

hot=(--annotation org.runcvm.hotplug=on)
if [ "${RUNCVM_HYPERVISOR:-}" = firecracker ]; then
  version=$(runcvm check | sed -n 's/^ok *firecracker .* version 1\.\([0-9]*\).*/\1/p')
  if [ "${version:-0}" -lt 16 ]; then
    ok "disks that come # skip Firecracker 1.${version:-?} cannot attach devices to a VM that runs: 1.16 is the first that can"
    exit
  fi
fi

image() {
  mkdir -p "$work/tree"
  echo "$2" >"$work/tree/file"
  truncate -s "${3:-16M}" "$1"
  mke2fs -q -t ext4 -d "$work/tree" "$1"
}
a=$work/a.img b=$work/b.img
image "$a" one
image "$b" two 24M

start() { runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "$@"; }
inside() { runcvm exec vm sh -c "$1"; }
attach() { runcvm volume attach vm "$@" 2>&1; }
detach() { runcvm volume detach vm "$@" 2>&1; }
# What the monitor and the VMM have open, and what the VMM sees mounted.
holdings() {
  local monitor vmm
  monitor=$(runcvm state vm | sed -n 's/^ *"pid": \([0-9]*\).*/\1/p' | head -n 1)
  vmm=$(cat "/proc/$monitor/task/$monitor/children" | tr ' ' '\n' | while read -r p; do
    [ -n "$p" ] && grep -qE 'qemu|firecracker' "/proc/$p/comm" && echo "$p"; done | head -n 1)
  echo "$(ls "/proc/$monitor/fd" | wc -l) $(ls "/proc/$vmm/fd" | wc -l) $(wc -l <"/proc/$vmm/mountinfo") $(inside 'wc -l </proc/mounts')"
}

start "${hot[@]}" vm -- sleep 100000

is "$(attach "$a:/srv/data")" "" "a disk is attached"
is "$(inside 'cat /srv/data/file; grep " /srv/data " /proc/mounts | cut -d" " -f3; echo written >/srv/data/new')" $'one\next4' "its file system is found out, mounted, and can be written to"
like "$(runcvm volume list vm)" "\"source\":\"$a\",\"destination\":\"/srv/data\",\"fstype\":\"ext4\",\"readOnly\":false,\"attached\":true" "it is listed"
like "$(attach "$b:/srv/data")" "VM 'vm' has a disk at '/srv/data' already" "there is one at that place"
like "$(attach "$a:/other")" "another VM has '$a'" "and the disk is nobody's but this VM's"
is "$(attach "$b:/m:ro")" "" "another one, for reading"
like "$(inside 'cat /m/file; touch /m/x; grep " /m " /proc/mounts' 2>&1 | tr '\n' '|')" "^two\|.*Read-only file system\|.* /m ext4 ro,[^|]*\|$" "cannot be written to"
is "$(inside 'd=$(grep " /m " /proc/mounts | cut -d" " -f1); cat /sys/block/${d#/dev/}/ro')" 1 "for the device does not let it"

runcvm exec vm sh -c 'cd /srv/data; exec sleep 100000' &
user=$!
wait_for eval 'inside "ls -l /proc/[0-9]*/cwd" | grep -q "/srv/data$"'
like "$(detach /srv/data)" "the disk at /srv/data is in use in the container: .*busy" "a disk that is in use stays"
is "$(inside 'cat /srv/data/new')" written "as it was"
inside 'for p in /proc/[0-9]*; do [ "$(readlink $p/cwd)" = /srv/data ] && kill -9 ${p#/proc/}; done; :'
wait $user 2>/dev/null

is "$(detach /srv/data)" "" "one that is not is detached"
is "$(inside 'ls -A /srv/data; grep -c " /srv/data " /proc/mounts')" 0 "and is gone"
e2fsck -fn "$a" >/dev/null 2>&1
is "$?" 0 "it was left in order"
like "$(detach /srv/data)" "VM 'vm' has no disk at '/srv/data' that was attached" "it cannot be detached twice"
start --mount "type=block,src=$a,dst=/d" other -- sleep 100000
is "$(runcvm exec other cat /d/new)" written "another VM can have it now"
like "$(attach "$a:/x")" "another VM has '$a'" "and then this one cannot"
like "$(runcvm volume detach other /d 2>&1)" "the disk at '/d' is one of the start of VM 'other'" "a disk of the start stays"
runcvm delete --force other

# The disk itself.
is "$(attach "$a:/dev/mine:raw")" "" "a raw one"
is "$(inside 'ls -l /dev/mine | cut -c1-10; blockdev --getsize64 /dev/mine; dd if=/dev/mine bs=1 skip=1080 count=2 2>/dev/null | hexdump -C | head -n 1 | cut -c1-15')" \
  $'brw-rw----\n16777216\n00000000  53 ef' "is a device node that can be read"
inside 'printf X | dd of=/dev/mine bs=1 seek=9000000 conv=notrunc 2>/dev/null; (exec 3</dev/mine; exec sleep 100000) >/dev/null 2>&1 & echo $! >/tmp/pid'
like "$(detach /dev/mine)" "the disk at /dev/mine is in use in the container" "one that somebody has open stays"
inside 'kill -9 $(cat /tmp/pid)'
wait_for eval '[ -z "$(detach /dev/mine)" ]' && ok "until nobody has" || not_ok "until nobody has"
is "$(dd if="$a" bs=1 skip=9000000 count=1 2>/dev/null)" X "what was written is on it"
is "$(inside 'ls /dev/mine 2>&1 | grep -c "No such"')" 1 "the node is gone"

# What is refused.
truncate -s 1M "$work/none.img"
like "$(attach "$work/none.img:/x")" "'$work/none.img' holds no known file system that could be mounted at '/x'" "no file system"
like "$(attach "$work/none.img:/x:fstype=ext4")" "cannot mount .* as ext4: Invalid argument" "the guest says what is wrong with one"
like "$(attach "$work/none.img:/x:fstype=nosuchfs")" "kernel has no file system nosuchfs" "or what it does not have"
like "$(attach "$work/nothing:/x")" "cannot open the disk '$work/nothing'" "no disk"
like "$(attach "$work/tree:/x")" "'$work/tree' is neither a block device nor an image file" "a directory"
: >"$work/empty.img"
like "$(attach "$work/empty.img:/x:raw")" "the disk '$work/empty.img' is empty" "an empty one"
like "$(attach "$b:/x:ro,exec")" "'exec' is no option of a disk" "an option that is none"
like "$(attach "$b")" "a disk is SOURCE:/TARGET" "no target"
runcvm pause vm
like "$(attach "$a:/x")" "VM 'vm' is paused: resume it first" "to a VM that is paused"
runcvm resume vm
is "$(inside 'ls /x 2>/dev/null')" "" "nothing came of all that"

# A block device of the host.
device=$(losetup -f --show "$a" 2>/dev/null)
if [ -b "$device" ]; then
  is "$(attach "$device:/device")" "" "a block device"
  is "$(inside 'cat /device/file /device/new')" $'one\nwritten' "is mounted"
  like "$(mount "$device" "$work/tree" 2>&1)" "already mounted|busy" "and meanwhile not the host's"
  is "$(detach /device)" "" "it goes"
  losetup -d "$device"
else
  ok "a block device # skip this kernel has no loop device for us: $device"
fi

# Again and again; two at once have to wait for each other.
is "$(attach "$a:/again"; detach /again)" "" "once"
before=$(holdings)
failed=0
for i in $(seq "$(scaled 20 5)"); do
  [ -z "$(attach "$a:/again")" ] && [ "$(inside 'cat /again/file')" = one ] && [ -z "$(detach /again)" ] || failed=$((failed + 1))
done
is "$failed" 0 "attached and detached, again and again"
is "$(holdings)" "$before" "nobody has an open file or a mount more than before"
image "$work/c.img" three
attach "$a:/p" >"$work/p" &
p=$!
attach "$work/c.img:/q" >"$work/q"
wait $p
is "$(cat "$work/p" "$work/q"; inside 'cat /p/file /q/file')" $'one\nthree' "two at once"

# One is there when the VM ends.
runcvm kill vm KILL
wait_for eval 'runcvm state vm | grep -q "\"status\": \"stopped\""'
like "$(attach "$a:/x")" "VM 'vm' is not running|VM 'vm' has stopped|is stopped" "a VM that has stopped has none"
runcvm delete vm
start --mount "type=block,src=$a,dst=/d" vm2 -- sleep 100000
is "$(runcvm exec vm2 cat /d/file)" one "they are free again"
runcvm delete --force vm2

# One that was not started for it.
start plain -- sleep 100000
if [ "${RUNCVM_HYPERVISOR:-}" = firecracker ]; then
  like "$(runcvm volume attach plain "$a:/x" 2>&1)" "Firecracker cannot attach disks to a VM that was started without PCI: start it with the annotation org.runcvm.hotplug=on" "the error names what is missing"
fi
runcvm delete --force plain
no_leaks
