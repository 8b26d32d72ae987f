#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Directories that diod shares by 9P.  Debian's cloud kernel has no 9P: the guest is of the lab's kernel and modules (tests/lab/make).
. "$(dirname "$0")/functions.sh"

lab=$BUILD/lab/image
[ -e "$lab/initramfs" ] || logged=$(BUILD=$BUILD "$TOP/tests/lab/make" 2>&1) || { not_ok "the lab's kernel"; diag "$logged"; exit 1; }
mkdir "$work/tree" "$work/guest"
(cd "$work/tree" && cpio -id --quiet <"$lab/initramfs" && cp "$BUILD/guest/rcvm-init" init && printf "virtio_mmio\nvirtio_pci\n" >lib/modules/boot && find . ! -name . | sort | cpio -o -H newc -R 0:0 --quiet >../guest/initramfs)
rm -rf "$work/tree"
ln -s "$lab/vmlinux" "$lab/vmlinuz" "$work/guest/"

# with OPTION... -- ID COMMAND...
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  RUNCVM_GUEST_DIR=$work/guest runcvm run --memory 192M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}
# appears FILE; stops ID: bounded, as what is waited for may never come
appears() { for _ in $(seq 300); do [ -e "$1" ] && return; sleep 0.2; done; not_ok "$1 appears"; }
stops() { for _ in $(seq 300); do runcvm state "$1" 2>/dev/null | grep -q '"status": "stopped"' && return; sleep 0.2; done; not_ok "$1 stops"; }
servers() { local p; for p in /proc/[0-9]*; do [ "$(cat "$p/comm" 2>/dev/null)" = diod ] && grep -q "${work##*/}" "$p/mountinfo" 2>/dev/null && echo "${p#/proc/}"; done; }

a=$work/a b=$work/b
mkdir -p "$a/sub" "$b" "$work/elsewhere"
echo one >"$a/one"
echo b >"$b/b"
echo secret >"$work/elsewhere/secret"
ln -s "$work/elsewhere/secret" "$a/absolute"
ln -s ../elsewhere/secret "$a/relative"
mkdir -m 1777 "$a/open"
mkdir -m 700 "$a/closed"
touch "$a/closed/file"
head -c 3000000 /dev/urandom >"$a/big"
out=$(with --mount "type=9p,src=$a,dst=/a" --volume "$b:/b:9p,ro" --volume "$b:/nfs" -- one sh -c '
  cat /a/one /b/b /nfs/b; grep -E " /[ab] " /proc/mounts | cut -d" " -f3 | uniq -c | tr -s " "; echo two >/a/sub/two; chown 7:8 /a/sub/two; ln /a/sub/two /a/three
  mkdir /a/d && mv /a/three /a/d && ln -s d /a/l && mkfifo /a/p && chmod 640 /a/one && truncate -s 1000 /a/one
  echo x >/b/x; ls /b; cat /a/absolute; cat /a/relative /a/../elsewhere/secret; sha256sum </a/big; cp /a/big /a/copy; sync
  su app -c "id -u >/a/open/app; cat /a/closed/file; echo x >/a/x"' 2>&1)
like "$(tr '\n' '|' <<<"$out")" "^one\|b\|b\| 2 9p\|.*Read-only file system\|b\|" "two directories, one to be read only, and a volume by NFS beside them"
is "$(cat "$a/sub/two"; stat -c '%u %g %h' "$a/sub/two" "$a/d/three")" $'two\n7 8 2\n7 8 2' "what the VM writes is there, and whose it is"
is "$(readlink "$a/l"; stat -c '%F %a %s' "$a/p" "$a/one")" $'d\nfifo 644 0\nregular file 640 1000' "links, nodes, modes, sizes"
like "$out" "$(sha256sum <"$a/big" | cut -d' ' -f1)" "a large file is read"
succeeds "and written" cmp "$a/big" "$a/copy"
is "$(cat "$a/open/app"; stat -c '%u %g' "$a/open/app")" $'1000\n1000 1000' "another user is that one on the host"
is "$(grep -c 'Permission denied' <<<"$out")$([ -e "$a/x" ] && echo there)" 2 "and may not more"
is "$(grep -cx secret <<<"$out"; ls "$b")" $'0\nb' "symlinks and .. lead nowhere out of it"
no_leaks

# Live, both ways, and confined.
with --detach --mount "type=9p,src=$a,dst=/a" -- live sleep 100000
for i in 1 2 3; do
  echo "host $i" >"$a/one"
  is "$(runcvm exec live cat /a/one)" "host $i" "a change of the host is seen at once ($i)"
done
runcvm exec live sh -c 'echo guest >/a/one'
is "$(cat "$a/one")" guest "and the other way"
rm -rf "$a/sub"
ln -s / "$a/sub"
like "$(runcvm exec live sh -c 'cat /a/sub/two; ls /a' 2>&1)" "No such file" "a directory that the host makes a symlink of leads to where it does in the VM"
diod=$(servers)
is "$(wc -w <<<"$diod")" 1 "one diod"
is "$(ls "/proc/$diod/root/volume" | wc -l)$(ls /proc/"$diod"/root | tr '\n' ' ')" "$(ls "$a" | wc -l)dev etc lib lib64 usr volume " "its root has the directory, and its libraries"
is "$(sed -n 's/^CapEff:\t//p' "/proc/$diod/status")" 00000000080000df "it has these capabilities of root's, and no others"
is "$(sed -n 's/^\(Seccomp\|NoNewPrivs\):\t//p' "/proc/$diod/status" | tr '\n' ' ')" "1 2 " "and no more to get"
is "$(nsenter -n -t "$diod" ip -br link | grep -c UP)" 0 "no network"
kill -9 "$diod"
stops live
like "$(runcvm state live)" "diod, which shares '$a' with the VM, ended with signal 9" "without it the VM ends, and says why"
runcvm delete --force live
no_leaks

with --detach --mount "type=9p,src=$a,dst=/a" -- unmounted sh -c "sleep 1000"
runcvm exec unmounted true
kill -9 "$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' <<<"$(runcvm state unmounted)")"
for _ in $(seq 50); do [ -z "$(servers)" ] && break; sleep 0.1; done
is "$(servers)" "" "it ends with the monitor"
runcvm delete --force unmounted
no_leaks

# What cannot be.
like "$(with --mount "type=9p,src=$a/one,dst=/a" -- bad true 2>&1)" "'$a/one' is no directory, and diod shares nothing else" "a file"
like "$(with --mount "type=9p,src=$work/none,dst=/a" -- bad true 2>&1)" "cannot open '$work/none'" "a directory that is not there"
like "$(RUNCVM_DIOD=/nonexistent with --mount "type=9p,src=$a,dst=/a" -- bad true 2>&1)" "diod is not there: install the package diod" "without the server"
like "$(RUNCVM_DIOD=/bin/false with --mount "type=9p,src=$a,dst=/a" -- bad true 2>&1)" "diod, which shares '$a' with the VM, ended with exit code 1" "a server that fails"
like "$(with --mount "type=9p,src=$a,dst=/a,squash=1:1" -- bad true 2>&1)" "'squash' means nothing" "options of others"
like "$(runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --mount "type=9p,src=$a,dst=/a" bad -- true 2>&1)" \
  "the guest's kernel has no 9P client, as Debian's cloud kernel has none: make a guest of another kernel" "a guest's kernel without 9P"
no_leaks "errors leave nothing"
