#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Live volumes: what VMs and the host see of each other's changes, whose rights count, what the kinds of mounts do, and what
# happens when somebody dies.
#
# In a mount namespace: file systems that are made for it go with it.
[ -n "${OWN_MOUNTS:-}" ] || OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
. "$(dirname "$0")/functions.sh"

small=(--memory 160M --log-level error --rootfs "$BUSYBOX" --rootfs-changes discard)
monitor_of() { runcvm state "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'; }
# child_of PID NAME: the child with that name.
child_of() {
  local p
  for p in $(cat "/proc/$1/task/$1/children"); do
    case $(cat "/proc/$p/comm") in $2*) echo "$p" ;; esac
  done
}
in_a() { runcvm exec a -- "$@"; }
in_b() { runcvm exec b -- "$@"; }
in_c() { runcvm exec c -- "$@"; }
# until_gone PID...: no process of these is left (zombies are their parent's business).
until_gone() {
  local p
  for p in "$@"; do
    while [ -e "/proc/$p" ] && ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null; do sleep 0.1; done
  done
}

# What is shared.
d=$work/host
mkdir -p "$d"/{data,ro,squash,kept,deep,shallow,cached} "$d/data/small" "$d/data/foreign" "$d/two"
chmod 755 "$work" "$d"
chown 1234:2345 "$d/squash"
mount -t tmpfs -o size=4m tmpfs "$d/data/small"
mount --bind "$d/two" "$d/data/foreign"
echo initial >"$d/data/data.txt"
echo "from the host" >"$d/ro/file"
echo deep >"$d/deep/file"
echo shallow >"$d/shallow/file"
echo private >"$d/data/secret"
chmod 600 "$d/data/secret"
echo "nameserver 192.0.2.1" >"$d/resolv.conf"
echo "192.0.2.7 seven" >"$d/hosts"
echo "named-by-host" >"$d/hostname"
echo "over a file" >"$d/over"
echo "of the image" >"$BUSYBOX/home/file"
head -c 20000000 /dev/urandom >"$d/data/random"

runcvm run --detach "${small[@]}" --volume "$d/data:/data" --volume "$d/ro:/ro:ro" --volume "$d/squash:/squash:squash=1234:2345" \
  --volume "$d/cached:/cached:cached=60" --volume "$d/deep:/m/1/2" --volume "$d/shallow:/m" --volume "$d/over:/home/file:ro" \
  --volume "$d/resolv.conf:/etc/resolv.conf" --volume "$d/hosts:/etc/hosts" --volume "$d/hostname:/etc/hostname" \
  --volume "$d/over:/data/inside:ro" --mount "type=bind,src=$d/kept,dst=/made/by/nobody" \
  --mount type=tmpfs,dst=/scratch,tmpfs-size=4M,tmpfs-mode=0700 a -- sleep 100000 &
runcvm run --detach "${small[@]}" --netns none --volume "$d/data:/data" b -- sleep 100000 &
# By config.json, with the rights to mount.
bundle=$work/bundle
mkdir "$bundle"
runcvm spec --bundle "$bundle"
python3 - "$bundle/config.json" "$BUSYBOX" "$d" <<'PY'
import json, sys
path, root, d = sys.argv[1:]
with open(path) as f:
    c = json.load(f)
c["root"]["path"] = root
c["process"]["args"] = ["sleep", "100000"]
for set in ("bounding", "effective", "permitted"):
    c["process"]["capabilities"][set].append("CAP_SYS_ADMIN")
c["mounts"] += [{"destination": "/data", "type": "bind", "source": d + "/data", "options": ["rbind", "rw"]},
                {"destination": "/ro", "type": "bind", "source": d + "/ro", "options": ["rbind", "ro"]},
                {"destination": "/etc/hosts", "type": "bind", "source": d + "/hosts", "options": ["bind", "ro", "nosuid", "noexec"]}]
with open(path, "w") as f:
    json.dump(c, f)
