#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who reaches the server of a VM's volumes: the VM, and neither another user of the host, nor a neighbour on its bridge, nor
# another VM.  By the link and the tunnel there is nothing that could be connected to; by TCP others are turned away.
. "$(dirname "$0")/functions.sh"
. "$(dirname "$0")/net-functions.sh"

d=$work/host
mkdir -p "$d/data" "$d/other"
chmod 755 "$work" "$d"
echo "of the first VM" >"$d/data/file"
echo secret >"$d/data/secret"
chmod 600 "$d/data/secret"
echo "one file" >"$d/single"

monitor_of() { runcvm state "$1" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'; }
# processes_of PID: it and all below it.
processes_of() {
  local p
  echo "$1"
  for p in $(cat /proc/"$1"/task/*/children 2>/dev/null); do processes_of "$p"; done
}
# As net_run, from what is the host here: its bridge has the gateway's address.
host_run() {
  local ns=$tag-$1 id=$2; shift 2
  in_host "$BUILD/run" runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --netns "/var/run/netns/$ns" "${net_options[@]}" "$id" -- "$@"
}
# until_up ID...
until_up() {
  local id
  # A busy machine may take a while.
  for id in "$@"; do
    wait_for runcvm exec "$id" true || wait_for runcvm exec "$id" true || wait_for runcvm exec "$id" true || wait_for runcvm exec "$id" true ||
      { not_ok "$id starts"; diag "$(cat "$work"/*.log)"; exit 1; }
  done
}

make_host
ip -n "$host" addr add 10.9.0.1/24 dev br0
for c in a b n; do make_container $c; done
plug a eth0 br0 02:00:00:00:02:0a 1500 192.168.1.10/24
plug b eth0 br0 02:00:00:00:02:0b 1500 192.168.1.11/24
plug n eth0 br0 02:00:00:00:02:0c 1500 192.168.1.12/24
for c in a b n; do ip -n "$tag-$c" route add default via 192.168.1.1; done

# Takes a port below 1024, as a kernel does, and asks for the export.
cat >"$work/mount.py" <<'PY'
import errno, socket, struct, sys
address, port, low = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "low"
s = socket.socket()
s.settimeout(20)
for own in range(1023, 600, -1) if low else [0]:
    try:
        s.bind(("", own))
        break
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
try:
    s.connect((address, port))
    # MOUNT's MNT of "/0", as root.
    auth = struct.pack(">II4xIII", 1, 20, 0, 0, 0)
    call = struct.pack(">IIIIII", 7, 0, 2, 100005, 3, 1) + auth + struct.pack(">II", 0, 0) + struct.pack(">I4s", 2, b"/0")
    s.sendall(struct.pack(">I", 0x80000000 | len(call)) + call)
    print("answer" if s.recv(1000) else "closed")
except ConnectionResetError:
    print("closed")
except ConnectionRefusedError:
    print("refused")
PY

# Without a network: by the link, or the tunnel.
net_options=(--rootfs-changes discard --volume "$d/data:/data")
net_run a tunnel sleep 100000 >"$work/tunnel.log" 2>&1 &
tunnel=$!
net_options=(--rootfs-changes discard --volume "$d/other:/data")
net_run b neighbour sleep 100000 >"$work/neighbour.log" 2>&1 &
until_up tunnel neighbour
is "$(runcvm exec tunnel cat /data/file)" "of the first VM" "a VM reaches its volume"
pids=$(processes_of "$(monitor_of tunnel)")
is "$(for p in $pids; do cat "/proc/$p/comm"; done | grep -c runcvm-volumes)" 1 "with a server"
inodes=$(for p in $pids; do ls -l "/proc/$p/fd" | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'; done | sort -u)
# of_ours FILE COLUMN: lines of one of /proc/net's tables that are sockets of these processes.
of_ours() { awk -v column="$2" 'NR == FNR { ours[$1]; next } $column in ours' <(echo "$inodes") "$1"; }
for ns in $(for p in $pids; do readlink "/proc/$p/ns/net"; done | sort -u); do
  for p in $pids; do [ "$(readlink "/proc/$p/ns/net")" = "$ns" ] && break; done
  is "$(for t in tcp tcp6 udp udp6; do of_ours "/proc/$p/net/$t" 10; done)" "" "no process of it has a TCP or UDP socket ($ns)"
done
# Made before the monitor went into the container's network namespace, or after.
paths=$(for p in self $pids; do of_ours "/proc/$p/net/unix" 7; done | awk '$8 != "" { print $8 }' | sort -u)
[ -n "$paths" ] && ok "its unix sockets are found" || not_ok "its unix sockets are found"
# A confined Firecracker's lie in a place that nobody else sees by any name.
place=
for p in $pids; do [ "$(cat "/proc/$p/comm")" = firecracker ] && [ -d "/proc/$p/root/vm/run" ] && place=/proc/$p/root/vm/run; done
for path in $paths; do
  # It was bound by way of an fd of the VM's directory.
  case $path in
    */control | @*) ;;
    /proc/self/fd/* | [!/]*) [ -n "$place" ] && path=$place/${path##*/} ;;
  esac
  case $path in
    /proc/self/fd/*) path=$work/state/tunnel/${path##*/} ;;
  esac
  [ -S "$path" ] || not_ok "$path is a socket"
  case $path in
    @*) not_ok "no socket of it has an abstract name, which file permissions do not protect ($path)" ;;
    *) like "$(setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c 'import socket, sys
