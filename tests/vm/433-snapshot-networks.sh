#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# VMs that go on from a snapshot (docs/snapshots.md) in other networks: several interfaces, and those that DHCP configures.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

if [ "$(hypervisor)" != firecracker ]; then
  make_host
  make_bridge br1 192.168.2.1/24
  make_container no
  plug no eth0 br0 02:00:5e:10:00:09 1500 192.168.1.19/24
  plug no eth1 br1 02:00:5e:10:01:09 1500 192.168.2.19/24
  in_host "$BUILD/run" runcvm run --detach --memory 160M --log-level error --rootfs "$BUSYBOX" --netns "/var/run/netns/$tag-no" no -- sleep 1000
  runcvm checkpoint --image-path "$work/snap" no 2>"$work/err"
  is "$? $(runcvm exec no sh -c 'ls /sys/class/net | xargs; ping -c 1 -w 20 192.168.1.1 >/dev/null && echo there')" $'1 eth0 eth1 lo\nthere' \
    "a driver that saves no containers that run leaves one with its interfaces as it is"
  runcvm delete --force no
  no_leaks
  exit
fi

wait_long() { for _ in 1 2 3 4 5 6; do wait_for "$@" && return; done; return 1; }
make_host
make_bridge br1 192.168.2.1/24
# Their second interface is routed through.
for n in 1 2; do
  make_container "c$n"
  plug "c$n" eth0 br0 "02:00:5e:10:00:0$n" 1400 "192.168.1.1$n/24"
  plug "c$n" eth1 br1 "02:00:5e:10:01:0$n" 1500 "192.168.2.1$n/24"
  ip -n "$tag-c$n" route add default via "192.168.2.1"
done
make_container one
plug one eth0 br0 02:00:5e:10:00:03 1500 192.168.1.13/24
make_container d1; plug d1 eth0 br0 02:00:00:00:02:01 1500
make_container d2; plug d2 eth0 br0 02:00:00:00:02:02 1500
background dnsmasq -k -C /dev/null -p 0 --interface=br0 --bind-interfaces -R -h --log-dhcp --log-facility="$work/dnsmasq.log" \
  --dhcp-range=192.168.1.50,192.168.1.60,255.255.255.0,120s --dhcp-leasefile="$work/leases" --dhcp-authoritative --no-ping \
  --dhcp-option-force=58,6 --dhcp-option=3,192.168.1.1
wait_for grep -q 'DHCP' "$work/dnsmasq.log"

start() { # ID NAMESPACE OPTION...
  local id=$1 ns=$2; shift 2
  runcvm run -d --memory 160M --log-level warning --rootfs "$BUSYBOX" --rootfs-changes discard --netns "/var/run/netns/$tag-$ns" "$@" "$id" -- \
    sleep 1000 >/dev/null 2>"$work/err"
}
# What the guest has: MAC, MTU, addresses and routes.
seen() { runcvm exec "$1" sh -c 'for i in eth0 eth1; do cat /sys/class/net/$i/address /sys/class/net/$i/mtu; ip -4 addr show dev $i | sed -n "s/.*inet \([^ ]*\).*/\1/p"; done; ip route' 2>/dev/null | tr -s '\n ' ' '; }

start two c1
is "$?" 0 "a container with two interfaces"
diag "$(cat "$work/err")"
is "$(seen two)" "02:00:5e:10:00:01 1400 192.168.1.11/24 02:00:5e:10:01:01 1500 192.168.2.11/24 default via 192.168.2.1 dev eth1 192.168.1.0/24 dev eth0 scope link src 192.168.1.11 192.168.2.0/24 dev eth1 scope link src 192.168.2.11 " "has them"
sleep 1
runcvm checkpoint --image-path "$work/two" two 2>"$work/err"
is "$?" 0 "it is saved"
diag "$(cat "$work/err")"
runcvm delete --force two 2>/dev/null
runcvm restore --detach --image-path "$work/two" --netns "/var/run/netns/$tag-one" never 2>"$work/err"
is "$?" 1 "where there is one it is not restored"
like "$(cat "$work/err")" "network interfaces and their limits have to be the same" "and why"
runcvm restore --detach --image-path "$work/two" --netns "/var/run/netns/$tag-c2" again 2>"$work/err"
is "$?" 0 "where there are two it is"
diag "$(cat "$work/err")"
is "$(seen again)" "02:00:5e:10:00:02 1400 192.168.1.12/24 02:00:5e:10:01:02 1500 192.168.2.12/24 default via 192.168.2.1 dev eth1 192.168.1.0/24 dev eth0 scope link src 192.168.1.12 192.168.2.0/24 dev eth1 scope link src 192.168.2.12 " "and has what they have, each in its place"
for a in 192.168.1.12 192.168.2.12; do
  is "$(in_host ping -q -c 1 -W 10 $a >/dev/null && echo reached)" reached "both work: $a"
done
runcvm delete --force again

