#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Images of root disks: rootfs build, inspect, verify.
. "$(dirname "$0")/functions.sh"

mkdir -p "$work/tree/sub"
echo hello >"$work/tree/sub/file"
head -c 3000000 /dev/urandom >"$work/tree/big"
echo copied >"$work/c:opy"
runcvm rootfs build "$work/tree" "$work/a.img" >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "rootfs build says nothing where no terminal is"
runcvm rootfs build --size 64M --headroom 5 --no-journal --no-sync --copy "$work/c:opy:/etc/copy" "$work/tree" "$work/b.img"
is $? 0 "with all options"
is "$(stat -c %s "$work/b.img")" $((64 << 20)) "the size that was asked for"
if command -v debugfs >/dev/null; then
  is "$(debugfs -R 'cat /sub/file' "$work/a.img" 2>/dev/null)" hello "the image has the file"
  is "$(debugfs -R 'cat /etc/copy' "$work/b.img" 2>/dev/null)" copied "and what was copied"
  is "$(debugfs -R features "$work/b.img" 2>/dev/null | grep -c has_journal)" 0 "and no journal"
fi
fails "an image that is there" 1 rootfs "$work/a.img" rootfs build "$work/tree" "$work/a.img"
fails "a source that is not" 1 rootfs "$work/none" rootfs build "$work/none" "$work/c.img"
fails "no image, with layers" 1 cli "IMAGE is missing" rootfs build --layer x
fails "a source beside layers" 1 cli "'$work/c.img' is one argument too many" rootfs build --layer x "$work/tree" "$work/c.img"
fails "no image" 1 cli "IMAGE is missing" rootfs build "$work/tree"
fails "no copy" 1 cli "'x' is not of the form SRC:DST" rootfs build --copy x "$work/tree" "$work/c.img"
fails "a copy to a relative path" 1 cli "'x:y' is not of the form SRC:DST" rootfs build --copy x:y "$work/tree" "$work/c.img"
fails "no percentage" 1 cli "'-3' is no percentage" rootfs build --headroom=-3 "$work/tree" "$work/c.img"
fails "an image that is too small" 1 rootfs "" rootfs build --size 1M "$work/tree" "$work/c.img"
[ ! -e "$work/c.img" ] && ok "no image is left after a failure" || not_ok "an image is left after a failure"

# On a terminal: a bar that ends full.
if command -v script >/dev/null; then
  script -qec "'$top_builddir/run' runcvm rootfs build '$work/tree' '$work/d.img'" /dev/null >"$work/out" </dev/null
  is $? 0 "rootfs build on a terminal"
  like "$(tr '\r' '\n' <"$work/out")" 'done +\[#{30}\]' "ends with a full bar"
fi

# Layers.
mkdir -p "$work/layer/d"
echo lower >"$work/layer/d/hidden"
echo lower >"$work/layer/d/kept"
tar -C "$work/layer" -czf "$work/lower.tar.gz" .
rm "$work/layer/d/"*
: >"$work/layer/d/.wh.hidden"
echo upper >"$work/layer/new"
tar -C "$work/layer" -cf "$work/upper.tar" ./d/.wh.hidden ./new
runcvm rootfs build --missing dir --copy "$work/none:/mnt/volume" --layer "$work/lower.tar.gz" --layer "$work/upper.tar" "$work/l.img" \
  >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "rootfs build from layers"
if command -v debugfs >/dev/null; then
  is "$(debugfs -R 'cat /d/kept' "$work/l.img" 2>/dev/null)$(debugfs -R 'cat /new' "$work/l.img" 2>/dev/null)" lowerupper "has what both have"
  is "$(debugfs -R 'ls -p /d' "$work/l.img" 2>/dev/null | grep -c hidden)" 0 "and not what is hidden"
  is "$(debugfs -R 'ls -p /mnt' "$work/l.img" 2>/dev/null | grep -c /volume/)" 1 "and the directory of a missing source"
fi
fails "a missing source" 1 rootfs "cannot read '$work/none'" rootfs build --copy "$work/none:/x" --layer "$work/upper.tar" "$work/c.img"
fails "no way to miss" 1 cli "'x' is neither fail, dir nor file" rootfs build --missing x --layer "$work/upper.tar" "$work/c.img"
fails "a layer that is none" 1 rootfs "the layer '$work/a.img' is damaged" rootfs build --layer "$work/a.img" "$work/c.img"

# Told to stop, it leaves nothing, and says how it ended.
python3 - "$work/long.tar.gz" 2>/dev/null <<'PY' || skip "no python3"
import gzip, sys, tarfile
info = tarfile.TarInfo("zeros")
info.size = 1 << 30
with gzip.open(sys.argv[1], "wb", 1) as f:
    f.write(info.tobuf())
    for _ in range(info.size >> 24):
        f.write(bytes(1 << 24))
    f.write(bytes(1024))
