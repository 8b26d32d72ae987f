#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The VMM's process on the host: what it sees, may do and leaves, with a program in its place that looks for a way out.
. "$(dirname "$0")/functions.sh"

vmm=$(hypervisor)
variable=RUNCVM_QEMU
[ "$vmm" != firecracker ] || variable=RUNCVM_FIRECRACKER
# value NAME KEY: of the state
value() { runcvm state "$1" | sed -n "s/.*\"$2\": \"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1; }
# user PID: of a process
user() { awk '/^Uid:/ { print $2 }' "/proc/$1/status"; }
# namespaces PID: which of them are not this shell's
namespaces() { for n in cgroup ipc mnt net pid uts user; do [ "$(readlink "/proc/$1/ns/$n")" = "$(readlink "/proc/self/ns/$n")" ] || printf '%s ' $n; done; }

# A kernel without the bus that all devices are on takes half a minute to give up; meanwhile the others are looked at.
LC_ALL=C sed 's/virtio_mmio[.]ko/virtio_none.ko/g' "$RUNCVM_GUEST_DIR/initramfs" >"$work/busless"
chmod 644 "$work/busless"
runcvm run --log-level error --initramfs "$work/busless" --memory 160M --rootfs "$BUSYBOX" busless -- true >"$work/busless.out" 2>&1 </dev/null &
busless=$!

# A VM that is what it should be: others are kept from it.
runcvm run --log-level error --memory 160M --rootfs "$BUSYBOX" honest -- sleep 1000 >/dev/null 2>"$work/err" </dev/null &
until [ "$(value honest status)" = running ]; do sleep 0.2; kill -0 $! || break; done
is "$(cat "$work/err")" "" "a VM runs confined, and nothing is said about it"
pid=$(value honest vmmPid)
first=$(user "$pid")
succeeds "its VMM is a user of the range that is nobody's ($first)" [ "$first" -ge 1900000000 ]
is "$(namespaces "$pid")" "cgroup ipc mnt net pid uts " "in namespaces of its own"
is "$(awk '/^(CapPrm|CapEff|CapBnd|CapInh|CapAmb|NoNewPrivs|Groups):/ { if ($2 != "") printf "%s ", $2 }' "/proc/$pid/status")" \
  "0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 1 " "without rights"
succeeds "and with filtered system calls" grep -q '^Seccomp:.2' "/proc/$pid/status"
is "$(tr '\0' '\n' <"/proc/$pid/environ" | grep -vE '^(PATH|LD_LIBRARY_PATH|QEMU_MODULE_DIR)=')" "" "its environment says nothing of whoever started it"

# The program in its place.
succeeds "the program compiles" cc -Wall -Wextra -O1 "$TOP/tests/vm/confined.c" -o "$work/looker"
python3 - "$work/port" <<'PY' &
import select, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
hidden = socket.socket(socket.AF_UNIX)
hidden.bind("\0runcvm-test-%d" % tcp.getsockname()[1])
hidden.listen()
with open(sys.argv[1] + ".new", "w") as f:
    f.write("%d" % tcp.getsockname()[1])
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
select.select([], [], [], 300)
PY
listeners=$!
wait_for test -s "$work/port"
port=$(cat "$work/port")
upper=$(ls "$work"/data/vms/honest@*/upper.img)
wanted="hide=/etc/passwd hide=/root hide=/proc/self hide=$work/port hide=$RUNCVM_ROOT hide=$RUNCVM_ROOT/honest hide=$upper hide=$BUSYBOX/bin/sh
 hide=/run/runcvm-users hide=/dev/tty pid=$$ pid=$pid port=$port abstract=runcvm-test-$port"
# look ID HOW: has it run in place of the VM's VMM, and hands on what it found
look() {
  local log=$work/state/$1/console.log
  (export $variable=$work/looker
   runcvm run --log-level error --confine "$2" --memory 160M --rootfs "$BUSYBOX" --kernel-args "$(echo $wanted)" "$1" -- true >/dev/null 2>"$work/taken.err" </dev/null) &
  for _ in $(seq 1200); do grep -aqs '^done' "$log" || [ -s "$work/taken.err" ] && break; sleep 0.1; done
  cp "$log" "$work/found" || diag "$(cat "$work/taken.err")"
  taken=$(value "$1" vmmPid)
  second=$(user "$taken")
  while read -r result _ text; do
    case $result in ok) ok "$2: $text" ;; *) not_ok "$2: ${text#* - }" ;; esac
  done < <(grep -E '^(not )?ok ' "$work/found" | sed 's/^not ok/not_ok/')
  succeeds "$2: it said all of that" [ "$(grep -c '^ok ' "$work/found")" -ge "$([ "$vmm" = qemu ] && echo 40 || echo 25)" ]
  is "$(sed -n 's/^sees //p' "$work/found" | grep -vE '^(/usr)?/lib(64)?/|^/usr/share/(qemu|seabios)/|^/dev/(null|urandom|kvm)$|^/etc/ld.so.cache$|^/vm/(run/)?[a-z0-9_.]+$' |
    grep -vxF "$work/looker" | if [ "$2" = jailer ]; then grep -vE '^/(looker(\.pid)?|log|metrics|vsock_[0-9]+|dev/(net/tun|userfaultfd))$'; else cat; fi)" "" \
    "$2: it sees its program, libraries, disks and devices, and no other file"
  is "$(sed -n 's/^interfaces //p' "$work/found")" 1 "$2: and no network"
  succeeds "$2: another VM's VMM is another user" [ "$second" != "$first" ]
  succeeds "$2: whom nothing on the host belongs to but what is its VM's" \
    [ -z "$(find "$work" /run /tmp -xdev -maxdepth 5 -user "$second" ! -path "*/vms/$1@*" 2>/dev/null)" ]
}
look taken own
if [ "$vmm" = firecracker ] && "${RUNCVM_JAILER:-jailer}" --version 2>/dev/null | grep -q '^Jailer v1.16'; then
  kept=$taken
  look jailed jailer
  monitor=$(value jailed pid)
  kill -9 "$monitor"
  wait_for test ! -d "/proc/$taken"
  succeeds "a jailed VMM whose monitor is killed ends" test ! -d "/proc/$taken"
  runcvm delete --force jailed
  is "$(runcvm run --log-level error --confine jailer --memory 160M --rootfs "$BUSYBOX" jailed -- sh -c 'echo out; exit 7')$?" "out7" "a VM runs by the jailer"
  like "$(RUNCVM_JAILER=/not/there runcvm run --confine jailer --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "^runcvm: vmm: Firecracker's jailer is not there: " "one that is missing is said to be"
  is "$(ls -A /mnt /srv 2>/dev/null | grep -c firecracker)" 0 "nothing of it is left on the host"
  taken=$kept
