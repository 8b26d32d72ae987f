#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# runcvm cache: what its commands print, and what they refuse.
. "$(dirname "$0")/functions.sh"

export RUNCVM_CACHE_DIR=$work/cache
tree=$work/tree
digest=sha256:$(printf 'a%.0s' $(seq 64))
mkdir -p "$tree/sub"
head -c 100000 /dev/urandom >"$tree/sub/file"

get() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

is "$(runcvm cache path)" "$RUNCVM_CACHE_DIR" "the path"
is "$(stat -c %a "$RUNCVM_CACHE_DIR")" 700 "its mode"
is "$(env -u RUNCVM_CACHE_DIR RUNCVM_DATA_DIR="$work/data" "$top_builddir/run" runcvm cache path)" "$work/data/cache" "the path by the data directory"
is "$(runcvm cache path --dir "$work/other")" "$work/other" "another directory"
is "$(runcvm cache list)" "KEY  SIZE  ON DISK  LAST USED  STATUS  SOURCE" "an empty list"
is "$(runcvm cache list -q)" "" "no keys"
is "$(runcvm cache list --format json | get d)" "[]" "an empty list in JSON"

image=$(runcvm cache add "$tree")
is $? 0 "add"
is "$(dirname "$image")" "$RUNCVM_CACHE_DIR" "says where the image is"
is "$(runcvm cache add "$tree")" "$image" "and the same the next time"
is "$(runcvm cache add --format json "$tree" | get 'd["hit"], d["path"]')" "(True, '$image')" "which is a hit"
chmod 700 "$tree/sub/file"
like "$(runcvm cache add --format json "$tree" | get 'd["hit"]')" False "a change is another image"
named=$(runcvm cache add --digest "$digest" "$tree")
is "$(runcvm cache add --digest "$digest" /nonexistent)" "$named" "an image by its digest"
is "$(runcvm cache list | wc -l)" 4 "three images"
like "$(runcvm cache list | sed -n 2p)" "^digests-[0-9a-f]{12}  .*KiB  .*KiB  20.*Z  unused  $tree\$" "the one used last comes first"
is "$(runcvm cache list -q | wc -l)" 3 "three keys"

# Held by another process, with the lock that the library takes; it says when it has it, and goes with its pipe.
coproc HOLDER { exec python3 -c '
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 1 << 62, 1, 0))  # F_OFD_SETLK
print("held", flush=True)
sys.stdin.read()
' "$named"; }
holder=$HOLDER_PID
read -r _ <&"${HOLDER[0]}"
like "$(runcvm cache list | grep digests)" " in use " "an image in use"
like "$(runcvm cache prune)" "^freed [0-9.]+ MiB$" "prune"
is "$(runcvm cache list -q)" "$(basename "$named" .ext4)" "leaves the one in use"
eval "exec ${HOLDER[1]}>&-"
wait "$holder"
runcvm cache prune --keep 1G >/dev/null
is "$(runcvm cache list -q | wc -l)" 1 "keep"

like "$(runcvm cache verify)" "^digests-[0-9a-f]{12}  good" "verify"
printf x | dd of="$named" bs=1 seek=1030 conv=notrunc status=none
runcvm cache verify >"$work/out"
is $? 1 "verify of a damaged one"
like "$(cat "$work/out")" "^digests-[0-9a-f]{12}  damaged  it was changed after" "says so"
like "$(runcvm cache list)" " damaged " "and list"
runcvm cache add --digest "$digest" "$tree" >"$work/out" 2>"$work/err"
is "$(cat "$work/out")" "$named" "add mends it"
like "$(cat "$work/err")" "rootfs: .*built again" "with a warning"
printf x | dd of="$named" bs=1 seek=1030 conv=notrunc status=none
like "$(runcvm cache verify --remove)" "removed" "verify removes it"
is "$(runcvm cache list -q)" "" "and it is gone"
is "$(find "$RUNCVM_CACHE_DIR" -type f | wc -l)" 1 "nothing but the locks is left"

fails "add without a directory" 1 cli "ROOTFS is missing" cache add
fails "two directories" 1 cli "'b' is one argument too many" cache add a b
fails "a directory that is not there" 1 rootfs "$work/none" cache add "$work/none"
fails "no digest" 1 rootfs "'latest' is no digest" cache add --digest latest "$tree"
fails "no format" 1 cli "'xml' is no format for --format: it is table or json" cache list --format xml
fails "an argument of prune" 1 cli "'all' is one argument too many" cache prune all
fails "no size" 1 cli "'x' is no size for --keep" cache prune --keep x
fails "no command of the cache" 1 cli "'cache mend' is no command" cache mend
mkdir -m 777 "$work/open"
chmod 777 "$work/open"
fails "a directory that others write to" 1 rootfs "others can write" cache list --dir "$work/open"
fails "a file" 1 rootfs "$tree/sub/file" cache list --dir "$tree/sub/file"
RUNCVM_CACHE_SIZE=lots fails "no limit" 1 rootfs "RUNCVM_CACHE_SIZE" cache list
