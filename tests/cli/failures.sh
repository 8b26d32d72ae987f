#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Starts that fail before a guest runs: each with its stage, one sentence, 125, and nothing left.
. "$(dirname "$0")/functions.sh"
fake_guest
rootfs=$work/tree
mkdir -p "$rootfs/bin"
echo data >"$rootfs/file"

# The bundle.
fails "no bundle" 125 spec "cannot open the bundle '$work/none': No such file or directory" run --bundle "$work/none" x
mkdir "$work/bundle"
fails "no config.json" 125 spec "cannot open config.json in the bundle '$work/bundle': No such file" run -b "$work/bundle" x
(cd "$work/bundle" && runcvm run x 2>"$work/err")
like "$(cat "$work/err")" "config.json in the bundle '$work/bundle'" "the bundle is the working directory"
fails "no config.json for create" 1 spec "cannot open config.json in the bundle" create -b "$work/bundle" x
ln -s config.json "$work/bundle/config.json"
fails "a config.json that leads nowhere" 125 spec "config.json" run -b "$work/bundle" x
rm "$work/bundle/config.json"
: >"$work/file"
fails "a bundle that is a file" 125 spec "cannot open the bundle '$work/file': Not a directory" run -b "$work/file" x

spec() { runcvm spec --bundle "$work/new" && cat "$work/new/config.json" && rm "$work/new/config.json"; }
mkdir "$work/new"
spec >"$work/whole.json"
head -c 200 "$work/whole.json" | bundle
fails "a truncated config.json" 125 spec "config.json" run -b "$work/bundle" x
: | bundle
fails "an empty config.json" 125 spec "config.json" run -b "$work/bundle" x
echo '[]' | bundle
fails "a config.json that is no object" 125 spec "object" run -b "$work/bundle" x
edit() {
  python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); exec(sys.argv[2]); print(json.dumps(d))' "$work/whole.json" "$1" | bundle
}
if command -v python3 >/dev/null; then
  edit 'd["process"]["args"] = "sh"'
  fails "args of a wrong type" 125 spec "process.args" run -b "$work/bundle" x
  edit 'd["process"]["args"] = []'
  fails "no args" 125 spec "process.args" run -b "$work/bundle" x
  edit 'd["process"]["args"] = ["sh", 1]'
  fails "one argument of a wrong type" 125 spec "process.args[1]" run -b "$work/bundle" x
  edit 'del d["process"]["cwd"]'
  fails "no cwd" 125 spec "process.cwd" run -b "$work/bundle" x
  edit 'd["process"]["cwd"] = "tmp"'
  fails "a relative cwd" 125 spec "process.cwd" run -b "$work/bundle" x
  edit 'd["process"]["user"]["uid"] = -1'
  fails "a negative uid" 125 spec "process.user.uid" run -b "$work/bundle" x
  edit 'd["process"]["terminal"] = "yes"'
  fails "a terminal of a wrong type" 125 spec "process.terminal" run -b "$work/bundle" x
  edit 'del d["root"]'
  fails "no root" 125 spec "root" run -b "$work/bundle" x
  edit 'd["ociVersion"] = "9.0.0"'
  fails "a version of the future" 125 spec "ociVersion" run -b "$work/bundle" x
  edit 'd["mounts"] = [{"type": "tmpfs"}]'
  fails "a mount to nowhere" 125 spec "mounts[0].destination" run -b "$work/bundle" x
fi
bundle <"$work/whole.json"
rmdir "$work/bundle/rootfs"
fails "no root directory" 125 rootfs "rootfs" run "${guest[@]}" -b "$work/bundle" x
fails "a root directory that is a file" 125 rootfs "$work/file" run "${guest[@]}" --rootfs "$work/file" x -- true

# The machine.
fails "no such hypervisor" 125 plan "'xen'" run "${guest[@]}" --hypervisor xen --rootfs "$rootfs" x -- true
fails "no kernel" 125 vmm "cannot open the kernel '$work/none'" run "${guest[@]}" --kernel "$work/none" --rootfs "$rootfs" x -- true
fails "a directory for a kernel" 125 vmm "the kernel '$work' is not a regular file" run "${guest[@]}" --kernel "$work" \
  --rootfs "$rootfs" x -- true
fails "a kernel that is none" 125 vmm "'$work/whole.json' is neither a bzImage nor a vmlinux" run "${guest[@]}" \
  --kernel "$work/whole.json" --rootfs "$rootfs" x -- true
fails "an empty kernel" 125 vmm "neither a bzImage nor a vmlinux" run "${guest[@]}" --kernel "$work/file" --rootfs "$rootfs" x -- true
fails "no initramfs" 125 vmm "cannot open the initramfs '$work/none'" run "${guest[@]}" --initramfs "$work/none" \
  --rootfs "$rootfs" x -- true
fails "an empty initramfs" 125 vmm "the initramfs '$work/file' is empty" run "${guest[@]}" --initramfs "$work/file" \
  --rootfs "$rootfs" x -- true
