#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Containers that are saved while they run, and VMs that go on from there (docs/snapshots.md).
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

lines() { [ "$(sed -n '$=' "$1")" -gt "$2" ]; }
# is_exact FIRST FILE...: numbers from there on, none missing and none twice, in what one VM after the other has said.  The last one may
# have been saved in the middle of a line.
is_exact() { local n=$1; shift; { cat "$@"; echo .; } | awk -v n="$n" 'NR > 1 && last ~ /^[0-9]+$/ && last != n++ { exit 1 } { last = $0 }'; }
temporary() { ls -d "$work"/*.tmp.* 2>/dev/null; }
monitor_of() { sed -n 's/.*"monitorPid": *\([0-9]*\).*/\1/p' "$work/state/$1/state.json"; }

if [ "$(hypervisor)" != firecracker ]; then
  runcvm run -d --memory 160M --rootfs "$BUSYBOX" no -- sleep 1000 >/dev/null
  runcvm checkpoint --image-path "$work/snap" no 2>"$work/err"
  is "$?" 1 "a driver that cannot: 1"
  like "$(cat "$work/err")" "the VMM driver 'qemu' cannot save or restore a container that runs \(snapshots\): firecracker can" "and which it is, and what it cannot"
  is "$(ls -d "$work"/snap* 2>/dev/null)" "" "nothing was made"
  is "$(runcvm exec no echo runs)" runs "the container goes on"
  runcvm restore --image-path "$work/none" never 2>"$work/err"
  is "$?" 1 "what is not there cannot be restored"
  like "$(cat "$work/err")" "cannot open '$work/none/index', which a snapshot has: No such file" "and it says so"
  runcvm checkpoint --pre-dump no 2>"$work/err"
  like "$(cat "$work/err")" "\-\-pre-dump is of CRIU" "what only CRIU has is refused"
  exit
fi

make_host
mkdir "$work/live"
for n in 1 2; do
  make_container "c$n"
  plug "c$n" eth0 br0 "02:00:5e:10:00:0$n" 1400 "192.168.1.1$n/24"
done
# Counts as fast as its output is taken; says what it is when it is asked, and ends when it shall.
cat >"$BUSYBOX/count" <<'SH'
i=0
while :; do
  i=$((i + 1))
  echo $i
  if [ -e /live/ask ]; then
    { hostname; cat /sys/class/net/eth0/address; ip -4 addr show dev eth0 | sed -n "s/.*inet \([^ ]*\).*/\1/p"
      cat /proc/sys/kernel/random/uuid; date +%s; cat /live/ask; cat /of-the-disk; } >"/live/said-$(hostname).new"
    mv "/live/said-$(hostname).new" "/live/said-$(hostname)"
    until [ -e "/live/stop-$(hostname)" ]; do sleep 0.1; done
    echo end
    exit 7
  fi
done
SH
runcvm run --memory 160M --log-level warning --netns "/var/run/netns/$tag-c1" --hostname one --volume "$work/live:/live" \
  --env SECRET=hidden --rootfs "$BUSYBOX" --rootfs-changes discard one -- sh -c 'echo of the disk >/of-the-disk; exec sh /count' \
  >"$work/out" 2>"$work/err" </dev/null &
run=$!
wait_for lines "$work/out" 1000

"$BUILD/run" runcvm exec one sleep 1000 &
session=$!
wait_for sh -c "'$BUILD/run' runcvm exec one true; sleep 1"
runcvm checkpoint --leave-running --image-path "$work/snap" one 2>"$work/err2"
like "$(cat "$work/err2")" "started in the container \(exec\) run there" "with a process of exec it is not saved"
kill "$session"
wait "$session"
wait_for sh -c "! '$BUILD/run' runcvm exec one pidof sleep"
sleep 1

mkdir "$work/full"
touch "$work/full/file"
runcvm checkpoint --leave-running --image-path "$work/full" one 2>"$work/err2"
like "$(cat "$work/err2")" "there is something in '$work/full' already" "nor into a directory that has something"
mkdir "$work/small"
mount -t tmpfs -o size=20M none "$work/small"
runcvm checkpoint --image-path "$work/small/snap" one 2>"$work/err2"
is "$?" 1 "a disk that is full"
like "$(cat "$work/err2")" "No space left|Firecracker refused a snapshot" "and it says so"
diag "$(cat "$work/err2")"
is "$(ls -A "$work/small")" "" "nothing is left there"
umount "$work/small"
n=$(sed -n '$=' "$work/out")
wait_for lines "$work/out" "$((n + 1000))"
succeeds "the container goes on, and of its output nothing is missing" is_exact 1 "$work/out"

runcvm checkpoint --leave-running --image-path "$work/snap" one 2>"$work/err2"
is "$?" 0 "a container is saved, and goes on"
is "$(cat "$work/err2")" "" "without a word"
is "$(temporary)" "" "there is nothing beside it"
is "$(stat -c '%a %U' "$work/snap" "$work/snap/memory" "$work/snap/options" | sort -u | tr '\n' ' ')" "600 root 700 root " "it is for its owner alone"
n=$(sed -n '$=' "$work/out")
wait_for lines "$work/out" "$((n + 1000))"
succeeds "nothing of its output is missing or comes twice" is_exact 1 "$work/out"
is "$(runcvm exec one cat /of-the-disk)" "of the disk" "processes can be started in it again"

# Docker's containerd pauses it before.
runcvm pause one
runcvm checkpoint --leave-running --image-path "$work/paused" one 2>"$work/err2"
is "$?" 0 "one that is paused is saved"
diag "$(cat "$work/err2")"
like "$(runcvm state one)" '"status": "paused"' "and is paused again"
n=$(sed -n '$=' "$work/out")
sleep 1
is "$(sed -n '$=' "$work/out")" "$n" "it stands still"
runcvm resume one
wait_for lines "$work/out" "$((n + 1000))"
succeeds "it goes on, and nothing of its output is missing or comes twice" is_exact 1 "$work/out"
runcvm pause one
runcvm checkpoint --image-path "$work/last" one 2>"$work/err2"
is "$?" 0 "once more, paused, and it ends"
diag "$(cat "$work/err2")"
wait "$run"
is "$?" 137 "as by SIGKILL"
succeeds "and nothing of its output was lost" is_exact 1 "$work/out"
no_leaks "nothing is left of it"

# Two at once, from the one that was made last.
for n in 1 2; do
  runcvm restore --image-path "$work/last" --hostname "re$n" --netns "/var/run/netns/$tag-c$n" --log-level warning "re$n" \
    >"$work/out$n" 2>"$work/err$n" </dev/null &
  eval "re$n=$!"
done
for n in 1 2; do
  for _ in 1 2 3 4 5 6; do wait_for lines "$work/out$n" 1000 && break; done
  is "$(cat "$work/err$n")" "" "VM $n goes on without a word"
  succeeds "where the other one was, with what had not been said" is_exact 1 "$work/out" "$work/out$n"
done
like "$(runcvm list -q | sort | tr '\n' ' ')" "^re1 re2 $" "they are two VMs"
echo through the volume >"$work/live/ask"
for n in 1 2; do wait_for test -s "$work/live/said-re$n"; done
said() { sed -n "$2p" "$work/live/said-re$1"; }
is "$(said 1 1) $(said 2 1)" "re1 re2" "each has its own host name"
is "$(said 1 2) $(said 2 2)" "02:00:5e:10:00:01 02:00:5e:10:00:02" "MAC"
is "$(said 1 3) $(said 2 3)" "192.168.1.11/24 192.168.1.12/24" "address"
is "$(sort -u <(said 1 4) <(said 2 4) | grep -c .)" 2 "and random numbers"
succeeds "its clock is the host's" test "$(($(date +%s) - $(said 2 5)))" -lt 60
is "$(said 1 6) $(said 2 6)" "through the volume through the volume" "volumes work in both directions"
is "$(said 1 7) $(said 2 7)" "of the disk of the disk" "and their disks"
is "$(runcvm exec re2 sh -c 'ping -c 1 -W 10 192.168.1.1 >/dev/null && echo reached')" reached "the network works"
touch "$work/live/stop-re1" "$work/live/stop-re2"
wait "$re1"
is "$?" 7 "the first ends as its process does"
wait "$re2"
is "$?" 7 "and the second"
is "$(tail -n 1 "$work/out1") $(tail -n 1 "$work/out2")" "end end" "with its last words"
no_leaks "nothing is left of both"

# What is not as it was.
refused() { # PATTERN NAME
  runcvm restore --image-path "$work/bad" --netns "/var/run/netns/$tag-c1" bad >/dev/null 2>"$work/err"
  is "$?" 1 "$2: it is not restored"
  like "$(cat "$work/err")" "$1" "and why"
  no_leaks "and nothing is left"
}
damage() { rm -rf "$work/bad"; cp -a --reflink=auto --sparse=always "$work/snap" "$work/bad"; }
# tests/unit/test-snapshot.c does the like without a VM.
if [ -z "${LAB_QUICK:-}" ]; then
  damage; truncate -s 100M "$work/bad/memory"
  refused "'$work/bad/memory' has 104857600 bytes, and was made with 167772160" "the memory is cut"
  damage; printf x | dd of="$work/bad/state" bs=1 seek=1000 conv=notrunc 2>/dev/null
  refused "'$work/bad/state' is not what was written" "the state is damaged"
  damage; truncate -s 1M "$work/bad/disk-upper"
  refused "'$work/bad/disk-upper' has 1048576 bytes" "a disk is cut"
  damage; rm "$work/bad/disk-upper"
  refused "cannot find '$work/bad/disk-upper', which the snapshot has" "a disk is missing"
  damage; sed -i '5s/./x/' "$work/bad/index"
  refused "'$work/bad' cannot be restored: its index is damaged" "the index is damaged"
fi
# edit FROM TO: as many bytes in the index, with its digest
edit() {
  damage
  sed -n '2,$p' "$work/snap/index" | sed "s/$1/$2/" >"$work/json"
  { sha256sum "$work/json" | cut -c1-64; cat "$work/json"; } >"$work/bad/index"
}
edit '"vmmVersion":1[0-9]*' '"vmmVersion":1001'
refused "the snapshot was made by Firecracker 1.1, and" "another Firecracker"
edit '"cpu":"....' '"cpu":"zzzz'
refused "made on a host with another processor or kernel" "another host"
edit '"shape":"....' '"shape":"zzzz'
refused "the machine of the snapshot is another" "another machine"
edit '"base":"tree-....' '"base":"tree-0000'
refused "is not in the cache any more" "the image below is gone"