for kind in socket.SOCK_STREAM, socket.SOCK_SEQPACKET:
    try:
        socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
        print("connected")
    except OSError as e:
        print(type(e).__name__)' "$path" | xargs)" '^PermissionError PermissionError$' "another user of the host cannot connect to ${path#"$work"/}" ;;
  esac
done
# scan FROM ADDRESS: the ports that answer.
cat >"$work/scan.py" <<'PY'
import errno, selectors, socket, sys
# Many at once: what does not answer at once does not at all, on a bridge of our own.
for first in range(1, 65536, 512):
    waiting = selectors.DefaultSelector()
    for port in range(first, min(first + 512, 65536)):
        s = socket.socket()
        s.setblocking(False)
        if s.connect_ex((sys.argv[1], port)) in (0, errno.EINPROGRESS):
            waiting.register(s, selectors.EVENT_WRITE, port)
        else:
            s.close()
    while waiting.get_map():
        ready = waiting.select(2)
        if not ready:
            break
        for key, _ in ready:
            if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                print(key.data)
            waiting.unregister(key.fileobj)
            key.fileobj.close()
    for key in list((waiting.get_map() or {}).values()):
        key.fileobj.close()
PY
is "$(ip netns exec "$tag-n" /usr/bin/python3 "$work/scan.py" 192.168.1.1; ip netns exec "$tag-n" /usr/bin/python3 "$work/scan.py" 192.168.1.10)" "" \
  "a neighbour on the bridge finds no port that answers, at the bridge or at the VM"
is "$(runcvm exec neighbour sh -c 'for p in 111 2049 20048; do nc -w 5 192.168.1.1 $p </dev/null; nc -w 5 192.168.1.10 $p </dev/null; done' 2>&1 | grep -c 'refused')" \
  6 "nor does another VM"
# A handle of one VM's server means nothing to another's: and there is no way to bring it there.
is "$(runcvm exec neighbour ls -A /data)" "" "another VM sees its own volume alone"
runcvm delete --force tunnel
wait "$tunnel"

# By a link: what the guest's agent and the monitor have to themselves.  Firecracker has none.
net_options=(--rootfs-changes discard --volume "$d/data:/data:transport=link")
if [ "${RUNCVM_HYPERVISOR:-}" = firecracker ]; then
  like "$(net_run a link true 2>&1)" "^runcvm: volumes: the VMM driver 'firecracker' has no link to volumes: leave out 'transport=link', or use QEMU$" \
    "Firecracker has no link"
