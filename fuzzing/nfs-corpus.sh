#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# One call of each procedure, in fuzz-nfs's own spelling, and a stream with two fragments.
#
#   nfs-corpus.sh DIRECTORY
set -eu
cd "$1"
call() { printf "\\1$2" >"$1"; }
z4='\0\0\0\0' z8='\0\0\0\0\0\0\0\0'
attr="$z8$z8$z8" # an empty sattr3
file='\376\2' dir='\376\1' root='\376\0' new='\375\3'
call getattr "\\1$file"
call setattr "\\2$file\\0\\0\\0\\1\\0\\0\\1\\244$z8$z8$z4$z4"
call lookup "\\3$root\\375\\0"
call dotdot "\\3$dir\\375\\4"
call access "\\4$file\\0\\0\\0\\77"
call readlink "\\5\\376\\3"
call read "\\6$file$z8\\0\\0\\20\\0"
call write "\\7$file$z8\\0\\0\\0\\4$z4\\0\\0\\0\\4abcd"
call create "\\10$root$new$z4$attr"
call exclusive "\\10$root$new\\0\\0\\0\\2verifier"
call mkdir "\\11$root$new$attr"
call symlink "\\12$root$new$attr\\0\\0\\0\\4abcd"
call mknod "\\13$root$new\\0\\0\\0\\7$attr"
call remove "\\14$root$new"
call rmdir "\\15$root$new"
call rename "\\16$root$new$dir$new"
call link "\\17$file$dir$new"
call readdir "\\20$root$z8$z8\\0\\0\\20\\0"
call readdirplus "\\21$root$z8$z8\\0\\0\\20\\0\\0\\0\\20\\0"
call fsstat "\\22$root"
call fsinfo "\\23$root"
call pathconf "\\24$root"
call commit "\\25$file$z8$z4"
call forged "\\1\\374\\12"
call mnt "\\201\\0\\0\\0\\4/vol"
call dump "\\202"
call export "\\205"
printf '\0\0\0\0\024\0\0\0\001\0\0\0\0\0\0\0\002\0\001\206\243\0\0\0\003\200\0\0\024\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >fragments