PY
runcvm run --detach --memory 160M --log-level error --bundle "$bundle" --rootfs-changes discard c &
wait
is "$(runcvm list -q | sort | xargs)" "a b c" "three VMs with volumes run"
[ "$n_failed" = 0 ] || exit
monitor_a=$(monitor_of a) monitor_b=$(monitor_of b) monitor_c=$(monitor_of c)
server_a=$(child_of "$monitor_a" runcvm-volumes) server_b=$(child_of "$monitor_b" runcvm-volumes) server_c=$(child_of "$monitor_c" runcvm-volumes)
is "$(wc -w <<<"$server_a $server_b $server_c")" 3 "with a server each"

# The seed's own cases.
in_a sh -c 'echo "modified in the VM" >>/data/data.txt'
is "$(cat "$d/data/data.txt")" $'initial\nmodified in the VM' "what a VM appends is in the host's file"
is "$(in_a cat /ro/file)" "from the host" "BM-001: a read-only volume is read"
is "$(in_a sh -c 'cp /ro/file /data/copy && cat /data/copy'; cat "$d/data/copy")" $'from the host\nfrom the host' "BM-002: a volume is written to"
like "$(in_a sh -c 'echo x >/ro/file; echo x >/ro/new; rm /ro/file; mkdir /ro/dir; chmod 777 /ro/file' 2>&1 | grep -c 'Read-only file system')" 5 "BM-003: a read-only volume is not"
is "$(in_a sh -c 'echo 1 >/data/one; echo 2 >/squash/two; echo 3 >/made/by/nobody/three; echo 4 >/m/four; echo 5 >/cached/five')$(cat "$d"/{data/one,squash/two,kept/three,shallow/four,cached/five} | xargs)" \
  "1 2 3 4 5" "BM-004: several volumes, and places that were not there"
out=$(in_c sh -c 'mount -o remount,rw /ro; grep -c " /ro nfs rw" /proc/mounts; echo x >/ro/file; echo x >/ro/new; rm /ro/file; cat /ro/file' 2>&1)
is "$(grep -c 'Read-only file system\|Permission denied' <<<"$out")" 3 "a volume that is remounted read-write in the VM stays read-only: by the server"
is "$(ls "$d/ro"; cat "$d/ro/file")" $'file\nfrom the host' "and nothing happened to it"
in_c sh -c 'echo "by config.json" >/data/oci'
is "$(cat "$d/data/oci")" "by config.json" "a bind mount of config.json is live"
like "$(in_c grep ' /etc/hosts ' /proc/mounts)" "^(127.0.0.1|169.254.2.1):/[0-9/]+ /etc/hosts nfs ro,nosuid,noexec" "with its options"

# Mounts of all kinds.
is "$(in_a cat /m/1/2/file /m/file)" $'deep\nshallow' "a volume lies at a place in another, which was named later"
is "$(in_a sh -c 'cat /home/file /data/inside; echo x >>/home/file' 2>&1 | grep -c 'over a file\|Read-only')" 3 "files lie over files, also within a volume"
runcvm run "${small[@]}" --volume "$d/over:/home" f -- true 2>"$work/err"
like "$(cat "$work/err")" "agent: cannot mount a file at /home, where the container has a directory: choose another place" "but not over a directory"
runcvm run "${small[@]}" --volume "$d/data:/home/file" f -- true 2>"$work/err"
like "$(cat "$work/err")" "agent: cannot mount a directory at /home/file, where the container has a file: choose another place" "nor a directory over a file"
is "$(in_a cat /etc/resolv.conf /etc/hosts /etc/hostname | xargs)" "nameserver 192.0.2.1 192.0.2.7 seven named-by-host" "the files that Docker binds show the host's contents"
in_a sh -c 'echo "search vm" >>/etc/resolv.conf'
echo "search host" >>"$d/resolv.conf"
is "$(in_a cat /etc/resolv.conf | xargs) = $(xargs <"$d/resolv.conf")" "nameserver 192.0.2.1 search vm search host = nameserver 192.0.2.1 search vm search host" "and both sides write to them"
like "$(in_a sh -c 'rm /etc/hosts; mv /etc/hostname /etc/other' 2>&1 | grep -c 'busy')" 2 "a file that is a volume cannot be removed"
echo "192.0.2.8 eight" >"$d/hosts.new"
mv "$d/hosts.new" "$d/hosts"
is "$(in_a cat /etc/hosts)" "192.0.2.7 seven" "a file that the host replaces stays what it was, as with Docker"
is "$(in_a sh -c 'stat -c %a /scratch; dd if=/dev/zero of=/scratch/big bs=1M count=8 2>&1 | grep -o "No space.*"; wc -c </scratch/big')" $'700\nNo space left on device\n4194304' "a tmpfs has its mode and its limit"
is "$(in_a cat /proc/net/tcp /proc/net/udp | wc -l)" 2 "nothing listens where the container is"
read -r server port < <(in_a sed -n 's/.* \/data nfs .*,port=\([0-9]*\),.*,addr=\([0-9.]*\).*/\2 \1/p' /proc/mounts)
# A link of the agent's own leads nowhere from the container's network namespace, where 127.0.0.1 is the container's.
like "$(in_a nc -w 5 "$server" "$port" </dev/null 2>&1)" "refused|unreachable" "and the port of the volumes cannot be reached from there"
like "$(in_c mount -t nfs -o "nolock,vers=3,proto=tcp,port=$port,mountport=$port,mountproto=tcp,addr=$server,mountaddr=$server" "$server:/0" /mnt 2>&1)" "refused|failed|No such|unreachable" "nor be mounted by who may mount"
# Of the sockets of monitor, server and VMM, the one that listens is the monitor's own.
sockets() { ls -l "/proc/$1/fd" | sed -n 's/.*socket:\[\([0-9]*\)\]$/\1/p'; }
inodes=$(sockets "$server_a"; for p in $(cat "/proc/$monitor_a/task/$monitor_a/children"); do sockets "$p"; done)
is "$(for i in $inodes; do awk -v i="$i" '$7 == i && ($4 == "00010000" || $8 != "")' /proc/net/unix; awk -v i="$i" '$10 == i' /proc/net/{tcp,tcp6,udp,udp6}; done)" "" \
  "no socket of the server or of the VMM has a name by which another could find it"