start lease d1 --dhcp --hostname first
is "$?" 0 "a container whose interface DHCP configures"
diag "$(cat "$work/err")"
first=$(runcvm exec lease ip -4 addr show dev eth0 | sed -n 's/.*inet \([^ ]*\).*/\1/p')
like "$first" "192.168.1.(5[0-9]|60)/24" "has an address"
sleep 1
runcvm checkpoint --leave-running --image-path "$work/lease" lease 2>"$work/err"
is "$?" 0 "it is saved"
diag "$(cat "$work/err")"
is "$(in_host ping -q -c 1 -W 10 "${first%/*}" >/dev/null && echo reached)" reached "and goes on with it"
renewals=$(grep -c "DHCPREQUEST.*${first%/*}" "$work/dnsmasq.log")
renewed() { [ "$(grep -c "DHCPREQUEST.*${first%/*}" "$work/dnsmasq.log")" -gt "$renewals" ]; }
wait_long renewed
succeeds "and renews it" renewed
runcvm restore --detach --image-path "$work/lease" --netns "/var/run/netns/$tag-d2" --hostname second lease2 2>"$work/err"
is "$?" 0 "it is restored beside it"
diag "$(cat "$work/err")"
leased() { runcvm exec lease2 ip -4 addr show dev eth0 | sed -n 's/.*inet \([^ ]*\).*/\1/p' | grep -v "^$first\$" | grep -q .; }
wait_long leased
second=$(runcvm exec lease2 ip -4 addr show dev eth0 | sed -n 's/.*inet \([^ ]*\).*/\1/p')
like "$second" "^192.168.1.(5[0-9]|60)/24$" "with an address"
succeeds "which is another one" test "$first" != "$second"
like "$(cat "$work/leases")" "02:00:00:00:02:02 ${second%/*} second " "of its own MAC and name"
is "$(in_host ping -q -c 1 -W 10 "${second%/*}" >/dev/null && echo reached)" reached "that works"
is "$(in_host ping -q -c 1 -W 10 "${first%/*}" >/dev/null && echo reached)" reached "and so does the first one's"
runcvm delete --force lease
runcvm delete --force lease2

# Interfaces that came while it ran, as Docker's newer releases have them come; and a machine from a template, which others may come to as well.
version=$("${RUNCVM_FIRECRACKER:-firecracker}" --version | sed -n 's/^Firecracker v//p')
if [ "$(printf '%s\n' 1.16 "$version" | sort -V | head -n 1)" != 1.16 ]; then
  no_leaks "nothing is left"
  exit
fi
make_container h1
start hot h1 --annotation org.runcvm.hotplug=on --template on
is "$?" 0 "a container to which interfaces may come, from a template"
diag "$(cat "$work/err")"
like "$(runcvm state hot)" '"template": "template-' "it is from one"
plug h1 eth0 br0 02:00:5e:10:00:05 1400 192.168.1.15/24
has() { runcvm exec "$1" ip -4 addr 2>/dev/null | grep -q "$2"; }
wait_long has hot 192.168.1.15
is "$(in_host ping -q -c 1 -W 10 192.168.1.15 >/dev/null && echo reached)" reached "an interface comes to it"
runcvm checkpoint --leave-running --image-path "$work/hot" hot 2>"$work/err"
is "$?" 0 "it is saved with that"
diag "$(cat "$work/err")"
is "$(in_host ping -q -c 1 -W 10 192.168.1.15 >/dev/null && echo reached)" reached "and goes on with it"
make_container h2
plug h2 eth0 br0 02:00:5e:10:00:06 1500 192.168.1.16/24
runcvm restore --detach --image-path "$work/hot" --netns "/var/run/netns/$tag-h2" hot2 2>"$work/err"
is "$?" 0 "it is restored where an interface is there already"
diag "$(cat "$work/err")"
is "$(seen hot2)" "02:00:5e:10:00:06 1500 192.168.1.16/24 192.168.1.0/24 dev eth0 scope link src 192.168.1.16 " "which becomes the one that came"
is "$(in_host ping -q -c 1 -W 10 192.168.1.16 >/dev/null && echo reached)" reached "and works"
plug h2 eth1 br1 02:00:5e:10:01:06 1500 192.168.2.16/24
wait_long has hot2 192.168.2.16
is "$(in_host ping -q -c 1 -W 10 192.168.2.16 >/dev/null && echo reached)" reached "another one comes to the restored one"
runcvm checkpoint --leave-running --image-path "$work/hot-again" hot2 2>"$work/err"
is "$?" 0 "it can be saved again"
diag "$(cat "$work/err")"
runcvm delete --force hot
ip -n "$tag-h2" link del eth1
lacks() { ! has "$@"; }
wait_long lacks hot2 192.168.2.16
runcvm checkpoint --leave-running --image-path "$work/hot-less" hot2 2>"$work/err"
is "$?" 1 "once an interface has gone it cannot"
like "$(cat "$work/err")" "a VM from which a network interface was taken away cannot be saved: Firecracker keeps its device for good" "and why"
is "$(ls -A "$work" | grep hot-less)" "" "nothing is left of that"
is "$(in_host ping -q -c 1 -W 10 192.168.1.16 >/dev/null && echo reached)" reached "and it goes on"
runcvm delete --force hot2
make_container h3
plug h3 eth0 br0 02:00:5e:10:00:07 1500 192.168.1.17/24
plug h3 eth1 br1 02:00:5e:10:01:07 1500 192.168.2.17/24
runcvm restore --detach --image-path "$work/hot-again" --netns "/var/run/netns/$tag-h3" hot3 2>"$work/err"
is "$?" 0 "what was saved with two is restored with two"
diag "$(cat "$work/err")"
for a in 192.168.1.17 192.168.2.17; do
  is "$(in_host ping -q -c 1 -W 10 $a >/dev/null && echo reached)" reached "both work: $a"
done
runcvm delete --force hot3
runcvm template remove --all >/dev/null
no_leaks "nothing is left"
