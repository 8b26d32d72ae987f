#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# check-layers.sh: images from layers that GNU tar and Python have made, compared through a loop mount with what
# others make of the same: a tar with the tree that it is of, OCI layers with what a straightforward extraction of
# them gives, directories of overlayfs with the overlay that the kernel mounts from them.  e2fsck must find nothing, and
# packing must make no difference.
#
# Needs root, loop devices and overlayfs.  $ENTRIES: entries of the widest directory.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/tool.sh"

[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/loop-control ] || skip "needs loop devices"
command -v e2fsck > /dev/null || skip "needs e2fsck"

work=$(mktemp -d "${TMPDIR:-/tmp}/rootfs-layers.XXXXXX")
mkdir "$work/source" "$work/image" "$work/merged"
clean ()
{
  umount "$work/image" 2> /dev/null || true
  umount "$work/source" 2> /dev/null || true
  umount "$work/merged" 2> /dev/null || true
  umount "$work/fs" 2> /dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean EXIT
make_tool "$work"

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

# compare NAME TREE SINCE LAYER...: an image of the layers with a tree.
compare ()
{
  local name=$1 tree=$2 since=$3 r layer options=()
  shift 3

  for layer; do options+=("--layer=$layer"); done
  echo "== $name"
  rm -f "$work/1.img"
  if ! "$build" --no-sync --headroom=0 --usage "${options[@]}" "$work/1.img"; then
    ok 1 "$name: build"
    return
  fi
  r=0; e2fsck -fn "$work/1.img" > "$work/fsck.log" 2>&1 || { r=1; cat "$work/fsck.log"; }
  ok $r "$name: e2fsck"
  mount -o ro,noatime,loop "$work/1.img" "$work/image"
  mount --bind "$tree" "$work/source"
  mount -o remount,bind,ro,noatime "$work/source"
  r=0; python3 "$here/compare.py" "$work/source" "$work/image" "$since" || r=1
  umount "$work/image" "$work/source"
  ok $r "$name: comparison"
}

# same NAME LAYER...: the same bytes as the last image.
same ()
{
  local name=$1 layer options=()
  shift
  for layer; do options+=("--layer=$layer"); done
  rm -f "$work/2.img"
  "$build" --no-sync --headroom=0 "${options[@]}" "$work/2.img"
  if [ "$(sha256sum < "$work/1.img")" = "$(sha256sum < "$work/2.img")" ]; then ok 0 ""; else ok 1 "$name: other bytes"; fi
}

# A torture tree that a tar can hold: no sockets, no hard links of FIFOs, which GNU tar does not see, no attributes of
# overlayfs; no time in the second before 1970, whose sign libarchive loses.
python3 "$here/torture.py" "$work/tree" "${ENTRIES:-20000}" 5000
python3 - "$work/tree" <<'PY'
import os, stat, sys
os.chdir(sys.argv[1])
fd = os.open(".", os.O_RDONLY)
top = os.stat(".")
for path in ("special", "links", "links/a", "xattr"):
    s = os.stat(path)
    for name in os.listdir(path):
        p = os.path.join(path, name)
        m = os.lstat(p)
        if stat.S_ISSOCK(m.st_mode) or (stat.S_ISFIFO(m.st_mode) and m.st_nlink > 1):
            os.unlink(p)
    os.utime(path, ns=(s.st_atime_ns, s.st_mtime_ns))
os.removexattr("xattr/both", "trusted.overlay.opaque")
# 600 MB in a tar, and nothing that the other combs do not have.
s = os.stat("sparse")
os.unlink("sparse/long-comb")
os.utime("sparse", ns=(s.st_atime_ns, s.st_mtime_ns))
s = os.stat("times")
for name in os.listdir("times"):
    m = os.lstat("times/" + name)
    fix = lambda t: 0 if -10**9 < t < 0 else t
    os.utime("times/" + name, ns=(fix(m.st_atime_ns), fix(m.st_mtime_ns)), follow_symlinks=False)
os.utime("times", ns=(s.st_atime_ns, s.st_mtime_ns))
os.utime(".", ns=(top.st_atime_ns, top.st_mtime_ns))
PY
# Reading must not change it.
mount --bind "$work/tree" "$work/source"
mount -o remount,bind,ro,noatime "$work/source"
tar --format=posix --xattrs --xattrs-include='*' --sparse --numeric-owner -C "$work/source" -cf "$work/t.tar" .
umount "$work/source"
compare "a torture tree by tar" "$work/tree" none "$work/t.tar"
same "the same again" "$work/t.tar"
gzip -1 < "$work/t.tar" > "$work/t.gz"
same "gzip" "$work/t.gz"
zstd -q -1 < "$work/t.tar" > "$work/t.zst"
same "zstd" "$work/t.zst"
rm -rf "$work/tree" "$work"/t.* "$work"/*.img

# Every form that GNU tar has for sparse files and for long names.
python3 - "$work/tree" <<'PY'
import os, sys
os.makedirs(sys.argv[1] + "/" + "/".join("d" * 60 + str(i) for i in range(3)))
os.chdir(sys.argv[1])
for name, size, parts in (("empty", 1 << 20, []), ("start", 1 << 20, [0]), ("end", 10 << 20, [(10 << 20) - 4096]),
                          ("comb", 9 << 20, range(0, 9 << 20, 65536)), ("huge", 9 << 30, [0, 5 << 30, (9 << 30) - 100])):
    with open(name, "wb") as f:
        f.truncate(size)
        for at in parts:
            f.seek(at)
            f.write(os.urandom(min(4096, size - at)))
with open("/".join("d" * 60 + str(i) for i in range(3)) + "/" + "f" * 90, "w") as f:
    f.write("long")
os.symlink("t" * 90, "link")
os.link("comb", "hard")
for top, dirs, files in os.walk("."):
    for name in dirs + files + ["."]:
        os.utime(os.path.join(top, name), (1000000000, 1000000000), follow_symlinks=False)
PY
for form in "--format=gnu" "--format=oldgnu" "--format=posix --sparse-version=0.0" "--format=posix --sparse-version=0.1" \
    "--format=posix --sparse-version=1.0"; do
  # shellcheck disable=SC2086
  tar $form --sparse --numeric-owner -C "$work/tree" -cf "$work/t.tar" .
  compare "tar $form" "$work/tree" 1000000000000000000 "$work/t.tar"
done
rm -rf "$work/tree" "$work/t.tar"

# OCI layers at random, by a small model of what they mean.
for seed in 1 2 3; do
  python3 "$here/oci-layers.py" "$seed" "$work/oci" "$work/expected"
  compare "OCI layers, $seed" "$work/expected" 0 "$work/oci/"*
  rm -rf "$work/oci" "$work/expected"
done

# What the kernel's own overlayfs makes of its upper directories.
if grep -qw overlay /proc/filesystems; then
  truncate -s 300M "$work/fs.img"
  mke2fs -q -F -t ext4 "$work/fs.img"
  mkdir "$work/fs"
  mount -o loop "$work/fs.img" "$work/fs"
  mkdir "$work/fs"/{base,work,1,2,3}
  python3 "$here/overlay-layers.py" fill "$work/fs/base"
  lower=$work/fs/base
  for i in 1 2 3; do
    mount -t overlay -o "lowerdir=$lower,upperdir=$work/fs/$i,workdir=$work/fs/work,redirect_dir=off,metacopy=off,index=off" \
      overlay "$work/merged"
    python3 "$here/overlay-layers.py" "$i" "$work/merged"
    umount "$work/merged"
    lower=$work/fs/$i:$lower
  done
  mount -t overlay -o "lowerdir=$lower,redirect_dir=off,metacopy=off" overlay "$work/merged"
  compare "overlayfs" "$work/merged" 0 "$work/fs/base" "$work/fs/1" "$work/fs/2" "$work/fs/3"
  umount "$work/merged"
  umount "$work/fs"
else
  ok 1 "this kernel has no overlayfs"
fi
echo "layers: $passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
