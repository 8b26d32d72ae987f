#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Scratch disks: made for a VM, or kept in a file; and RUNCVM_DISKS, as RunCVM has it.
. "$(dirname "$0")/functions.sh"

# with OPTION... -- ID COMMAND...
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}

out=$(with --mount type=scratch,dst=/big,size=3G --mount type=scratch,dst=/small,size=8M -- one sh -c '
  df -k /big | tail -n 1 | tr -s " " | cut -d" " -f2; grep " /big " /proc/mounts | cut -d" " -f3
  echo x >/big/x && cat /big/x
  dd if=/dev/zero of=/small/y bs=1M count=20 2>&1 | grep -o "No space left on device"
  dd if=/dev/zero of=/big/y bs=1M count=20 2>/dev/null && ls -l /big/y | grep -c 20971520')
like "$(tr '\n' '|' <<<"$out")" "^(29|30|31)[0-9]{5}\|ext4\|x\|No space left on device\|1\|$" "scratch disks have their own sizes"
no_leaks "and go with the VM"

file=$work/kept.img
with --mount "type=scratch,src=$file,dst=/k,size=1G" -- two sh -c 'echo kept >/k/file'
is "$(stat -c %s "$file")" 1073741824 "one with a source is a file of the host"
like "$(du -m "$file" | cut -f1)" "^[0-9]$|^[1-4][0-9]$" "which takes up little"
is "$(with --mount "type=scratch,src=$file,dst=/k" -- three cat /k/file)" kept "and stays"
like "$(with --mount "type=scratch,src=$work/none.img,dst=/k" -- four true 2>&1)" "without a size none is made" "without a size it has to be there"
like "$(with --mount "type=scratch,src=$work/no/dir.img,dst=/k,size=1G" -- four true 2>&1)" "cannot create the image '$work/no/dir.img'" "and with one, its directory"
like "$(with --mount type=scratch,dst=/k -- four true 2>&1)" "needs a size" "one that goes with the VM needs a size"
like "$(with --mount type=scratch,dst=/k,size=10K -- four true 2>&1)" "rootfs: " "a size that no file system fits into is an error"
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --mount "type=scratch,src=$file,dst=/k" holder -- sleep 100000
like "$(with --mount "type=scratch,src=$file,dst=/k" -- five true 2>&1)" "another VM has '$file'" "and is for one VM at a time"
runcvm delete --force holder
no_leaks

# RUNCVM_DISKS in a bundle.
volume=$work/volume
mkdir -p "$work/bundle" "$volume/sub"
bundle() {
  python3 - "$@" <<'PY' >"$work/bundle/config.json"
import json, os, sys
env, script = sys.argv[1], sys.argv[2]
annotations = dict(a.split("=", 1) for a in sys.argv[3:])
work, busybox = os.environ["work"], os.environ["BUSYBOX"]
print(json.dumps({
    "ociVersion": "1.0.2", "root": {"path": busybox}, "annotations": {"org.runcvm.rootfs": "discard", "org.runcvm.mem-size": "160M", "org.runcvm.network-mode": "none", **annotations},
    "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"] + (["RUNCVM_DISKS=" + env] if env else []),
                "args": ["/bin/sh", "-c", script]},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
               {"destination": "/disks", "type": "bind", "source": work + "/volume", "options": ["rbind", "rw"]}]}))
PY
}
export work BUSYBOX
run_bundle() { local id=$1; shift; bundle "$@"; runcvm run --log-level error --bundle "$work/bundle" "$id" 2>&1; }
out=$(run_bundle b1 "/disks/sub/d1,/home,ext4,64M;/disks/d2,/opt/x,ext4,1G" 'echo one >/home/f; echo two >/opt/x/f; ls -A /disks 2>&1')
like "$out" "^$|No such file" "mounts at /disks are for disks, and not for the VM"
is "$(stat -c %s "$volume/sub/d1" "$volume/d2" | tr '\n' ' ')" "67108864 1073741824 " "RUNCVM_DISKS makes files in the volume"
is "$(run_bundle b2 "/disks/sub/d1,/home,ext4;/disks/d2,/opt/x,ext4,1G" 'cat /home/f /opt/x/f')" $'one\ntwo' "which the next VM finds"
is "$(run_bundle b3 "/disks/none,/home,ext4,1G" 'cat /home/f' "org.runcvm.disks=/disks/sub/d1,/home,ext4")" one "the annotation wins"
is "$(ls "$volume")" $'d2\nsub' "and nothing else is made"
like "$(run_bundle b4 "/anywhere,/home,ext4,64M" 'df /home | tail -n 1 | cut -d" " -f1')" "^/dev/vdc" "outside of volumes it goes with the VM"
for bad in "d1,/home,ext4,1G:is not of the form" "/disks/d1,/home:is not of the form" "/disks/x,/home,xfs,1G:only ext4 can be made" \
  "/disks/x,/home,ext4,big:the size 'big'" "/disks/x,/home,ext4:without a size none is made" "/disks/../x,/home,ext4,1G:is not of the form"; do
  like "$(run_bundle bad "${bad%%:*}" true)" "${bad#*:}" "RUNCVM_DISKS=${bad%%:*} is refused"
done
# What VMs have written into the volume leads nowhere else.
ln -s "$file" "$volume/link"
ln -s "$work" "$volume/dir"
rdev=$(findmnt -n -o MAJ:MIN / | tr -d ' ')
mknod "$volume/node" b "${rdev%:*}" "${rdev#*:}"
mkfifo "$volume/fifo"
like "$(run_bundle evil "/disks/link,/home,ext4,1G" true)" "cannot find the disk 'link'.*symbolic links" "a symlink in a volume is not followed"
like "$(run_bundle evil "/disks/dir/kept.img,/home,ext4,1G" true)" "cannot find the disk 'dir/kept.img'.*symbolic links" "nor one on the way"
like "$(run_bundle evil "/disks/node,/home,ext4,1G" true)" "'node' is no image file" "a device node in a volume is no disk"
like "$(run_bundle evil "/disks/fifo,/home,ext4,1G" true)" "'fifo' is no image file" "and neither is a FIFO"
no_leaks
