# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the checks of this directory: where things are, and what the headers declare.
#
# Everything may be set from outside, so that check-checks.sh can show each check something broken.

set -eu
LC_ALL=C
export LC_ALL

top_srcdir=${top_srcdir-$(cd "$(dirname "$0")/../.." && pwd)}
top_builddir=${top_builddir-$top_srcdir}
: "${CC=cc}" "${CXX=c++}" "${NM=nm}"
: "${INCLUDE=$top_srcdir/include}"          # the public headers
: "${BUILT_INCLUDE=$top_builddir/include}"  # version.h
: "${MAP=$top_srcdir/lib/libruncvm.map}"
: "${LIBRARY=$top_builddir/lib/.libs/libruncvm.so}"
: "${POD_DIR=$top_srcdir/man}"
: "${MAN_DIR=$top_builddir/man}"

work=$(mktemp -d "${TMPDIR-/tmp}/runcvm-abi.XXXXXX")
trap 'rm -rf "$work"' EXIT

status=0

fail ()
{
  echo "$*" >&2
  status=1
}

# What the compiler sees of the public headers, and nothing of the system's.
preprocessed_headers ()
{
  echo '#include <runcvm/runcvm.h>' > "$work/all.c"
  $CC -E -I"$INCLUDE" -I"$BUILT_INCLUDE" "$work/all.c" \
    | awk '/^# [0-9]+ "/ { ours = ($3 ~ /\/runcvm\/[a-z-]+\.h"$/); next } ours'
}

header_functions ()
{
  preprocessed_headers | tr '\n' ' ' | grep -oE '\brcvm_[a-z0-9_]+ *\(' | sed 's/ *(//' | sort -u
}

# NAME VALUE of every enumerator; a value that is left to the compiler is printed as "?".
header_enumerators ()
{
  preprocessed_headers | tr '\n' ' ' | grep -oE 'enum +[a-z_]+ *\{[^}]*\}' \
    | sed 's/^[^{]*{//; s/}.*//' | tr ',' '\n' \
    | sed -n 's/^ *\(RCVM_[A-Z0-9_]*\) *= *\(-\{0,1\}[0-9]*\) *$/\1 \2/p
              s/^ *\(RCVM_[A-Z0-9_]*\) *$/\1 ?/p' | sort -u
}

# Functions that a POD page documents: the names of its NAME line.
pod_names ()
{
  awk '/^=head1 / { in_name = ($2 == "NAME"); next }
       in_name && / - / { sub (/ - .*/, ""); gsub (/,/, " "); print; exit }' "$1" | tr -s ' ' '\n'
}

# same WHAT-A FILE-A WHAT-B FILE-B: both lists are sorted.
same ()
{
  comm -23 "$2" "$4" > "$work/only"
  while read -r name; do fail "$name: in $1, but not in $3"; done < "$work/only"
  comm -13 "$2" "$4" > "$work/only"
  while read -r name; do fail "$name: in $3, but not in $1"; done < "$work/only"
}
