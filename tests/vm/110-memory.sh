#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Memory: what the guest has freed goes back to the host where that is wanted.
. "$(dirname "$0")/functions.sh"

# Files larger than the memory are no lack of it; a process that wants more than there is is ended, and soon.
is "$(busybox_run files sh -c 'dd if=/dev/zero of=/f bs=1M count=300 2>/dev/null && dd if=/f bs=64k 2>/dev/null | wc -c')" 314572800 \
  "files larger than the memory are written and read"
is "$(busybox_run greedy sh -c 'tail /dev/zero; echo $?' 2>/dev/null)" 137 "a process that takes all the memory is ended, and its container is not"

# rss ID: of its VMM, in MiB
rss() {
  local pid
  pid=$(runcvm state "$1" | sed -n 's/.*"vmmPid": *\([0-9]*\).*/\1/p')
  awk '/^VmRSS:/ {print int($2 / 1024)}' "/proc/$pid/status"
}
# use ID: 60 MiB, and no longer
use() {
  runcvm exec "$1" dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null
  used=$(rss "$1")
  runcvm exec "$1" rm /dev/shm/x
}
# start ID on|off
start() {
  runcvm run --detach --memory 256M --log-level error --annotation "org.runcvm.enable-balloon=$2" --rootfs "$BUSYBOX" \
    "$1" -- sleep 100000
}
start with on
start without off
use with
# The guest reports what has been free for two seconds.
for _ in $(seq 300); do
  left=$(rss with)
  [ "$left" -ge $((used - 40)) ] || break
  sleep 0.1
done
if [ "$left" -lt $((used - 40)) ]; then ok "with a balloon, memory that the guest freed goes back"; else not_ok "with a balloon, memory that the guest freed goes back"; fi
diag "$used MiB in use, $left after"
use without
left=$(rss without)
if [ "$left" -ge $((used - 16)) ]; then ok "without, it stays with the VMM"; else not_ok "without, it stays with the VMM"; fi
# What is above a new limit goes back as well, and comes again.
# free ID: of the guest's memory, in MiB
free() { runcvm exec "$1" awk '/^MemFree:/ { print int($2 / 1024) }' /proc/meminfo; }
before=$(free with)
shrunk() { [ "$(free with)" -lt $((before - 70)) ]; }
grown() { [ "$(free with)" -gt $((before - 20)) ]; }
succeeds "a lower limit for a VM that runs" runcvm update --memory $((176 << 20)) with
succeeds "its balloon takes what is above" wait_for shrunk
diag "$before MiB were free, now $(free with)"
succeeds "a higher one" runcvm update --memory $((256 << 20)) with
succeeds "gives it back" wait_for grown
diag "$(free with) MiB"
runcvm delete --force with
runcvm delete --force without

# Memory that comes while it runs.
if [ "$(hypervisor)" = firecracker ]; then
  runcvm run --detach --memory 160M --log-level error --annotation org.runcvm.memory-max=416M --rootfs "$BUSYBOX" more -- sleep 100000
  # total: of the guest's memory, in MiB
  total() { runcvm exec more awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo; }
  before=$(total)
  more() { [ "$(total)" -ge $((before + 250)) ]; }
  as_before() { [ "$(total)" -le "$before" ]; }
  succeeds "a limit above the memory of the start" runcvm update --memory $((416 << 20)) more
  succeeds "adds to it" wait_for more
  is "$(runcvm exec more dd if=/dev/zero of=/dev/null bs=200M count=1 2>&1 | grep -c '1+0 records out')" 1 "which the container can use"
  like "$(runcvm update --memory $((417 << 20)) more 2>&1)" "more than the VM's memory of $((416 << 20))" "there is not more than was said at the start"
  succeeds "a limit as low as at the start" runcvm update --memory $((160 << 20)) more
  succeeds "takes it away again" wait_for as_before
  runcvm delete --force more
  LC_ALL=C sed 's/virtio_mem[.]ko/virtio_non.ko/g' "$RUNCVM_GUEST_DIR/initramfs" >"$work/lacking"
  chmod 644 "$work/lacking"
  like "$(runcvm run --initramfs "$work/lacking" --memory 160M --log-level error --annotation org.runcvm.memory-max=416M --rootfs "$BUSYBOX" x -- true 2>&1)" \
    "its kernel lacks a driver for virtio-mem" "a kernel without virtio-mem is told"
else
  like "$(runcvm run --memory 160M --log-level error --annotation org.runcvm.memory-max=416M --rootfs "$BUSYBOX" x -- true 2>&1)" \
    "'qemu' cannot add memory to a VM that runs" "QEMU cannot add memory to a VM that runs, and says so"
fi
