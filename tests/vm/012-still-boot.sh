#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that stands still while it boots boots once more: by translation that happens, where the host was too busy at the wrong moment.
. "$(dirname "$0")/functions.sh"

# Under KVM a guest has timers that work whatever the host does, so there is nothing to be mended: one that was stopped goes on.
if ! runcvm check 2>&1 | grep -q translat; then
  runcvm run --memory 160M --log-level info --rootfs "$BUSYBOX" stopped -- echo "after all" >"$work/out" 2>"$work/log" &
  stopped=$!
  vmm() { runcvm state stopped | sed -n 's/.*"vmmPid": *\([0-9]*\).*/\1/p' | grep .; }
  until pid=$(vmm 2>/dev/null); do kill -0 $stopped || break; done
  kill -STOP "$pid"
  sleep 7
  is "$(grep -c '^State:.*stopped' "/proc/$pid/status"; cat "$work/out")" 1 "a VMM that stands still while its guest boots is waited for"
  kill -CONT "$pid"
  wait $stopped
  is "$? $(cat "$work/out")" "0 after all" "and goes on"
  is "$(grep -c 'boots once more' "$work/log")" 0 "it is not booted anew"
  exit
fi

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

# One that has booted, and waits for something, is left alone: here for its volume's server.
mkdir "$work/shared"
echo "in time" >"$work/shared/file"
runcvm run --memory 160M --log-level info --rootfs "$BUSYBOX" --volume "$work/shared:/shared" waits -- cat /shared/file >"$work/waits" 2>"$work/waits.log" &
waits=$!
vmm_of_waits() { pgrep -f "qemu-system.* -name waits "; }
wait_for vmm_of_waits
server=$(pgrep -P "$(ps -o ppid= -p "$(vmm_of_waits)" | xargs)" -x runcvm-volumes)
kill -STOP "$server"
sleep 12
kill -CONT "$server"
wait $waits
is "$? $(cat "$work/waits") $(grep -c 'boots once more' "$work/waits.log")" "0 in time 0" "a guest that waits for something else is left alone"

wait $runner
is $? 125 "one that always does is given up"
is "$(grep -c 'boots once more' "$work/err")" 2 "after some more tries"
like "$(tail -n 1 "$work/err")" "said nothing for [0-9]+ seconds; its console's last word: .*the kernel has no timer that works" "with the reason"
