#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The public functions are the same in the headers, the symbol map, the library and the man pages.
. "${srcdir-$(dirname "$0")}/functions.sh"

header_functions > "$work/headers"
test "$(wc -l < "$work/headers")" -gt 50 || fail "the headers' functions were not found"

sed -e 's/#.*//' "$MAP" | awk '/global:/ { on = 1; next } /local:/ { on = 0 } on' | tr -s ' ;' '\n' \
  | sed '/^$/d' > "$work/map.unsorted"
sort -u "$work/map.unsorted" > "$work/map"
same "the headers" "$work/headers" "$MAP" "$work/map"
if grep -q '[*?]' "$work/map"; then fail "$MAP: exports a pattern"; fi
grep -A1 'local:' "$MAP" | grep -q '\*;' || fail "$MAP: does not keep the rest local"

if test ! -e "$LIBRARY"; then
  # --disable-shared, or not built: the other comparisons stand.
  echo "no $LIBRARY: not compared" >&2
else
  $NM -D --defined-only "$LIBRARY" > "$work/nm"
  awk '$2 != "A" { sub (/@.*/, "", $3); print $3 }' "$work/nm" | sort -u > "$work/library"
  same "the headers" "$work/headers" "$LIBRARY" "$work/library"
  awk '$2 != "A" && $3 !~ /@@RUNCVM_0$/ { print $3 }' "$work/nm" > "$work/unversioned"
  while read -r name; do fail "$name: not in node RUNCVM_0"; done < "$work/unversioned"
fi

for page in "$MAN_DIR"/rcvm_*.3; do
  basename "$page" .3
done | sort -u > "$work/pages"
same "the headers" "$work/headers" "the man pages of $MAN_DIR" "$work/pages"

# An alias leads to a page that really has the function in its NAME line.
for page in "$MAN_DIR"/rcvm_*.3; do
  target=$(sed -n 's/^\.so man3\/\(.*\)\.3$/\1/p' "$page")
  name=$(basename "$page" .3)
  pod=$POD_DIR/${target:-$name}.pod
  if test ! -e "$pod"; then
    fail "$page: there is no $pod"
  elif ! pod_names "$pod" | grep -qx "$name"; then
    fail "$pod: $name is not in its NAME line"
  fi
done

exit $status
