#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Snapshots (docs/snapshots.md) whose monitor or VMM is killed meanwhile, and disks that are full; and containers with a terminal.
. "$(dirname "$0")/functions.sh"

temporary() { find "$work" -maxdepth 2 -name '*.tmp.*' 2>/dev/null; }
pid_of() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$work/state/$2/state.json"; }
tool() { python3 "$TOP/tests/vm/snapshots.py" "$@"; }
wait_long() { for _ in 1 2 3 4 5 6; do wait_for "$@" && return; done; return 1; }

if [ "$(hypervisor)" != firecracker ]; then
  # What is refused has no middle in which somebody could be killed: it leaves nothing, whoever dies afterwards.
  runcvm run --detach --memory 160M --rootfs "$BUSYBOX" no -- sleep 1000 >/dev/null
  runcvm checkpoint --image-path "$work/snap" no 2>"$work/err"
  is "$? $(temporary)" "1 " "a driver that saves no containers that run has begun nothing"
  kill -KILL "$(pid_of monitorPid no)"
  wait_for eval 'runcvm state no | grep -q "\"status\": \"stopped\""' && ok "a monitor that is killed after it is found" || not_ok "a monitor that is killed after it is found"
  runcvm delete --force no
  no_leaks
  exit
fi

begin() { # ID
  runcvm run --memory 160M --log-level warning --rootfs "$BUSYBOX" --rootfs-changes discard "$1" -- sh -c 'echo here; sleep 1000' \
    >"$work/$1.out" 2>"$work/$1.err" </dev/null &
  run=$!
  wait_long test -s "$work/$1.out"
}
# killed WHO FILE ID: at that point; what the container's end is, and what the tool says, is in $ended and $work/err.
killed() {
  local watcher
  begin "$3"
  rm -f "$work/ready"
  tool at "$work/snap-$3" "$2" -KILL "$(pid_of "$1" "$3")" >"$work/ready" &
  watcher=$!
  wait_for test -s "$work/ready"
  runcvm checkpoint --leave-running --image-path "$work/snap-$3" "$3" 2>"$work/err"
  is "$?" 1 "$1 is killed ${2:+while $2 is written}: nothing is saved"
  diag "$(cat "$work/err")"
  wait "$watcher"
  wait "$run"
  ended=$?
  diag "$ended: $(cat "$work/$3.err")"
}

killed vmmPid state vmm
like "$(cat "$work/err")" "Firecracker did not answer the request PUT /snapshot/create|VM 'vmm' has stopped before it was saved" "and why"
is "$ended" 125 "the container's end is an error"
like "$(cat "$work/vmm.err")" "firecracker.*(signal 9|killed)" "that says who died"
is "$(temporary)$(ls -d "$work"/snap* 2>/dev/null)" "" "nothing is left of the snapshot"
no_leaks "nor of the VM"

for point in "" memory; do
  id=monitor-${point:-made}
  killed monitorPid "$point" "$id"
  is "$ended" 125 "the container's end is an error"
  like "$(cat "$work/$id.err")" "monitor of VM '$id' .*died|monitor.*(gone|died)" "that says who died"
  runcvm delete --force "$id" 2>/dev/null
  is "$(temporary)$(ls -d "$work"/snap* 2>/dev/null)" "" "nothing is left of the snapshot"
  no_leaks "nor of the VM"
done

# A terminal.
mkfifo "$work/typed"
terminal() { # the listener of a console
  rm -f "$work/sock"
  tool console "$work/sock" <"$work/typed" >"$work/tty" &
  listener=$!
  exec 7>"$work/typed"
  wait_for grep -q ready "$work/tty"
}
terminal
runcvm run -d --tty --console-socket "$work/sock" --memory 160M --rootfs "$BUSYBOX" --rootfs-changes discard tty -- \
  sh -c 'stty -echo rows 33 cols 77; n=0; while read -r line; do n=$((n + 1)); echo "$n: $line, $(tty) $(stty size)"; done; echo hung up' 2>"$work/err"
is "$?" 0 "a container with a terminal"
diag "$(cat "$work/err")"
sleep 1
echo first >&7
wait_long grep -q '1: first' "$work/tty"
like "$(cat "$work/tty")" "1: first, /dev/(pts/[0-9]|console) 33 77" "that speaks"
runcvm checkpoint --leave-running --image-path "$work/tty-snap" tty 2>"$work/err"
is "$?" 0 "is saved"
diag "$(cat "$work/err")"
echo second >&7
wait_long grep -q '2: second' "$work/tty"
like "$(cat "$work/tty")" "2: second, /dev/(pts/[0-9]|console) 33 77" "and goes on with it"
runcvm delete --force tty
exec 7>&-
wait "$listener"
terminal
runcvm restore --detach --console-socket "$work/sock" --image-path "$work/tty-snap" tty2 2>"$work/err"
is "$?" 0 "it is restored with another one"
diag "$(cat "$work/err")"
echo third >&7
wait_long grep -q '2: third' "$work/tty"
like "$(cat "$work/tty")" "2: third, /dev/(pts/[0-9]|console) [0-9]+ [0-9]+" "where it was, and speaks there"
printf '\004' >&7
wait_long grep -q 'hung up' "$work/tty"
like "$(cat "$work/tty")" "hung up" "its keys are those of a terminal"
exec 7>&-
wait "$listener"
wait_for sh -c "'$BUILD/run' runcvm state tty2 | grep -q stopped"
runcvm delete tty2 2>/dev/null || runcvm delete --force tty2

# Full disks: while the snapshot below is copied, and in the end.
begin disks
runcvm checkpoint --leave-running --image-path "$work/whole" disks 2>"$work/err"
is "$?" 0 "a whole one"
mkdir "$work/small"
mount -t tmpfs -o size=20M none "$work/small"
runcvm checkpoint --leave-running --parent-path ../../whole --image-path "$work/small/snap" disks 2>"$work/err"
is "$?" 1 "a difference, where the disk is full"
like "$(cat "$work/err")" "No space left|Firecracker refused a snapshot" "and it says so"
is "$(ls -A "$work/small")" "" "nothing is left there"
is "$(runcvm exec disks echo goes on)" "goes on" "the container goes on"
sleep 1
runcvm checkpoint --parent-path ../whole --image-path "$work/difference" disks 2>"$work/err"
is "$?" 0 "a difference, where there is room"
diag "$(cat "$work/err")"
wait "$run"
for n in whole difference; do
  mkdir -p "$work/small/data"
  dd if=/dev/zero of="$work/small/filler" bs=4k 2>/dev/null
  RUNCVM_DATA_DIR=$work/small/data RUNCVM_CACHE_DIR=$work/data/cache timeout 60 "$BUILD/run" runcvm restore --image-path "$work/$n" full >/dev/null 2>"$work/err"
  is "$?" 1 "to restore the $n one where the disk is full"
  like "$(cat "$work/err")" "No space left on device" "says so"
  is "$(find "$work/small/data" -name '*.img')" "" "and leaves nothing"
done
umount "$work/small"
no_leaks "nothing is left"
