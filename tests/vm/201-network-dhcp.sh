#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The guest's DHCP client against dnsmasq: lease, options, renewal at T1, no answer.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

make_host
make_container c; plug c eth0 br0 02:00:00:00:02:01 1500
# The shortest lease that dnsmasq gives, renewed after 6 seconds; a router, routes, a name server, a domain, an MTU.
background dnsmasq -k -C /dev/null -p 53 --interface=br0 --bind-interfaces -R -h --log-dhcp --log-facility="$work/dnsmasq.log" \
  --dhcp-range=192.168.1.50,192.168.1.60,255.255.255.0,120s --dhcp-leasefile="$work/leases" --dhcp-authoritative --no-ping \
  --dhcp-option-force=58,6 --dhcp-option=3,192.168.1.1 --dhcp-option=6,192.168.1.1 --dhcp-option=26,1420 \
  --dhcp-option-force=121,10.66.0.0/16,192.168.1.2,0.0.0.0/0,192.168.1.1 --domain=lan.test --dhcp-option=119,one.test,two.test \
  --address=/web.test/192.0.2.33
wait_for grep -q 'DHCP' "$work/dnsmasq.log"

net_options=(--dhcp --hostname client)
net_run c d sleep 1000 >"$work/d.log" 2>&1 &
wait_for runcvm exec d true || { not_ok "the VM starts"; diag "$(cat "$work/d.log" "$work/dnsmasq.log")"; exit; }
ok "the VM starts with DHCP"
vm() { runcvm exec d "$@" 2>&1; }
lease() { runcvm net show d | /usr/bin/python3 -c 'import json,sys
for i in json.load(sys.stdin)["guest"]["interfaces"]:
    if "lease" in i: print(i["lease"][sys.argv[1]])' "$1"; }

out=$(vm ip addr show eth0)
like "$out" "inet 192.168.1.(5[0-9]|60)/24 brd 192.168.1.255" "it has an address of the server's range"
like "$out" "mtu 1420" "and the MTU that the server says"
out=$(vm ip route)
like "$out" "default via 192.168.1.1 dev eth0" "the default route of the classless routes"
like "$out" "10.66.0.0/16 via 192.168.1.2 dev eth0" "and another one"
out=$(vm cat /etc/resolv.conf)
like "$out" "^nameserver 192.168.1.1$" "resolv.conf has the name server"
like "$out" "^search one.test two.test$" "and the names to search in"
like "$(vm nslookup web.test)" "192.0.2.33" "names resolve"
like "$(vm ping -c 1 192.168.1.1)" " 0% packet loss" "the network works"
like "$(cat "$work/leases")" "02:00:00:00:02:01 192.168.1.[0-9]+ client " "the server knows it by MAC and host name"
is "$(lease server) $(lease seconds)" "192.168.1.1 120" "net show has the lease"
is "$(grep -c DHCPDISCOVER "$work/dnsmasq.log")" 1 "it took one DISCOVER"
renewed() { [ "$(lease renewals)" -ge 1 ]; }
wait_for renewed
succeeds "the lease is renewed" renewed
is "$(grep -c DHCPDISCOVER "$work/dnsmasq.log")" 1 "without another DISCOVER"
like "$(vm ip addr show eth0)" "valid_lft 1[0-9][0-9]sec" "and the address lives on"
runcvm kill d KILL
released() { grep -q 'DHCPRELEASE' "$work/dnsmasq.log"; }
wait_for released
succeeds "the lease is given back at the end" released
runcvm delete --force d

# No server.
make_bridge br1 192.168.2.1/24
make_container alone; plug alone eth0 br1 02:00:00:00:02:02 1500
before=$(ns_state "$tag-alone")
net_options=(--dhcp-timeout 2)
out=$(net_run alone e true 2>&1)
is $? 125 "DHCP without an answer is a failed start"
like "$out" "DHCP without an answer on eth0 in 2 s" "which says so"
unchanged "$tag-alone" "$before" "and leaves nothing in the namespace"
no_leaks
