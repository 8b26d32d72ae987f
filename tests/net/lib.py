# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the network's tests share: namespaces of their own, dumps, the program that stands for a VMM, TAP output."""
import difflib
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time
import traceback

NETCTL = os.environ["NETCTL"]
PREFIX = f"rcvmt{os.getpid()}"
made = []
tests = []
work = tempfile.mkdtemp(prefix="runcvm-net.")


def run(*argv, check=True, timeout=60, **kw):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, **kw)
    if check and r.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {r.returncode}: {r.stdout}{r.stderr}")
    return r.stdout


def ip(ns, command, check=True):
    return run("ip", "-n", ns, *command.split(), check=check)


def inside(ns, *argv, check=True, timeout=60):
    return run("ip", "netns", "exec", ns, *argv, check=check, timeout=timeout)


def path(ns):
    return f"/run/netns/{ns}"


def netns(name):
    ns = f"{PREFIX}{name}"
    run("ip", "netns", "add", ns)
    made.append(ns)
    # Addresses are tried for a second each otherwise.
    inside(ns, "sh", "-c", "for d in all default; do echo 0 > /proc/sys/net/ipv6/conf/$d/accept_dad; done")
    ip(ns, "link set lo up")
    return ns


def delete_netns(ns):
    made.remove(ns)
    run("ip", "netns", "del", ns)


def clean():
    while made:
        run("ip", "netns", "del", made.pop(), check=False)


class Net:
    """beta9's arrangement: a host with a bridge, a container's namespace with a veth, and one more for the "guest"."""

    def __init__(self, mtu=1500, container=None):
        self.host, self.vm = netns("h"), netns("v")
        self.c = container or netns("c")
        h, c = self.host, self.c
        ip(h, "link add br0 type bridge")
        ip(h, "addr add 192.168.1.1/24 dev br0")
        ip(h, "addr add fd00:1::1/64 dev br0 nodad")
        ip(h, "link set br0 up")
        self.plug(0, mtu)
        ip(c, "addr add 192.168.1.5/24 dev eth0")
        ip(c, "addr add fd00:1::5/64 dev eth0 nodad")
        ip(c, "link set eth0 up")
        ip(c, "route add default via 192.168.1.1")
        ip(c, "-6 route add default via fd00:1::1")
        ip(c, "neigh add 192.168.1.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent")
        settle(c)

    def plug(self, n, mtu=1500, bridge="br0"):
        """A veth eth<n> in the container, its other end on the bridge."""
        run("ip", "link", "add", f"veth{n}", "mtu", mtu, "netns", self.host, "type", "veth", "peer", "name", f"eth{n}",
            "mtu", mtu, "netns", self.c)
        ip(self.host, f"link set veth{n} master {bridge} up")


def settle(ns):
    """Until each link is really up and has its own IPv6 address: the kernel says so up to a second later."""
    for _ in range(200):
        links = json.loads(ip(ns, "-j addr"))
        if all(x["operstate"] == "UP" and any(a["local"].startswith("fe80") and not a.get("tentative") for a in x["addr_info"])
               for x in links if x["ifname"].startswith(("eth", "up")) and "UP" in x["flags"]):
            return
        time.sleep(0.05)
    raise AssertionError(f"the links of {ns} do not come up: {links}")


def scrub(o):
    """What changes by itself."""
    if isinstance(o, list):
        return [scrub(x) for x in o]
    if isinstance(o, dict):
        drop = {"valid_life_time", "preferred_life_time", "expires", "stats", "stats64", "handle", "bytes", "packets",
                "gc_timer", "hello_timer", "tcn_timer", "topology_change_timer", "lastuse", "used", "installed", "installed_t", "last_used", "pmtu", "nud_confirmed"}
        return {k: scrub(v) for k, v in o.items() if k not in drop}
    return o


def dump(ns):
    out = {}
    for what in ("link", "addr", "-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule"):
        out[what] = scrub(json.loads(run("ip", "-n", ns, "-d", "-j", *what.split()) or "[]"))
    # Passing entries come and go.
    out["neigh"] = [n for n in scrub(json.loads(ip(ns, "-j neigh show nud permanent") or "[]"))]
    out["qdisc"] = inside(ns, "tc", "qdisc", "show")
    links = json.loads(ip(ns, "-j link"))
    for link in links:
        name = link["ifname"]
        out[f"ingress {name}"] = inside(ns, "tc", "filter", "show", "dev", name, "ingress", check=False)
    out["nft"] = scrub(json.loads(inside(ns, "nft", "-j", "list", "ruleset")))
    for family in ("ipv4", "ipv6"):
        out[f"conf {family}"] = inside(ns, "sh", "-c", f"cd /proc/sys/net/{family}/conf && ls && "
                                       "grep -H . */forwarding */route_localnet 2>/dev/null || :")
    return out


def still(ns):
    """When nothing moves any more: a bridge that has lost a port takes a moment to say so."""
    was = dump(ns)
    for _ in range(40):
        time.sleep(0.1)
        now = dump(ns)
        if now == was:
            return now
        was = now
    raise AssertionError(f"{ns} does not come to rest")


