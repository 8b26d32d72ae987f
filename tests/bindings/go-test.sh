#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# go-test.sh runcvm_NNN_topic_test.go: runs the tests of one file, which have NNN in their names.  77 where all
# of them were skipped.
set -eu
number=$(basename "$1" | sed 's/^runcvm_\([0-9]*\)_.*/\1/')
rc=0
./go.test -test.v -test.timeout 600s -test.run "$number" > "go-$number.out" 2>&1 || rc=$?
cat "go-$number.out"
passed=$(grep -c '^--- PASS' "go-$number.out" || :)
skipped=$(grep -c '^--- SKIP' "go-$number.out" || :)
rm -f "go-$number.out"
test $rc = 0 || exit $rc
if test "$passed" = 0; then
  test "$skipped" != 0 || { echo "there is no test with the number $number" >&2; exit 1; }
  exit 77
fi
