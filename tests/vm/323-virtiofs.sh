#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Directories that are shared by virtiofs.
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

a=$work/a b=$work/b
mkdir -p "$a/sub" "$b"
echo one >"$a/one"
echo b >"$b/b"
# What one VMM alone has; the other's refusal says what there is instead.
if [ "$(hypervisor)" = firecracker ]; then
  with --mount "type=virtiofs,src=$a,dst=/a" --volume "$b:/b" -- one true 2>"$work/err"
  is "$?" 125 "Firecracker has no virtiofs"
  is "$(cat "$work/err")" "runcvm: volumes: the VMM driver 'firecracker' cannot share '$a' by virtiofs: use a live volume (NFS), or QEMU" \
    "which the error names, and what to use"
  no_leaks "and nothing is left, nor of the volume beside it"
  is "$(with --volume "$a:/a" --volume "$b:/b:ro" -- instead sh -c 'cat /a/one /b/b; echo two >/a/sub/two')$(cat "$a/sub/two")" $'one\nbtwo' "that serves the same directories"
  is "$(RUNCVM_HYPERVISOR=auto with --mount "type=virtiofs,src=$a,dst=/a" -- auto cat /a/one)" one "and auto takes QEMU for it"
  like "$(with --mount "type=virtiofs,src=$a,dst=/a,squash=1:1" -- bad true 2>&1)" "'squash' means nothing" "options of others are told first"
  no_leaks
  exit
fi

out=$(with --mount "type=virtiofs,src=$a,dst=/a" --volume "$b:/b:virtiofs,ro" -- one sh -c '
  cat /a/one /b/b; grep " /a " /proc/mounts | cut -d" " -f3; echo two >/a/sub/two; chown 7:8 /a/sub/two; echo x >/b/x; ls /b' 2>&1)
like "$(tr '\n' '|' <<<"$out")" "^one\|b\|virtiofs\|.*Read-only file system\|b\|$" "two directories, one to be read only"
is "$(cat "$a/sub/two"; stat -c '%u %g' "$a/sub/two")" $'two\n7 8' "what the VM writes is there, and whose it is"
is "$(ls "$b")" b "the host does not let it write to the other"
no_leaks

# Live, both ways.
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=virtiofs,src=$a,dst=/a" live -- sleep 100000
for i in 1 2 3; do
  echo "host $i" >"$a/one"
  is "$(runcvm exec live cat /a/one)" "host $i" "a change of the host is seen at once ($i)"
done
runcvm exec live sh -c 'echo guest >/a/one'
is "$(cat "$a/one")" guest "and the other way"
echo big >"$a/new-on-the-host"
is "$(runcvm exec live ls /a)" $'new-on-the-host\none\nsub' "so are names"
mkdir "$work/elsewhere"
echo secret >"$work/elsewhere/secret"
ln -s ../elsewhere/secret "$a/link"
like "$(runcvm exec live cat /a/link 2>&1)" "No such file" "a symlink leads to where it does in the VM"
like "$(runcvm exec live sh -c 'cat /a/../../elsewhere/secret; ls /a/..' 2>&1)" "No such file" "and .. not out of the directory"
servers() { local p; for p in /proc/[0-9]*; do grep -qa "^virtiofsd" "$p/cmdline" 2>/dev/null && grep -qaF "$work/data" "$p/cmdline" && echo "${p#/proc/}"; done; }
is "$(servers | wc -l)" 2 "its server (of two processes) runs"
is "$(find "$work/data/vms" -name '*.sock' | wc -l)" 0 "and has no socket that others could connect to"
kill -9 "$(servers | tail -n 1)"
stops live
like "$(runcvm state live)" "virtiofsd, which shares '$a' with the VM, ended" "without it the VM ends, and says why"
runcvm delete --force live
is "$(servers | wc -l)" 0 "and no server is left"
no_leaks

# What cannot be.
like "$(with --mount "type=virtiofs,src=$a/one,dst=/a" -- bad true 2>&1)" "'$a/one' is no directory, and virtiofs shares nothing else" "a file"
like "$(with --mount "type=virtiofs,src=$work/none,dst=/a" -- bad true 2>&1)" "cannot open '$work/none'" "a directory that is not there"
like "$(RUNCVM_VIRTIOFSD=/nonexistent with --mount "type=virtiofs,src=$a,dst=/a" -- bad true 2>&1)" "virtiofsd is not there: install qemu-system-common" "without the server"
like "$(RUNCVM_VIRTIOFSD=/bin/false with --mount "type=virtiofs,src=$a,dst=/a" -- bad true 2>&1)" "virtiofsd, which shares '$a' with the VM, ended with exit code 1|connection|vhost" "a server that fails"
like "$(with --hypervisor firecracker --mount "type=virtiofs,src=$a,dst=/a" -- bad true 2>&1)" "[Ff]irecracker" "a VMM without it"
like "$(with --mount "type=virtiofs,src=$a,dst=/a,squash=1:1" -- bad true 2>&1)" "'squash' means nothing" "options of others"
no_leaks "errors leave nothing"
