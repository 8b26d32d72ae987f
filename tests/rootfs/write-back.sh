#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# write-back.sh [PART...]: changes a tree through an overlay that is mounted as in a guest (the base an ext4 image, the upper
# layer another), writes the changes back, and compares with what the same changes leave in a plain copy of the tree, which
# is what they leave under runc.  Needs root, loop devices and overlayfs.
#
# Parts: plain (into a directory, with and without the base's image), overlay (into an overlay of the host, as Docker's
# is), journal (the VM was killed), kills (the write-back is killed, and repeated), space (a full disk), hostile.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=${TOP:-$here/../..}
BUILD=${BUILD:-$top/build}
parts=${*:-plain overlay journal kills space hostile}
KILLS=${KILLS:-30}

skip () { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/loop-control ] || skip "needs loop devices"
grep -qw overlay /proc/filesystems || skip "needs overlayfs"
make -s -C "$BUILD/tests/unit" write-back-tool
tool=$BUILD/tests/unit/write-back-tool
runcvm () { "$BUILD/run" runcvm "$@"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/write-back.XXXXXX")
clean ()
{
  cd /
  for m in host-merged merged up lower small; do umount "$work/$m" 2> /dev/null || true; done
  umount "$work" 2> /dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean EXIT
# Looking at files must not change them.
mount --bind "$work" "$work"
mount -o remount,bind,noatime "$work"
cd "$work"
mkdir lower up merged small host-merged

passed=0 failed=0
ok ()
{
  if [ "$1" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $2"
  fi
}
# check NAME COMMAND...
check ()
{
  local name=$1 r=0
  shift
  "$@" || r=$?
  ok $r "$name"
}
fails () { ! "$@"; }

torture () { python3 "$here/write-back-torture.py" "$@"; }
compare () { python3 "$here/compare.py" "$@"; }
same () { compare "$@" > compare.log && return; cat compare.log; return 1; }

# An empty upper layer for the tree in `lower`.
make_upper ()
{
  truncate -s 1G "$1"
  mkfs.ext4 -q -F "$1"
  mount -o loop "$1" up
  mkdir up/upper up/work up/binds
  chown --reference lower up/upper
  chmod --reference lower up/upper
  touch -r lower up/upper
  umount up
}

# guest IMAGE COMMAND...: runs it in an overlay of `lower` and the image, mounted at `merged`.
guest_mount ()
{
  mount -o loop "$1" up
  mount -t overlay -o noatime,lowerdir=lower,upperdir=up/upper,workdir=up/work,index=on,redirect_dir=off,metacopy=off \
    overlay merged
}
guest_umount () { umount merged && umount up; }
guest ()
{
  local image=$1
  shift
  guest_mount "$image"
  "$@"
  guest_umount
}

# What a write-back must not leave behind.
nothing_left ()
{
  [ ! -e "$1.write-back" ] && [ ! -e "$1.write-back.new" ] && [ -z "$(find "$2" -maxdepth 1 -name '.runcvm-*')" ]
}

say () { echo "== $*"; }

say "making the tree, and changing it"
mkdir tree
torture base "$work/tree"
runcvm rootfs build --no-journal --headroom 0 tree base.img > /dev/null
mount -o loop,ro base.img lower
make_upper upper.img
since=$(date +%s%N)
guest upper.img torture change "$work/merged" "$since"
cp -a tree ref
torture change "$work/ref" "$since"
guest_mount upper.img
check "the guest saw what a plain directory shows" same ref merged
guest_umount
e2fsck -fn upper.img > fsck.log 2>&1 || cat fsck.log

plain ()
{
  local digest

  digest=$(sha256sum < upper.img)
  cp -a tree host
  check "write-back" "$tool" --base base.img upper.img "$work/host"
  check "comparison" same ref host
  check "nothing is left" nothing_left upper.img host
  check "once more" "$tool" --base base.img upper.img "$work/host"
  check "comparison after that" same ref host
  check "the image is as it was" [ "$(sha256sum < upper.img)" = "$digest" ]
  rm -rf host
}

for p in $parts; do
  say "$p"
  "$p"
done
echo "write-back: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