PY
before=$(ls "$work")
for s in INT TERM; do
  setsid "$top_builddir/run" runcvm rootfs build --layer "$work/long.tar.gz" "$work/c.img" >"$work/out" 2>&1 &
  pid=$!
  # It has the file open while it works.
  until ls -l /proc/$pid/fd 2>/dev/null | grep -q long.tar.gz; do [ -e /proc/$pid ] || break; done
  kill -"$s" $pid
  wait $pid
  is "$?$(cat "$work/out")" $((128 + $(kill -l "$s"))) "SIG$s: its exit code, and no word"
  is "$(ls "$work")" "$before" "and nothing is left"
done

# Grow, inspect and verify.
runcvm rootfs build --size 8M "$work/tree" "$work/g.img"
runcvm rootfs grow "$work/g.img" 1G >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "rootfs grow"
like "$(runcvm rootfs inspect "$work/g.img")" '^size +1073741824 bytes$' "is as large as it was told to be"
runcvm rootfs verify "$work/g.img"
is $? 0 "and in order"
fails "not smaller" 1 rootfs "cannot become smaller" rootfs grow "$work/g.img" 8M
fails "no size" 1 cli "'much' is no size" rootfs grow "$work/g.img" much
fails "no size at all" 1 cli "SIZE is missing" rootfs grow "$work/g.img"
fails "two sizes" 1 cli "'2G' is one argument too many" rootfs grow "$work/g.img" 1G 2G
text=$(runcvm rootfs inspect "$work/b.img")
is $? 0 "rootfs inspect"
like "$text" '^type +ext4$' "the type"
like "$text" '^size +67108864 bytes$' "the size"
like "$text" '^journal +false$' "no journal"
like "$(runcvm rootfs inspect --format json "$work/a.img")" '^\{"type":"ext4","usage":"filesystem","uuid":"[-0-9a-f]{36}","label":""' "as JSON"
truncate -s 64M "$work/swap"
mkswap -L 'my "swap"' -U 01234567-89ab-cdef-0123-456789abcdef "$work/swap" >/dev/null 2>&1
like "$(runcvm rootfs inspect "$work/swap")" '^type +swap$' "what is no ext4"
like "$(runcvm rootfs inspect --format json "$work/swap")" \
  '"uuid":"01234567-89ab-cdef-0123-456789abcdef","label":"my \\"swap\\"","size":67108864}$' "its label and UUID"
runcvm rootfs verify "$work/b.img" >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "rootfs verify says nothing where all is well"
printf x | dd of="$work/b.img" bs=1 seek=1100 conv=notrunc 2>/dev/null
fails "a damaged image" 1 rootfs "the image '$work/b.img' has a damaged superblock" rootfs verify "$work/b.img"
fails "a damaged image to inspect" 1 rootfs "the image '$work/b.img' has a damaged superblock" rootfs inspect "$work/b.img"
fails "no image at all" 1 rootfs "is no image of a file system that is known" rootfs inspect "$0"
fails "a directory for an image" 1 rootfs "neither an image file nor a block device" rootfs inspect "$work"
fails "inspect of nothing" 1 cli "IMAGE is missing" rootfs inspect
fails "inspect of two" 1 cli "'b' is one argument too many" rootfs inspect a b
fails "inspect in no format" 1 cli "'xml' is no format" rootfs inspect -f xml a
fails "verify of nothing" 1 cli "IMAGE is missing" rootfs verify
fails "verify of what is not there" 1 rootfs "cannot open the image '$work/none'" rootfs verify "$work/none"

# And back: an upper layer is a tree with a directory "upper".
mkdir -p "$work/layer/upper/sub" "$work/layer/work" "$work/rootfs"
echo changed >"$work/layer/upper/sub/file"
runcvm rootfs build "$work/layer" "$work/upper.img"
runcvm rootfs write-back "$work/upper.img" "$work/rootfs" >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "rootfs write-back says nothing"
is "$(cat "$work/rootfs/sub/file")" changed "the file is written back"
[ ! -e "$work/upper.img.write-back" ] && ok "no note is left" || not_ok "a note is left"
fails "no upper layer" 1 rootfs 'has no directory "upper"' rootfs write-back "$work/a.img" "$work/rootfs"
fails "no rootfs" 1 cli "ROOTFS is missing" rootfs write-back "$work/upper.img"
fails "no such rootfs" 1 rootfs "$work/none" rootfs write-back "$work/upper.img" "$work/none"
fails "one too many" 1 cli "'x' is one argument too many" rootfs write-back "$work/upper.img" "$work/rootfs" x
