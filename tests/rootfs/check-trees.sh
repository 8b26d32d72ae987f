#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-trees.sh [TREE...]: builds an image from each tree, twice, and compares: the two with each other by
# their digests, one of them through a loop mount with the tree, in contents and all metadata.  e2fsck must
# find nothing.
#
# Without arguments: a generated torture tree, a debootstrap tree ($DEBIAN, or one that is kept in $CACHE) and /usr/share of
# this machine, as it lives (/usr may have any size).  Needs root and loop devices.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/tool.sh"
cache=${CACHE:-/tmp/runcvm-test-cache}

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
make_tool "$work"

debian_tree ()
{
  if [ -n "${DEBIAN:-}" ]; then
    echo "$DEBIAN"
    return
  fi
  if [ ! -e "$cache/minbase/.complete" ]; then
    rm -rf "$cache/minbase" && mkdir -p "$cache/minbase"
    debootstrap --variant=minbase bookworm "$cache/minbase/tree" > "$cache/debootstrap.log" 2>&1 || return 1
    touch "$cache/minbase/.complete"
  fi
  echo "$cache/minbase/tree"
}

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

digest () { sha256sum < "$1"; }

compare ()
{
  local tree=$1 since=$2 r=0

  mount -o ro,noatime,loop "$work/1.img" "$work/image"
  mount --bind "$tree" "$work/source"
  mount -o remount,bind,ro,noatime "$work/source"
  python3 "$here/compare.py" "$work/source" "$work/image" "$since" || r=1
  umount "$work/image"
  umount "$work/source"
  return $r
}

# check TREE LIVE OPTIONS...
check ()
{
  local tree=$1 live=$2 name="${*:1:1} ${*:3}" since=none r
  shift 2

  # In a live tree, others may set times of access while we look, each at most once a day.
  [ "$live" = live ] && since=$(date +%s%N)
  echo "== $name"
  "$build" --no-sync --usage "$@" "$tree" "$work/1.img"
  r=0; e2fsck -fn "$work/1.img" > "$work/fsck.log" 2>&1 || { r=1; cat "$work/fsck.log"; }
  ok $r "$name: e2fsck"
  r=0; compare "$tree" "$since" || r=1
  ok $r "$name: comparison"
  r=1
  for _ in 1 2 3; do
    "$build" --no-sync "$@" "$tree" "$work/2.img"
    if [ "$(digest "$work/1.img")" = "$(digest "$work/2.img")" ]; then
      r=0
      break
    fi
    [ "$live" = live ] || break
    mv "$work/2.img" "$work/1.img"
  done
  ok $r "$name: the same bytes again"
  rm -f "$work/1.img" "$work/2.img"
}

# What a guest does to an image leaves it in order.  check_writable TREE [SIZE]: made larger before.
check_writable ()
{
  local r=0

  echo "== $1, ${2:+grown to $2 and }written to"
  "$build" --no-sync "$1" "$work/1.img"
  [ $# = 1 ] || "$build" --grow="$2" "$work/1.img" || r=1
  mount -o loop "$work/1.img" "$work/image"
  python3 "$here/mutate.py" "$work/image" || r=1
  umount "$work/image"
  e2fsck -fn "$work/1.img" > "$work/fsck.log" 2>&1 || { r=1; cat "$work/fsck.log"; }
  ok $r "writing to the image${2:+ of $2}"
  rm "$work/1.img"
}

if [ $# -gt 0 ]; then
  for tree; do
    check "$tree" still
    check "$tree" still --headroom=0 --no-journal
  done
else
  python3 "$here/torture.py" "$work/torture"
  check "$work/torture" still
  check "$work/torture" still --headroom=0 --no-journal
  check_writable "$work/torture"
  check_writable "$work/torture" 12000000000
  rm -rf "$work/torture"
  if tree=$(debian_tree); then
    check "$tree" still
    check "$tree" still --headroom=0 --no-journal
  else
    ok 1 "no debootstrap tree: see $cache/debootstrap.log"
  fi
  check /usr/share live --headroom=0 --no-journal
fi
echo "rootfs: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
