#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The network of a VM against that of bare QEMU on a bridged TAP: iperf3 TCP both ways, and the round trip of ping, between
# the guest and the host, alternating, in one run.  "The host" is a network namespace with a bridge.
#
#   net-vm.sh [SECONDS]     BUILD, BUSYBOX and RUNCVM_GUEST_DIR as in tests/run-vm; needs iperf3
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-$PWD/build} BUSYBOX=${BUSYBOX:-$PWD/build/busybox}
export RUNCVM_GUEST_DIR=${RUNCVM_GUEST_DIR:-$BUILD/guest-image}
seconds=${1:-4}
iperf=$(command -v iperf3) || { echo "net-vm.sh: iperf3 is not installed" >&2; exit 77; }
work=$(mktemp -d)
host=bench$$-host container=bench$$-c
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || :
  ip netns del $host 2>/dev/null || :
  ip netns del $container 2>/dev/null || :
  rm -rf "$work"
}
trap cleanup EXIT
export RUNCVM_ROOT=$work/state RUNCVM_DATA_DIR=$work/data

ip netns add $host
ip -n $host link set lo up
ip -n $host link add br0 type bridge
ip -n $host addr add 192.168.1.1/24 dev br0
ip -n $host link set br0 up
ip netns add $container
ip -n $host link add v0 type veth peer name eth0 netns $container
ip -n $host link set v0 master br0 up
ip -n $container addr add 192.168.1.7/24 dev eth0
ip -n $container link set eth0 up
ip -n $host tuntap add tap0 mode tap vnet_hdr
ip -n $host link set tap0 master br0 up
ip netns exec $host "$iperf" -s >/dev/null 2>&1 &
server=$!

# One tree for both: busybox, and iperf3 with its libraries.
mkdir "$work/root"
cp -a "$BUSYBOX/." "$work/root/"
cp "$iperf" "$work/root/bin/iperf3"
ldd "$iperf" | grep -o '/[^ ]*' | while read -r lib; do
  mkdir -p "$work/root$(dirname "$lib")"
  cp -L "$lib" "$work/root$lib"
done
cat >"$work/root/measure" <<S
for i in 1 2 3 4 5; do ping -c 1 192.168.1.1 >/dev/null 2>&1 && break; done
echo "out \$(iperf3 -c 192.168.1.1 -t $seconds -f m | grep receiver | grep -o '[0-9.]* Mbits')"
echo "in \$(iperf3 -c 192.168.1.1 -R -t $seconds -f m | grep receiver | grep -o '[0-9.]* Mbits')"
echo "ping \$(ping -c 200 -i 0.01 192.168.1.1 | sed -n 's|.*min/avg/max = [0-9.]*/\\([0-9.]*\\)/.*|\\1 ms|p')"
S
# Bare: the same tree as an initramfs with the guest's modules.
cp -a "$work/root" "$work/bare"
(cd "$work/bare" && cpio -idm --quiet 'lib/modules/*' <"$RUNCVM_GUEST_DIR/initramfs")
cat >"$work/bare/init" <<'S'
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_mmio failover net_failover virtio_net; do [ -e /lib/modules/$m.ko ] && insmod /lib/modules/$m.ko; done
i=0; while [ ! -e /sys/class/net/eth0 ] && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
ip link set lo up; ip addr add 192.168.1.8/24 dev eth0; ip link set eth0 up
sh /measure
reboot -f
S
chmod +x "$work/bare/init"
(cd "$work/bare" && find . ! -name . | cpio -o -H newc --quiet) >"$work/initrd"

accel=tcg more="tsc=reliable tsc_early_khz=2500000" cpu=max
if "$BUILD/run" runcvm check --format json | grep -q '"name": *"kvm", *"result": *"ok"'; then accel=kvm more= cpu=host; fi
kernel=$RUNCVM_GUEST_DIR/vmlinux
[ -e "$kernel" ] || kernel=$RUNCVM_GUEST_DIR/vmlinuz

bare() {
  ip netns exec $host timeout 120 qemu-system-x86_64 -machine microvm,x-option-roms=off,isa-serial=on,rtc=on -accel $accel -cpu $cpu \
    -m 256M -nodefaults -no-user-config -no-reboot -display none -kernel "$kernel" -initrd "$work/initrd" \
    -append "console=ttyS0 panic=-1 reboot=t random.trust_cpu=on cryptomgr.notests quiet $more" -serial stdio \
    -netdev tap,id=n,ifname=tap0,script=no,downscript=no,vhost=off -device virtio-net-device,netdev=n </dev/null | tr -d '\r'
}
ours() {
  timeout 120 "$BUILD/run" runcvm run --memory 256M --log-level error --rootfs "$work/root" --netns /var/run/netns/$container -- sh /measure
}
for round in 1 2; do
  bare | grep -E '^(out|in|ping) [0-9]' | sed "s/^/bare $round /"
  ours | grep -E '^(out|in|ping) [0-9]' | sed "s/^/runcvm $round /"
done | tee "$work/figures"
awk '{ sum[$1 " " $3] += $4; n[$1 " " $3]++ }
  END { split("out in ping", k, " ");
        for (i = 1; i <= 3; i++) {
          a = sum["runcvm " k[i]] / n["runcvm " k[i]]; b = sum["bare " k[i]] / n["bare " k[i]];
          printf "%s: runcvm %.1f, bare QEMU %.1f, ratio %.2f\n", k[i], a, b, a / b } }' "$work/figures"
