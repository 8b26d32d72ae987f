# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# For the tests of the network, after functions.sh: a "host" in a network namespace of its own, with a bridge on which
# containers live, as schedulers make it.  All names have $tag in them, so tests can run side by side.

tag=rt$$
host=$tag-host
net_pids=()

in_host() { ip netns exec "$host" "$@"; }
# background COMMAND...: in the host, until the end of the test
background() { in_host "$@" >/dev/null 2>&1 & net_pids+=($!); }

# serve NAMESPACE PORT COMMAND...: each connection gets what the command says
serve() {
  local ns=$tag-$1 port=$2; shift 2
  ip netns exec "$ns" busybox nc -ll -p "$port" -e "$@" >/dev/null 2>&1 &
  net_pids+=($!)
}

make_host() {
  ip netns add "$host"
  ip -n "$host" link set lo up
  in_host sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
  make_bridge br0 192.168.1.1/24 fd00:1::1/64
}
# make_bridge NAME ADDRESS...
make_bridge() {
  local name=$1 a; shift
  ip -n "$host" link add "$name" type bridge
  ip -n "$host" link set "$name" up
  for a in "$@"; do ip -n "$host" addr add "$a" dev "$name" nodad 2>/dev/null || ip -n "$host" addr add "$a" dev "$name"; done
}
# make_container NAME: an empty namespace, /var/run/netns/$tag-NAME
make_container() { ip netns add "$tag-$1"; ip -n "$tag-$1" link set lo up; }
# plug NAME INTERFACE BRIDGE MAC MTU ADDRESS...: a veth pair
n_veth=0
plug() {
  local ns=$tag-$1 ifname=$2 bridge=$3 mac=$4 mtu=$5 a; shift 5
  n_veth=$((n_veth + 1))
  ip -n "$host" link add "v$n_veth" mtu "$mtu" type veth peer name "$ifname" mtu "$mtu" address "$mac" netns "$ns"
  ip -n "$host" link set "v$n_veth" master "$bridge" up
  for a in "$@"; do
    case $a in
      *:*) ip -n "$ns" addr add "$a" dev "$ifname" nodad ;;
      *) ip -n "$ns" addr add "$a" dev "$ifname" ;;
    esac
  done
  ip -n "$ns" link set "$ifname" up
}
# Everything that a namespace has, but what counts.
dump_ns() {
  ip -n "$1" link; ip -n "$1" addr; ip -n "$1" route show table all; ip -n "$1" -6 route show table all; ip -n "$1" neigh show nud permanent
  tc -n "$1" qdisc; tc -n "$1" filter show dev "${2:-eth0}" ingress; ip -n "$1" rule
  ip netns exec "$1" nft list ruleset 2>/dev/null
}
# The carrier is left out: the kernel tells of it some time after it has come.
ns_state() {
  dump_ns "$@" 2>&1 | sed -E 's/(REACHABLE|STALE|DELAY|PROBE|FAILED)//; /fe80::/d
    s/ promiscuity [0-9]+| allmulti [0-9]+//g; s/NO-CARRIER,//; s/ state (UP|DOWN|UNKNOWN|LOWERLAYERDOWN)//'
}

# unchanged NAMESPACE BEFORE WHAT [INTERFACE]
unchanged() {
  local now; now=$(ns_state "$1" "${4:-eth0}")
  if [ "$now" = "$2" ]; then ok "$3"; else not_ok "$3"; diag "$(diff <(echo "$2") <(echo "$now"))"; fi
}

# A VM in a namespace: net_run NAME ID COMMAND...
net_run() {
  local ns=$tag-$1 id=$2; shift 2
  runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --netns "/var/run/netns/$ns" "${net_options[@]}" "$id" -- "$@"
}
net_options=()

net_cleanup() {
  local id p ns
  for id in $(runcvm list -q 2>/dev/null); do runcvm delete --force "$id" >/dev/null 2>&1; done
  for ns in host $(ip netns list | sed -n "s/^$tag-\([^ ]*\).*/\1/p"); do
    for p in $(ip netns pids "$tag-$ns" 2>/dev/null); do kill "$p" 2>/dev/null; done
  done
  for p in "${net_pids[@]}"; do kill "$p" 2>/dev/null; done
  for ns in $(ip netns list | cut -d' ' -f1); do
    case $ns in "$tag"-*) ip netns del "$ns" ;; esac
  done
  finish
}
trap net_cleanup EXIT
