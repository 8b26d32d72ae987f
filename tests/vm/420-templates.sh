#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# VMs that start from a template (docs/templates.md): what they share, what they do not, and templates that are not what they were.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

# from TEMPLATE ID COMMAND...: a VM of one shape
from() {
  local template=$1 id=$2 ns=$3
  shift 3
  runcvm run --memory 160M --log-level warning --template "$template" --netns "/var/run/netns/$tag-$ns" --hostname "$id" \
    --volume "$work/live:/live" --rootfs "$BUSYBOX" --rootfs-changes discard "$id" -- "$@"
}
# state_of ID NAME: of the library's part of its state
state_of() { runcvm state "$1" | sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p"; }
templates() { ls "$work"/data/cache/template-*.vm 2>/dev/null; }
left_of_making() { find "$work/data/cache" -name 'tmp.*' 2>/dev/null; }
is_making() { [ -n "$(left_of_making)" ]; }

if [ "$(hypervisor)" != firecracker ]; then
  runcvm run --memory 160M --template on --rootfs "$BUSYBOX" no -- true 2>"$work/err"
  is "$?" 125 "a driver that cannot: 125"
  like "$(cat "$work/err")" "the VMM driver 'qemu' cannot start a VM from a template: firecracker can" "and which it is, and what it cannot"
  no_leaks "and nothing is left"
  is "$(runcvm run --memory 160M --log-level error --template auto --rootfs "$BUSYBOX" auto -- echo booted)" booted "with auto it boots"
  runcvm run --memory 160M --template perhaps --rootfs "$BUSYBOX" no -- true 2>"$work/err"
  like "$(cat "$work/err")" "'perhaps' of templates, and only off, auto and on are known" "what is neither"
  is "$(runcvm template list -q)" "" "there is no template"
  exit
fi

make_host
mkdir "$work/live"
echo from the host >"$work/live/file"
for n in 1 2; do
  make_container "c$n"
  plug "c$n" eth0 br0 "02:00:5e:10:00:0$n" 1400 "192.168.1.1$n/24"
done
# What is one VM's own.
tell='hostname; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ip -4 addr show dev eth0 | sed -n "s/.*inet \([^ ]*\).*/\1/p"
  cat /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | md5sum; date +%s; cat /live/file; df -k / | sed 1d | tr -s " " | cut -d" " -f2; cat /proc/sys/kernel/random/boot_id'

# The first to come is killed while it makes one.
from on first c1 true >"$work/out" 2>&1 &
first=$!
wait_for is_making
monitor=$(sed -n 's/.*"monitorPid": *\([0-9]*\).*/\1/p' "$work/state/first/state.json")
kill -KILL "$monitor"
wait "$first"
runcvm delete --force first >/dev/null 2>&1
no_leaks "a monitor that is killed while it makes a template leaves no process"

# Then two at once.
from on two c2 sh -c "$tell; until [ -e /live/stop ]; do sleep 0.2; done; echo stopped" >"$work/two" 2>"$work/err" &
second=$!
from on one c1 sh -c "$tell; ping -c 1 -W 10 192.168.1.1 >/dev/null && echo reached" >"$work/one" 2>"$work/err"
is "$?" 0 "a VM starts from a template that is made for it"
is "$(cat "$work/err")" "" "without a word"
is "$(templates | wc -l)" 1 "there is a template"
key=$(runcvm template list -q)
is "$work/data/cache/$key.vm" "$(templates)" "runcvm template list has it"
is "$(left_of_making)" "" "nothing else is left of making it"
made=$(stat -c %i "$(templates)")
until [ "$(sed -n '$=' "$work/two")" = 10 ] || ! kill -0 "$second" 2>/dev/null; do sleep 0.2; done
is "$(state_of two template)" "$key" "another one that waited for it starts from the same"
runcvm template remove "$key" 2>"$work/err"
like "$(cat "$work/err")" "'$key' is in use: a VM has to stop before" "which cannot be removed while one runs"
touch "$work/live/stop"
wait "$second"
is "$?" 0 "a VM from a template ends as others"
is "$(stat -c %i "$(templates)")" "$made" "the template was made once"

line() { sed -n "$2p" "$work/$1"; }
is "$(line one 1) $(line two 1)" "one two" "each has its own host name"
is "$(line one 2) $(line two 2)" "02:00:5e:10:00:01 02:00:5e:10:00:02" "MAC"
is "$(line one 3) $(line two 3)" "1400 1400" "its interface's MTU"
is "$(line one 4) $(line two 4)" "192.168.1.11/24 192.168.1.12/24" "address"
is "$(sort -u <(line one 5) <(line two 5) <(line one 6) <(line two 6) <(line one 10) <(line two 10) | grep -c .)" 6 "and random numbers"
now=$(date +%s)
succeeds "its clock is the host's" test "$((now - $(line two 7)))" -lt 60 -a "$(line two 7)" -le "$((now + 1))"
is "$(line one 8) $(line two 8)" "from the host from the host" "volumes are attached to it"
succeeds "its disks have their own sizes" test "$(line two 9)" -gt 1000000
is "$(line one 11) $(line two 11)" "reached stopped" "its network works, and what changes in a volume is seen"

# Killed while it is restored, or just after: an error, and the template stays.
(until pid=$(sed -n 's/.*"vmmPid": *\([0-9]*\).*/\1/p' "$work/state/killed/state.json" 2>/dev/null) && [ -n "$pid" ]; do :; done
  kill -KILL "$pid") &
killer=$!
from on killed c1 sleep 100 2>"$work/err" >/dev/null
code=$?
kill "$killer" 2>/dev/null
wait "$killer"
is "$code" 125 "a Firecracker that is killed while it is restored: 125"
like "$(cat "$work/err")" 'killed by signal 9|KILL' "and why"
is "$(runcvm template list -q)" "$key" "the template stays"
no_leaks "and nothing is left of the VM"

# A template that is not what it was.
cp -p --sparse=always "$(templates)" "$work/good"
truncate -s 50M "$(templates)"
like "$(runcvm template list)" "$key .* it was changed after it had been made" "one that is cut short, and what the list says of it"
if [ -n "${LAB_QUICK:-}" ]; then
  mv "$work/good" "$(templates)"
else
  from on short c1 hostname >"$work/out" 2>"$work/err"
  is "$(cat "$work/out")" short "with a template that is cut short a VM starts"
  like "$(cat "$work/err")" "the template '$key' is made again, for it was changed after it had been made" "and it is made again, and why"
  is "$(runcvm template list -q)" "$key" "there it is"
fi

# Its state is that of another Firecracker, and all that the library writes down says that it is right.
/usr/bin/python3 - "$(templates)" <<'PY'
import hashlib, os, re, struct, sys
path = sys.argv[1]
with open(path, "r+b") as f:
    size = f.seek(0, 2)
    f.seek(size - 8192)
    index = bytearray(f.read(4096))
    memory, length = struct.unpack_from("<QQ", index, 24)
    f.seek(memory)
    state = bytearray(f.read(length))
    version = re.search(rb"[0-9]+\.[0-9]+\.[0-9]+", state[:64]) # behind the magic number
    state[version.start()] = ord("9")
    f.seek(memory)
    f.write(state)
    index[40:72] = hashlib.sha256(state).digest()
    index[4064:4096] = hashlib.sha256(index[:4064]).digest()
    f.seek(size - 8192)
    f.write(index)
os.utime(path, (946684800, 946684800))
PY
from on other c1 hostname >"$work/out" 2>"$work/err"
is "$(cat "$work/out")" other "with a template that Firecracker refuses a VM boots"
like "$(cat "$work/err")" "the VM boots, and does not start from a template: (Firecracker refused the template|the VMM .* ended)" "and it says so"
diag "$(cat "$work/err")"
is "$(templates)" "" "the template is gone"
is "$(left_of_making)" "" "with all that was left of it"

# Disks of all kinds, of which the template had none: sizes, partitions, and what is written back.  And a balloon.
mkdir "$work/image" "$work/copied"
echo on the disk >"$work/image/file"
echo before >"$work/copied/file"
truncate -s 24M "$work/image.ext4"
mke2fs -q -t ext4 -d "$work/image" "$work/image.ext4"
/usr/bin/python3 - "$work/raw.img" <<'PY'
import struct, sys
with open(sys.argv[1], "wb") as f:
    f.truncate(8 << 20)
    f.seek(446)
    f.write(struct.pack("<BBBBBBBBII", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, 4096))
    f.seek(510)
    f.write(b"\x55\xaa")
PY
got=$(runcvm run --memory 160M --log-level warning --template on --annotation org.runcvm.enable-balloon=on --rootfs "$BUSYBOX" \
  --mount "type=block,src=$work/image.ext4,dst=/image" --mount "type=block,src=$work/raw.img,dst=/dev/raw,fstype=raw" \
  --mount "type=copy,src=$work/copied,dst=/copied,write-back=exit" disks -- \
  sh -c 'cat /image/file; df -k /image | sed 1d | tr -s " " | cut -d" " -f2; blockdev --getsize64 /dev/raw
    cat /sys/block/vd[a-z]/vd[a-z]1/size; echo after >/copied/file; echo kept >/kept' 2>&1)
like "$(tr '\n' '|' <<<"$got")" '^on the disk\|[12][0-9]{4}\|8388608\|4096\|$' "disks have their own contents, sizes and partitions"
is "$(cat "$work/copied/file" "$BUSYBOX/kept")" "after
kept" "copies and the root are written back"

runcvm run --memory 160M --template on --confine off --rootfs "$BUSYBOX" no -- true 2>"$work/err"
like "$(cat "$work/err")" "from a template only where it is confined" "without a confinement there are none"
runcvm run --memory 160M --template on --annotation org.runcvm.huge-pages=on --rootfs "$BUSYBOX" no -- true 2>"$work/err"
like "$(cat "$work/err")" "cannot start a VM from a template with huge pages" "nor with huge pages"
