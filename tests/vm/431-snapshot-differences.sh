#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Snapshots that are differences to earlier ones (docs/snapshots.md): each says of every page of the guest's memory what was in it.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

lines() { [ "$(sed -n '$=' "$1")" -gt "$2" ]; }
more_lines() { local n; n=$(sed -n '$=' "$1"); for _ in 1 2 3 4 5 6; do wait_for lines "$1" "$((n + 300))" && return; done; return 1; }
# is_exact FIRST FILE...: numbers from there on, none missing and none twice, in what one VM after the other has said.  The last one may
# have been saved in the middle of a line.
is_exact() { local n=$1; shift; { cat "$@"; echo .; } | awk -v n="$n" 'NR > 1 && last ~ /^[0-9]+$/ && last != n++ { exit 1 } { last = $0 }'; }
temporary() { find "$work" -name '*.tmp.*' 2>/dev/null; }
pid_of() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$work/state/$2/state.json"; }
tool() { python3 "$TOP/tests/vm/snapshots.py" "$@"; }
blocks() { du -k "$1" | cut -f1; }

if [ "$(hypervisor)" != firecracker ]; then
  runcvm run --memory 160M --annotation org.runcvm.track-memory=on --rootfs "$BUSYBOX" no -- true >/dev/null 2>"$work/err"
  is "$?" 125 "a driver that saves no containers that run tracks no memory"
  like "$(cat "$work/err")" "QEMU's driver saves no containers that run, so it tracks no memory" "and says so"
  exit
fi

version=$("${RUNCVM_FIRECRACKER:-firecracker}" --version | sed -n "s/^Firecracker v1\.\([0-9]*\).*/\1/p")
if [ "$version" -lt 13 ]; then
  runcvm run --memory 160M --annotation org.runcvm.track-memory=on --rootfs "$BUSYBOX" no -- true >/dev/null 2>"$work/err"
  is "$?" 125 "an old Firecracker tracks no memory"
  like "$(cat "$work/err")" "Firecracker 1.$version cannot be relied on to track the memory of a VM: 1.13 is the first that can" "and which one does is said"
  exit
fi

make_host
make_container c1
plug c1 eth0 br0 02:00:5e:10:00:01 1500 192.168.1.11/24
printf 'i=0\nwhile :; do i=$((i + 1)); echo $i; done\n' >"$BUSYBOX/count"
s=$work/snaps
mkdir "$s"
# begin ID OPTIONS...
begin() {
  local id=$1; shift
  runcvm run --memory 160M --log-level info --rootfs "$BUSYBOX" --rootfs-changes discard "$@" "$id" -- sh /count \
    >"$work/$id.out" 2>"$work/$id.err" </dev/null &
  eval "$id=$!"
  wait_for lines "$work/$id.out" 300 || wait_for lines "$work/$id.out" 300
}
# What it does between two snapshots: files and memory change, and frames come and go.
work_in() { # ID NUMBER
  runcvm exec "$1" sh -c "dd if=/dev/urandom of=/file bs=64k count=16 2>/dev/null; echo $2 >/marker; sync"
  in_host ping -q -c 20 -i 0.02 -s 1200 192.168.1.11 >/dev/null
  more_lines "$work/$1.out"
}
save() { # ID NAME PARENT [OPTION...]
  local id=$1 name=$2 parent=$3; shift 3
  runcvm checkpoint "$@" ${parent:+--parent-path "../$parent"} --image-path "$s/$name" "$id" 2>"$work/err"
}
# The same, and the guest's memory is looked at before the VM ends, by somebody who reads it as the kernel has it.
save_and_look() { # ID NAME PARENT
  local vmm monitor watcher
  vmm=$(pid_of vmmPid "$1") monitor=$(pid_of monitorPid "$1")
  rm -f "$work/ready"
  tool at "$s/$2" state -STOP "$monitor" >"$work/ready" &
  watcher=$!
  wait_for test -s "$work/ready"
  save "$1" "$2" "$3" &
  for _ in 1 2 3 4 5 6; do wait_for test -e "$s/$2/index" && break; done
  wait "$watcher"
  diag "$(tool compare "$vmm" "$s/$2" 2>&1)"
  succeeds "$2 says of each page what is in it" tool compare "$vmm" "$s/$2"
  kill -CONT "$monitor"
  wait "$!"
}

begin one --netns "/var/run/netns/$tag-c1" --annotation org.runcvm.track-memory=on
save one a "" --leave-running
is "$?" 0 "a whole one"
diag "$(cat "$work/err")"
work_in one 1
save one b a --leave-running
is "$?" 0 "a difference to it"
is "$(cat "$work/err")" "" "without a word"
like "$(cat "$work/one.err")" "the VMM writes what it has noted as changed since '$s/a'" "the VMM knows what has changed"
is "$(temporary)" "" "there is nothing beside it"
is "$(stat -c '%a %U' "$s/b" "$s/b/memory" "$s/b/changes" | sort -u | tr '\n' ' ')" "600 root 700 root " "it is for its owner alone"
succeeds "it takes up a part of what the whole one does" test "$(blocks "$s/b/memory")" -lt "$(($(blocks "$s/a/memory") / 2))"
diag "whole: $(blocks "$s/a/memory") KiB, difference: $(blocks "$s/b/memory") KiB"
work_in one 2