else
  net_run a link sleep 100000 >"$work/link.log" 2>&1 &
  link=$!
  until_up link
  read -r server port < <(runcvm exec link sed -n 's/.* \/data nfs .*,port=\([0-9]*\),.*,addr=\([0-9.]*\).*/\2 \1/p' /proc/mounts)
  is "$server $(runcvm volume list link | sed -n 's/.*"transport": *"\([a-z]*\)".*/\1/p')" "169.254.2.1 link" "a link has an address of its own"
  is "$(runcvm exec link sh -c 'cat /data/file; ls /sys/class/net | xargs; ip -o addr | grep -c 169.254')" $'of the first VM\neth0 lo\n0' "which is not in the container"
  # To the container's gateway, which knows of none.
  like "$(runcvm exec link nc -w 5 "$server" "$port" </dev/null 2>&1)" "timed out|refused|unreachable" "nor does anything lead there from the container"
  like "$(in_host /usr/bin/python3 "$work/mount.py" "$server" "$port" low 2>&1)" "refused|closed|unreachable|timed out" "or from the host"
  is "$(for n in "$tag" "$tag-a" "$tag-b" "$tag-n"; do ip netns exec "$n" ip -o addr 2>/dev/null; done | grep -c 169.254.2)" 0 "no namespace that has a name has it"
  kill -9 "$(pgrep -P "$(monitor_of link)" -x runcvm-volumes)"
  is "$(runcvm exec link sh -c 'cat /data/file; echo x >/data/after && cat /data/after')" $'of the first VM\nx' "a server that was killed is back"
  runcvm delete --force link
  wait "$link"
  # unprivileged OPTION: without the right to make one.
  unprivileged() {
    setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$BUILD/run" runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --rootfs-changes discard \
      --netns none --volume "$d/data:/data$1" unprivileged -- sed -n 's/.* \/data nfs .*,addr=\([0-9.]*\).*/\1/p' /proc/mounts 2>&1
  }
  like "$(unprivileged :transport=link)" "^runcvm: volumes: the volumes cannot have the link that 'transport=link' asks for \(making a TAP needs CAP_NET_ADMIN.*\): leave that out, or use the tunnel$" \
    "who cannot make a link is told what to do"
  is "$(unprivileged "")" 127.0.0.1 "and who asks for none gets the tunnel"
fi
# Both ways at once there are not, but what a volume asks for.
net_options=(--rootfs-changes discard --volume "$d/data:/data:transport=tunnel" --volume "$d/other:/other")
is "$(net_run a tunneled sed -n 's/.* \/data nfs .*,addr=\([0-9.]*\).*/\1/p' /proc/mounts)" 127.0.0.1 "the tunnel can be asked for"

# By TCP, over the container's network.
net_options=(--rootfs-changes discard --volume "$d/data:/data:transport=tcp:41000-41001" --volume "$d/data:/ro:ro,transport=tcp" --volume "$d/single:/etc/single:transport=tcp" --volume "$d/other:/other")
host_run a tcp sleep 100000 >"$work/tcp.log" 2>&1 &
until_up tcp
like "$(runcvm exec tcp grep ' /data ' /proc/mounts)" "^192.168.1.1:/[0-9]+ /data nfs .*,port=4100[01],.*,addr=192.168.1.1 " "by TCP, the VM's kernel mounts its volumes from the gateway, at a port of the range"
is "$(runcvm exec tcp sh -c 'cat /data/file /etc/single; echo x >/ro/file 2>/dev/null || echo refused; echo new >/data/new && cat /ro/new; echo tunnel >/other/new'; cat "$d/data/new" "$d/other/new")" \
  $'of the first VM\none file\nrefused\nnew\nnew\ntunnel' "they are live, of all kinds, and beside others by the tunnel"
port=$(runcvm exec tcp sed -n 's/.* \/data nfs .*,port=\([0-9]*\),.*/\1/p' /proc/mounts)
is "$(runcvm volume list tcp | /usr/bin/python3 -c 'import json, sys; j = json.load(sys.stdin); print(*sorted(v["destination"] for v in j["volumes"] if v.get("transport") == "tcp"), j["server"]["refusedConnections"])')" \
  "/data /etc/single /ro 0" "volume list says so, and that nobody else has come"
