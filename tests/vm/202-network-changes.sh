#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Several interfaces; what comes and goes later; none; the host's network; errors by name.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

# Firecracker has learnt it in 1.16; of an older one, that this is said is what is left to show.
can_attach=yes
[ "$(hypervisor)" != firecracker ] || [ "$(printf '%s\n' "v1.16" "$("${RUNCVM_FIRECRACKER:-firecracker}" --version | sed -n 's/^Firecracker //p')" | sort -V | head -n 1)" = v1.16 ] || can_attach=
cannot_attach="cannot attach network interfaces to a VM that runs: 1.16 is the first that can"

make_host
make_bridge br2 10.2.0.1/24
make_bridge br3 10.3.0.1/24
make_container c
plug c eth0 br0 02:00:00:00:03:01 1500 192.168.1.31/24
plug c eth1 br2 02:00:00:00:03:02 1500 10.2.0.31/24
plug c net3 br3 02:00:00:00:03:03 9000 10.3.0.31/24
ip -n "$tag-c" route add default via 192.168.1.1
ip -n "$tag-c" route add 172.20.0.0/16 via 10.2.0.1 metric 50
ip -n "$tag-c" route add 172.30.0.0/16 via 10.3.0.9 dev net3 onlink
before=$(ns_state "$tag-c")

hotplug=(--annotation "org.runcvm.hotplug=${can_attach:+on}")
runcvm create --memory 160M --log-level error "${hotplug[@]}" --rootfs "$BUSYBOX" --netns "/var/run/netns/$tag-c" c -- sleep 1000
is $? 0 "a VM with three interfaces is created"
# Newer Dockers fill the namespace now.
make_bridge br5 10.5.0.1/24
[ -z "$can_attach" ] || plug c late br5 02:00:00:00:03:04 1500 10.5.0.34/24
succeeds "it starts" runcvm start c
vm() { runcvm exec c "$@" 2>&1; }
out=$(vm ip addr)
like "$out" "inet 192.168.1.31/24 .*eth0" "eth0 is there"
like "$out" "inet 10.2.0.31/24 .*eth1" "and eth1"
like "$out" "inet 10.3.0.31/24 .*net3" "and net3 by its name"
like "$out" "net3: .*mtu 9000" "with its MTU"
[ -z "$can_attach" ] || like "$out" "inet 10.5.0.34/24 .*late" "and what came between create and start"
out=$(vm ip route)
like "$out" "default via 192.168.1.1 dev eth0" "the default route"
like "$out" "172.20.0.0/16 via 10.2.0.1 dev eth1 +metric 50" "a route of the second interface, with its metric"
like "$out" "172.30.0.0/16 via 10.3.0.9 dev net3 onlink" "one of the third, on the link"
for a in 192.168.1.1 10.2.0.1 10.3.0.1; do like "$(vm ping -c 1 "$a")" " 0% packet loss" "it pings $a"; done

# docker network connect and disconnect.
make_bridge br4 10.4.0.1/24
plug c eth4 br4 02:00:00:00:03:05 1500 10.4.0.31/24
if [ -n "$can_attach" ]; then
succeeds "an interface is attached to the VM that runs" runcvm net attach c eth4
like "$(vm ip addr show eth4)" "02:00:00:00:03:05" "it has the interface's MAC"
like "$(vm ping -c 1 10.4.0.1)" " 0% packet loss" "and works"
ip -n "$tag-c" addr add 10.4.0.32/24 dev eth4
has() { vm ip addr | grep -q "$1"; }
lacks() { ! vm ip addr | grep -q "$1"; }
wait_for has 10.4.0.32
succeeds "an address that is added outside comes to the VM" has 10.4.0.32
succeeds "an interface is detached" runcvm net detach c late
succeeds "the VM has it no more" lacks late:
succeeds "it is attached again" runcvm net attach c late
like "$(vm ping -c 1 10.5.0.1)" " 0% packet loss" "and works again"
ip -n "$tag-c" link del eth4
wait_for lacks eth4:
succeeds "an interface that is deleted outside goes from the VM" lacks eth4:
else
  like "$(runcvm net attach c eth4 2>&1)" "$cannot_attach" "that interfaces cannot be attached is said"
  ip -n "$tag-c" link del eth4
fi
ip -n "$tag-c" link set dev eth1 mtu 4000
is_large() { vm ip link show eth1 | grep -q "mtu 4000"; }
wait_for is_large
succeeds "an MTU that grows outside grows in the VM" is_large
ip -n "$tag-c" link set dev eth1 mtu 1500
out=$(runcvm net attach c nosuch 2>&1)
is $? 1 "an interface that is not there cannot be attached"
like "$out" "no interface 'nosuch'" "and the error names it"
if [ -n "$can_attach" ]; then
  ip -n "$tag-c" link del late
  wait_for lacks late:
fi
runcvm delete --force c
unchanged "$tag-c" "$before" "the namespace is as it was found"

