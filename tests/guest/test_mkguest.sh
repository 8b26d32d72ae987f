#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# test_mkguest.sh RUNCVM-MKGUEST RCVM-INIT MODULES.LIST [FILE.deb]: what runcvm-mkguest makes, and what it refuses.
# Prints TAP.
set -u
mkguest=$1 init=$2 list=$3 deb=${4-}
work=$(mktemp -d "${TMPDIR:-/tmp}/test-mkguest.XXXXXX")
trap 'rm -rf "$work"' EXIT
n=0 failed=0
ok() { n=$((n + 1)); echo "ok $n - $*"; }
not_ok() { n=$((n + 1)); failed=$((failed + 1)); echo "not ok $n - $*"; }
check() { local what=$1; shift; if "$@"; then ok "$what"; else not_ok "$what"; fi; }

make_guest() { "$mkguest" --init "$init" --module-list "$list" "$@"; }
# refuses WORD OPTION...: one sentence with the word, and nothing is left
refuses() {
  local word=$1 text before
  shift
  before=$(find "$work" | sort)
  text=$(make_guest "$@" 2>&1 >/dev/null)
  if [ $? != 0 ] && [ "$(wc -l <<<"$text")" = 1 ] && grep -qF -- "$word" <<<"$text" \
    && [ "$(find "$work" | sort)" = "$before" ]; then ok "refuses: $text"; else not_ok "$* ($text)"; fi
}

if [ -z "$deb" ]; then
  make_guest --debian-package --output "$work/default"
  check "the default package" grep -q '"source": "linux-image-[0-9]' "$work/default/guest.json"
  (cd "$work" && apt-get -q download "$(sed -n 's/.*"source": "\([^ ]*\).*/\1/p' default/guest.json)" >/dev/null 2>&1)
  deb=$(echo "$work"/*.deb)
fi
make_guest --debian-package "$deb" --output "$work/a" || not_ok "a guest is made"
make_guest --debian-package "$deb" --output "$work/b" --compress gzip
make_guest --debian-package "$deb" --output "$work/b" --force
check "the same input gives the same bytes, whatever was there" diff -r "$work/a" "$work/b"
check "guest.json is JSON" python3 -c 'import json, sys; g = json.load(open(sys.argv[1])); assert "virtio_blk" in g["modules"] and g["release"]' "$work/a/guest.json"
check "its sums are right" python3 - "$work/a" <<'PY'
import hashlib, json, os, sys
sums = json.load(open(sys.argv[1] + "/guest.json"))["sha256"]
for name in ("vmlinuz", "vmlinux", "initramfs"):
    with open(os.path.join(sys.argv[1], name), "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == sums[name], name
PY
mkdir "$work/x"
(cd "$work/x" && cpio -id --quiet <"$work/a/initramfs")
check "rcvm-init is /init" cmp "$init" "$work/x/init"
check "every dependency is there" bash -c 'cd "$1"; tr " " "\n" <deps | sort -u | while read -r m; do [ -f "$m.ko" ] || exit 1; done' - "$work/x/lib/modules"
check "dependencies come before" grep -q '^nfsv3 .*sunrpc.*nfs' "$work/x/lib/modules/deps"
check "aliases of file systems are there" grep -q '^fs-nfs nfs$' "$work/x/lib/modules/aliases"
for how in gzip lz4 zstd; do
  make_guest --debian-package "$deb" --output "$work/c" --force --compress $how
  case $how in lz4) unpack='lz4 -dcq' ;; *) unpack="$how -dcq" ;; esac
  check "$how" cmp <($unpack "$work/c/initramfs") "$work/a/initramfs"
done

# The same modules, compressed, and a kernel by itself.
dpkg-deb -x "$deb" "$work/deb"
kernel=$(echo "$work"/deb/boot/vmlinuz-*)
modules=$(find "$work/deb" -type d -path '*/modules/*' -prune | head -n 1)
find "$modules" -name '*.ko' -print0 | xargs -0 -n 50 -P 2 zstd -q --rm -1
make_guest --kernel "$kernel" --modules "$modules" --output "$work/d"
check "compressed modules, from a directory" cmp "$work/a/initramfs" "$work/d/initramfs"
make_guest --kernel "$work/a/vmlinux" --output "$work/e"
check "a vmlinux without modules" cmp "$work/a/vmlinux" "$work/e/vmlinuz"
check "its release is found" grep -q "\"release\": \"${kernel##*/vmlinuz-}\"" "$work/e/guest.json"

refuses "exists" --debian-package "$deb" --output "$work/a"
refuses "not an earlier output" --debian-package "$deb" --output "$work/x" --force
refuses "no $work/none" --kernel "$work/none" --output "$work/z"
refuses "neither" --kernel "$list" --output "$work/z"
refuses "cannot unpack" --debian-package "$work/bad.deb" --output "$work/z" 3>"$work/bad.deb"
refuses "cannot download no-such-package-here" --debian-package no-such-package-here --output "$work/z"
refuses "no /boot/vmlinuz-0.0" --installed 0.0 --output "$work/z"
refuses "no directory" --debian-package "$deb" --output "$work/no/where"
refuses "no module bogus" --debian-package "$deb" --module bogus --output "$work/z"
refuses "not known" --frobnicate
refuses "takes none, gzip" --compress bzip2 --output "$work/z"
refuses "exclude each other" --installed --debian-package "$deb" --output "$work/z"
echo "1..$n"
[ $failed = 0 ]
