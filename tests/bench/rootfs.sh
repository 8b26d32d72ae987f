#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# rootfs.sh [ROUNDS]: how fast root disks are made, against `mke2fs -d` and against mkfs, a loop mount and `cp -a`,
# all in one run, taking turns. Trees of many small files and of few large ones; on ext4 ($TMPDIR itself, if it is
# one) and on XFS with reflinks.  "wall of it" is our time as a part of theirs.
#
# Needs root, loop devices, mkfs.xfs, and 12 GB in $TMPDIR.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../rootfs/tool.sh"
rounds=${1:-3}

[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/loop-control ] || skip "needs loop devices"
command -v mke2fs > /dev/null || skip "needs mke2fs"
[ -x /usr/bin/time ] || skip "needs /usr/bin/time"

work=$(mktemp -d "${TMPDIR:-/tmp}/rootfs-bench.XXXXXX")
clean ()
{
  umount "$work/fs/mnt" 2> /dev/null || true
  umount "$work/fs" 2> /dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean EXIT
mkdir "$work/fs"
make_tool "$work"

# 24,000 files of 0 to 60 KiB (about 640 MB) in 600 directories; 4 files of 300 MB.
make_trees ()
{
  python3 - "$1" <<'PY'
import os, sys
top = sys.argv[1]
noise = os.urandom(1 << 20)
for d in range(600):
    path = f"{top}/small/{d % 20:02}/{d:03}"
    os.makedirs(path)
    for f in range(40):
        n = d * 40 + f
        size = n * 7919 % 61440
        at = n * 4099 % (1 << 19)
        with open(f"{path}/file-{f:03}.data", "wb") as out:
            out.write(noise[at:at + size])
os.makedirs(f"{top}/large")
for i in range(4):
    with open(f"{top}/large/{i}", "wb") as out:
        for _ in range(300):
            out.write(os.urandom(1 << 20))
PY
}

measure ()
{
  make_trees "$work/fs"
  for tree in small large; do
    python3 "$here/rootfs.py" "$rounds" "$build" "$work/fs/$tree" "$work/fs" "$1, $tree files"
  done
}

# On a file system of its own.
bench ()
{
  truncate -s 12G "$work/host.img"
  "${@:2}" "$work/host.img" > /dev/null
  mount -o loop "$work/host.img" "$work/fs"
  measure "$1"
  umount "$work/fs"
  rm "$work/host.img"
}

if [ "$(stat -f -c %T "$work")" = ext2/ext3 ]; then
  measure ext4
  rm -rf "$work/fs" && mkdir "$work/fs"
else
  bench "ext4 in a loop device" mke2fs -q -F -t ext4
fi
if command -v mkfs.xfs > /dev/null && grep -qw xfs /proc/filesystems; then
  bench "XFS with reflinks in a loop device" mkfs.xfs -q -m reflink=1
else
  echo "XFS: not measured, as there is no mkfs.xfs, or no xfs in this kernel"
fi