is "$(ip netns exec "$tag-n" /usr/bin/python3 "$work/mount.py" 192.168.1.1 "$port" low)" closed "a neighbour on the bridge is turned away, also with a port below 1024"
is "$(in_host /usr/bin/python3 "$work/mount.py" 192.168.1.1 "$port" low)" closed "so is the host's root"
is "$(in_host setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 "$work/mount.py" 192.168.1.1 "$port" high)" closed "and another user of the host"
is "$(in_host /usr/bin/python3 "$work/mount.py" 10.9.0.1 "$port" low)" refused "at another address of the host nothing listens"
before=$(runcvm volume list tcp | sed -n 's/.*"refusedConnections": *\([0-9]*\).*/\1/p')
runcvm exec neighbour nc -w 5 192.168.1.1 "$port" </dev/null >/dev/null 2>&1
runcvm exec --user 1000:1000 tcp nc -w 5 192.168.1.1 "$port" </dev/null >/dev/null 2>&1
wait_for eval '[ "$(runcvm volume list tcp | sed -n "s/.*\"refusedConnections\": *\([0-9]*\).*/\1/p")" = $((before + 2)) ]' && ok "another VM is turned away, and so is a process of the container with an ordinary port" ||
  not_ok "another VM is turned away, and so is a process of the container with an ordinary port"
# The server dies in the midst.
head -c 3000000 /dev/urandom >"$d/data/big"
runcvm exec tcp sh -c 'for i in 1 2 3 4; do cp /data/big /data/copy.$i || exit; done; echo done' >"$work/copies" 2>&1 &
copies=$!
wait_for test -s "$d/data/copy.1"
for p in $(cat /proc/"$(monitor_of tcp)"/task/*/children); do grep -q runcvm-volumes "/proc/$p/comm" && kill -9 "$p"; done
wait $copies
is "$(cat "$work/copies"; for i in 1 2 3 4; do cmp "$d/data/big" "$d/data/copy.$i"; done)" done "a server that is killed is missed by nobody"

# The range has two ports: a second VM gets the other, a third none.
net_options=(--rootfs-changes discard --volume "$d/other:/data:transport=tcp:41000-41001")
runcvm delete --force neighbour
host_run b second sleep 100000 >"$work/second.log" 2>&1 &
second=$!
until_up second
other=$(runcvm exec second sed -n 's/.* \/data nfs .*,port=\([0-9]*\),.*/\1/p' /proc/mounts)
is "$(printf '%s\n' "$port" "$other" | sort | xargs)" "41000 41001" "two VMs have a port each"
is "$(runcvm exec second cat /data/new)" tunnel "and their own volumes"
like "$(host_run n third true 2>&1)" "volumes: all ports from 41000 to 41001 of 192.168.1.1 are taken, and the volumes need one: name a wider range" "a third is told that there is none left"
runcvm exec second sh -c 'exec 3>/data/dirty; echo kept >&3; sleep 100000' >/dev/null 2>&1 &
wait_for test -e "$d/other/dirty"
runcvm kill second KILL
wait "$second"
is "$(cat "$d/other/dirty")" kept "what an open file holds goes to the host when the VM stops"

# The other ways to a network.
net_options=(--rootfs-changes discard --net-mode bridge --volume "$d/data:/data:transport=tcp")
like "$(host_run n bridged grep ' /data ' /proc/mounts 2>&1)" "^169.254.1.1:/0 /data nfs .*,addr=169.254.1.1 " "a VM that is joined by a bridge finds its volumes there"
like "$(in_host "$BUILD/run" runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --rootfs-changes discard --netns host --volume "$d/data:/data:transport=tcp" linked -- grep ' /data ' /proc/mounts 2>&1)" \
  "^169.254.[0-9.]+:/0 /data nfs " "and one on a link of its own there"

# A bind mount of config.json, in a container whose root has no rights outside of its user namespace.
bundle=$work/bundle
mkdir "$bundle" "$BUSYBOX/bound"
runcvm spec --bundle "$bundle"
/usr/bin/python3 - "$bundle/config.json" "$BUSYBOX" "$d/data" "/var/run/netns/$tag-n" <<'PY'
import json, sys
path, root, data, netns = sys.argv[1:]
with open(path) as f:
    c = json.load(f)
c["root"]["path"] = root
c["process"]["args"] = ["sh", "-c", "grep ' /bound ' /proc/mounts; cat /bound/new; cat /proc/self/uid_map"]
c["mounts"].append({"destination": "/bound", "type": "bind", "source": data, "options": ["rbind", "ro"]})
c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "network"] + [{"type": "network", "path": netns}, {"type": "user"}]
for map in "uidMappings", "gidMappings":
    c["linux"][map] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
