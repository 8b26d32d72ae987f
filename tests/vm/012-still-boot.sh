#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that stands still while it boots boots once more: by translation that happens, where the host was too busy at the wrong moment.
. "$(dirname "$0")/functions.sh"

[ "${RUNCVM_HYPERVISOR:-qemu}" = qemu ] && runcvm check 2>&1 | grep -q translat || { ok "with KVM no guest stands still # SKIP"; exit; }

# What that moment does to the kernel: it has no timer.  Whoever waits in such a guest waits for ever.
runcvm run --memory 160M --log-level info --rootfs "$BUSYBOX" --kernel-args nolapic_timer still -- true 2>"$work/err" &
runner=$!

# The VMM, stopped before its guest says anything, is found to stand still.  Whether that was in time its log says.
vmm() { pgrep -f "qemu-system.* -name stopped "; }
for try in 1 2 3 4 5; do
  rm -f "$work/out"
  runcvm run --memory 160M --log-level info --rootfs "$BUSYBOX" stopped -- echo "after all" >"$work/out" 2>"$work/log" &
  again=$!
  wait_for vmm
  sleep "0.$((try + 2))"
  pid=$(vmm)
  kill -STOP "$pid"
  sleep 7
  kill -CONT "$pid"
  wait $again
  grep -q 'boots once more' "$work/log" && break
done
is "$? $(cat "$work/out")" "0 after all" "a guest that stood still in its boot boots once more"

wait $runner
is $? 125 "one that always does is given up"
is "$(grep -c 'boots once more' "$work/err")" 2 "after some more tries"
like "$(tail -n 1 "$work/err")" "said nothing for [0-9]+ seconds; its console's last word: .*the kernel has no timer that works" "with the reason"
