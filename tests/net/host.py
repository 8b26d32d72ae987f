#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Host mode: a private link with NAT."""
import ipaddress
import json

from lib import *


class Host:
    """A host "h" with an uplink to "o" (outside), which knows no way back to 169.254.0.0/16."""

    def __init__(self, forward=True):
        self.host, self.out, self.vm = netns("h"), netns("o"), netns("v")
        run("ip", "link", "add", "up0", "mtu", 1400, "netns", self.host, "type", "veth", "peer", "name", "eth0", "mtu", 1400,
            "netns", self.out)
        ip(self.host, "addr add 203.0.113.1/24 dev up0")
        ip(self.host, "link set up0 up")
        ip(self.out, "addr add 203.0.113.2/24 dev eth0")
        ip(self.out, "link set eth0 up")
        ip(self.host, "route add default via 203.0.113.2")
        inside(self.host, "sh", "-c", f"echo {int(forward)} > /proc/sys/net/ipv4/ip_forward")
        settle(self.host)

    def hold(self, *options):
        return Ctl("--host", "--netns", path(self.host), *options)


@test
def reach():
    "the guest reaches out and is reached by published ports, from outside, from the host and by 127.0.0.1"
    h = Host()
    inside(h.host, "nft", "add table inet theirs; add chain inet theirs c { type filter hook forward priority 0; }; "
           "add rule inet theirs c ip saddr 10.0.0.1 drop")
    before = dump(h.host)
    ctl = h.hold("--vm", path(h.vm), "--port", "tcp:8080:5000", "--port", "udp:8081:53")
    nic = ctl.json["nics"][0]
    net = ipaddress.ip_interface(nic["guest"]["addresses"][0]["address"])
    assert net.network.prefixlen == 30 and net in ipaddress.ip_network("169.254.0.0/16")
    assert nic["guest"]["mtu"] == 1400
    ctl.configure(h.vm)
    guest, gateway = str(net.ip), nic["guest"]["routes"][0]["gateway"]
    ping(h.vm, gateway)
    ping(h.vm, "203.0.113.2")
    # Out: the outside sees the host.
    assert tcp(h.out, "203.0.113.2", h.vm, "203.0.113.2") == "203.0.113.1"
    # In.
    assert tcp(h.vm, guest, h.out, "203.0.113.1", port=8080, to=5000) == "203.0.113.2"
    assert tcp(h.vm, guest, h.host, "203.0.113.1", port=8080, to=5000)
    assert tcp(h.vm, guest, h.host, "127.0.0.1", port=8080, to=5000) == gateway
    # By the address of the host, back to itself.
    assert tcp(h.vm, guest, h.vm, "203.0.113.1", port=8080, to=5000)
    # What is not published is not there.
    try:
        tcp(h.vm, guest, h.out, "203.0.113.1", port=8082, to=5000)
    except AssertionError as e:
        assert "refused" in str(e), e
    else:
        raise AssertionError("a port that is not published is reached")
    ctl.undo()
    ctl.end()
    same(before, dump(h.host))


@test
def guard():
    "the guest can use neither another's address nor the host's 127.0.0.1"
    h = Host()
    ctl = h.hold("--vm", path(h.vm), "--port", "tcp:8080:5000")
    ctl.configure(h.vm)
    ip(h.vm, "addr add 169.254.77.2/32 dev eth0")
    inside(h.vm, "ping", "-c1", "-W1", "203.0.113.2")
    assert "1 received" not in inside(h.vm, "ping", "-c1", "-W1", "-I", "169.254.77.2", "203.0.113.2", check=False)
    gateway = ctl.json["nics"][0]["guest"]["routes"][0]["gateway"]
    inside(h.vm, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")
    ip(h.vm, "addr del 127.0.0.1/8 dev lo")
    ip(h.vm, f"route add 127.0.0.1/32 via {gateway}")
    try:
        tcp(h.host, "127.0.0.1", h.vm, "127.0.0.1", megabytes=1, patience=2)
    except (AssertionError, subprocess.TimeoutExpired):
        pass
    else:
        raise AssertionError("the guest reached the host's 127.0.0.1")
    ctl.undo()
    ctl.end()


@test
def together():
    "eight at once have eight networks, and the last one's undoing leaves the host as it was"
    h = Host()
    before = dump(h.host)
    held = [subprocess.Popen([NETCTL, "hold", "--host", "--netns", path(h.host), "--range", "10.200.0.0/27"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    networks = set()
    for p in held:
        line = p.stdout.readline()
        assert line.startswith("{"), line
        a = json.loads(line)["nics"][0]["guest"]["addresses"][0]["address"]
        networks.add(str(ipaddress.ip_interface(a).network))
    assert len(networks) == 8, networks
    refused("RCVM_E_HOST", "no free network left in 10.200.0.0/27", "--host", "--netns", path(h.host), "--range", "10.200.0.0/27")
    for p in held:
        out, _ = p.communicate("undo\n")
        assert "ok 0" in out, out
    same(before, dump(h.host))


@test
def killed():
    "kill -9: table and TAP go by themselves, the record finds nothing more to do"
    h = Host()
    before = dump(h.host)
    for options in ([], ["--persistent"]):
        ctl = h.hold("--record", f"{work}/record", "--port", "tcp:8080:80", *options)
        assert "runcvm_" in inside(h.host, "nft", "list", "ruleset")
        ctl.kill()
        if not options:
            same(before, still(h.host))
        run(NETCTL, "undo", f"{work}/record")
        same(before, dump(h.host))


@test
def errors():
    "errors by name"
    h = Host(forward=False)
    before = dump(h.host)
    host = ["--host", "--netns", path(h.host)]
    refused("RCVM_E_HOST", "set net.ipv4.ip_forward=1", *host)
    refused("RCVM_E_INVALID", "prefix of 8 to 30", *host, "--range", "10.0.0.0/31")
    refused("RCVM_E_INVALID", "not an IP address", *host, "--range", "nonsense")
    refused("RCVM_E_INVALID", "published port must be 1 to 65535", *host, "--port", "tcp:0:80")
    same(before, dump(h.host))
    ctl = Ctl(*host, "--forward")
    assert "ip_forward was turned on" in ctl.json["warnings"][0]
    refused("RCVM_E_EXISTS", "already has an interface 'up0'", *host, "--tap", "up0")
    ctl.undo()
    ctl.end()


@test
def rounds():
    "100 rounds leave no device, table, address, route or fd"
    h = Host()
    before = dump(h.host)
    out = run(NETCTL, "rounds", 100, "--host", "--netns", path(h.host), "--port", "tcp:80:80").split()
    assert out[1] == out[2], out
    same(before, dump(h.host))


main()
