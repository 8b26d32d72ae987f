#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each public header compiles by itself, twice over, as strict C99 and as C++, and declares everything as
# extern "C".
. "${srcdir-$(dirname "$0")}/functions.sh"

warn="-Wall -Wextra -Werror -pedantic -pedantic-errors"

if $CXX -x c++ -c /dev/null -o "$work/none.o" 2> /dev/null; then
  have_cxx=yes
else
  have_cxx=no
fi

for header in "$INCLUDE"/runcvm/*.h "$BUILT_INCLUDE"/runcvm/version.h; do
  name=runcvm/$(basename "$header")
  printf '#include <%s>\n#include <%s>\nextern int rcvm_test_unused;\n' "$name" "$name" > "$work/one.c"
  $CC -std=c99 $warn -Wstrict-prototypes -I"$INCLUDE" -I"$BUILT_INCLUDE" \
    -c "$work/one.c" -o "$work/one.o" || fail "<$name> alone is not strict C99"
  if test $have_cxx = yes; then
    $CXX -x c++ -std=c++98 $warn -Wno-long-long -I"$INCLUDE" -I"$BUILT_INCLUDE" \
      -c "$work/one.c" -o "$work/one.o" || fail "<$name> alone is not C++98"
  fi
  # Included inside extern "C++" code, an undecorated prototype would be mangled.
  if test "$name" != runcvm/runcvm.h && ! grep -q '^extern "C"' "$header"; then
    fail "<$name> lacks extern \"C\""
  fi
done

if test $have_cxx = no && test $status = 0; then
  echo "SKIP of the C++ half: $CXX does not work" >&2
  exit 77
fi
exit $status