fails "too little memory for any guest" 125 plan "must be between 64 MiB and" run "${guest[@]}" -m 1M --rootfs "$rootfs" x -- true
cp "$work/initramfs" "$work/large"
truncate -s 100M "$work/large"
fails "too little memory for this guest" 125 vmm "64 MiB of memory are too little for the kernel '$work/kernel'" run "${guest[@]}" \
  -m 64M --initramfs "$work/large" --rootfs "$rootfs" x -- true
fails "far too many CPUs" 125 plan "cpus" run "${guest[@]}" --cpus 100000 --rootfs "$rootfs" x -- true
RUNCVM_QEMU=/nonexistent fails "no QEMU" 125 vmm "RUNCVM_QEMU" run "${guest[@]}" --rootfs "$rootfs" x -- true
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
  # In a mount namespace with few devices, and as somebody who may do little.
  cat >"$work/no-kvm" <<'SH'
#!/bin/sh -e
mkdir -p "$1"
mount -t tmpfs none "$1"
for d in null zero random urandom; do : >"$1/$d"; mount --bind "/dev/$d" "$1/$d"; done
mount --rbind "$1" /dev
shift
exec "$@"
SH
  chmod 755 "$work" "$work/no-kvm"
  prefix="unshare -m $work/no-kvm $work/dev" fails "no /dev/kvm" 125 vmm "needs KVM, and there is no /dev/kvm: load kvm_intel or kvm_amd" \
    run "${guest[@]}" --hypervisor firecracker --rootfs "$rootfs" x -- true
  install -d -m 777 "$work/theirs"
  nobody="setpriv --reuid 65534 --regid 65534 --clear-groups env RUNCVM_ROOT=$work/theirs/state RUNCVM_DATA_DIR=$work/theirs/data"
  if $nobody test -x "$top_builddir/run" && [ -e /dev/kvm ] && ! $nobody test -w /dev/kvm; then
    prefix=$nobody fails "no permission for /dev/kvm" 125 vmm "/dev/kvm cannot be opened: Permission denied (is this user in the group kvm?)" \
      run "${guest[@]}" --hypervisor firecracker --rootfs "$rootfs" x -- true
    prefix=$nobody fails "a confinement that takes root" 125 vmm "only root can confine a VMM: --confine auto" \
      run "${guest[@]}" --confine own --rootfs "$rootfs" x -- true
    is "$(find "$work/theirs" -path '*/state/?*' ! -name .lock -o -path '*/vms/?*' ! -name .lock)" "" "nobody leaves nothing"
  fi
fi
fails "a confinement that is none" 125 plan "'confinement' is 'tight', and only auto, own, jailer and off are known" run "${guest[@]}" --confine tight \
  --rootfs "$rootfs" x -- true
chmod 600 "$work/initramfs"
[ "$(id -u)" != 0 ] || fails "an initramfs that is root's alone" 125 vmm "cannot be read by everybody, and a confined VMM is nobody in particular" \
  run "${guest[@]}" --confine own --rootfs "$rootfs" x -- true
chmod 644 "$work/initramfs"
RUNCVM_FIRECRACKER=/nonexistent fails "no Firecracker" 125 vmm "irecracker" run "${guest[@]}" --hypervisor firecracker \
  --rootfs "$rootfs" x -- true
fails "a VMM that dies" 125 vmm "no machine today" run "${guest[@]}" --rootfs "$rootfs" x -- true
fails "a VMM that dies, for create" 1 vmm "no machine today" create "${guest[@]}" --rootfs "$rootfs" x -- true
libexec=$work/none fails "no monitor" 125 monitor "cannot start the monitor '$work/none/runcvm-monitor'" run "${guest[@]}" \
  --rootfs "$rootfs" x -- true
fails "a user that is not there" 125 plan "user" run "${guest[@]}" -u a:b:c --rootfs "$rootfs" x -- true
fails "a relative working directory" 125 plan "the option 'cwd' is 'tmp' and must be an absolute path" run "${guest[@]}" -w tmp --rootfs "$rootfs" x -- true
fails "a host name that is too long" 125 plan "hostname" run "${guest[@]}" --hostname "$(printf 'x%.0s' $(seq 65))" --rootfs "$rootfs" x -- true
fails "an image that is too small" 125 rootfs "" run "${guest[@]}" --rootfs-size 64k --rootfs "$rootfs" x -- true

# A guest that never speaks, and Ctrl-C: what has been made is undone.
for s in INT TERM HUP; do
  mkfifo "$work/up"
  # The VMM opens the fifo, which it would not see if it was confined: the boot is under way.
  printf '#!/bin/sh\n: >%s\nexec sleep 1000\n' "$work/up" >"$work/qemu"
  setsid --wait "$top_builddir/run" runcvm run "${guest[@]}" --confine off --rootfs "$rootfs" "cancel-$s" -- true >"$work/out" 2>&1 &
  waiter=$!
  : <"$work/up"
  kill -"$s" "$(pgrep -f "runcvm run .* cancel-$s -- true" | while read -r p; do [ "$(cat "/proc/$p/comm")" = runcvm ] || grep -q lt-runcvm "/proc/$p/comm" && echo "$p"; done | head -n 1)"
  wait $waiter
  is "$?$(cat "$work/out")" $((128 + $(kill -l $s))) "SIG$s while it boots: 128+N, and not a word"
  nothing_left "SIG$s while it boots"
  rm "$work/up"
done
