#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the commands print that need no VM: spec, features, check, list.
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

is "$(runcvm list)" "ID          PID         STATUS      BUNDLE      CREATED     OWNER" "an empty list"
is "$(runcvm list -q)" "" "no IDs"
is "$(runcvm list --format json)" "[]" "an empty list in JSON"
