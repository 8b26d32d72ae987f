#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The examples of all languages do the same: output, error output and exit code of a command in a VM.
set -eu
: "${top_srcdir=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${top_builddir=$top_srcdir}" "${PYTHON=}" "${GO=}"
work=$(mktemp -d "${TMPDIR-/tmp}/runcvm-examples.XXXXXX")
trap 'rm -rf "$work"' EXIT
RUNCVM_ROOT=${RUNCVM_ROOT-$work/state}
RUNCVM_DATA_DIR=${RUNCVM_DATA_DIR-$work/data}
export RUNCVM_ROOT RUNCVM_DATA_DIR
status=0

# What each of them says without a VM.
usage ()
{
  rc=0
  "$@" > "$work/out" 2> "$work/err" || rc=$?
  test $rc = 125 && grep -q '^usage: ' "$work/err" || { echo "$*: no usage, $rc" >&2; status=1; }
}

run ()
{
  rc=0
  echo input | "$@" "$ROOTFS" /bin/sh -c 'read line; echo "out: $line"; echo err >&2; exit 7' \
    > "$work/out" 2> "$work/err" || rc=$?
  if test "$rc $(cat "$work/out") $(cat "$work/err")" != "7 out: input err"; then
    echo "$*: $rc, output '$(cat "$work/out")', error output '$(cat "$work/err")'" >&2
    status=1
  fi
  rc=0
  "$@" "$ROOTFS" /no/such/program < /dev/null > "$work/out" 2> "$work/err" || rc=$?
  test $rc = 127 || { echo "$*: no such program: $rc" >&2; cat "$work/err" >&2; status=1; }
  rc=0
  "$@" /nonexistent/rootfs true > "$work/out" 2> "$work/err" || rc=$?
  if test $rc != 125 || ! grep -q '/nonexistent/rootfs' "$work/err"; then
    echo "$*: with a missing root directory: $rc" >&2
    cat "$work/err" >&2
    status=1
  fi
}

all ()
{
  "$1" "$top_builddir/examples/boot-hello"
  if test -e "$top_builddir/bindings/python/runcvm/raw.py"; then
    "$1" "$PYTHON" "$top_srcdir/bindings/python/example/boot_hello.py"
  fi
  if test -n "$GO"; then
    (cd "$top_srcdir/bindings/go" \
      && PKG_CONFIG_PATH=$top_builddir/pkgconfig "$GO" build -buildvcs=false -o "$work/boot-hello" ./example/boot-hello)
    "$1" "$work/boot-hello"
  fi
}

all usage
ROOTFS=${ROOTFS-${BUSYBOX-}}
if test -z "$ROOTFS"; then
  test $status = 0 || exit 1
  echo "SKIP: ROOTFS is not set" >&2
  exit 77
fi
if test -n "${KERNEL-}"; then
  mkdir -p "$work/guest"
  ln -sf "$KERNEL" "$work/guest/vmlinuz"
  ln -sf "$INITRAMFS" "$work/guest/initramfs"
  RUNCVM_GUEST_DIR=$work/guest
  export RUNCVM_GUEST_DIR
fi
all run

rc=0
"$top_builddir/examples/poll-loop" "$ROOTFS" /bin/sh -c 'exit $((10 + VM_NUMBER))' > "$work/out" || rc=$?
sed 's/^poll-loop-[0-9]*-//' "$work/out" | sort > "$work/sorted"
if test $rc != 0 || test "$(tr '\n' ' ' < "$work/sorted")" != "1: exit code 11 2: exit code 12 3: exit code 13 "; then
  echo "poll-loop: $rc, output: $(cat "$work/out")" >&2
  status=1
fi
if test -n "$(find "$RUNCVM_ROOT" -mindepth 1 -type d \( -name 'boot-hello-*' -o -name 'poll-loop-*' \))"; then
  echo "left behind: $(ls "$RUNCVM_ROOT")" >&2
  status=1
fi
exit $status
