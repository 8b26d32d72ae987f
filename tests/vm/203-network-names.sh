#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A name server at 127.0.0.11 in the host's half of the network namespace, as Docker has one: the VM asks it, too.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

# What is not known has no answer; "big" has one that fills what UDP takes.
cat >"$work/server.py" <<'PY'
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.11", 53))
print("up", flush=True)
while True:
    query, sender = s.recvfrom(65536)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind, = struct.unpack(">H", query[at + 1:at + 3])
    name = ".".join(labels)
    if name == "nobody":
        continue
    n = 0 if kind != 1 else 30 if name == "big" else 1
    answer = query[:2] + struct.pack(">HHHHH", 0x8580, 1, n, 0, 0) + query[12:at + 5]
    for i in range(n):
        answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 10 + i])
    s.sendto(answer, sender)
PY

make_container c
ip netns exec "$tag-c" python3 "$work/server.py" >"$work/server.out" &
net_pids+=($!)
wait_for grep -q up "$work/server.out"

# bundle NAMESERVER COMMAND: a container in that namespace whose resolv.conf has this server.
bundle() {
  mkdir -p "$work/bundle"
  printf 'nameserver %s\noptions timeout:2 attempts:3\n' "$1" >"$work/resolv.conf"
  python3 - "$work" "$BUSYBOX" "/var/run/netns/$tag-c" "$2" >"$work/bundle/config.json" <<'PY'
import json, sys
work, root, netns, command = sys.argv[1:]
print(json.dumps({
    "ociVersion": "1.0.2", "root": {"path": root},
    "process": {"cwd": "/", "args": ["sh", "-c", command], "env": ["PATH=/bin"]},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
               {"destination": "/etc/resolv.conf", "type": "bind", "source": work + "/resolv.conf", "options": ["rbind", "ro"]}],
    "linux": {"namespaces": [{"type": "network", "path": netns}, {"type": "pid"}, {"type": "mount"}]},
    "annotations": {"org.runcvm.mem-size": "160M"}}))
PY
}

bundle 127.0.0.11 'nslookup -type=a web | sed -n "s/^Address: *//p" | tail -n 1
  nslookup -type=a big | grep -c 192.0.2
  nslookup -type=a nobody >/dev/null 2>&1 && echo found || echo "no answer"
  for i in $(seq 40); do nslookup -type=a n$i >/tmp/$i 2>&1 & done; wait; cat /tmp/* | grep -c 192.0.2.10'
is "$(runcvm run --log-level error --bundle "$work/bundle" names 2>&1)" "192.0.2.10
30
no answer
40" "names by the server of the namespace, many at once, and none"

bundle 192.0.2.1 'busybox nslookup -type=a web 127.0.0.11 >/dev/null 2>&1 && echo answered || echo "no answer"; grep -c 0035 /proc/net/udp'
is "$(runcvm run --log-level error --bundle "$work/bundle" others 2>&1)" "no answer
0" "with another server in resolv.conf nothing listens in the VM"

for p in "${net_pids[@]}"; do kill "$p"; done
ip netns del "$tag-c"
