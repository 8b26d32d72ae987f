#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each check of this directory finds what it is for: it is shown a copy with one thing broken.
. "${srcdir-$(dirname "$0")}/functions.sh"
here=$(cd "${srcdir-$(dirname "$0")}" && pwd)

export top_srcdir top_builddir CC CXX NM
unset srcdir

tree=$work/tree

# A fresh copy of what the checks look at.
fresh ()
{
  rm -rf "$tree"
  mkdir -p "$tree/include" "$tree/man" "$tree/pod" "$tree/source"
  cp -R "$INCLUDE/runcvm" "$tree/include/"
  rm -f "$tree/include/runcvm/version.h"
  cp "$MAP" "$tree/map"
  cp "$MAN_DIR"/*.[0-9] "$tree/man/"
  cp "$POD_DIR"/*.pod "$tree/pod/"
  cp "$top_srcdir/tests/abi/enums.c" "$tree/enums.c"
}

# must_fail CHECK TEXT: the check fails on the broken copy, and says TEXT.
must_fail ()
{
  rc=0
  env srcdir="$here" INCLUDE="$tree/include" MAP="$tree/map" MAN_DIR="$tree/man" POD_DIR="$tree/pod" \
    ENUMS_C="$tree/enums.c" SOURCE="$tree/source" LIBRARY="${library-$LIBRARY}" \
    "$here/check-$1.sh" > "$work/output" 2>&1 || rc=$?
  if test $rc = 0; then
    fail "check-$1.sh: did not find: $2"
  elif ! grep -qe "$2" "$work/output"; then
    fail "check-$1.sh: failed without saying: $2"
    cat "$work/output" >&2
  fi
}

edit ()
{
  sed "$1" "$2" > "$work/edited"
  if cmp -s "$work/edited" "$2"; then fail "check-checks.sh: '$1' changes nothing in $2"; fi
  cat "$work/edited" > "$2"
}

# The symbols.
fresh
edit 's/rcvm_vm_start;/rcvm_vm_stert;/' "$tree/map"
must_fail symbols 'rcvm_vm_start: in the headers, but not in .*map'
must_fail symbols 'rcvm_vm_stert: in .*map, but not in the headers'
fresh
edit 's/rcvm_vm_start;/rcvm_*;/' "$tree/map"
must_fail symbols 'exports a pattern'
fresh
edit '/\*;/d' "$tree/map"
must_fail symbols 'does not keep the rest local'
fresh
edit 's/^int rcvm_vm_start/int rcvm_vm_launch/' "$tree/include/runcvm/vm.h"
must_fail symbols 'rcvm_vm_launch: in the headers, but not in the man pages'
fresh
rm "$tree/man/rcvm_vm_start.3"
must_fail symbols 'rcvm_vm_start: in the headers, but not in the man pages'
fresh
cp "$tree/man/rcvm_vm_start.3" "$tree/man/rcvm_vm_launch.3"
must_fail symbols 'rcvm_vm_launch: in the man pages .*, but not in the headers'
fresh
echo '.so man3/rcvm_vm_kill.3' > "$tree/man/rcvm_vm_start.3"
must_fail symbols 'rcvm_vm_start is not in its NAME line'
if test -e "$LIBRARY"; then
  fresh
  echo 'int rcvm_vm_start (void); int rcvm_vm_start (void) { return 0; } int stray; int main2 (void);' > "$work/lib.c"
  $CC -shared -fPIC "$work/lib.c" -o "$work/lib.so"
  library=$work/lib.so
  must_fail symbols 'rcvm_vm_wait: in the headers, but not in .*lib.so'
  must_fail symbols 'stray: in .*lib.so, but not in the headers'
  must_fail symbols 'rcvm_vm_start: not in node RUNCVM_0'
  unset library
fi

# The headers.
fresh
edit 's/^#include <stddef.h>//' "$tree/include/runcvm/host.h"
must_fail headers '<runcvm/host.h> alone is not strict C99'
fresh
edit 's/RCVM_CHECK_FATAL = 2 /RCVM_CHECK_FATAL = 2, /' "$tree/include/runcvm/host.h"
must_fail headers '<runcvm/host.h> alone is not C++98'
fresh
edit '/^extern "C"/,/^{/d' "$tree/include/runcvm/spec.h"
must_fail headers '<runcvm/spec.h>'

# The enumerators.
fresh
edit 's/RCVM_E_IMAGE = -19/RCVM_E_IMAGE = -20/' "$tree/include/runcvm/error.h"
must_fail enums 'RCVM_E_IMAGE -20: in the headers, but not in'
must_fail enums 'RCVM_E_IMAGE -19: in .*enums.c, but not in the headers'
fresh
edit 's/RCVM_LOG_DEBUG = 3/RCVM_LOG_DEBUG = 3, RCVM_LOG_TRACE/' "$tree/include/runcvm/vm.h"
must_fail enums 'RCVM_LOG_TRACE: has no written value'
must_fail enums 'RCVM_LOG_TRACE'
if $CC -std=gnu11 -DRCVM_E_IMAGE=-20 -I"$INCLUDE" -I"$BUILT_INCLUDE" -include runcvm/runcvm.h \
    -fsyntax-only "$tree/enums.c" 2> /dev/null; then
  fail "enums.c: compiles with a wrong value"
fi

# The includes.  A tree of its own, that is right but for one line.
plant ()
{
  fresh
  for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    mkdir -p "$tree/source/lib" "$tree/source/common" "$tree/source/guest" "$tree/source/include/runcvm"
    echo '#include "config.h"' > "$tree/source/lib/ok$i.c"
  done
  : > "$tree/source/lib/plan.h"
  : > "$tree/source/common/tlv.h"
  mkdir -p "$tree/source/$(dirname "$1")"
  {
    case $1 in lib/*.c) echo '#include "config.h"' ;; esac
    echo "$2"
  } > "$tree/source/$1"
}

plant lib/vol.c '#include <json-c/json.h>'
must_fail includes 'lib/vol.c: may not include <json-c/json.h>'
plant lib/vol.c '  #  include <ext2fs/ext2fs.h>'
must_fail includes 'lib/vol.c: may not include <ext2fs/ext2fs.h>'
plant lib/vol.c '#include <netlink/route/link.h>'
must_fail includes 'lib/vol.c: may not include <netlink/route/link.h>'
plant lib/vol.c '#include <openssl/ssl.h>'
must_fail includes 'lib/vol.c: <openssl/ssl.h> is in no line of the table'
plant lib/vol.c '#include "spec-text.h"'
echo '#include <json-c/json.h>' > "$tree/source/lib/spec-text.h"
must_fail includes 'lib/vol.c: may not include <json-c/json.h>'
plant lib/vol.c '#include <plan.h>'
must_fail includes 'lib/vol.c: plan.h is ours'
plant guest/init.c '#include "plan.h"'
must_fail includes 'guest/init.c: may not include "plan.h"'
plant guest/init.c '#include <runcvm/vm.h>'
must_fail includes 'guest/init.c: may not include <runcvm/vm.h>'
plant common/tlv.c '#include "plan.h"'
must_fail includes 'common/tlv.c: may not include "plan.h"'
plant examples/hello.c '#include "plan.h"'
must_fail includes 'examples/hello.c: may not include "plan.h"'
plant examples/hello.c '#include "tlv.h"'
must_fail includes 'examples/hello.c: may not include "tlv.h"'
plant bindings/go/vm.go '// #include "plan.h"'
must_fail includes 'bindings/go/vm.go: may not include "plan.h"'
plant bindings/runcvm.i '#include <json-c/json.h>'
must_fail includes 'bindings/runcvm.i: may not include <json-c/json.h>'
plant include/runcvm/vm.h '#include <sys/types.h>'
must_fail includes 'a public header may not include <sys/types.h>'
plant lib/first.c ''
echo '#include <stdio.h>' > "$tree/source/lib/first.c"
must_fail includes 'lib/first.c: "config.h" is not its first include'

# The man pages.  One page is enough, and quicker.
only_pod ()
{
  fresh
  find "$tree/pod" -name '*.pod' ! -name "$1.pod" -delete
}

only_pod rcvm_vm_kill
edit 's/rcvm_vm_kill (vm, SIGTERM, &err)/rcvm_vm_kill (vm, &err)/' "$tree/pod/rcvm_vm_kill.pod"
must_fail man 'rcvm_vm_kill.pod: the example does not compile'
only_pod rcvm_vm_wait
edit 's/int timeout_ms/unsigned timeout_ms/' "$tree/pod/rcvm_vm_wait.pod"
must_fail man 'rcvm_vm_wait.pod: not in the headers: int rcvm_vm_wait'
only_pod rcvm_vm_wait
edit 's/^Added in .*//' "$tree/pod/rcvm_vm_wait.pod"
must_fail man 'rcvm_vm_wait.pod: has no SINCE'
only_pod rcvm_vm_wait
edit 's/RCVM_E_TIMEOUT/RCVM_E_LATE/' "$tree/pod/rcvm_vm_wait.pod"
must_fail man 'rcvm_vm_wait.pod: RCVM_E_LATE is in no header'
only_pod rcvm_vm_wait
edit 's/L<rcvm_vm_start(3)>/L<rcvm_vm_launch(3)>/' "$tree/pod/rcvm_vm_wait.pod"
must_fail man 'rcvm_vm_wait.pod: there is no rcvm_vm_launch(3)'
only_pod rcvm_vm_open
edit 's/rcvm_vm_free (web)/rcvm_vm_free (web, 1)/; s/rcvm_vm_get_status (web)/0/' "$tree/pod/rcvm_vm_open.pod"
must_fail man 'rcvm_vm_open.pod: the example does not compile'
only_pod rcvm_vm_set_cpus
edit 's/^ *rcvm_vm_set_cpus (/ & /; s/if (rcvm_vm_set_cpus (vm, 2, &err) < 0)/if (rcvm_vm_start (vm, \&err) < 0)/' "$tree/pod/rcvm_vm_set_cpus.pod"
must_fail man 'rcvm_vm_set_cpus.pod: the example does not use the function'

exit $status