# Who is who.
in_a sh -c 'cd /data; mkdir mine; touch mine/of-root mine/of-app; chown 1000:1000 mine mine/of-app; chmod 750 mine; ln -s of-app mine/link; mkfifo mine/pipe; mknod mine/null c 1 3; chmod 4711 mine/of-root'
is "$(cd "$d/data/mine" && stat -c '%n %u:%g %a %F' . ./* | xargs)" \
  ". 1000:1000 750 directory ./link 0:0 777 symbolic link ./null 0:0 644 character special file ./of-app 1000:1000 644 regular empty file ./of-root 0:0 4711 regular empty file ./pipe 0:0 644 fifo" \
  "owners, modes and kinds are kept"
is "$(runcvm exec --user 1000:1000 a -- sh -c 'id -u; touch /data/mine/by-app && stat -c %u:%g /data/mine/by-app; cat /data/secret; touch /data/by-app; chown 0 /data/mine/of-app; rm /data/secret' 2>&1)" \
  "1000
1000:1000
cat: can't open '/data/secret': Permission denied
touch: /data/by-app: Permission denied
chown: /data/mine/of-app: Operation not permitted
rm: can't remove '/data/secret': Permission denied" "a user may what he may on the host"
is "$(in_a sh -c 'cd /squash; touch file; mkdir dir; ln -s file link; stat -c %u:%g file; chown 0:0 file' 2>&1 | sed 's/.*: //')" $'1234:2345\nOperation not permitted' "in a squashed volume everyone is one user"
is "$(cd "$d/squash" && stat -c %u:%g file dir link two | uniq)" 1234:2345 "on the host as well"

# Each sees the others'.
for i in 1 2 3; do
  in_a sh -c "echo a $i >>/data/log; mv /data/from-host.$((i - 1)) /data/back.$((i - 1)) 2>/dev/null; mkdir /data/from-a.$i"
  in_b sh -c "echo b $i >>/data/log; rmdir /data/from-a.$i; touch /data/from-b.$i"
  echo "host $i" >>"$d/data/log"
  mv "$d/data/from-b.$i" "$d/data/from-host.$i"
