#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Taking a namespace's interfaces over, and giving them back."""
import json
import os
import subprocess

from lib import *

JOINS = ([], ["--bridge"])


def traffic(n, mtu=1500):
    ping(n.vm, "192.168.1.1")
    ping(n.host, "192.168.1.5")
    ping(n.vm, "fd00:1::1", "-6")
    ping(n.host, "fd00:1::5", "-6")
    # Full frames, not one byte less or more.
    ping(n.vm, "192.168.1.1", "-M", "do", "-s", mtu - 28)
    assert tcp(n.host, "192.168.1.1", n.vm, "192.168.1.1") == "192.168.1.5"
    assert tcp(n.vm, "192.168.1.5", n.host, "192.168.1.5") == "192.168.1.1"
    assert tcp(n.host, "fd00:1::1", n.vm, "fd00:1::1") == "fd00:1::5"
    assert tcp(n.vm, "fd00:1::5", n.host, "fd00:1::5") == "fd00:1::1"


def join(options, mtu=1500, env=None):
    n = Net(mtu)
    before = dump(n.c)
    mac = json.loads(ip(n.c, "-j link show eth0"))[0]["address"]
    ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm), *options, env=env)
    nic = ctl.json["nics"][0]
    assert nic["guest"]["mac"] == mac and nic["guest"]["mtu"] == mtu
    assert nic["guest"]["neighbours"] == [{"address": "192.168.1.77", "mac": "02:00:00:00:00:77"}]
    ctl.configure(n.vm)
    traffic(n, mtu)
    # Neighbours see the container.
    assert mac in ip(n.host, "neigh show 192.168.1.5"), ip(n.host, "neigh show 192.168.1.5")
    ctl.undo()
    ctl.end()
    same(before, dump(n.c))


@test
def join_tc():
    "tc: IPv4, IPv6, full frames, checked transfers both ways; afterwards the namespace is as it was"
    join([])


@test
def join_bridge():
    "bridge: the same"
    join(["--bridge"])


@test
def join_small():
    "MTU 1400, tc and bridge"
    for options in JOINS:
        join(options, 1400)
        clean()


@test
def join_plain():
    "a guest that can neither checksum nor segment"
    for options in JOINS:
        join(options, env={"NO_OFFLOAD": "1"})
        clean()


@test
def bridge_host_end():
    "bridge: 169.254.1.1 in the namespace and the guest reach each other"
    n = Net()
    ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm), "--bridge")
    ctl.configure(n.vm)
    assert any(r["destination"] == "169.254.1.1/32" for r in ctl.json["nics"][0]["guest"]["routes"])
    ping(n.vm, "169.254.1.1")
    assert tcp(n.c, "169.254.1.1", n.vm, "169.254.1.1") == "192.168.1.5"
    assert tcp(n.vm, "192.168.1.5", n.c, "192.168.1.5") == "169.254.1.1"
    ctl.undo()
    ctl.end()


@test
def three():
    "three interfaces on three networks, each with its own routes"
    n = Net()
    for i in (1, 2):
        ip(n.host, f"link add br{i} type bridge")
        ip(n.host, f"addr add 10.{i}.0.1/24 dev br{i}")
        ip(n.host, f"link set br{i} up")
        n.plug(i, bridge=f"br{i}")
        ip(n.c, f"addr add 10.{i}.0.5/24 dev eth{i}")
        ip(n.c, f"link set eth{i} up")
        ip(n.c, f"route add 10.{i}{i}.0.0/16 via 10.{i}.0.1 metric 7")
        ip(n.host, f"addr add 10.{i}{i}.0.1/32 dev br{i}")
    settle(n.c)
    for options in JOINS:
        before = dump(n.c)
        ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm), *options)
        assert [x["guest"]["name"] for x in ctl.json["nics"]] == ["eth0", "eth1", "eth2"]
        ctl.configure(n.vm)
        ping(n.vm, "192.168.1.1")
        for i in (1, 2):
            ping(n.vm, f"10.{i}.0.1")
            ping(n.vm, f"10.{i}{i}.0.1")
        ctl.undo()
        ctl.end()
        same(before, dump(n.c))


