#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# write-back.sh [PART...]: changes a tree through an overlay that is mounted as in a guest (the base an ext4 image, the upper
# layer another), writes the changes back, and compares with what the same changes leave in a plain copy of the tree, which
# is what they leave under runc.  Needs root, loop devices and overlayfs.
#
# Parts: plain (into a directory), nobase (without the base's image), overlay (into an overlay of the host, as Docker's
# is), delta (whose own changes were in the image), journal (the VM was killed), kills (the write-back is killed, and repeated), space (a full disk), hostile,
# rounds (again and again, of an image that is in use).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=${TOP:-$here/../..}
BUILD=${BUILD:-$top/build}
parts=${*:-plain nobase overlay delta journal kills space hostile rounds}
KILLS=${KILLS:-16}

skip () { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/loop-control ] || skip "needs loop devices"
grep -qw overlay /proc/filesystems || skip "needs overlayfs"
tool=$BUILD/tests/unit/write-back-tool
make -s -C "$BUILD/tests/unit" write-back-tool
runcvm () { "$BUILD/run" runcvm "$@"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/write-back.XXXXXX")
clean ()
{
  cd /
  for m in hostile/mnt host-merged merged up lower small; do umount "$work/$m" 2> /dev/null || true; done
  # A reader whose writer was killed may not be gone yet.
  umount -l "$work" 2> /dev/null || true
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
  mount -o loop,noatime "$1" up
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

# Without the base's image, what is known of its hard links is what the host's names show: not that of a file whose
# changed name is new.
nobase ()
{
  cp -a tree host
  check "write-back without the base" "$tool" upper.img "$work/host"
  compare ref host > compare.log || true
  check "all but the other names of links/renamed" fails grep -v -e 'links/renamed' -e 'deep/renamed3' \
    -e '^[0-9]* entries, [0-9]* differences$' compare.log
  rm -rf host
}

# The rootfs is an overlay of the host, with some of its files in its own upper layer.
overlay ()
{
  rm -rf host-upper host-work
  mkdir host-upper host-work
  mount -t overlay -o "noatime,lowerdir=tree,upperdir=host-upper,workdir=host-work" overlay host-merged
  touch -r tree/etc/file20 stamp
  echo x >> host-merged/etc/file20 && sed -i '$d' host-merged/etc/file20 && cp -a tree/etc/file20 host-merged/etc/file20
  touch -r tree/etc host-merged/etc
  check "write-back to an overlay" "$tool" --base base.img upper.img "$work/host-merged"
  check "comparison" same ref host-merged
  check "nothing is left" nothing_left upper.img host-merged
  check "once more" "$tool" --base base.img upper.img "$work/host-merged"
  check "comparison after that" same ref host-merged
  umount host-merged
  mount -t overlay -o "noatime,lowerdir=tree,upperdir=host-upper,workdir=host-work" overlay host-merged
  check "comparison when mounted again" same ref host-merged
  umount host-merged
  check "nothing is left in the upper layer" fails sh -c 'ls -A host-upper | grep -F .runcvm-'
}

# Docker's life of a container: started again, the VM gets the upper layer of the host's overlay as its own.
delta ()
{
  local mount_options="noatime,lowerdir=tree,upperdir=host-upper,workdir=host-work" start again

  rm -rf host-upper host-work
  mkdir host-upper host-work
  mount -t overlay -o "$mount_options" overlay host-merged
  "$tool" --base base.img upper.img "$work/host-merged"
  umount host-merged
  make_upper second.img
  mount -o loop,noatime second.img up
  cp -a host-upper/. up/upper
  find up/upper -exec setfattr -h -x trusted.overlay.origin {} + 2> /dev/null || true
  find up/upper -type d -exec setfattr -h -x trusted.overlay.impure {} + 2> /dev/null || true
  touch -r ref up/upper
  umount up
  # The clock that files get their times from.
  start=$(python3 -c 'import time; print(time.clock_gettime_ns(5))')
  mount -t overlay -o "$mount_options" overlay host-merged
  # By somebody on the host, while the VM runs.
  echo new > host-merged/keep/by-others
  again=$(date +%s%N)
  cp -a ref ref2
  cp -a host-merged/keep/by-others ref2/keep/
  touch -r ref/keep ref2/keep
  guest second.img torture again "$work/merged" "$again"
  torture again "$work/ref2" "$again"
  check "the second life's write-back" "$tool" --base base.img --delta "$work/host-upper" --since "$start" \
    second.img "$work/host-merged"
  check "comparison after two lives" same ref2 host-merged
  umount host-merged
  rm -rf ref2 second.img
}

# The VM was killed: what was written last is in the journal alone.
journal ()
{
  local MANY=100
  export MANY
  cp -a tree journal-ref
  torture change "$work/journal-ref" "$since"
  make_upper killed.img
  guest_mount killed.img
  torture change "$work/merged" "$since"
  python3 "$here/write-back-fsync.py" up/upper
  cp --sparse=always killed.img crash.img
  guest_umount
  cp --sparse=always crash.img fixed.img
  check "the image needs its journal" sh -c 'dumpe2fs -h crash.img 2> /dev/null | grep -q needs_recovery'
  e2fsck -fy fixed.img > fsck.log 2>&1 || [ $? = 1 ] || cat fsck.log
  cp -a tree host
  cp -a tree host2
  check "write-back of a killed VM's image" "$tool" --base base.img crash.img "$work/host"
  check "write-back after e2fsck" "$tool" --base base.img fixed.img "$work/host2"
  check "the same result" same host2 host
  check "nothing was lost" same journal-ref host
  check "the image still needs its journal" sh -c 'dumpe2fs -h crash.img 2> /dev/null | grep -q needs_recovery'
  rm -rf host host2 journal-ref killed.img crash.img fixed.img
}

kills ()
{
  local MANY=100
  export MANY
  make_upper kills.img
  guest kills.img torture change "$work/merged" "$since"
  cp -a tree kills-ref
  torture change "$work/kills-ref" "$since"
  cp -a tree nobase
  "$tool" kills.img "$work/nobase"
  check "kill -9, and again" python3 "$here/write-back-kills.py" $((KILLS / 2)) tree kills-ref host kills.img \
    "$tool" --base base.img kills.img "$work/host"
  check "kill -9, and again, without the base" python3 "$here/write-back-kills.py" $((KILLS / 2)) tree nobase host \
    kills.img "$tool" kills.img "$work/host"
  rm -rf host nobase kills-ref kills.img
}

# Refused: the write-back fails with this code, and says what.
refused ()
{
  local code=$1 text=$2 r=0
  shift 2
  "$@" > refused.log || r=$?
  [ $r = 1 ] && grep -q "^RCVM_E_$code: .*$text.*can be repeated$" refused.log && return
  echo "exit code $r instead of RCVM_E_$code with '$text':"
  cat refused.log
  return 1
}

mixed () { python3 "$here/write-back-kills.py" mixed "$@" > mixed.log || { cat mixed.log; return 1; }; }

# Disks that are full, read-only, or hold something that cannot be changed.
space ()
{
  truncate -s 64M small.img
  mkfs.ext4 -q -F -b 4096 -N 20000 small.img
  mount -o loop,noatime small.img small
  rmdir small/lost+found
  cp -a tree small/host
  dd if=/dev/zero of=small/filler bs=64k status=none 2> /dev/null || true
  for keep in 0 700 3000; do
    # A little more room each time.
    truncate -s $(($(stat -c %s small/filler) - keep * 1024)) small/filler
    check "a full disk, $keep KiB" refused NO_SPACE "No space left" "$tool" --base base.img upper.img "$work/small/host"
    check "nothing is lost on the full disk" mixed tree ref small/host
    check "the write-back is pending" [ -e upper.img.write-back ]
    check "no temporary file is left" fails find_temp small/host
  done
  mount -o remount,ro small
  check "a read-only disk" refused PERMISSION "Read-only" "$tool" --base base.img upper.img "$work/small/host"
  mount -o remount,rw,noatime small
  chattr +i small/host/etc/file1
  rm small/filler
  check "an immutable file" refused PERMISSION "etc/file1'" "$tool" --base base.img upper.img "$work/small/host"
  chattr -i small/host/etc/file1
  check "another rootfs" refused_other
  check "with room" "$tool" --base base.img upper.img "$work/small/host"
  check "comparison" same ref small/host
  check "nothing is left" nothing_left upper.img small/host
  umount small
  rm small.img
}
find_temp () { find "$1" -name '.runcvm-*' | grep .; }
refused_other ()
{
  local r=0
  mkdir other
  "$tool" --base base.img upper.img "$work/other" > refused.log || r=$?
  [ $r = 1 ] && grep -q '^RCVM_E_STATE: .*small/host.* was interrupted' refused.log && rmdir other
}

hostile () { check "hostile images" python3 "$here/write-back-hostile.py" "$tool" "$work/hostile" 50; }

# One image, many times, while it is in use and frozen; then once more when it is not.
rounds_mount ()
{
  local _
  # The one before may not be gone yet.
  for _ in $(seq 50); do
    mount -t overlay -o noatime,lowerdir=rlower,upperdir=up/upper,workdir=up/work,index=on,redirect_dir=off,metacopy=off \
      overlay merged 2> rounds.log && return
    sleep 0.1
  done
  cat rounds.log
  return 1
}
rounds ()
{
  local seed
  for seed in 1 2 ${RANDOM}; do
    mkdir rlower rhost
    mkdir -p rlower/old/er rlower/dd/a
    for f in a old/b old/er/c dd/a/dd; do echo "base $f" > "rlower/$f"; done
    ln -s nowhere rlower/old/er/symlink
    cp -a rlower/. rhost
    touch -r rlower rhost
    truncate -s 64M rounds.img
    mkfs.ext4 -q -F rounds.img
    mount -o loop rounds.img up
    mkdir up/upper up/work
    touch -r rlower up/upper
    umount up
    mount -o loop,noatime rounds.img up
    rounds_mount
    check "rounds, seed $seed" python3 "$here/write-back-rounds.py" "${ROUNDS:-60}" "$seed" "$work/merged" "$work/up" "$work/rhost" rounds.img "$tool"
    mkdir -p merged/last && echo last > merged/last/file
    cp -a merged rlast
    guest_umount
    check "the last one" "$tool" --repeated 9000000000000000000 rounds.img "$work/rhost"
    check "and what it leaves" same rlast rhost
    check "no note is left" nothing_left rounds.img rhost
    rm -r rlower rhost rlast rounds.img*
  done
}

for p in $parts; do
  say "$p"
  "$p"
done
echo "write-back: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
