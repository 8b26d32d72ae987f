#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-trees.sh [--usr] [TREE...]: builds an image from each tree, twice, and compares: the two with each
# other by their digests, one of them through a loop mount with the tree, in contents and all metadata.
# e2fsck must find nothing.
#
# Without arguments: a generated torture tree and a debootstrap tree, which is kept in $CACHE. --usr adds
# /usr of this machine.  ROOTFS_BUILD is the program under test.  Needs root and loop devices.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=${ROOTFS_BUILD:-./rootfs-build}
cache=${CACHE:-/tmp/runcvm-test-cache}

skip () { echo "SKIP: $*"; exit 77; }

[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/loop-control ] || skip "needs loop devices"
command -v e2fsck > /dev/null || skip "needs e2fsck"

work=$(mktemp -d "${TMPDIR:-/tmp}/rootfs-check.XXXXXX")
mkdir "$work/source" "$work/image"
clean ()
{
  umount "$work/image" 2> /dev/null || true
  umount "$work/source" 2> /dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean EXIT

debootstrap_tree ()
{
  if [ ! -e "$cache/minbase/.complete" ]; then
    command -v debootstrap > /dev/null || return 1
    rm -rf "$cache/minbase" && mkdir -p "$cache/minbase"
    debootstrap --variant=minbase bookworm "$cache/minbase/tree" > "$cache/debootstrap.log" 2>&1 || return 1
    touch "$cache/minbase/.complete"
  fi
  echo "$cache/minbase/tree"
}

failed=0
check ()
{
  local tree=$1 first second options=${2:-}

  echo "== $tree $options"
  "$build" --no-sync --usage $options "$tree" "$work/1.img"
  first=$(sha256sum < "$work/1.img")
  e2fsck -fn "$work/1.img" > "$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; failed=1; }
  mount -o ro,noatime,loop "$work/1.img" "$work/image"
  mount --bind "$tree" "$work/source"
  mount -o remount,bind,ro,noatime "$work/source"
  python3 "$here/compare.py" "$work/source" "$work/image" || failed=1
  umount "$work/image"
  umount "$work/source"
  rm "$work/1.img"
  "$build" --no-sync $options "$tree" "$work/2.img"
  second=$(sha256sum < "$work/2.img")
  rm "$work/2.img"
  if [ "$first" != "$second" ]; then
    echo "the second image differs: $first $second"
    failed=1
  fi
}

trees=()
for arg; do
  case $arg in
    --usr) trees+=(/usr) ;;
    *) trees+=("$arg") ;;
  esac
done
if [ $# = 0 ] || [ "$*" = --usr ]; then
  python3 "$here/torture.py" "$work/torture"
  trees+=("$work/torture")
  if tree=$(debootstrap_tree); then
    trees+=("$tree")
  else
    echo "no debootstrap tree: see $cache/debootstrap.log"
  fi
fi
for tree in "${trees[@]}"; do
  check "$tree"
  check "$tree" "--headroom=0 --no-journal"
done
exit $failed
