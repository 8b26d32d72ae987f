#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copies that go back while the VM runs: every second, and after changes.
. "$(dirname "$0")/functions.sh"
stopped() { runcvm state "$1" 2>/dev/null | grep -q '"status": "stopped"'; }
# has FILE TEXT; follows WHAT COMMAND...: the host gets there, within what a slow machine needs.
has() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
gone() { [ ! -e "$1" ]; }
follows() {
  local what=$1
  shift
  for _ in $(seq 300); do if "$@"; then ok "$what"; return; fi; sleep 0.2; done
  not_ok "$what"
  diag "$(find "$c" "$p" -ls)"
  diag "$(cat "$work/log")"
}
in_vm() { runcvm exec live sh -c "$1"; }
# What is there of a file in which lines are numbered from 1: no line is missing, wrong or half.
is_prefix() { [ -s "$1" ] && seq "$(wc -l <"$1")" | cmp -s - "$1"; }

p=$work/p c=$work/c e=$work/e
mkdir -p "$p" "$c/old/er" "$e"
for f in one two three; do echo "host's" >"$c/$f"; done
echo deep >"$c/old/er/deep"

runcvm run --memory 160M --log-level warning --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=copy,src=$p,dst=/p,write-back=periodic:1" \
  --mount "type=copy,src=$c,dst=/c,write-back=change:1" --mount "type=copy,src=$e,dst=/e,write-back=exit" live -- \
  sh -c 'i=0; while [ ! -e /stop ]; do i=$((i + 1)); echo $i >>/p/lines || exit 9; done; exit 5' >"$work/log" 2>&1 &
run=$!
wait_for runcvm exec live true
for _ in $(seq 100); do runcvm exec live true 2>/dev/null && break; sleep 0.2; done

# While somebody writes all the time.
follows "a periodic copy is on the host while the VM runs" is_prefix "$p/lines"
n=$(wc -l <"$p/lines")
more() { [ "$(wc -l <"$p/lines")" -gt "$n" ] && is_prefix "$p/lines"; }
follows "and again, whole" more
in_vm 'echo vm >/c/one; mkdir /c/new; echo x >/c/new/x; rm /c/two; chmod 640 /c/three; echo e >/e/e'
follows "a change is on the host without an exit" has "$c/one" vm
follows "so is a new directory" has "$c/new/x" x
follows "what was removed is gone" gone "$c/two"
follows "modes follow" eval '[ "$(stat -c %a "$c/three")" = 640 ]'
is "$(ls -A "$e")" "" "a copy that goes back at the exit does not before"
in_vm 'mv /c/new /c/renamed; echo y >/c/temporary'
follows "a directory that is renamed is so on the host" has "$c/renamed/x" x
follows "with nothing left at its old name" gone "$c/new"
follows "a file is there" has "$c/temporary" y
in_vm 'rm /c/temporary; rm -r /c/old; mkdir /c/old; echo z >/c/old/z'
follows "and goes when the VM removes it, which it had not from the host" gone "$c/temporary"
follows "a directory that was made anew has what is in it" has "$c/old/z" z
is "$(ls "$c/old")" z "and nothing else"

# The host's own changes stay where the VM makes none.
echo "host's again" >"$c/one"
echo added >"$c/added"
in_vm 'echo again >/c/three'
follows "other changes go on" has "$c/three" again
is "$(cat "$c/one" "$c/added")" $'host\'s again\nadded' "what the host has changed since is left alone"

# What fails is said, and done later.
mv "$c" "$c.away"
in_vm 'echo later >/c/later'
follows "a directory that is not there is warned of" grep -q "copies are not written back now, and it is tried again: cannot find '$c'" "$work/log"
mv "$c.away" "$c"
follows "and caught up with" has "$c/later" later
ls -A "$c" >"$work/names"
like "$(grep -c runcvm "$work/names")" '^0$' "nothing of ours is left in the directory"

# The end: all of it.
in_vm 'echo last >/c/last; touch /stop'
wait "$run"
is "$?" 5 "no write has failed while the disk stood still"
is "$(cat "$c/last" "$e/e")" $'last\ne' "the rest goes back at the exit"
is "$(cat "$c/one" "$c/added")" $'host\'s again\nadded' "where the host's changes still stay"
succeeds "and the lines are all there" is_prefix "$p/lines"
no_leaks

# kill -9: what was written back is whole.
rm "$p/lines"
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=copy,src=$p,dst=/p,write-back=periodic:1" \
  --mount "type=copy,src=$c,dst=/c,write-back=change:1" live -- \
  sh -c 'echo temporary >/c/temporary; i=0; while :; do i=$((i + 1)); echo $i >>/p/lines; done'
follows "a second VM's changes arrive, too" is_prefix "$p/lines"
follows "with a file that it has made" has "$c/temporary" temporary
in_vm 'rm /c/temporary; sync'
kill -9 "$(runcvm state live | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
succeeds "a VM that was killed leaves what was written back last" is_prefix "$p/lines"
n=$(wc -l <"$p/lines")
wait_for stopped live
# A disk that was cut off has all up to some byte, which may be in the middle of a line; and the file's size may be ahead of that within its
# last block, which ext4 fills with zeros.
is_cut() {
  local whole
  whole=$(tr -d '\0' <"$1" | wc -c)
  [ "$whole" -gt 0 ] && seq "$(($(wc -l <"$1") + 1))" | head -c "$whole" | cmp -s - <(head -c "$whole" "$1") \
    && [ $(($(stat -c %s "$1") - whole)) -lt 4096 ]
}
succeeds "the next call writes back what was on its disk" is_cut "$p/lines"
succeeds "which is no less" [ "$(wc -l <"$p/lines")" -ge "$n" ]
follows "with what was removed" gone "$c/temporary"
runcvm delete --force live
no_leaks

# A VM that is paused has time.
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=copy,src=$c,dst=/c,write-back=change:3" live -- sleep 100000
for _ in $(seq 100); do in_vm true 2>/dev/null && break; sleep 0.2; done
# Not written back yet, unless the machine is very slow: it is due while the VM stands still.
in_vm 'echo paused >/c/paused'
runcvm pause live
sleep 4
succeeds "a paused VM goes on" runcvm resume live
follows "and so does what it has changed" has "$c/paused" paused
succeeds "it is killed, and nobody waits" runcvm kill live KILL
wait_for stopped live
runcvm delete live
no_leaks

# What cannot be.
bad() { runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --mount "type=copy,src=$c,dst=/c,write-back=$1" bad -- true 2>&1; }
like "$(bad periodic:0)" "followed by a colon and 1 to 86400 seconds" "no time at all"
like "$(bad exit:5)" "followed by a colon" "a time where none belongs"
like "$(bad periodically)" "there are none, exit, periodic\[:SECONDS\] and change\[:SECONDS\]" "a word that is none"
no_leaks "errors leave nothing"
