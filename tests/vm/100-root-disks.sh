#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the root lies on: the shared base, the disk for changes, what becomes of them, and every way in which that can fail.
. "$(dirname "$0")/functions.sh"

# in_root ID OPTION... -- COMMAND...: in the tree $tree
tree=$BUSYBOX
in_root() {
  local id=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  runcvm run --memory 160M --log-level error --rootfs "$tree" "${options[@]}" "$id" -- "$@"
}
bases() { find "$RUNCVM_DATA_DIR/cache" -name '*.ext4' | sort; }
digest_of() { (cd "$1" && find . -print0 | sort -z | xargs -0 stat -c '%n %F %a %u %g %s %Y' | sha256sum); }

# The base is made once, and never written to.
before=$(digest_of "$tree")
like "$(in_root first --rootfs-changes discard -- sh -c 'grep " / " /proc/mounts; echo x >/etc/new && rm /bin/vi && cat /etc/new')" \
  $'^overlay / overlay.*\nx$|overlay / overlay' "the root is an overlay that can be written to"
is "$(bases | wc -l)" 1 "its base is in the cache"
sum=$(sha256sum "$(bases)")
is "$(in_root second --rootfs-changes discard -- sh -c 'ls /etc/new /bin/vi 2>&1 | grep -c "No such"; ls /bin/vi')" $'1\n/bin/vi' \
  "discarded changes are gone"
is "$(bases | wc -l)" 1 "the second start makes no other base"
is "$(sha256sum "$(bases)")" "$sum" "and its bytes are as they were"
is "$(digest_of "$tree")" "$before" "nor has the directory changed"

# Written back: the directory is as if the container had run there.
in_root writes -- sh -c 'echo hello >/etc/greeting; rm /bin/vi; mkdir -p /srv/a/b; chmod 750 /srv/a; ln -s b /srv/a/link; mv /etc/group /etc/gruppe'
is "$?" 0 "a container that changes its root"
is "$(cat "$tree/etc/greeting")" hello "a new file is on the host"
is "$(test -e "$tree/bin/vi" || echo gone)" gone "a deleted one is gone"
is "$(stat -c '%a %F' "$tree/srv/a")" "750 directory" "a directory with its mode"
is "$(readlink "$tree/srv/a/link")" b "a symlink"
is "$(test -e "$tree/etc/group" || head -n 1 "$tree/etc/gruppe")" root:x:0: "a renamed file"
is "$(in_root again -- sh -c 'cat /etc/greeting; ls /bin/vi 2>&1 | grep -c "No such"; ls /srv/a')" $'hello\n1\nb\nlink' "the next start sees all that"

# Kept: apart from the directory.
before=$(digest_of "$tree")
in_root keep1 --rootfs-changes keep -- sh -c 'echo kept >/etc/kept; rm /bin/awk'
is "$(in_root keep2 --rootfs-changes keep -- sh -c 'cat /etc/kept; ls /bin/awk 2>&1 | grep -c "No such"')" $'kept\n1' "kept changes are there for the next VM that keeps"
is "$(in_root keep3 --rootfs-changes discard -- sh -c 'ls /etc/kept 2>&1 | grep -c "No such"')" 1 "and for no other"
is "$(digest_of "$tree")" "$before" "and not in the directory"
runcvm run --detach --memory 160M --log-level error --rootfs-changes keep --rootfs "$tree" holder -- sleep 100000
in_root keep4 --rootfs-changes keep -- true 2>"$work/err"
is "$?" 125 "kept changes are for one VM at a time"
like "$(cat "$work/err")" "rootfs: .*in use by another VM" "and the error says so"
runcvm delete --force holder
touch "$tree/etc/new-on-the-host"
in_root keep5 --rootfs-changes keep -- true 2>"$work/err"
is "$?" 125 "kept changes do not go over a changed directory"
like "$(cat "$work/err")" "rootfs: .*has changed since.*remove that directory" "and the error says what to do"
rm -r "$RUNCVM_DATA_DIR/kept"