def same(before, after):
    for key in sorted(set(before) | set(after)):
        if before.get(key) != after.get(key):
            a, b = (json.dumps(x.get(key), indent=1).splitlines() for x in (before, after))
            raise AssertionError(f"{key} differs:\n" + "\n".join(difflib.unified_diff(a, b, "before", "after", lineterm="")))


class Ctl:
    """netctl hold."""

    def __init__(self, *options, env=None):
        self.p = subprocess.Popen([NETCTL, "hold", *map(str, options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  bufsize=0, env={**os.environ, **(env or {})})
        self.buffer = b""
        self.events = []
        line = self.line()
        if line.startswith("error"):
            self.p.wait()
            raise Refused(line)
        self.json = json.loads(line)

    def raw_line(self, timeout=20):
        while b"\n" not in self.buffer:
            if not select.select([self.p.stdout], [], [], timeout)[0]:
                raise AssertionError("netctl says nothing")
            data = os.read(self.p.stdout.fileno(), 65536)
            if not data:
                raise AssertionError("netctl died")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def line(self):
        while True:
            line = self.raw_line()
            if not line.startswith("event"):
                return line
            self.events.append(line)

    def ask(self, command):
        self.p.stdin.write(command.encode() + b"\n")
        return self.line()

    def wait_event(self, word):
        while not any(word in e for e in self.events):
            line = self.raw_line()
            assert line.startswith("event"), line
            self.events.append(line)

    def show(self):
        self.json = json.loads(self.ask("json"))
        return self.json

    def undo(self):
        answer = self.ask("undo")
        assert answer == "ok 0", answer

    def end(self):
        self.p.stdin.close()
        self.p.wait(20)
        self.p.stdout.close()

    def kill(self):
        self.p.kill()
        self.end()

    def configure(self, vm):
        """In the guest, what rcvm-init does."""
        for nic in self.json["nics"]:
            guest = nic["guest"]
            dev = f"eth{nic['number']}"
            got = json.loads(ip(vm, f"-j link show {dev}"))[0]
            assert got["address"] == guest["mac"] and got["mtu"] == guest["mtu"], (got, guest)
            ip(vm, f"addr flush dev {dev}")
            for a in guest["addresses"]:
                ip(vm, f"addr add {a['address']} dev {dev}" + (" nodad" if ":" in a["address"] else ""), check=a["scope"] != "link")
            for r in guest["routes"]:
                if r.get("fromKernel"):
                    continue
                family = "-6" if r["family"] == 6 else "-4"
                ip(vm, f"{family} route add {r['destination']} dev {dev}"
                   + (f" via {r['gateway']}" if "gateway" in r else "")
                   + (f" metric {r['metric']}" if "metric" in r else ""))
            for n in guest.get("neighbours", []):
                ip(vm, f"neigh add {n['address']} lladdr {n['mac']} dev {dev} nud permanent")


class Refused(Exception):
    pass


def refused(code, words, *options):
    try:
        ctl = Ctl(*options)
    except Refused as e:
        assert str(e).startswith(f"error {code} "), e
        assert re.search(words, str(e)), e
        return
    ctl.undo()
    ctl.end()
    raise AssertionError(f"not refused: {options}")


def ping(ns, address, *options):
    inside(ns, "ping", "-n", "-c", "2", "-i", "0.05", "-W", "3", *options, address)


SERVER = r"""
import hashlib, socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
c, peer = s.accept()
h, n = hashlib.sha256(), 0
while True:
    d = c.recv(1 << 16)
    if not d: break
    h.update(d); n += len(d)
c.sendall(f"{n} {h.hexdigest()} {peer[0]}".encode())
"""
CLIENT = r"""
import hashlib, socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[4]))
c.settimeout(20)
d = bytes(range(256)) * 4096
h, n = hashlib.sha256(), 0
for _ in range(int(sys.argv[3])):
    c.sendall(d); h.update(d); n += len(d)
c.shutdown(socket.SHUT_WR)
a = b""
while True:
    d = c.recv(4096)
    if not d: break
    a += d
got = a.decode().split()
assert got[:2] == [str(n), h.hexdigest()], got
print(got[2])
"""


def tcp(server, listen, client, address, port=5000, megabytes=8, to=None, patience=10):
    """A transfer, checked by its digest; returns the client's address as the server sees it."""
    p = subprocess.Popen(["ip", "netns", "exec", server, sys.executable, "-c", SERVER, listen, str(to or port)],
                         stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() == "ready\n"
        return inside(client, sys.executable, "-c", CLIENT, address, str(port), str(megabytes), str(patience), timeout=30).strip()
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def test(fn):
    tests.append(fn)
    return fn


def main():
    failed = 0
    only = sys.argv[1:]
    chosen = [t for t in tests if not only or t.__name__ in only]
    print(f"1..{len(chosen)}")
    for i, t in enumerate(chosen, 1):
        start = time.monotonic()
        try:
            t()
            print(f"ok {i} - {t.__doc__} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"not ok {i} - {t.__doc__}\n# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        finally:
            clean()
    subprocess.run(["rm", "-rf", work], check=False)
    sys.exit(1 if failed else 0)