c["annotations"] = {"org.runcvm.volume-transport": "tcp:41000-41009"}
with open(path, "w") as f:
    json.dump(c, f)
PY
like "$(in_host "$BUILD/run" runcvm run --memory 160M --log-level error --bundle "$bundle" --rootfs-changes discard mapped 2>&1 | xargs)" \
  "^192.168.1.1:/0 /bound nfs ro,.*port=410.*,addr=192.168.1.1 0 0 new 0 100000 65536$" "a bind mount of config.json goes by TCP where an annotation says so, also into a user namespace"

# What cannot be.
refused() { local id=$1; shift; net_options=(--rootfs-changes discard "$@"); host_run n "$id" true 2>&1; }
like "$(busybox_run e1 true 2>&1; runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --netns none --volume "$d/data:/data:transport=tcp" e1 -- true 2>&1)" \
  "volumes: the volume at '/data' cannot be reached by TCP, since the VM has no network with an IPv4 address and a gateway" "without a network it cannot be"
# refused_in CONTAINER ID OPTIONS...
refused_in() { local ns=$1 id=$2; shift 2; net_options=(--rootfs-changes discard "$@"); host_run "$ns" "$id" true 2>&1; }
make_container empty
like "$(refused_in empty e6 --volume "$d/data:/data:transport=tcp")" \
  "volumes: the volume at '/data' cannot be reached by TCP, since the VM has no network with an IPv4 address and a gateway: give it one, or use transport=tunnel" \
  "nor in a namespace that is still empty"
make_container six
plug six eth0 br0 02:00:00:00:02:06 1500 fd00:1::6/64
ip -n "$tag-six" -6 route add default via fd00:1::1
like "$(refused_in six e7 --volume "$d/data:/data:transport=tcp")" "cannot be reached by TCP, since the VM has no network with an IPv4 address and a gateway" "nor where there is IPv6 alone"
like "$(net_options=(--rootfs-changes discard --volume "$d/data:/data"); host_run six e8 cat /data/file 2>&1)" "^of the first VM$" "where the tunnel goes, as it does everywhere"
ip -n "$tag-n" route replace default via 192.168.1.77
like "$(refused e2 --volume "$d/data:/data:transport=tcp")" "since the VM's gateway 192.168.1.77 is no address of this host: use transport=tunnel" "nor with another gateway"
like "$(refused e3 --volume "$d/data:/data:transport=tcp:5-4")" "plan: a volume has no option 'transport=tcp:5-4'" "a range must be one"
like "$(refused e4 --volume "$d/data:/a:transport=tcp:5-6" --volume "$d/data:/b:transport=tcp:5-7")" "cannot be in both 5-6 and 5-7" "and the same for all"
ip -n "$tag-n" route replace default via 192.168.1.1
in_host nft -f - <<'NFT'
table ip firewall {
  chain in { type filter hook input priority 0; iifname "br0" tcp dport 41000-41001 reject; }
}
NFT
like "$(refused e5 --volume "$d/data:/data:transport=tcp:41000-41001")" "cannot reach the volumes at 192.168.1.1, port 4100[01], over the container's network \(a firewall" "a firewall is named"