# How much can be written.
like "$(in_root size --rootfs-size 64M --rootfs-changes discard -- sh -c 'df -m / | tail -n 1; dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -o "No space.*"')" \
  "No space left on device" "a small disk is full soon, and the container is told so"
like "$(in_root sparse --rootfs-changes discard -- df -k / | tail -n 1 | tr -s ' ')" "^overlay 16[0-9]{6} " "the default is 16 GiB"

# One disk with everything.
before=$(digest_of "$tree")
like "$(in_root single --rootfs-disk single -- sh -c 'grep " / " /proc/mounts; echo x >/etc/single')" "^/dev/vda / ext4 rw" "a single disk"
is "$(digest_of "$tree")" "$before" "goes with its VM"

# By digest, whatever the directory looks like by now.
n=$(bases | wc -l)
in_root digest1 --rootfs-digest sha256:$(printf '%064d' 1) -- true
touch "$tree/etc/later"
is "$(in_root digest2 --rootfs-digest sha256:$(printf '%064d' 1) -- sh -c 'ls /etc/later 2>&1 | grep -c "No such"')" 1 "a root that is named by its digest is not looked at"
is "$(bases | wc -l)" $((n + 1)) "and has one base"

# Two VMs of one base: one file, so one page cache.
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$tree" two-a -- sleep 100000
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$tree" two-b -- sleep 100000
# By device and inode: a confined Firecracker has it under another name.
base_of() {
  local image
  for image in $(bases); do
    stat -L -c %d:%i "/proc/$1"/fd/* 2>/dev/null | grep -qx "$(stat -c %d:%i "$image")" && echo "$image"
  done | head -n 1
}
pid_a=$(runcvm state two-a | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
vmm_of() { cat "/proc/$1/task/$1/children" | tr ' ' '\n' | head -n 1; }
pid_b=$(runcvm state two-b | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
is "$(base_of "$(vmm_of "$pid_a")")" "$(base_of "$(vmm_of "$pid_b")")" "two VMs read the same base image"
in_use=$(base_of "$(vmm_of "$pid_a")")
runcvm cache prune >/dev/null
is "$(test -e "$in_use" && echo there)" there "which is not evicted while they do"
runcvm delete --force two-a
runcvm delete --force two-b
no_leaks "all of that leaves no disk"

# A bundle whose root is a mounted overlayfs, as Docker's are.
ov=$work/overlay
mkdir -p "$ov/upper" "$ov/work" "$ov/merged"
cp -a "$BUSYBOX" "$ov/low1"
mkdir -p "$ov/low2/etc"
echo second >"$ov/low2/etc/layer"
mknod "$ov/low2/etc/passwd" c 0 0
# Docker's own layer of each container.
mkdir -p "$ov/one-init/diff/etc" "$ov/two-init/diff/etc" "$ov/upper2"
touch "$ov/one-init/diff/.dockerenv" "$ov/one-init/diff/etc/hosts" "$ov/two-init/diff/.dockerenv"
# For the mount to go with the test, whatever happens to it.
cat >"$work/overlay.sh" <<'SH'
set -eu
. /dev/stdin <<<"$functions"
mount -t overlay overlay -o "lowerdir=$ov/one-init/diff:$ov/low2:$ov/low1,upperdir=$ov/upper,workdir=$ov/work" "$ov/merged"
echo mine >"$ov/merged/etc/mine"
rm "$ov/merged/bin/ed"
tree=$ov/merged
in_root ov1 -- sh -c 'cat /etc/layer /etc/mine; ls /etc/passwd /bin/ed 2>&1 | grep -c "No such"; echo vm >/etc/vm; rm /etc/mine /bin/sed; rm -r /home; mkdir /home'
echo "--"
cat "$ov/merged/etc/vm"; ls "$ov/merged/etc/mine" "$ov/merged/bin/sed" 2>&1 | grep -c 'No such'; ls -A "$ov/merged/home" | wc -l
stat -c '%t:%T %F' "$ov/upper/bin/sed"
in_root ov2 -- sh -c 'cat /etc/vm; ls /bin/sed 2>&1 | grep -c "No such"'
runcvm run --detach --memory 160M --log-level error --rootfs "$tree" ov3 -- sh -c 'rm /etc/vm; sleep 100000'
until runcvm exec ov3 test ! -e /etc/vm; do :; done
echo "of the host" >"$ov/merged/etc/host"
runcvm delete --force ov3
cat "$ov/merged/etc/host" "$ov/merged/etc/vm" 2>&1 | sed 's/.*No such.*/gone/'
in_root ov4 -- sh -c 'ls -A / /etc | grep -E "docker|hosts"; rm /.dockerenv'
ls -A "$ov/merged" | grep -c docker || :
umount "$ov/merged"
mount -t overlay overlay -o "lowerdir=$ov/two-init/diff:$ov/low2:$ov/low1,upperdir=$ov/upper2,workdir=$ov/work" "$ov/merged"
in_root ov5 -- ls -A / | grep docker
SH
n=$(bases | wc -l)
functions=$(declare -f in_root runcvm) ov=$ov BUILD=$BUILD unshare --mount bash "$work/overlay.sh" >"$work/out" 2>&1
is "$(cat "$work/out")" $'second\nmine\n2\n--\nvm\n2\n0\n0:0 character special file\nvm\n1\nof the host\ngone\n.dockerenv\nhosts\n0\n.dockerenv' \
  "a root of layers: the VM sees them, changes go into the host's upper directory, the next VM sees those, and what the host adds stays"
is "$(bases | wc -l)" $((n + 1)) "one base for the layers, whatever the upper directories hold"

# kill -9 of the monitor: what the container had synced is written back by the next call.
tree=$BUSYBOX
runcvm run --detach --memory 160M --log-level error --rootfs "$tree" victim -- sh -c 'echo survives >/etc/survivor; rm /bin/tr; sync; echo done >/dev/console; sleep 100000'
until runcvm exec victim test -e /etc/survivor; do :; done
runcvm exec victim sync
kill -9 "$(runcvm state victim | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
like "$(runcvm state victim)" '"status": "stopped"' "a VM whose monitor was killed has stopped"
is "$(cat "$tree/etc/survivor" 2>&1; ls "$tree/bin/tr" 2>&1 | grep -c 'No such')" $'survives\n1' "and what it had synced is in its root"
runcvm delete victim
no_leaks "with nothing left"

# Changes that cannot be written back are not lost until that is asked for.
tree=$work/moved
cp -a "$BUSYBOX" "$tree"
runcvm run --keep --detach --memory 160M --log-level error --rootfs "$tree" stuck -- sh -c 'echo precious >/etc/precious; while [ -e /etc/precious ]; do sleep 0.1; done'
until runcvm exec stuck test -e /etc/precious; do :; done
mv "$tree" "$tree.away"
mkdir "$tree"
runcvm kill stuck KILL
until runcvm state stuck | grep -q '"status": "stopped"'; do :; done
like "$(runcvm delete stuck 2>&1)" "rootfs: .*is not the root file system that it was" "a root that is another one is not written to"
is "$(ls -A "$tree" | wc -l)" 0 "indeed"
rmdir "$tree"
mv "$tree.away" "$tree"
succeeds "when it is back, deletion writes the changes back" runcvm delete stuck
is "$(cat "$tree/etc/precious")" precious "and nothing is lost"
no_leaks

# Nor by the next VM of that id, which has to write them back before it starts, and cannot.
runcvm run --detach --memory 160M --log-level error --rootfs "$tree" heir -- sh -c 'echo inherited >/etc/heir; sync; sleep 100000'
until runcvm exec heir test -e /etc/heir; do :; done
runcvm exec heir sync
kill -9 "$(runcvm state heir | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
mv "$tree" "$tree.away"
mkdir "$tree"
like "$(in_root heir -- true 2>&1)" "rootfs: the changes of an earlier VM .*remove '$RUNCVM_DATA_DIR/vms/heir@.*is not the root" "a VM does not start upon changes that cannot be written back"
rmdir "$tree"
mv "$tree.away" "$tree"
is "$(in_root heir -- cat /etc/heir)" inherited "and when they can, it sees them"
no_leaks

# The root's own disk: full when the changes are to go there, read-only, or another container's.
mkdir "$work/roots"
cat >"$work/roots.sh" <<'SH'
. /dev/stdin <<<"$functions"
mount -t tmpfs -o size=8m tmpfs "$work/roots"
tree=$work/roots/tree
cp -a "$BUSYBOX" "$tree"
in_root squeezed -- sh -c 'echo precious >/etc/precious; dd if=/dev/urandom of=/big bs=1M count=12 2>/dev/null'
echo "exit $?"
mount -o remount,size=80m "$work/roots"
runcvm delete squeezed
echo "exit $?"
cat "$tree/etc/precious"
mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
in_root reads -- sh -c 'touch /new; cat /etc/precious'
echo "exit $?"
umount "$tree"
ls "$tree/new"
overlay() { mount -t overlay overlay -o "lowerdir=$BUSYBOX,upperdir=$work/roots/upper$1,workdir=$work/roots/work$1" "$work/roots/merged"; }
mkdir "$work"/roots/{upper1,work1,upper2,work2,merged}
tree=$work/roots/merged
overlay 1
runcvm run --detach --memory 160M --log-level error --rootfs "$tree" first -- sh -c 'echo first >/etc/whose; sync; sleep 100000'
until runcvm exec first test -e /etc/whose; do :; done
runcvm exec first sync
kill -9 "$(runcvm state first | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
umount "$tree"
overlay 2
runcvm delete first
ls "$tree/etc/whose"
umount "$tree"
overlay 1
runcvm delete first
cat "$tree/etc/whose"
umount "$tree"
SH
functions=$(declare -f in_root runcvm) BUILD=$BUILD work=$work unshare --mount bash "$work/roots.sh" >"$work/out" 2>&1
out=$(grep -v "No space left on device; the rootfs may be" "$work/out")
like "$(cat "$work/out")" "rootfs: .*No space left on device.*the write-back can be repeated" "a root's disk that is full is said"
like "$out" "cli: the VM 'squeezed' stays.*" "and the VM stays"
like "$(tr '\n' '|' <<<"$out")" "exit 125\|exit 0\|precious\|" "until its changes have been written back"
like "$(tr '\n' '|' <<<"$out")" "touch: /new: Read-only file system\|precious\|exit 0\|ls: [^|]*/new'?: No such file" "what is mounted read-only on the host is so in the VM"
like "$(tr '\n' '|' <<<"$out")" "is not the root file system that it was[^|]*\|ls: [^|]*whose'?: No such file[^|]*\|first\|$" "another overlay at the same place is not written to"
no_leaks

# A host disk that is full.
mkdir "$work/small"
cat >"$work/small.sh" <<'SH'
. /dev/stdin <<<"$functions"
mount -t tmpfs -o size=1m tmpfs "$work/small"
export RUNCVM_DATA_DIR=$work/small
in_root full -- true
echo "exit $?"
find "$work/small" -type f ! -name lock ! -name .lock
SH
functions=$(declare -f in_root runcvm) tree=$BUSYBOX BUILD=$BUILD work=$work unshare --mount bash "$work/small.sh" >"$work/out" 2>&1
like "$(cat "$work/out")" "No space left on device|NO_SPACE" "a full disk is said"
is "$(tail -n 1 "$work/out")" "exit 125" "and leaves nothing in the data directory"