last=b
if [ -z "${LAB_QUICK:-}" ]; then
  # To one that is not the last.
  save one c a --leave-running
  is "$?" 0 "a difference to one that was not the last"
  like "$(tail -n 1 "$work/one.err")" "has not noted what has changed since '$s/a': all is written, and compared" "which the VMM does not know"
  # After one that came to nothing when the VMM had written it, and had begun to note anew.
  rm -f "$work/ready"
  tool at "$s/d" state -0 $$ >"$work/ready" &
  watcher=$!
  wait_for test -s "$work/ready"
  save one d c --leave-running &
  saver=$!
  wait "$watcher"
  mkdir "$s/d"
  touch "$s/d/in-the-way"
  wait "$saver"
  is "$?" 1 "one whose place is taken meanwhile comes to nothing"
  like "$(cat "$work/err")" "cannot put the snapshot into its place '$s/d'" "and says so"
  is "$(temporary)" "" "nothing is left of it"
  rm -r "$s/d"
  work_in one 3
  save one d c --leave-running
  like "$(tail -n 1 "$work/one.err")" "has not noted what has changed since '$s/c'" "then the VMM is not believed"
  work_in one 4
  last=d
fi

runcvm checkpoint --parent-path "$s/d" --image-path "$s/no" one 2>"$work/err"
like "$(cat "$work/err")" "parent-path is seen from --image-path" "a parent is seen from the image's path, as with runc"
save one no nowhere
like "$(cat "$work/err")" "there is no snapshot '$s/nowhere' to which" "one that is not there"
is "$(ls -d "$s"/no* 2>/dev/null)" "" "makes nothing"
save_and_look one e "$last"
like "$(grep noted "$work/one.err" | tail -n 1)" "writes what it has noted as changed since '$s/$last'" "as the VMM has noted it"
wait "$one"
is "$?" 137 "the container has ended"
succeeds "nothing of its output is missing or comes twice" is_exact 1 "$work/one.out"
no_leaks "nothing is left of it"

# From the top of some.
runcvm restore --image-path "$s/e" --netns "/var/run/netns/$tag-c1" --log-level info two >"$work/two.out" 2>"$work/two.err" </dev/null &
two=$!
wait_for test -s "$work/two.out"
more_lines "$work/two.out"
succeeds "a VM goes on from a difference, where the other one was" is_exact 1 "$work/one.out" "$work/two.out"
is "$(runcvm exec two cat /marker)" "$(scaled 4 2)" "with its files"
is "$(in_host ping -q -c 1 -W 10 192.168.1.11 >/dev/null && echo reached)" reached "and its network"
work_in two 5
last=e
if [ -z "${LAB_QUICK:-}" ]; then
  save two f e --leave-running
  like "$(grep noted "$work/two.err" | tail -n 1)" "writes what it has noted as changed since '$s/e'" "what has changed since it goes on is noted, too"
  work_in two 6
  last=f
fi
save_and_look two g "$last"
like "$(grep noted "$work/two.err" | tail -n 1)" "writes what it has noted as changed since '$s/$last'" "as the VMM has noted it"
wait "$two"
no_leaks "nothing is left of it"
succeeds "nothing of its output is missing or comes twice" is_exact 1 "$work/one.out" "$work/two.out"

[ -z "${LAB_QUICK:-}" ] || exit 0
# It has moved, with all below; another container knows nothing of it.
mv "$s" "$work/moved"
s=$work/moved
runcvm restore --image-path "$s/g" --netns "/var/run/netns/$tag-c1" three >"$work/three.out" 2>"$work/three.err" </dev/null &
three=$!
wait_for test -s "$work/three.out"
more_lines "$work/three.out"
succeeds "and what was restored, once more" is_exact 1 "$work/one.out" "$work/two.out" "$work/three.out"
is "$(runcvm exec three cat /marker)" 6 "with what was done last"
runcvm kill three KILL
wait "$three"
no_leaks "nothing is left of it"

mv "$s/b" "$s/c" "$work"
runcvm restore --image-path "$s/g" never 2>"$work/err"
is "$?" 1 "without one of those below it is not restored"
like "$(cat "$work/err")" "the snapshot '.*' is a difference to '.*/c', which is not there any more: put it back" "and why"
mv "$work/b" "$s/c"
runcvm restore --image-path "$s/g" never 2>"$work/err"
like "$(cat "$work/err")" "is another snapshot than the one to which '.*/d' is a difference" "nor with another one in its place"
no_leaks "and nothing is left"
