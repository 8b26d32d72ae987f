#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the library does to the process that links it: nothing.  And several threads with a VM each.
. "$(dirname "$0")/functions.sh"

succeeds "the embedder compiles" cc -Wall -I"$TOP/include" -I"$BUILD/include" "$(dirname "$0")/manners.c" -o "$work/manners" \
  -L"$BUILD/lib/.libs" -lruncvm -pthread
"$BUILD/run" "$work/manners" "$BUSYBOX" >"$work/printed" 2>&1 9>"$work/tap" </dev/null
is $? 0 "and is left as it was"
while IFS= read -r line; do
  case $line in
    ok*) ok "${line#* - }" ;;
    *) not_ok "${line#* - }" ;;
  esac
done <"$work/tap"
[ ! -s "$work/printed" ] || diag "$(head -n 5 "$work/printed")"
