#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A VM is the container of a network namespace that others made: bridge, veth, addresses and NAT as a scheduler makes
# them.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

make_host
make_container web; plug web eth0 br0 02:00:00:00:01:07 1400 192.168.1.7/24 fd00:1::7/64
ip -n "$tag-web" route add default via 192.168.1.1
ip -n "$tag-web" -6 route add default via fd00:1::1
make_container plain; plug plain eth0 br0 02:00:00:00:01:08 1500 192.168.1.8/24 fd00:1::8/64
make_container two; plug two eth0 br0 02:00:00:00:01:09 1400 192.168.1.9/24
# What is outside: NAT to it, a published port, a name server.
make_container world
ip -n "$host" link add up0 type veth peer name eth0 netns "$tag-world"
ip -n "$host" addr add 203.0.113.1/24 dev up0; ip -n "$host" link set up0 up
ip -n "$tag-world" addr add 203.0.113.9/24 dev eth0; ip -n "$tag-world" link set eth0 up
in_host nft -f - <<'NFT'
table ip t {
  chain out { type nat hook postrouting priority 100; ip saddr 192.168.1.0/24 oifname "up0" masquerade; }
  chain in { type nat hook prerouting priority -100; iifname "up0" tcp dport 8080 dnat to 192.168.1.7:80; }
}
NFT
background dnsmasq -k -C /dev/null -p 53 --listen-address=192.168.1.1 --bind-interfaces -R -h --address=/web.test/192.0.2.33
dd if=/dev/urandom of="$work/big" bs=1M count=3 2>/dev/null
serve host 8000 echo from-host
serve host 8001 cat "$work/big"
serve plain 8000 echo from-plain
serve world 8000 echo from-world

before=$(ns_state "$tag-web")
serve='exec nc -ll -p 80 -e echo from-$0'
net_run web web-vm sh -c "$serve" web >"$work/web.log" 2>&1 &
net_run two two-vm sh -c "$serve" two >"$work/two.log" 2>&1 &
up() { runcvm exec "$1" true; }
for id in web-vm two-vm; do wait_for up $id || { not_ok "$id starts"; diag "$(cat "$work"/*.log)"; exit; }; done
vm() { runcvm exec web-vm "$@" 2>&1; }

out=$(vm ip addr show eth0)
like "$out" "link/ether 02:00:00:00:01:07" "the VM has the container's MAC"
like "$out" "inet 192.168.1.7/24" "and its address"
like "$out" "inet6 fd00:1::7/64" "and its IPv6 address"
like "$out" "mtu 1400" "and its MTU"
is "$(grep -c tentative <<<"$out")" 0 "and no address waits for the detection of duplicates"
like "$(vm ip route)" "default via 192.168.1.1 dev eth0" "and its route"
like "$(vm ip -6 route)" "default via fd00:1::1 dev eth0" "and its IPv6 route"
like "$(vm ping -c 1 192.168.1.1)" " 0% packet loss" "the VM pings the bridge"
like "$(vm ping -c 1 fd00:1::1)" " 0% packet loss" "also by IPv6"

# from NAMESPACE ADDRESS PORT
from() { local ns=$tag-$1; shift; timeout 10 ip netns exec "$ns" busybox nc -w 5 "$@" </dev/null 2>&1; }
is "$(from host 192.168.1.7 80)" from-web "the host reaches a server in the VM"
like "$(in_host busybox ping -c 1 fd00:1::7)" " 0% packet loss" "and pings it by IPv6"
is "$(from plain 192.168.1.7 80)" from-web "so does a container on the bridge"
is "$(runcvm exec two-vm nc -w 5 192.168.1.7 80 </dev/null 2>&1)" from-web "so does a second VM"
is "$(vm nc -w 5 192.168.1.1 8000 </dev/null)" from-host "the VM reaches the host's"
background /usr/bin/python3 -c 'import socket
s = socket.create_server(("fd00:1::1", 8006), family=socket.AF_INET6)
while True: s.accept()[0].sendall(b"from-v6")'
wait_for from host fd00:1::1 8006
is "$(vm nc -w 5 fd00:1::1 8006 </dev/null)" from-v6 "and by IPv6"
is "$(vm nc -w 5 192.168.1.8 8000 </dev/null)" from-plain "and the container's"
is "$(vm nc -w 5 192.168.1.9 80 </dev/null)" from-two "and the second VM's"
is "$(vm nc -w 5 203.0.113.9 8000 </dev/null)" from-world "NAT takes it further"
is "$(from world 203.0.113.1 8080)" from-web "a published port leads to it"
like "$(vm nslookup web.test 192.168.1.1)" "192.0.2.33" "names resolve through dnsmasq"
like "$(vm ping -c 1 -s 1372 192.168.1.1)" " 0% packet loss" "a packet of 1400 bytes passes"
like "$(vm ping -c 1 -s 1373 192.168.1.1)" "1 packets transmitted" "a larger one goes in pieces, or not at all"
# Several segments, both ways: checksums and segmentation offload.
is "$(vm sh -c 'nc -w 20 192.168.1.1 8001 </dev/null | md5sum')" "$(md5sum <"$work/big")" "3 MB arrive in the VM as they were"
is "$(ip netns exec "$tag-plain" cat /proc/net/arp | grep -c '192.168.1.7 .*02:00:00:00:01:07')" 1 "neighbours know it by the container's MAC"

out=$(runcvm net show web-vm)
like "$out" '"mac":"02:00:00:00:01:07"' "net show has what was taken"
like "$out" '"guest":\{"interfaces":\[' "and what the guest has"
is "$(/usr/bin/python3 -c 'import json,sys; d = json.load(sys.stdin); print([a["address"] for i in d["guest"]["interfaces"] if i["name"] == "eth0" for a in i["addresses"] if not a["address"].startswith("fe80")])' <<<"$out")" \
  "['192.168.1.7/24', 'fd00:1::7/64']" "as JSON"

is "$(readlink "/proc/$(runcvm state web-vm | sed -n 's/.*"pid": \([0-9]*\),/\1/p')/ns/net")" \
  "$(ip netns exec "$tag-web" readlink /proc/self/ns/net)" "the container's PID is in its network namespace"

# The monitor is killed: the next call finds the namespace in use, and leaves it as it was.
pid=$(runcvm state web-vm | sed -n 's/.*"pid": \([0-9]*\),/\1/p')
like "$(ns_state "$tag-web")" "tun|redirect|rcvm" "while it runs, a TAP is there"
kill -9 "$pid"
wait_for test ! -d "/proc/$pid"
runcvm state web-vm >/dev/null 2>&1
unchanged "$tag-web" "$before" "after kill -9 of its monitor the next call leaves the namespace as it was found"
runcvm delete --force web-vm
runcvm delete --force two-vm
like "$(ns_state "$tag-two")" "192.168.1.9/24" "what the namespace's owner made is there after the VM"
