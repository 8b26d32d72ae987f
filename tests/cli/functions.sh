# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Helpers of the tests of the command line.  They boot no VM.  A test sources this file; it passes if all of its checks
# do.

set -u
top_builddir=${top_builddir:-$PWD/build}
n_failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/runcvm-cli.XXXXXX")
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data

say() { printf '%s\n' "$*"; }
ok() { say "ok: $*"; }
not_ok() { n_failed=$((n_failed + 1)); say "not ok: $*"; }
diag() { sed 's/^/# /' <<<"$*"; }
skip() { say "skipped: $*"; exit 77; }

is() {
  if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3"; diag "wanted: $2"; diag "got:    $1"; fi
}
like() {
  if grep -Eq -- "$2" <<<"$1"; then ok "$3"; else not_ok "$3"; diag "wanted: /$2/"; diag "got:    $1"; fi
}

# libexec: another directory for the monitor than that of the build.  prefix: words of a command that runs it.
# shellcheck disable=SC2086
runcvm() { ${prefix:-} "$top_builddir/run" ${libexec:+env RUNCVM_LIBEXEC="$libexec"} runcvm "$@"; }

# Monitors, workers and VMMs of this test.  A monitor may take a moment to go after its last word.
processes() {
  local p
  for p in /proc/[0-9]*; do
    [ "${p#/proc/}" = "$$" ] || ! tr '\0' ' ' 2>/dev/null <"$p/cmdline" | grep -q "^runcvm-monitor $RUNCVM_ROOT " || echo "${p#/proc/}"
  done
}
nothing_left() {
  local pid files
  for pid in $(processes); do timeout 10 tail --pid="$pid" -f /dev/null; done
  pid=$(processes)
  files=$(find "$RUNCVM_ROOT" "$RUNCVM_DATA_DIR/vms" -mindepth 1 ! -name .lock 2>/dev/null)
  if [ -z "$pid$files" ]; then return 0; fi
  not_ok "$1: something is left"
  diag "processes: $pid"
  diag "files: $files"
}

# fails NAME CODE STAGE FRAGMENT ARGUMENTS...: that exit code, and one line of error: the stage and a sentence with the
# fragment; nothing on stdout, and nothing left behind.
fails() {
  local name=$1 code=$2 stage=$3 fragment=$4 got text
  shift 4
  runcvm "$@" >"$work/out" 2>"$work/err" </dev/null
  got=$?
  text=$(cat "$work/err")
  if [ $got != "$code" ]; then
    not_ok "$name: exit code $got, not $code"
    diag "$text"
  elif [ "$(wc -l <"$work/err")" != 1 ] || [ "$(tail -c 1 "$work/err" | od -An -tx1)" != " 0a" ]; then
    not_ok "$name: the error is not one line"
    diag "$text"
  elif [[ $text != "runcvm: $stage: "*"$fragment"* ]]; then
    not_ok "$name: another stage or sentence"
    diag "wanted: runcvm: $stage: ...$fragment..."
    diag "got:    $text"
  elif [ -s "$work/out" ]; then
    not_ok "$name: something on stdout"
    diag "$(cat "$work/out")"
  else
    ok "$name"
  fi
  nothing_left "$name"
}

# A guest that passes all checks of the files, and a VMM that ends at once.
fake_guest() {
  { head -c 510 /dev/zero; printf '\125\252'; head -c 2 /dev/zero; printf HdrS; head -c 4096 /dev/zero; } >"$work/kernel"
  { printf '070701'; head -c 4096 /dev/zero; } >"$work/initramfs"
  printf '#!/bin/sh\necho "fake: no machine today" >&2\nexit 3\n' >"$work/qemu"
  chmod +x "$work/qemu"
  export RUNCVM_QEMU=$work/qemu
  guest=(--log-level error --hypervisor qemu --kernel "$work/kernel" --initramfs "$work/initramfs" --memory 256M)
}

# A bundle in $work/bundle whose config.json is stdin's text.
bundle() {
  mkdir -p "$work/bundle/rootfs"
  cat >"$work/bundle/config.json"
}

finish() {
  local code=$?
  for p in $(processes); do kill -KILL "$p"; done
  rm -rf "$work"
  [ "$code" = 77 ] && exit 77
  [ "$code" = 0 ] && [ "$n_failed" = 0 ] || { say "$n_failed failed"; exit 1; }
}
trap finish EXIT