# The namespace is deleted while the VM runs.
make_container gone; plug gone eth0 br0 02:00:00:00:03:09 1500 192.168.1.39/24
net_run gone g sh -c 'echo up; sleep 1000' >"$work/g.log" 2>"$work/g.err" &
wait_for grep -q up "$work/g.log"
ip netns del "$tag-gone"
like "$(runcvm exec g ping -c 1 192.168.1.1)" " 0% packet loss" "a VM survives the deletion of its namespace"
runcvm delete --force g

# Joined by a bridge; and with addresses of the caller's own.
make_container b; plug b eth0 br0 02:00:00:00:03:0b 1500 192.168.1.41/24
b_before=$(ns_state "$tag-b")
net_options=(--net-mode bridge)
out=$(net_run b b sh -c 'ping -c 1 192.168.1.1; ip addr show eth0' 2>&1)
like "$out" " 0% packet loss" "a VM that is joined by a bridge reaches the network"
like "$out" "02:00:00:00:03:0b" "with the container's MAC"
runcvm delete --force b 2>/dev/null
unchanged "$tag-b" "$b_before" "and the namespace is as it was found"
net_options=(--nic eth0,address=192.168.1.42/24,gateway=192.168.1.1,mtu=1300)
out=$(net_run b s sh -c 'ip addr show eth0; ip route; ping -c 1 192.168.1.1' 2>&1)
like "$out" "mtu 1300" "addresses of the caller's own: the MTU"
like "$out" "inet 192.168.1.42/24" "the address"
like "$out" "default via 192.168.1.1" "the gateway"
like "$out" " 0% packet loss" "and they work"
net_options=()

# The empty namespace of a container that gives no path: whoever made the container fills it, by its PID.
runcvm create --memory 160M --log-level error "${hotplug[@]}" --rootfs "$BUSYBOX" e -- sleep 1000
pid=$(runcvm state e | sed -n 's/.*"pid": \([0-9]*\),/\1/p')
like "$(nsenter --net="/proc/$pid/ns/net" ip -o link)" "^1: lo: <LOOPBACK,UP" "a container without a path has an empty namespace"
ip -n "$host" link add ve type veth peer name eth0 address 02:00:00:00:03:0e
ip -n "$host" link set ve master br0 up
ip -n "$host" link set eth0 netns "$pid"
nsenter --net="/proc/$pid/ns/net" ip addr add 192.168.1.40/24 dev eth0
nsenter --net="/proc/$pid/ns/net" ip link set eth0 up
if [ -n "$can_attach" ]; then
  runcvm start e
  like "$(runcvm exec e ip addr show eth0)" "inet 192.168.1.40/24" "what is put into it before the start is the VM's"
  like "$(runcvm exec e ping -c 1 192.168.1.1)" " 0% packet loss" "and works"
else
  like "$(runcvm start e 2>&1)" "$cannot_attach" "what is put into it before the start cannot become the VM's, and that is said"
fi
runcvm delete --force e

# none.
out=$(net_options=(); runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --netns none n -- ip -o addr 2>&1)
is "$(grep -vc ': lo ' <<<"$out")" 0 "the network none has loopback only"
# host: out and in, with NAT.
serve host 8000 echo from-host
make_container world
ip -n "$host" link add up0 type veth peer name eth0 netns "$tag-world"
ip -n "$host" addr add 203.0.113.1/24 dev up0; ip -n "$host" link set up0 up
ip -n "$tag-world" addr add 203.0.113.9/24 dev eth0; ip -n "$tag-world" link set eth0 up
serve world 8000 echo from-world
host_before=$(ns_state "$host" br0)
in_host "$BUILD/run" runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --netns host -p 8080:80 h -- \
  sh -c 'echo up; exec nc -ll -p 80 -e echo from-vm' >"$work/h.log" 2>&1 &
wait_for grep -q up "$work/h.log" || diag "$(cat "$work/h.log")"
is "$(runcvm exec h nc -w 5 203.0.113.9 8000 </dev/null 2>&1)" from-world "the network host reaches out"
is "$(timeout 10 ip netns exec "$tag-world" busybox nc -w 5 203.0.113.1 8080 </dev/null 2>&1)" from-vm "and is reached by a published port"
runcvm delete --force h
unchanged "$host" "$host_before" "and leaves nothing in the host's network" br0

# Errors by name.
refused() { # WHAT PATTERN OPTION...
  local what=$1 pattern=$2 out; shift 2
  out=$(runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" "$@" bad -- true 2>&1)
  is $? 125 "$what: refused"
  like "$out" "$pattern" "$what: says why"
}
refused "a namespace that is not there" "/var/run/netns/$tag-no" --netns "/var/run/netns/$tag-no"
refused "a file that is no namespace" "/etc/passwd. is not a namespace" --netns /etc/passwd
refused "a TAP's name that is too long" "a-name-that-is-too-long" --netns "/var/run/netns/$tag-c" --tap a-name-that-is-too-long
refused "a TAP's name that is taken" "eth0" --netns "/var/run/netns/$tag-c" --tap eth0
refused "an unknown network" "names the network 'wifi'" --netns wifi
make_container bare; plug bare eth0 br0 02:00:00:00:03:0a 1500
refused "an interface without address" "eth0" --netns "/var/run/netns/$tag-bare"
unchanged "$tag-c" "$before" "refused starts leave the namespace as it was"
no_leaks