done
wanted="a 1 b 1 host 1 a 2 b 2 host 2 a 3 b 3 host 3"
is "$(in_a cat /data/log | xargs)=$(in_b cat /data/log | xargs)=$(xargs <"$d/data/log")" "$wanted=$wanted=$wanted" "two VMs and the host append in turn, and lose nothing"
is "$(in_b sh -c 'cd /data; echo back.* from-*')" "back.1 back.2 from-host.3" "names made, moved and removed by one are so for all"
in_a ls -l /data/foreign /data/mine >/dev/null
seen=0
for i in 1 2 3 4 5; do
  echo "$i" >"$d/data/now"
  touch -d "2001-01-0$i" "$d/data/now"
  rm -f "$d/data/was"
  ln "$d/data/now" "$d/data/is.$i"
  [ "$(in_a sh -c "cat /data/now; stat -c '%y %h' /data/now | cut -c1-10,30-; test -e /data/was || echo gone; ls /data/is.$i" | xargs)" = "$i 2001-01-0$i +0000 $((i + 1)) gone /data/is.$i" ] && seen=$((seen + 1))
  touch "$d/data/was"
done
is "$seen" 5 "what the host changes, removes and links is seen at the next access"
race='n=0; i=0; while [ $i -lt 40 ]; do mkdir /data/race/$i 2>/dev/null && n=$((n + 1)); i=$((i + 1)); done; echo $n'
mkdir "$d/data/race"
in_a sh -c "$race" >"$work/race.a" &
in_b sh -c "$race" >"$work/race.b"
wait $!
is "$(($(cat "$work/race.a") + $(cat "$work/race.b")))" 40 "of two VMs that make a directory, one succeeds"

# What is mounted beneath, and a disk that is full.
echo "of another file system" >"$d/two/file"
is "$(in_a cat /data/foreign/file)" "of another file system" "mounts beneath a volume are part of it"
is "$(in_a sh -c 'cd /data/small; dd if=/dev/zero of=big bs=1M count=8 conv=fsync 2>&1 | grep -o "No space.*"; cp /data/random copied 2>&1 | grep -o "No space.*"; rm big copied; echo fits >small && cat small')" \
  $'No space left on device\nNo space left on device\nfits' "a disk of the host that is full is said at fsync and close, and is usable again"
is "$(cat "$d/data/small/small"; ls "$d/data/small")" $'fits\nsmall' "as the host sees"

# The server dies, with reads and writes under way: they go on with the next one.
in_a sh -c 'i=0; until [ -e /data/enough ]; do dd if=/data/random of=/data/copied.$i bs=1M conv=fsync 2>&1 | grep -v records; i=$((i + 1)); done; echo done' >"$work/copies" 2>&1 &
copies=$!
for i in 0 1 2; do
  until [ -s "$d/data/copied.$i" ]; do sleep 0.02; done
  kill -9 "$(child_of "$monitor_a" runcvm-volumes)"
done
touch "$d/data/enough"
wait "$copies"
like "$(cat "$work/copies")" '^done$' "a server that is killed in mid-write is missed by nobody"
is "$(grep -c . "$work/copies")" 1 "and no error is met"
different=0
for f in "$d"/data/copied.*; do cmp -s "$f" "$d/data/random" || different=$((different + 1)); done
is "$different" 0 "nor has anything been lost"
rm "$d"/data/copied.*

# The figures.
runcvm volume list a >"$work/figures"
is "$(python3 - "$work/figures" "$d" <<'PY'
import json, sys
with open(sys.argv[1]) as f:
    j = json.load(f)
host = sys.argv[2]
at = {v["destination"]: v for v in j["volumes"]}
assert len(at) == len(j["volumes"]) == 12, sorted(at)
assert at["/data"] == {"source": host + "/data", "destination": "/data", "readOnly": False, "identity": "preserve", "transport": at["/data"]["transport"],
                       "consistency": "strict"}, at["/data"]
assert {v["transport"] for v in at.values()} <= {"link", "tunnel"}, at
assert at["/ro"]["readOnly"] and at["/squash"]["uid"] == 1234 and at["/squash"]["gid"] == 2345 and at["/cached"]["cachedSeconds"] == 60
s = j["server"]
assert s["restarts"] == 3 and s["connections"] >= 1, s
of = {o["name"]: o for o in s["operations"]}
assert of["GETATTR"]["calls"] > 0
for o in of.values():
    l = o["latencyMicroseconds"]
    assert o["errors"] <= o["calls"] and l["p50"] <= l["p90"] <= l["p99"] <= l["p999"] <= l["max"], o
