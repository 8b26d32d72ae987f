#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every enumerator of the public headers has a written value, and enums.c pins that value.
. "${srcdir-$(dirname "$0")}/functions.sh"
: "${ENUMS_C=$top_srcdir/tests/abi/enums.c}"

header_enumerators > "$work/headers"
test "$(wc -l < "$work/headers")" -gt 20 || fail "the headers' enumerators were not found"
grep '?$' "$work/headers" > "$work/implicit" || :
while read -r name rest; do fail "$name: has no written value"; done < "$work/implicit"

sed -n 's/^ *PIN (\(RCVM_[A-Z0-9_]*\), *\(-\{0,1\}[0-9]*\)).*/\1 \2/p' "$ENUMS_C" | sort -u \
  > "$work/pinned"
same "the headers" "$work/headers" "$ENUMS_C" "$work/pinned"

exit $status
