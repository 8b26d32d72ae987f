#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# layer-corpus.sh DIRECTORY: a few tars to start from.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p a/b c
echo text > a/b/file
ln a/b/file a/hard
ln -s ../a/b c/link
ln -s "$(printf 'x%.0s' $(seq 150))" c/long
mkfifo fifo
: > a/.wh.b
: > c/.wh..wh..opq
truncate -s 100000 sparse
echo end >> sparse
tar --format=ustar -cf "$out/ustar.tar" --exclude=c/long .
tar --format=gnu --sparse -cf "$out/gnu.tar" .
tar --format=posix --sparse -cf "$out/pax.tar" .
tar --format=posix --sparse-version=0.1 --sparse -cf "$out/pax01.tar" sparse a
gzip -c < "$out/ustar.tar" > "$out/ustar.tar.gz"
if command -v zstd > /dev/null; then zstd -qc < "$out/pax.tar" > "$out/pax.tar.zst"; fi