@test
def others_stay():
    "an address, route, rule, qdisc, ingress filter and firewall of the owner's are intact afterwards"
    n = Net()
    ip(n.c, "addr add 192.168.1.6/24 dev eth0 noprefixroute")
    ip(n.c, "addr add 192.168.1.7/32 dev eth0 label eth0:x")
    ip(n.c, "route add 10.9.0.0/16 via 192.168.1.1 table 100 metric 5 mtu 1300")
    ip(n.c, "route add 10.8.0.0/16 via 192.168.1.9 dev eth0 onlink src 192.168.1.6")
    ip(n.c, "rule add from 192.168.1.6 table 100")
    inside(n.c, "tc", "qdisc", "add", "dev", "eth0", "root", "pfifo", "limit", "77")
    inside(n.c, "tc", "qdisc", "add", "dev", "eth0", "clsact")
    inside(n.c, "tc", "filter", "add", "dev", "eth0", "ingress", "prio", "65000", "protocol", "ip", "u32", "match", "ip",
           "dst", "203.0.113.1/32", "action", "mirred", "egress", "redirect", "dev", "lo")
    inside(n.c, "nft", "add table inet theirs; add chain inet theirs c { type filter hook input priority 0; }; "
           "add rule inet theirs c tcp dport 9 counter drop")
    settle(n.c)
    for options in JOINS:
        before = dump(n.c)
        ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm), *options)
        ctl.configure(n.vm)
        ping(n.vm, "192.168.1.1")
        ctl.undo()
        ctl.end()
        same(before, dump(n.c))


@test
def come_to_stay():
    "somebody who comes to use our ingress qdisc meanwhile keeps it"
    n = Net()
    ctl = Ctl("--netns", path(n.c))
    inside(n.c, "tc", "filter", "add", "dev", "eth0", "ingress", "prio", "5", "protocol", "ip", "u32", "match", "u32", "0", "0",
           "action", "mirred", "egress", "redirect", "dev", "lo")
    ctl.undo()
    ctl.end()
    left = inside(n.c, "tc", "filter", "show", "dev", "eth0", "ingress")
    assert "pref 5 " in left and "pref 65000" not in left, left


@test
def killed():
    "kill -9: what is left is undone from the record, twice if need be, and by nobody else's record"
    for options in JOINS + (["--persistent"],):
        n = Net()
        before = dump(n.c)
        record = f"{work}/record"
        # Another VM's record of the same interface, which must not matter.
        other = Ctl("--netns", path(n.c), "--record", f"{record}.other")
        other.undo()
        other.end()
        ctl = Ctl("--netns", path(n.c), "--record", record, *options)
        ctl.kill()
        left = still(n.c)
        assert left != before
        run(NETCTL, "undo", f"{record}.other")
        same(left, dump(n.c))
        run(NETCTL, "undo", record)
        same(before, dump(n.c))
        run(NETCTL, "undo", record)
        same(before, dump(n.c))
        # And it can be taken over again.
        ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm))
        ctl.configure(n.vm)
        ping(n.vm, "192.168.1.1")
        ctl.undo()
        ctl.end()
        clean()


@test
def dead_before():
    "a VM that comes after one that died, and of which nobody has cleaned up, has its network"
    n = Net()
    before = dump(n.c)
    for _ in range(2):
        Ctl("--netns", path(n.c)).kill()
    ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm))
    assert "warnings" not in ctl.json
    ctl.configure(n.vm)
    ping(n.vm, "192.168.1.1")
    ctl.undo()
    ctl.end()
    same(before, dump(n.c))


@test
def killed_elsewhere():
    "kill -9, and the namespace has another name, or none, or is gone"
    n = Net()
    before = dump(n.c)
    record = f"{work}/record"
    Ctl("--netns", path(n.c), "--record", record).kill()
    # Moved: found by its mount.
    moved = f"{PREFIX}moved"
    run("touch", path(moved))
    run("mount", "--bind", path(n.c), path(moved))
    delete_netns(n.c)
    made.append(moved)
    run(NETCTL, "undo", record)
    same(before, dump(moved))
    # Gone.
    Ctl("--netns", path(moved), "--record", record).kill()
    delete_netns(moved)
    assert run(NETCTL, "undo", record) == "ok\n"


@test
def deleted():
    "the namespace is deleted while it is in use: it is noticed, the VM keeps its network, undoing works"
    n = Net()
    ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm))
    ctl.configure(n.vm)
    delete_netns(n.c)
    ctl.wait_event("deleted")
    ping(n.vm, "192.168.1.1")
    ctl.undo()
    ctl.end()
    # With its last user the namespace goes, and the veth with it.
    for _ in range(100):
        if "veth0" not in ip(n.host, "link"):
            break
        time.sleep(0.05)
    assert "veth0" not in ip(n.host, "link")


