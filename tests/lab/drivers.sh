#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Where there is KVM: which VMM is chosen, that it uses KVM, and what is said where Firecracker cannot run.
. "$(dirname "$0")/../vm/functions.sh"
unset RUNCVM_HYPERVISOR
firecracker=${RUNCVM_FIRECRACKER:-$(command -v firecracker)}

# chosen OPTION...: "VMM ACCELERATOR", and what it says on stderr
chosen() {
  runcvm run --keep --memory 160M --rootfs "$BUSYBOX" "$@" chosen -- true 2>"$work/err"
  runcvm state chosen 2>/dev/null | sed -n 's/^ *"\(vmm\|accelerator\)": "\([a-z]*\)".*/\2/p' | paste -sd' '
  runcvm delete chosen >/dev/null 2>&1
}
# refused PATTERN WHAT COMMAND...: ends with 125 and one sentence, and leaves nothing
refused() {
  local pattern=$1 what=$2 code
  shift 2
  "$@" >/dev/null 2>"$work/err"; code=$?
  is "$code" 125 "$what: 125"
  is "$(wc -l <"$work/err")" 1 "$what: one line"
  like "$(cat "$work/err")" "$pattern" "$what: it says so"
  no_leaks "$what: nothing is left"
}
start() { runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" "$@" refused -- true; }

like "$(runcvm check)" '^ok +kvm ' "KVM is usable here"
is "$(RUNCVM_FIRECRACKER=/not/there chosen)" "qemu kvm" "without Firecracker: QEMU with KVM"
is "$(cat "$work/err")" "" "and without a warning"
RUNCVM_FIRECRACKER=/not/there refused 'Firecracker is not there' "no Firecracker" start --hypervisor firecracker

# Firecracker's name for its version is all that is asked of an old one.
printf '#!/bin/sh\necho "Firecracker v1.6.0"\n' >"$work/old"
chmod 755 "$work/old"
RUNCVM_FIRECRACKER=$work/old refused 'is Firecracker 1\.6, and 1\.7 is the oldest' "an old Firecracker" start --hypervisor firecracker
is "$(RUNCVM_FIRECRACKER=$work/old chosen)" "qemu kvm" "an old Firecracker is not chosen"
printf '#!/bin/sh\necho "Firecracker v1.7.0"\n' >"$work/oldest"
chmod 755 "$work/oldest"
RUNCVM_FIRECRACKER=$work/oldest refused 'Firecracker 1\.7 tells a guest of its devices by arguments that the kernel .* does not know .*: 1\.8 does so by ACPI' \
  "a kernel that does not know of virtio-mmio's arguments, with the oldest" start --hypervisor firecracker
printf '#!/bin/sh\necho "Firecracker v1.10.0"\n' >"$work/older"
chmod 755 "$work/older"
RUNCVM_FIRECRACKER=$work/older refused 'Firecracker 1\.10 cannot add memory to a VM that runs: 1\.14 is the first' "memory that comes, with an older one" \
  start --hypervisor firecracker --annotation org.runcvm.memory-max=1G
RUNCVM_FIRECRACKER=$work/older refused 'Firecracker 1\.10 cannot attach devices to a VM that runs: 1\.16 is the first' "interfaces that come, with an older one" \
  start --hypervisor firecracker --annotation org.runcvm.hotplug=on
is "$(RUNCVM_FIRECRACKER=$work/older chosen --annotation org.runcvm.hotplug=on)" "qemu kvm" "for them, QEMU is chosen"

# The lab's memory is ours to reserve.
huge() {
  local all=80
  echo $all >/proc/sys/vm/nr_hugepages
  runcvm run --hypervisor "$1" --memory 160M --log-level error --annotation org.runcvm.huge-pages=on --rootfs "$BUSYBOX" huge -- \
    sh -c 'trap "exit 3" TERM; while :; do sleep 1; done' &
  wait_for sh -c '[ "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)" -lt 60 ]' && ok "huge pages, with $1" || not_ok "huge pages, with $1"
  until runcvm state huge 2>/dev/null | grep -q '"status": "\(running\|stopped\)"'; do sleep 0.2; done
  runcvm kill huge TERM
  wait $!
  is "$?" 3 "the container runs in them"
  is "$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)" $all "which are free again"
  echo 0 >/proc/sys/vm/nr_hugepages
}
huge qemu

if [ -z "$firecracker" ]; then
  ok "Firecracker # skip it is not there"
  exit
fi

huge firecracker
is "$(chosen)" "firecracker kvm" "Firecracker is chosen where it is"
is "$(cat "$work/err")" "" "and nothing is said about it"
is "$(RUNCVM_HYPERVISOR=qemu chosen)" "qemu kvm" "QEMU is taken where the environment asks for it"
is "$(RUNCVM_HYPERVISOR=qemu chosen --hypervisor firecracker)" "firecracker kvm" "which counts least"

# A guest without the modules of its devices: the VM runs, and nobody speaks.
mkdir "$work/bare"
cp "$BUILD/guest/rcvm-init" "$work/bare/init"
(cd "$work/bare" && mkdir dev proc sys run && find . ! -name . | cpio -o -H newc --quiet) >"$work/initramfs"
RUNCVM_ROOT=$work/bare-state RUNCVM_DATA_DIR=$work/bare-data runcvm run --hypervisor firecracker --memory 160M --log-level error --rootfs "$BUSYBOX" \
  --initramfs "$work/initramfs" bare -- true >/dev/null 2>"$work/bare-err" &
bare=$!

refused 'boots no compressed kernel' "a bzImage" start --hypervisor firecracker --kernel "$RUNCVM_GUEST_DIR/vmlinuz"
refused 'at most 32 CPUs' "too many CPUs" start --hypervisor firecracker --cpus 33
dd if=/dev/zero of="$work/nokernel" bs=1M count=1 2>/dev/null
printf '\177ELF' | dd of="$work/nokernel" conv=notrunc 2>/dev/null
refused 'neither a bzImage nor a vmlinux' "no kernel" start --hypervisor firecracker --kernel "$work/nokernel"
# It stops in the middle of a request, and is killed.
cat >"$work/dies" <<IN
#!/bin/bash
[ "\$1" != --version ] || exec "$firecracker" --version
"$firecracker" "\$@" &
until [ -S firecracker.sock ]; do sleep 0.01; done
kill -STOP \$!
sleep 1
kill -9 \$!
wait \$!
IN
chmod 755 "$work/dies"
RUNCVM_FIRECRACKER=$work/dies refused "^runcvm: vmm: the VMM \(firecracker, pid [0-9]+\) ended with|did not answer" "an API that dies in the middle of a request" \
  start --hypervisor firecracker --confine off
# What it counts.
runcvm run --detach --memory 160M --log-level error --hypervisor firecracker --rootfs "$BUSYBOX" counts -- sleep 1000
like "$(runcvm metrics counts)" '^runcvm_vmm_disk_read_bytes_total\{id="counts"\} [1-9][0-9]{4}' "its metrics are ours"
like "$(runcvm metrics counts)" '^runcvm_vmm_lost_metrics_total\{id="counts"\} 0' "and are understood"
runcvm pause counts
like "$(runcvm metrics counts)" '^runcvm_vmm_vsock_sent_bytes_total\{id="counts"\} [1-9]' "also of one that is paused"
runcvm delete --force counts
# What Firecracker itself refuses comes with its reason.
refused 'Firecracker refused to start the VM: .*initrd' "an empty initramfs" start --hypervisor firecracker --initramfs /proc/version

chmod 600 /dev/kvm
as_nobody() {
  install -d -o 65534 "$work/nobody"
  RUNCVM_ROOT=$work/nobody/state RUNCVM_DATA_DIR=$work/nobody/data setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$BUILD/run" runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --hypervisor firecracker refused -- true
}
chmod 711 "$work"
refused 'needs KVM, and /dev/kvm cannot be opened: Permission denied' "no permission on /dev/kvm" as_nobody
mv /dev/kvm /dev/kvm.away
refused 'needs KVM, and there is no /dev/kvm' "no /dev/kvm" start --hypervisor firecracker
like "$(runcvm check)" '^missing +kvm ' "and the check says so, too"
mv /dev/kvm.away /dev/kvm

wait $bare
is $? 125 "a guest without virtio-mmio: 125"
like "$(cat "$work/bare-err")" 'there is no virtio-vsock device' "and the guest's last word says why"
