#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the commands print that need no VM: spec, features, check, list; and the images of `rootfs build`.
. "$(dirname "$0")/functions.sh"
command -v python3 >/dev/null || skip "no python3"
fake_guest

# get FILE EXPRESSION: of the JSON in d.
get() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

mkdir "$work/bundle"
runcvm spec --bundle "$work/bundle" >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "spec says nothing"
is "$(get "$work/bundle/config.json" 'd["root"]["path"], d["process"]["args"][0] != ""')" "('rootfs', True)" "config.json"
echo mine >"$work/bundle/config.json"
fails "spec overwrites nothing" 1 cli "'$work/bundle/config.json' is there already" spec -b "$work/bundle"
is "$(cat "$work/bundle/config.json")" mine "the file is as it was"
fails "spec in no directory" 1 cli "cannot write '$work/none/config.json': No such file" spec -b "$work/none"
fails "spec with an argument" 1 cli "'x' is one argument too many" spec x
mkdir "$work/here"
(cd "$work/here" && runcvm spec)
is "$(get "$work/here/config.json" '"ociVersion" in d')" True "spec in the working directory"
if [ -w /dev/full ]; then
  ln -s /dev/full "$work/here/full"
  (cd "$work/here" && rm config.json && ulimit -f 0 && trap '' XFSZ && runcvm spec) 2>"$work/err"
  is "$?" 1 "spec where no file may grow"
  [ ! -e "$work/here/config.json" ] && ok "leaves no half of a file" || not_ok "half a config.json is left"
fi

runcvm features >"$work/features.json"
is $? 0 features
is "$(get "$work/features.json" '"ociVersionMin" in d and "mountOptions" in d')" True "is the features document"
is "$(get "$work/features.json" 'd["ociVersionMax"]')" "$(runcvm --version | sed -n 's/^spec: //p')" "--version names its version"

RUNCVM_GUEST_DIR=$work/none runcvm check >"$work/out"
is $? 1 "check fails where there is no kernel"
like "$(cat "$work/out")" "^fatal +kernel +$work/none/vmlinuz is not there: run runcvm-mkguest" "and says what to do"
is "$(grep -Ecv '^(ok|missing|fatal) +[a-z]+ +[^ ]' "$work/out")" 0 "a line for each part"
mkdir "$work/guest"
cp "$work/kernel" "$work/guest/vmlinuz"
cp "$work/initramfs" "$work/guest/initramfs"
RUNCVM_GUEST_DIR=$work/guest runcvm check >"$work/out"
is $? 0 "check succeeds where there is a guest and a VMM"
RUNCVM_GUEST_DIR=$work/guest runcvm check --format json >"$work/check.json"
is $? 0 "in JSON"
is "$(get "$work/check.json" 'len(d), sorted(d[0])')" "($(wc -l <"$work/out"), ['advice', 'detail', 'name', 'result'])" \
  "the same parts"
RUNCVM_GUEST_DIR=$work/guest RUNCVM_QEMU=/nonexistent runcvm check >"$work/out"
is $? 1 "check fails without QEMU"
like "$(cat "$work/out")" '^fatal +qemu .*install qemu' "and says what to install"

is "$(runcvm list)" "ID  PID  STATUS  CREATED  BUNDLE" "an empty list"
is "$(runcvm list -q)" "" "no IDs"
is "$(runcvm list --format json)" "[]" "an empty list in JSON"

# Images.
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
fails "no image" 1 cli "IMAGE is missing" rootfs build "$work/tree"
fails "no copy" 1 cli "'x' is not of the form SRC:DST" rootfs build --copy x "$work/tree" "$work/c.img"
fails "a copy to a relative path" 1 cli "'x:y' is not of the form SRC:DST" rootfs build --copy x:y "$work/tree" "$work/c.img"
fails "no percentage" 1 cli "'-3' is no percentage" rootfs build --headroom=-3 "$work/tree" "$work/c.img"
fails "an image that is too small" 1 rootfs "" rootfs build --size 1M "$work/tree" "$work/c.img"
[ ! -e "$work/c.img" ] && ok "no image is left after a failure" || not_ok "an image is left after a failure"

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

# On a terminal: a bar that ends full.
if command -v script >/dev/null; then
  script -qec "'$top_builddir/run' runcvm rootfs build '$work/tree' '$work/d.img'" /dev/null >"$work/out" </dev/null
  is $? 0 "rootfs build on a terminal"
  like "$(tr '\r' '\n' <"$work/out")" 'done +\[#{30}\]' "ends with a full bar"
fi
