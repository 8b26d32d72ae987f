#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who may include what.  The table is the rule: add a line for a new dependency, and keep it narrow.
. "${srcdir-$(dirname "$0")}/functions.sh"
: "${SOURCE=$top_srcdir}"

# HEADER  FILE...   The headers (shell patterns) may be included by these files (shell patterns) only.
table ()
{
  cat <<'END'
json-c/*          lib/json.c lib/api-cache.c lib/cache-list.c lib/cgroup-stats.c lib/disks*.c lib/spec*.[ch] lib/snapshot-index.c lib/state*.c lib/volume-figures.c lib/volume-metrics.c lib/features.c lib/vmm-*.c lib/net-json.c lib/net-guest.c lib/net-record.c examples/oci-runtime/state.c examples/oci-runtime/cmd-install-docker.c fuzzing/fuzz-cgroup.c tests/*
json.h            -
ext2fs/*          lib/rootfs-ext4*.[ch] lib/writeback-ext4*.[ch] fuzzing/fuzz-writeback*.c tests/*
et/*              lib/rootfs-ext4*.[ch]
blkid/*           lib/rootfs*.c lib/vol*.c tests/*
archive.h         lib/rootfs-layer-libarchive.[ch] lib/rootfs-layer-reader.c tests/*
archive_entry.h   lib/rootfs-layer-libarchive.[ch] lib/rootfs-layer-reader.c tests/*
zlib.h            lib/rootfs-layer-stream.c tests/*
zstd.h            lib/rootfs-layer-stream.c tests/*
netlink/*         lib/net*.[ch] tests/*
libnftnl/*        lib/net-nft*.[ch]
nettle/*          lib/digest.c
curl/*            lib/vmm-firecracker-api.c
systemd/*         lib/systemd.c
seccomp.h         lib/plan-seccomp.c lib/confine-seccomp.c lib/sandbox*.c lib/writeback-sandbox.c lib/nfs-sandbox.c
nfsc/*            tests/bench/*
sys/capability.h  lib/sandbox*.c
cmocka.h          tests/*
runcvm/*          lib/* cli/* examples/* bindings/* tests/* fuzzing/* man/* common/*.c
Python.h          bindings/*
END
}

# Directories of <DIR/...> that belong to libc or the kernel.
system_dirs="sys linux asm net netinet netpacket arpa bits"

# What "..." may name, by the directory that the including file is in.
quoted_dirs ()
{
  case $1 in
    common/*) echo common ;;
    guest/*) echo guest common ;;
    examples/oci-runtime/*) echo examples/oci-runtime ;;
    examples/*|bindings/*) ;;
    lib/*) echo lib common ;;
    fuzzing/*) echo fuzzing lib common ;;
    tests/*) echo "$(dirname "$1")" tests lib common guest ;;
    *) echo "$(dirname "$1")" ;;
  esac
}

matches ()
{
  # $1 against the patterns that follow
  subject=$1
  shift
  for pattern; do
    case $subject in $pattern) return 0 ;; esac
  done
  return 1
}

check_angle ()
{
  file=$1 header=$2
  known=no
  while read -r pattern files; do
    # shellcheck disable=SC2254
    case $header in
      $pattern)
        known=yes
        # shellcheck disable=SC2086
        matches "$file" $files || fail "$file: may not include <$header>"
        ;;
    esac
  done < "$work/table"
  if test $known = no; then
    case $header in
      */*)
        case " $system_dirs " in
          *" ${header%%/*} "*) ;;
          *) fail "$file: <$header> is in no line of the table" ;;
        esac
        ;;
      *)
        # A header of this project is never <...>, or the rule for "..." would be void.
        for dir in lib common guest; do
          if test -e "$SOURCE/$dir/$header"; then fail "$file: $header is ours: use \"...\""; fi
        done
        ;;
    esac
  fi
}

check_quoted ()
{
  file=$1 header=$2
  if test "$header" = config.h; then
    case $file in
      lib/*.c|cli/*|examples/oci-runtime/*|tests/*|fuzzing/*|guest/*) ;;
      *) fail "$file: may not include \"config.h\"" ;;
    esac
    return
  fi
  for dir in $(quoted_dirs "$file"); do
    if test -e "$SOURCE/$dir/$header"; then
      # What a private header brings in, its user has included.
      sed -n 's/^ *#[ \t]*include[ \t]*<\([^>]*\)>.*/\1/p' "$SOURCE/$dir/$header" > "$work/brought"
      while read -r brought; do check_angle "$file" "$brought"; done < "$work/brought"
      return
    fi
  done
  fail "$file: may not include \"$header\" (found in: $(quoted_dirs "$file" | tr '\n' ' '))"
}

set -f
table > "$work/table"
(cd "$SOURCE" && find common lib guest cli examples bindings fuzzing tests include \
    \( -name '*.[ch]' -o -name '*.i' -o -name '*.go' \) 2> /dev/null || :) \
  | grep -v '_wrap\.c$' | sort > "$work/files"
test "$(wc -l < "$work/files")" -gt 10 || fail "the sources were not found"

while read -r file; do
  sed -n 's/^ *#[ \t]*include[ \t]*\([<"][^>"]*[>"]\).*/\1/p
          s/^\/\/ *#include[ \t]*\([<"][^>"]*[>"]\).*/\1/p' "$SOURCE/$file" > "$work/includes"
  while read -r include; do
    name=${include#?}
    name=${name%?}
    case $file,$include in
      include/*,\<runcvm/*) ;;
      include/*,\<std*) ;;
      include/*) fail "$file: a public header may not include $include" ;;
      *,\<*) check_angle "$file" "$name" ;;
      *) check_quoted "$file" "$name" ;;
    esac
  done < "$work/includes"
  # The first line of a library source, so that it holds for every other header.
  case $file in
    lib/*.c)
      test "$(head -n 1 "$work/includes")" = '"config.h"' \
        || fail "$file: \"config.h\" is not its first include" ;;
  esac
done < "$work/files"

exit $status
