#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# make-images.sh: small upper layers for fuzz-writeback in corpus-writeback, and a journal for fuzz-writeback-journal.
set -eu
mkdir -p corpus-writeback corpus-writeback-journal
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

head -c 5000 /dev/zero | tr '\0' x > "$work/data"
cat > "$work/commands" <<END
mkdir upper
mkdir upper/dir
mkdir upper/dir/sub
mkdir work
mkdir work/index
cd upper
write $work/data file
write $work/data dir/linked
ln dir/linked dir/sub/again
sif dir/linked links_count 3
ln dir/linked /work/index/00fb1d0001$(printf '%032d' 0)0c00000000000000
symlink short target
symlink long $(printf '%0100d' 7)
mknod fifo p
mknod dev b 8 1
mknod gone c 0 0
ea_set dir trusted.overlay.opaque y
ea_set file user.name value
ea_set file trusted.overlay.origin x
ea_set file user.long $(printf '%0200d' 7)
END
make ()
{
  rm -f "$work/image"
  truncate -s 64K "$work/image"
  mke2fs -q -F -b 1024 -N 32 -t ext4 -O "$2" "$work/image" 2> /dev/null
  debugfs -w -f "$work/commands" "$work/image" > /dev/null 2>&1
  cp "$work/image" "corpus-writeback/$1"
}
make plain ^has_journal,^resize_inode,^metadata_csum,^64bit
make checksums ^has_journal,^resize_inode,metadata_csum,64bit
make blocks ^has_journal,^resize_inode,^metadata_csum,^extent,^64bit

# debugfs writes a journal of its own, of a transaction with two blocks and a revocation; it lies in inode 8.
truncate -s 4M "$work/image"
mke2fs -q -F -b 1024 -t ext4 -J size=1 -O ^resize_inode,^metadata_csum "$work/image"
printf 'jo\njw -b 100,101 %s\njw -r 102\njw -b 103 %s\njc\n' "$work/data" "$work/data" \
  | debugfs -w -f /dev/stdin "$work/image" > /dev/null 2>&1
debugfs -R "dump <8> $work/journal" "$work/image" 2> /dev/null
head -c 32768 "$work/journal" > corpus-writeback-journal/transactions
# The superblock must not say that there is more.
printf '\000\000\000\040' | dd of=corpus-writeback-journal/transactions bs=1 seek=16 conv=notrunc status=none
