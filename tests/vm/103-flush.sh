#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The root of a VM that runs is brought home: on request, when it is paused, and before anybody opens the file that Docker and
# Podman open before they look at a container's files.
. "$(dirname "$0")/functions.sh"

# The overlay, as Docker lays it out.
mkdir "$work/layer" && mkdir "$work/layer"/{diff,work,merged} && echo lower >"$work/layer/lower"
mount -t overlay overlay -o "lowerdir=$BUSYBOX,upperdir=$work/layer/diff,workdir=$work/layer/work" "$work/layer/merged"
root=$work/layer/merged
echo delta >"$root/root/delta" && echo delta >"$root/root/delta-goes"

# vm ID [OPTION...]: runs until it is killed
vm() {
  local id=$1; shift
  runcvm run --memory 192M --log-level error --rootfs "$root" "$@" "$id" -- sh -c 'echo up; sleep 10000' >"$work/$id.out" 2>&1 &
  wait_for_up "$id"
}
wait_for_up() { local i; for i in $(seq 900); do grep -q up "$work/$1.out" && return 0; sleep 0.1; done; cat "$work/$1.out" >&2; return 1; }
# in_vm ID COMMAND
in_vm() { runcvm exec "$1" -- sh -c "$2"; }
# names DIR: what is there
names() { (cd "$1" && ls -A | tr '\n' ' '); }

vm one
in_vm one 'cd /root; echo a >a; mkdir d; echo b >d/b; dd if=/dev/zero of=big bs=1M count=8 2>/dev/null; ln a link; rm /etc/group delta-goes'
is "$(names "$root/root")" "delta delta-goes " "what it writes stays in the VM for now"
succeeds "flush" runcvm flush one
is "$(names "$root/root") $(cat "$root/root/a" "$root/root/d/b") $(stat -c '%s %h' "$root/root/big" "$root/root/link" | tr '\n' ' ')" \
  "a big d delta link  a
b 8388608 1 2 2 " "the host has it"
is "$(names "$root/etc" | grep -c group) $(stat -c %t "$work/layer/diff/etc/group")" "0 0" "and has lost what it has removed"

monitor=$(runcvm state one | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p')
open_files=$(find "/proc/$monitor/fd" -type l | wc -l)
big=$(stat -c %i "$root/root/big")
echo theirs >"$root/root/theirs"
in_vm one 'cd /root; echo more >>a; rm -r d; rm link; mkdir -p e/f; mv big e/f; echo 2 >two'
runcvm flush one
is "$(names "$root/root") $(cat "$root/root/a") $(names "$root/root/e/f")" "a delta e theirs two  a
more big " "a second one brings what has changed since, and takes what is gone; what others made stays"
is "$(find "/proc/$monitor/fd" -type l | wc -l)" "$open_files" "the monitor keeps no file of it open"
big=$(stat -c %i "$root/root/e/f/big")
in_vm one 'echo 3 >/root/three'
runcvm flush one
is "$(stat -c %i "$root/root/e/f/big") $(cat "$root/root/three")" "$big 3" "what has not changed is not written again"

in_vm one 'echo 4 >/root/four'
runcvm pause one
is "$(cat "$root/root/four")" 4 "pausing brings it home, too"
succeeds "a paused one has nothing more to bring" runcvm flush one
runcvm resume one
in_vm one 'echo 5 >/root/five; rm /root/four'
is "$(cat "$work/layer/lower") $(cat "$root/root/five") $(ls "$root/root/four" 2>&1 | grep -c 'No such')" "lower 5 1" "who opens the layer's file first sees what is in the VM"
many=
for i in 1 2 3 4 5; do { cat "$work/layer/lower"; runcvm flush one; } >>"$work/many" 2>&1 & many="$many $!"; done
in_vm one 'for i in 1 2 3 4 5 6 7 8 9; do echo $i >/root/n$i; done; echo wrote'
# shellcheck disable=SC2086
wait $many
is "$(sort -u "$work/many")" lower "many at once, while it writes"
in_vm one 'echo 6 >/root/six; rm /root/five /root/n1'
runcvm kill one KILL
wait
is "$(names "$root/root")" "a delta e n2 n3 n4 n5 n6 n7 n8 n9 six theirs three two " "the end brings the rest, and takes what is gone"
is "$(cat "$work/layer/lower")" lower "nobody has to wait for one that has stopped"

# Other wishes; and who is killed in the middle.
# Firecracker that writes by io_uring stands still as one that does not.
engine=()
[ "$(hypervisor)" != firecracker ] || engine=(--annotation org.runcvm.io-engine=async)
RUNCVM_FLUSH=asked vm two --env RUNCVM_FLUSH=asked "${engine[@]}"
in_vm two 'for i in 1 2 3; do for k in $(seq 60); do echo $i >/root/w$k; done; sync; done; 
  : >/root/loading; (while [ ! -e /root/halt ]; do dd if=/dev/zero of=/root/load bs=64k count=64; done; rm /root/loading) >/dev/null 2>&1 &'
runcvm flush two
is "$(cat "$root"/root/w* | sort | uniq -c | tr -s ' ')" " 60 3" "one that goes on writing is brought home as it was when it was asked"
in_vm two ': >/root/halt; while [ -e /root/loading ]; do sleep 0.1; done; rm /root/w* /root/load /root/halt'
in_vm two 'echo 7 >/root/seven'
cat "$work/layer/lower" >/dev/null
runcvm pause two
is "$(ls "$root/root/seven" 2>&1 | grep -c 'No such')" 1 "RUNCVM_FLUSH=asked: neither looking nor pausing brings anything"
like "$(runcvm flush two 2>&1)" "is paused: resume it first" "nor can a paused one be asked"
runcvm resume two
in_vm two 'mkdir /root/m; for i in $(seq 200); do echo $i >/root/m/$i; done; sync'
monitor=$(runcvm state two | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
runcvm flush two >/dev/null 2>&1 &
flush=$!
sleep 0.2
kill -9 "$monitor"
wait $flush
runcvm delete --force two >/dev/null 2>&1
is "$(ls "$root/root/m" | wc -l) $(cat "$root/root/m/200") $(find "$root" -maxdepth 1 -name '.runcvm-*')" "200 200 " "a monitor that is killed while it flushes: the next call brings it home"

like "$(runcvm run --memory 192M --log-level error --rootfs "$root" --env RUNCVM_FLUSH=often -- true 2>&1)" "RUNCVM_FLUSH.*often.*look, pause and asked" "an unknown wish is refused"
vm three --rootfs-changes discard
like "$(runcvm flush three 2>&1)" "not written back.*discard" "one whose changes are discarded has nothing to bring"
runcvm delete --force three
wait
umount "$root"