print("good")
PY
)" good "volume list tells the volumes and figures"
written() { runcvm volume list b | python3 -c 'import json, sys; s = json.load(sys.stdin)["server"]; print(s["bytesWritten"], sum(o["calls"] for o in s["operations"] if o["name"] == "MKDIR"))'; }
before=$(written)
in_b sh -c 'mkdir /data/counted; dd if=/dev/zero of=/data/counted/file bs=100k count=3 2>/dev/null'
is "$(written)" "$((${before% *} + 307200)) $((${before#* } + 1))" "which are right"
metric() { runcvm metrics b | sed -n "s/^$1{id=\"b\"${2-}} //p"; }
is "$(metric runcvm_volume_written_bytes_total) $(metric runcvm_volume_operations_total ',operation="MKDIR"')" "$(written)" "metrics have the same figures"
like "$(metric runcvm_volume_operation_seconds ',operation="WRITE",quantile="0.99"')" '^[0-9]+\.[0-9]{6}$' "and how long operations take"
like "$(runcvm metrics b)" "^runcvm_volume_info\{id=\"b\",source=\"$d/data\",destination=\"/data\".*\} 1\$" "and which volumes there are"

# Stop: what the VM has not written yet goes to the host first.
in_a sh -c 'exec >/dev/null 2>&1; (exec 3>/data/dirty; cat /data/random >&3; touch /data/is-dirty; sleep 100000) & until [ -e /data/is-dirty ]; do :; done'
runcvm kill a KILL
until runcvm state a | grep -q '"status": "stopped"'; do sleep 0.1; done
is "$(cmp "$d/data/dirty" "$d/data/random" && echo same)" same "what an open file holds is with the host when the VM has stopped"
runcvm delete a
until_gone "$server_a"
is "$(runcvm run "${small[@]}" --volume "$d/data:/data" --volume "$d/kept:/kept" --mount type=tmpfs,dst=/scratch again -- sh -c 'cat /data/data.txt /kept/three; ls /scratch | wc -l; dd if=/data/dirty bs=1M 2>/dev/null | md5sum')" \
  $'initial\nmodified in the VM\n3\n0\n'"$(md5sum <"$d/data/random")" "the next VM finds what the last one wrote, and an empty tmpfs"

# Somebody kills the rest.
server_b=$(child_of "$monitor_b" runcvm-volumes) vmm_c=$(runcvm state c | sed -n 's/.*"vmmPid": *\([0-9]*\).*/\1/p')
kill -9 "$monitor_b"
kill -9 "$vmm_c"
until_gone "$monitor_b" "$server_b" "$monitor_c" "$server_c" "$vmm_c"
runcvm delete --force b
runcvm delete --force c
ok "a monitor or VMM that is killed takes the volume server with it"

# What cannot be.
refused() { runcvm run "${small[@]}" "$@" -- true 2>&1; echo "exit $?"; }
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$d/socket"
mkfifo "$d/pipe"
like "$(refused --volume "$d/nothing:/data" e1)" "volumes: cannot open '$d/nothing', which is to be mounted at '/data' in the VM: No such file" "a source that is missing is named"
like "$(refused --volume "$d/socket:/data" e2)" "volumes: '$d/socket', .* is a socket: only directories and regular files can be shared" "so is a socket"
like "$(refused --volume "$d/pipe:/data" e3)" "volumes: '$d/pipe', .* is a pipe" "and a pipe"
like "$(refused --volume "$d/data:data" e4)" "'data' is no absolute path below '/'" "a target must be absolute"
like "$(refused --volume "$d/data:/data:fast" e5)" "cli: 'fast' of --volume is not known" "an unknown option is named"
like "$(refused --mount type=volume,src=x,dst=/x e6)" "cli: --mount needs type=bind, .* in 'type=volume" "so is an unknown type"
many=()
for i in $(seq 257); do many+=(--volume "$d/data:/m/$i"); done
like "$(refused "${many[@]}" e7)" "plan: a VM can have 256 volumes and live bind mounts at most" "too many volumes are refused"
is "$(refused --volume "$d/nothing:/data" e8 | tail -n 1)" "exit 125" "with the code for what never ran"
umount "$d/data/foreign" "$d/data/small"
