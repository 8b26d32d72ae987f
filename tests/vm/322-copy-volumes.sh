#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copies as volumes, and what goes back of them.
. "$(dirname "$0")/functions.sh"
# appears ID FILE; stops ID: bounded, as what is waited for may never come
appears() { for _ in $(seq 100); do runcvm exec "$1" test -e "$2" 2>/dev/null && return; sleep 0.2; done; not_ok "$2 appears in $1"; }
stops() { for _ in $(seq 300); do runcvm state "$1" 2>/dev/null | grep -q '"status": "stopped"' && return; sleep 0.2; done; not_ok "$1 stops"; }

# with OPTION... -- ID COMMAND...
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}
start() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}
digest_of() { (cd "$1" && find . -print0 | sort -z | xargs -0 stat -c '%n %F %a %u %g %s %Y' | sha256sum); }

a=$work/a b=$work/b
mkdir -p "$a/sub" "$b"
echo one >"$a/one"
echo two >"$a/sub/two"
echo gone >"$a/gone"
mkdir -m 750 "$a/dir"
chown 7:8 "$a/dir"
echo b >"$b/b"
echo single >"$work/single"

# Without write-back.
before=$(digest_of "$a")
out=$(with --mount "type=copy,src=$a,dst=/a" --mount "type=copy,src=$b,dst=/b,ro" --mount "type=copy,src=$work/single,dst=/etc/single" -- one sh -c '
  cat /a/one /a/sub/two /b/b /etc/single; stat -c "%a %u %g" /a/dir; echo x >/a/one && echo y >/a/new && rm /a/gone && echo z >/etc/single; cat /etc/single
  echo x >/b/x; ls /sys/block | grep -c vd' 2>&1)
is "$out" $'one\ntwo\nb\nsingle\n750 7 8\nz\nsh: can\'t create /b/x: Read-only file system\n3' "copies can be read and changed, all of them on one disk"
is "$(digest_of "$a")" "$before" "and none of that is on the host"
is "$(cat "$work/single")" single "nor of a file"
no_leaks

# On exit.
before=$(digest_of "$b")
out=$(with --mount "type=copy,src=$a,dst=/a,write-back=exit" --mount "type=copy,src=$b,dst=/b" --mount "type=copy,src=$b,dst=/c,write-back=exit" -- two sh -c '
  cat /a/one; echo ONE >/a/one; echo new >/a/new; rm /a/gone; mv /a/sub/two /a/sub/zwei; ln -s zwei /a/sub/link; chmod 700 /a/dir
  mkdir -p /a/deep/er; echo d >/a/deep/er/d; echo lost >/b/lost; echo c >/c/c; exit 3')
is "$?" 3 "a VM whose copies go back"
is "$(cat "$a/one" "$a/new" "$a/sub/zwei" "$a/sub/link" "$a/deep/er/d")" $'ONE\nnew\ntwo\ntwo\nd' "what it has changed is on the host when it has ended"
is "$(ls "$a/gone" "$a/sub/two" 2>&1 | grep -c 'No such file')" 2 "what it has removed is gone"
is "$(stat -c '%a %u %g' "$a/dir")" "700 7 8" "and modes are what they have become"
is "$(cat "$b/c"; ls "$b/lost" 2>&1 | grep -c 'No such')" $'c\n1' "each copy goes back by itself, or not"
no_leaks

# Nothing changed: nothing is touched.
before=$(digest_of "$a")
with --mount "type=copy,src=$a,dst=/a,write-back=exit" -- three sh -c 'cat /a/* >/dev/null 2>&1; true'
is "$(digest_of "$a")" "$before" "a VM that only reads changes nothing"

# The host changes it meanwhile.
start --mount "type=copy,src=$a,dst=/a,write-back=exit" -- meanwhile sh -c 'echo vm >/a/one; rm /a/new; touch /a/ready; while [ ! -e /a/stop ]; do sleep 0.1; done'
appears meanwhile /a/ready
echo host >"$a/one"
echo host >"$a/new"
echo host >"$a/sub/zwei"
echo host >"$a/added"
is "$(runcvm exec meanwhile cat /a/sub/zwei)" two "a copy does not see what the host does"
runcvm exec meanwhile touch /a/stop
stops meanwhile
runcvm delete --force meanwhile
is "$(cat "$a/one" "$a/sub/zwei" "$a/added"; ls "$a/new" 2>&1 | grep -c 'No such')" $'vm\nhost\nhost\n1' "what both have changed is the VM's; what one of them has changed is that"
no_leaks

# kill -9 of the monitor: what the guest had on its disk goes back with the next call.
start --mount "type=copy,src=$a,dst=/a,write-back=exit" -- victim sh -c 'echo survives >/a/survivor; sync; echo >/a/ready2; sleep 100000'
appears victim /a/ready2
runcvm exec victim sync
kill -9 "$(runcvm state victim | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
stops victim
is "$(cat "$a/survivor")" survives "a VM whose monitor was killed has its changes written back"
runcvm delete victim
no_leaks

# A source that is another one by then keeps the changes where they are.
start --mount "type=copy,src=$a,dst=/a,write-back=exit" -- moved sh -c 'echo precious >/a/precious; echo >/a/ready3; while [ -e /a/ready3 ]; do sleep 0.1; done'
appears moved /a/ready3
mv "$a" "$a.away"
mkdir "$a"
runcvm kill moved KILL
stops moved
like "$(runcvm delete moved 2>&1)" "volumes: '$a' is not the directory that was copied" "a source that was replaced is not written to"
is "$(ls -A "$a" | wc -l)" 0 "indeed"
rmdir "$a"
mv "$a.away" "$a"
succeeds "when it is back, deletion writes the changes back" runcvm delete moved
is "$(cat "$a/precious")" precious "and nothing is lost"
no_leaks

# What cannot be.
like "$(with --mount "type=copy,src=$work/none,dst=/a" -- bad true 2>&1)" "volumes: cannot open '$work/none'" "a source that is not there"
like "$(with --mount "type=copy,src=$work/single,dst=/a,write-back=exit" -- bad true 2>&1)" "'$work/single' is no directory" "a file does not go back"
like "$(with --mount "type=copy,src=$a,dst=/a,write-back=often" -- bad true 2>&1)" "'often' is no time" "a time that is none"
like "$(with --mount "type=copy,src=$a,dst=/a,ro,write-back=exit" -- bad true 2>&1)" "there is nothing to write back" "a copy that is read-only and goes back"
like "$(with --mount "type=block,src=$a,dst=/a,write-back=exit" -- bad true 2>&1)" "'write-back' means nothing" "a disk is not written back"
no_leaks "errors leave nothing"
