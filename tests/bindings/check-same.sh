#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Both languages have the same tests, and both bindings reach every public function.
set -eu
top_srcdir=${top_srcdir-$(cd "$(dirname "$0")/../.." && pwd)}
status=0
work=$(mktemp -d "${TMPDIR-/tmp}/runcvm-same.XXXXXX")
trap 'rm -rf "$work"' EXIT
LC_ALL=C
export LC_ALL

cd "$top_srcdir/tests/bindings"
for f in python/[0-9]*.py; do basename "$f" .py; done | sort > "$work/python"
for f in go/runcvm_*_test.go; do basename "$f" _test.go | sed 's/^runcvm_//' | tr _ -; done | sort > "$work/go"
test -s "$work/python" || { echo "no tests were found" >&2; exit 1; }
if ! diff -u "$work/python" "$work/go"; then
  echo "the tests of Python (-) and Go (+) are not the same" >&2
  status=1
fi

sed -n 's/^    \(rcvm_[a-z0-9_]*\);$/\1/p' "$top_srcdir/lib/libruncvm.map" > "$work/functions"
test "$(wc -l < "$work/functions")" -gt 50 || { echo "the functions were not found" >&2; exit 1; }
cat "$top_srcdir"/bindings/go/*.go > "$work/bindings.go"
cat "$top_srcdir/bindings/python/runcvm/__init__.py" "$top_srcdir/bindings/runcvm.i" > "$work/bindings.py"
while read -r function; do
  for language in go py; do
    if ! grep -q "\\<$function\\>" "$work/bindings.$language"; then
      echo "$function: is not used by the binding ($language)" >&2
      status=1
    fi
  done
done < "$work/functions"
exit $status