@test
def rescan():
    "interfaces that come, change and go while the VM runs"
    for options in JOINS:
        n = Net()
        ctl = Ctl("--netns", path(n.c), "--vm", path(n.vm), *options)
        ctl.configure(n.vm)
        assert ctl.ask("rescan") == "ok 0"
        ctl.events.clear()
        ip(n.host, "link add br1 type bridge")
        ip(n.host, "addr add 10.1.0.1/24 dev br1")
        ip(n.host, "link set br1 up")
        n.plug(1, bridge="br1")
        ctl.wait_event("changed")
        # There, but not ready.
        assert ctl.ask("rescan") == "ok 0"
        ip(n.c, "addr add 10.1.0.5/24 dev eth1")
        ip(n.c, "link set eth1 up")
        settle(n.c)
        assert ctl.ask("rescan") == "ok 1"
        json_ = ctl.show()
        assert [x["guest"]["name"] for x in json_["nics"]] == ["eth0", "eth1"]
        ip(n.vm, "addr add 10.1.0.5/24 dev eth1")
        ping(n.vm, "10.1.0.1")
        assert ctl.ask("rescan") == "ok 0"
        if not options:
            ip(n.c, "addr add 10.1.0.6/24 dev eth1")
            assert ctl.ask("rescan") == "ok 1"
            assert "10.1.0.6/24" in [a["address"] for a in ctl.show()["nics"][1]["guest"]["addresses"]]
        ctl.events.clear()
        ip(n.host, "link del veth1")
        ctl.wait_event("changed")
        assert ctl.ask("rescan") == "ok 1"
        assert ctl.show()["nics"][1]["removed"]
        assert ctl.ask("rescan") == "ok 0"
        assert len(ctl.show()["nics"]) == 1
        ping(n.vm, "192.168.1.1")
        ctl.undo()
        ctl.end()
        clean()


@test
def late():
    "a namespace that is filled after the start"
    n = Net()
    empty = netns("e")
    ctl = Ctl("--netns", path(empty))
    assert ctl.json["nics"] == []
    run("ip", "link", "add", "late0", "netns", n.host, "type", "veth", "peer", "name", "eth0", "netns", empty)
    ip(n.host, "link set late0 up")
    ip(empty, "addr add 10.3.0.2/24 dev eth0")
    ip(empty, "link set eth0 up")
    settle(empty)
    assert ctl.ask("rescan") == "ok 1"
    assert ctl.show()["nics"][0]["guest"]["addresses"][0]["address"] == "10.3.0.2/24"
    assert ctl.ask("remove 0") == "ok 0"
    assert "ingress" not in inside(empty, "tc", "qdisc")
    ctl.undo()
    ctl.end()


