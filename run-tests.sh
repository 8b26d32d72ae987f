#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# On a Debian 12 machine: installs what is missing, builds, and runs every test.  Ends with a line
# `N passed, N failed, N skipped`.  A test that could run here and was skipped counts as failed.
set -u
cd "$(dirname "$0")" || exit 1
mkdir -p build
. tests/setup.sh

passed=0 failed=0 skipped=0

# Adds up what a part of the tests says in a line `NAME: N passed, N failed, N skipped`.
count() {
  local line log=$build/part-$1.log
  line=$(grep -E "^[a-z-]+: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$" "$log" | tail -n 1)
  if [ -z "$line" ]; then
    echo "$1 ended without a count; see $log"
    failed=$((failed + 1))
    return
  fi
  read -r _ p _ f _ s _ <<<"${line//,/}"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# part NAME COMMAND...: one part of the tests; its output is shown, when it has ended, if it fails.
part() {
  local name=$1 log=$build/part-$1.log start=$SECONDS lines=1
  shift
  "$@" >"$log" 2>&1 || lines=100
  # In one piece, whatever else is going on.
  printf '%s\n' "$(
    say "$name: $*"
    tail -n $lines "$log"
    # Those that passed only in the end.
    grep -hE ' (failed, and )?is run again' "$log"
    say "$name took $((SECONDS - start)) s"
  )"
}

# A command that is one test.
single() {
  local name=$1
  shift
  if "$@"; then echo "$name: 1 passed, 0 failed, 0 skipped"; else echo "$name: 0 passed, 1 failed, 0 skipped"; return 1; fi
}

# Automake's results, and inside of them what speaks TAP.
check() {
  local dir=$1 name=$2 log trs p=0 f=0 s=0 result
  shift 2
  find "$dir" -name '*.trs' -delete
  CMOCKA_MESSAGE_OUTPUT=TAP "$@"
  while read -r trs; do
    log=${trs%.trs}.log
    result=$(sed -n 's/^:global-test-result: //p' "$trs")
    if grep -q '^1\.\.[0-9]' "$log" && [ "$result" != SKIP ]; then
      p=$((p + $(grep -cE '^ok ' "$log") - $(grep -ciE '^ok .*# skip' "$log")))
      s=$((s + $(grep -ciE '^ok .*# skip' "$log")))
      f=$((f + $(grep -cE '^not ok ' "$log")))
      # One that failed without saying which.
      if [ "$result" != PASS ] && ! grep -qE '^not ok ' "$log"; then f=$((f + 1)); fi
    else
      case $result in
        PASS) p=$((p + 1)) ;;
        SKIP) s=$((s + 1)); echo "skipped: $trs: $(tail -n 1 "$log")" ;;
        *) f=$((f + 1)) ;;
      esac
    fi
    case $result in PASS | SKIP) ;; *) echo "--- $log"; tail -n 60 "$log" ;; esac
  done < <(find "$dir" -name '*.trs')
  [ $((p + f + s)) -gt 0 ] || f=1
  echo "$name: $p passed, $f failed, $s skipped"
  [ "$f" = 0 ]
}

install_packages $BUILD_PACKAGES $RUN_PACKAGES $TEST_PACKAGES
install_go
build_tree
make_guest
make_lab
make_debian
make_programs
make_workloads
make_busybox
export TOP=$top BUILD=$build BUSYBOX=$build/busybox DEBIAN=$build/debian PROGRAMS=$build/programs

# The bindings' tests boot VMs where these say what.  What these change in their root stays in it.
rm -rf "$build/bindings-root"
cp -a "$BUSYBOX" "$build/bindings-root"
export ROOTFS=$build/bindings-root KERNEL=$guest/vmlinuz INITRAMFS=$guest/initramfs

# One of the trees that are read is this machine's /usr.
export PYTHONDONTWRITEBYTECODE=1

run_part() {
  case $1 in
    check) part check check "$build" check timeout --kill-after=30 1500 make -C "$build" -k -j"$(nproc)" check ;;
    vm) part vm tests/run-vm ;;
    lab) part lab tests/lab/check ;;
    docker) part docker timeout --kill-after=60 1500 tests/docker/run ;;
    distcheck) part distcheck single distcheck env -u ROOTFS -u KERNEL -u INITRAMFS -u RUNCVM_GUEST_DIR -u BUSYBOX timeout 1500 make -C "$build" distcheck ;;
    sanitizers) part sanitizers single sanitizers timeout 1200 make -C "$build" check-sanitizers ;;
    valgrind) part valgrind single valgrind timeout 1200 make -C "$build" check-valgrind ;;
    fuzz) part fuzz single fuzz timeout 900 make -C "$build" check-fuzz ;;
    layers) part layers tests/rootfs/check-layers.sh ;;
    rootfs) part rootfs tests/rootfs/check-trees.sh ;;
    write-back) part write-back tests/rootfs/write-back.sh ;;
    net) part net tests/net/run ;;
    volumes) part volumes env RACE_SECONDS=60 timeout --kill-after=30 600 tests/volumes/check-volumes.sh ;;
  esac
}

# First what keeps all CPUs busy; then always two of the others, those that take long before those that do not.  But vm and lab have two
# VMs each: they should not meet.
parts="check vm docker distcheck sanitizers lab fuzz rootfs valgrind layers write-back net volumes"
for p in $parts; do rm -f "$build/part-$p.log"; done
run_part check
for p in $parts; do
  [ $p != check ] || continue
  while [ "$(jobs -pr | wc -l)" -ge 2 ]; do wait -n; done
  run_part $p &
done
wait
for p in $parts; do count "$p"; done

# Everything can run on this kind of machine, so nothing may have been left out; but for what Debian does not have (Firecracker,
# unfs3): their parts say how many of their tests that are, and how to get it.
excused=0
for p in vm lab; do
  n=$(sed -n "s/^$p: without [A-Za-z]* \([0-9]*\) tests are skipped.*/\1/p" "$build/part-$p.log")
  [ -z "$n" ] || { grep "^$p: " "$build/part-$p.log"; excused=$((excused + n)); }
done
failed=$((failed + skipped - excused))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
