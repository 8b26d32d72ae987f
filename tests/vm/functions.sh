# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Helpers of the VM tests.  A test is a script that sources this file and prints TAP: `ok` or `not ok` for
# each thing that it shows.  It has a state root of its own in $work, and must leave nothing behind: leaving
# checks that, for every test.
#
# RUNCVM_HYPERVISOR: the VMM that is tested (the library's default without).
# From the environment (tests/run-vm sets it): TOP, BUILD, BUSYBOX, DEBIAN, PROGRAMS (root file systems), RUNCVM_GUEST_DIR.

set -u
n_checks=0
n_failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/runcvm-test.XXXXXX")
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data
name=$(basename "$0")
# What a container changes is changed in its root's tree: each test has its own.
mkdir "$work/busybox"
cp -a "$BUSYBOX/." "$work/busybox" # also where $BUSYBOX is a symlink, which would lead out of here
BUSYBOX=$work/busybox

# hypervisor: the one that VMs have here by default.
hypervisor() { case ${RUNCVM_HYPERVISOR:-qemu} in auto) echo '(qemu|firecracker)' ;; *) echo "${RUNCVM_HYPERVISOR:-qemu}" ;; esac; }

# scaled MANY FEW: on this machine, and in the lab's choice of tests (tests/lab/check), where everything takes ten times as long.
scaled() { if [ -n "${LAB_QUICK:-}" ]; then echo "$2"; else echo "$1"; fi; }

diag() { sed 's/^/# /' <<<"$*"; }

ok() { n_checks=$((n_checks + 1)); echo "ok $n_checks - $*"; }
not_ok() { n_checks=$((n_checks + 1)); n_failed=$((n_failed + 1)); echo "not ok $n_checks - $*"; }

# wait_for COMMAND...: at most 10 s
wait_for() {
  local i
  for i in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  return 1
}

# is GOT WANTED NAME
is() {
  if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3"; diag "wanted: $2"; diag "got:    $1"; fi
}
# like TEXT PATTERN NAME (extended regular expression)
like() {
  if grep -Eq -- "$2" <<<"$1"; then ok "$3"; else not_ok "$3"; diag "wanted: /$2/"; diag "got:    $1"; fi
}
# succeeds NAME COMMAND...
succeeds() {
  local what=$1; shift
  if "$@"; then ok "$what"; else not_ok "$what (exit code $?)"; fi
}

# The tool that was built, with a guest as small as the tests need.
runcvm() { "$BUILD/run" runcvm "$@"; }
# run_busybox ID COMMAND...: in the busybox tree.
busybox_run() { local id=$1; shift; runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" "$id" -- "$@"; }

# What of ours is running: monitors and VMMs of this test's state root, and what serves their volumes.  All processes at once: in the
# lab each that is started to look at one costs as much as a hundred do elsewhere.
our_processes() {
  local mine="$work/(state|data/vms)|/${work##*/}/data/[v]ms" p line
  {
    # A VMM's command line names no path; but it has disks open, or, where it is confined, mounted.  Servers of volumes have neither: they
    # have the environment of who started the VM.
    grep -aslE -- "$mine" /proc/[0-9]*/cmdline /proc/[0-9]*/mountinfo
    grep -slxE 'runcvm-volumes|virtiofsd|unfsd' /proc/[0-9]*/comm | sed 's/comm$/environ/' | xargs -r grep -aslE -- "$mine"
    find /proc/[0-9]*/cwd /proc/[0-9]*/fd -maxdepth 1 -type l -printf '%p %l\n' 2>/dev/null | grep -E -- " .*($mine)"
  } | cut -d/ -f3 | sort -u | while read -r p; do
    # A zombie has no command line: it is its parent's business.
    line=$(tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline" | cut -c1-120)
    [ "$p" = $$ ] || [ -z "$line" ] || echo "$p: $line"
  done
  return 0
}
# Mounts, TAPs, cgroups and namespaces of before and after are compared whole.
world() {
  cut -d' ' -f5 /proc/self/mountinfo | sort
  ls /sys/class/net
  ls /var/run/netns 2>/dev/null
  find /sys/fs/cgroup -maxdepth 3 -iname '*runcvm*' 2>/dev/null
  return 0
}
world_before=$(world)

# no_leaks [NAME]: nothing of the VMs is left but what ls shows as stopped.
no_leaks() {
  local left files i
  for i in $(seq 50); do
    left=$(our_processes)
    [ -n "$left" ] || break
    sleep 0.1 # on its way
  done
  files=$(find "$work/state" "$work/data/vms" -mindepth 1 ! -name .lock 2>/dev/null)
  if [ -n "$left$files" ]; then
    not_ok "${1:-nothing is left}"
    diag "processes: $left"
    diag "files: $files"
  else
    ok "${1:-nothing is left}"
  fi
}

finish() {
  local id world_after
  for id in $(runcvm list -q 2>/dev/null); do runcvm delete --force "$id" >/dev/null 2>&1; done
  no_leaks "$name leaves no process, image, socket or state"
  world_after=$(world)
  if [ -n "${PARALLEL:-}" ]; then :; else
    is "$world_after" "$world_before" "$name leaves mounts, interfaces, namespaces and cgroups as they were"
  fi
  rm -rf "$work"
  echo "1..$n_checks"
  [ "$n_failed" = 0 ] || exit 1
}
trap finish EXIT