@test
def choices():
    "static addresses, DHCP, chosen interfaces, a name for the TAP, by pid and by fd, no network at all"
    n = Net()
    n.plug(1)
    ip(n.c, "link set eth1 up")
    ctl = Ctl("--netns", path(n.c), "--interface", "eth0", "--static", "eth0", "192.168.1.99/25", "--tap", "b9fc_12345678")
    nic = ctl.json["nics"][0]
    assert [a["address"] for a in nic["guest"]["addresses"]] == ["192.168.1.99/25"] and nic["tap"] == "b9fc_12345678"
    ctl.undo()
    ctl.end()
    sleeper = subprocess.Popen(["ip", "netns", "exec", n.c, "sleep", "100"])
    while os.readlink(f"/proc/{sleeper.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.01)
    try:
        for options in (["--pid", sleeper.pid], ["--fd", path(n.c)]):
            ctl = Ctl("--dhcp", *options)
            assert [x["guest"]["addresses"] for x in ctl.json["nics"]] == [[], []]
            assert all(x["dhcp"] for x in ctl.json["nics"])
            ctl.undo()
            ctl.end()
    finally:
        sleeper.kill()
        sleeper.wait()
    ctl = Ctl("--none")
    assert ctl.json == {"mode": "none", "nics": []}
    ctl.undo()
    ctl.end()


@test
def dns():
    "name servers of the namespace"
    n = Net()
    directory = f"/etc/netns/{n.c}"
    os.makedirs(directory)
    try:
        with open(f"{directory}/resolv.conf", "w") as f:
            f.write("# x\nnameserver 10.0.0.1\nnameserver nonsense\nnameserver fd00::53\nsearch a.example b.example\noptions ndots:2\n")
        ctl = Ctl("--netns", path(n.c))
        assert ctl.json["dns"] == {"servers": ["10.0.0.1", "fd00::53"], "search": ["a.example", "b.example"],
                                   "options": ["ndots:2"]}, ctl.json
        ctl.undo()
        ctl.end()
    finally:
        run("rm", "-r", directory)


@test
def errors():
    "errors say what is wrong by name, and leave nothing behind"
    n = Net()
    before = dump(n.c)
    p = path(n.c)
    refused("RCVM_E_NOT_FOUND", "/run/netns/nonesuch", "--netns", "/run/netns/nonesuch")
    refused("RCVM_E_INVALID", "'/etc/passwd' is not a namespace", "--netns", "/etc/passwd")
    refused("RCVM_E_INVALID", "not of the network", "--netns", "/proc/self/ns/mnt")
    refused("RCVM_E_NOT_FOUND", "process 4194303", "--pid", "4194303")
    refused("RCVM_E_INVALID", "'a234567890123456' is too long: it has 16 bytes", "--netns", p, "--tap", "a234567890123456")
    refused("RCVM_E_INVALID", "character", "--netns", p, "--tap", "a/b")
    refused("RCVM_E_EXISTS", "already has an interface 'eth0'", "--netns", p, "--tap", "eth0")
    refused("RCVM_E_NOT_FOUND", "no interface 'eth7'", "--netns", p, "--interface", "eth7")
    refused("RCVM_E_NOT_FOUND", "'eth7'", "--netns", p, "--static", "eth7", "10.0.0.1/8")
    same(before, dump(n.c))
    n.plug(1)
    ip(n.c, "link set eth1 up")
    settle(n.c)
    before = dump(n.c)
    refused("RCVM_E_INVALID", "'eth1' of the network namespace has no address", "--netns", p)
    ip(n.c, "addr add 192.168.1.9/24 dev eth1")
    refused("RCVM_E_INVALID", "'eth0' and 'eth1' have overlapping routes, both to 192.168.1.0/24 with metric 0", "--netns", p)
    ip(n.c, "addr del 192.168.1.9/24 dev eth1")
    same(before, dump(n.c))


@test
def no_tun():
    "no /dev/net/tun, and no privilege"
    n = Net()
    before = dump(n.c)
    hide = "mount -t tmpfs none /dev/net && exec \"$@\""
    out = run("unshare", "-m", "sh", "-c", hide, "sh", NETCTL, "hold", "--netns", path(n.c), check=False)
    assert "RCVM_E_HOST there is no /dev/net/tun; load the module tun" in out, out
    out = run("capsh", "--drop=cap_net_admin", "--", "-c", f"{NETCTL} hold --netns {path(n.c)}", check=False)
    assert "RCVM_E_PERMISSION" in out and "CAP_NET_ADMIN" in out, out
    out = run("capsh", "--drop=cap_sys_admin", "--", "-c", f"{NETCTL} hold --netns {path(n.c)}", check=False)
    assert "RCVM_E_PERMISSION" in out and "CAP_SYS_ADMIN" in out, out
    same(before, dump(n.c))


@test
def half_way():
    "a failure anywhere (no more fds, a record that cannot be written) leaves nothing behind"
    n = Net()
    n.plug(1)
    ip(n.c, "addr add 10.1.0.5/24 dev eth1")
    ip(n.c, "link set eth1 up")
    settle(n.c)
    for options in JOINS:
        before = dump(n.c)
        failed = 0
        for fds in range(4, 20):
            out = run("prlimit", f"--nofile={fds}", NETCTL, "rounds", 1, "--netns", path(n.c), *options, check=False)
            failed += out.startswith("error RCVM_E_SYSTEM")
            assert out.startswith("error RCVM_E_SYSTEM") or out.startswith("fds "), out
            same(before, dump(n.c))
        assert 4 < failed < 16, failed
        out = run(NETCTL, "rounds", 1, "--netns", path(n.c), "--record", "/nonexistent/record", *options, check=False)
        assert "RCVM_E_NOT_FOUND" in out, out
        same(before, dump(n.c))


@test
def rounds():
    "500 rounds leave no device, qdisc, filter, route, fd or namespace"
    n = Net()
    before = dump(n.c)
    for command in (["rounds", 500, "--netns", path(n.c)], ["rounds", 50, "--netns", path(n.c), "--bridge"],
                    ["taps", 500, path(n.c)]):
        out = run(NETCTL, *command, timeout=120).split()
        assert out[0] == "fds" and out[1] == out[2], out
        same(before, dump(n.c))
    assert sorted(made) == sorted(x for x in os.listdir("/run/netns") if x.startswith(PREFIX))


main()