else
  like "$(runcvm run --hypervisor qemu --confine jailer --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "the jailer confines Firecracker alone, and this VM's VMM is 'qemu'" "QEMU has no jailer"
fi

# What is left.
runcvm delete --force taken
wait_for test ! -d "/proc/$taken"
succeeds "its process ends with the VM" test ! -d "/proc/$taken"
kill -9 "$pid"
wait_for test ! -e "$work/state/honest/control"
is "$(grep -c "$work" /proc/self/mountinfo)" 0 "no mount is left on the host"
runcvm delete --force honest
kill $listeners
namespaces_left() { find /proc/[0-9]*/ns -maxdepth 1 -name mnt -exec readlink {} + 2>/dev/null | sort -u; }
before=$(namespaces_left)
runcvm create --bundle /nonexistent x >/dev/null 2>&1
runcvm run --log-level error --memory 160M --rootfs "$BUSYBOX" killed -- sleep 1000 >/dev/null 2>&1 </dev/null &
until [ "$(value killed status)" = running ]; do sleep 0.2; kill -0 $! || break; done
pid=$(value killed vmmPid)
kill -9 "$(value killed pid)"
wait_for test ! -d "/proc/$pid"
succeeds "a VMM whose monitor is killed ends" test ! -d "/proc/$pid"
[ -n "${PARALLEL:-}" ] || is "$(namespaces_left)" "$before" "with its namespaces"
runcvm delete --force killed

# What cannot be.
wait $busless
is $? 125 "a guest whose kernel lacks virtio-mmio ends with 125"
like "$(cat "$work/busless.out")" 'this kernel has no driver for virtio over MMIO' "and its error says what it lacks"
is "$(runcvm run --log-level error --confine off --memory 160M --rootfs "$BUSYBOX" free -- sh -c 'exit 5'; echo $?)" 5 "without confinement"
like "$(runcvm run --confine tight --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "'confinement' is 'tight', and only" "another is not known"
like "$(RUNCVM_CONFINE=tight runcvm run --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "RUNCVM_CONFINE of the environment is 'tight'" "of the environment neither"
like "$(RUNCVM_USERS=0-5 runcvm run --log-level error --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "RUNCVM_USERS is '0-5', and should be a range" "root is no user for a VMM"
RUNCVM_USERS=1950000000-1950000000 runcvm run --log-level error --memory 160M --rootfs "$BUSYBOX" only -- sleep 1000 >/dev/null 2>&1 </dev/null &
until [ "$(value only status)" = running ]; do sleep 0.2; kill -0 $! || break; done
is "$(user "$(value only vmmPid)")" 1950000000 "a range of one user"
like "$(RUNCVM_USERS=1950000000-1950000000 runcvm run --log-level error --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "all 1 users for VMMs are taken" "is enough for one VM"
runcvm delete --force only
cp "$RUNCVM_GUEST_DIR/initramfs" "$work/initramfs"; chmod 600 "$work/initramfs"
like "$(runcvm run --log-level error --initramfs "$work/initramfs" --memory 160M --rootfs "$BUSYBOX" x -- true 2>&1)" "initramfs '$work/initramfs' cannot be read by everybody" "an initramfs that is root's alone is refused, with what to do"
is "$(runcvm run --log-level error --confine off --initramfs "$work/initramfs" --memory 160M --rootfs "$BUSYBOX" x -- sh -c 'exit 6'; echo $?)" 6 "and boots without confinement"
like "$(runcvm check)" "^ok +confinement " "the check says that VMMs can be confined here"
