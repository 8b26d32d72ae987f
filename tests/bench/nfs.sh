#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# runcvm-volumes against nfs-ganesha: the same libnfs client, the same file system, alternating in one run.  All of it
# happens in a network namespace of its own, for ganesha wants an rpcbind.
#
#   nfs.sh [ROUNDS]     BUILD as in tests/run-vm; WHERE: a directory on the disk to serve from
set -eu
cd "$(dirname "$0")/../.."
top=$PWD
BUILD=${BUILD:-$PWD/build}
rounds=${1:-3}
server=$BUILD/lib/runcvm-volumes
for p in ganesha.nfsd rpcbind; do
  command -v $p >/dev/null || { echo "nfs.sh: $p is missing: apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind" >&2; exit 1; }
done

if [ -z "${NFS_BENCH_INSIDE-}" ]; then
  NFS_BENCH_INSIDE=1 exec unshare --net --mount --pid --fork --mount-proc "$top/tests/bench/nfs.sh" "$rounds"
fi

work=$(mktemp -d "${WHERE:-/var/tmp}/nfs-bench.XXXXXX")
pids=()
finish() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || :; done
  sleep 0.5
  umount /run 2>/dev/null || :
  rm -rf "$work"
}
trap finish EXIT
ip link set lo up
# rpcbind's and ganesha's own files go to a /run that nobody else sees.
mount -t tmpfs none /run
mkdir -p "$work/ours" "$work/ganesha" /run/ganesha /run/rpcbind /run/dbus
cc -O2 -D_GNU_SOURCE "$top/tests/bench/nfs-client.c" -o "$work/client" -lnfs

"$server" --listen 127.0.0.1:20490 --export "$work/ours:name=/vol" >/dev/null &
pids+=($!) ours=$!
rpcbind -f -w >/dev/null 2>&1 &
pids+=($!)
cat >"$work/g.conf" <<C
NFS_CORE_PARAM { Protocols = 3; NFS_Port = 20491; MNT_Port = 20492; Enable_NLM = false; Enable_RQUOTA = false; }
EXPORT_DEFAULTS { Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Transports = TCP; }
EXPORT { Export_Id = 1; Path = $work/ganesha; Pseudo = /vol; FSAL { Name = VFS; } }
LOG { Default_Log_Level = WARN; }
C
ganesha.nfsd -F -f "$work/g.conf" -L "$work/g.log" -p "$work/g.pid" &
pids+=($!) ganesha=$!

url_ours="nfs://127.0.0.1/vol?nfsport=20490&mountport=20490"
url_ganesha="nfs://127.0.0.1$work/ganesha?nfsport=20491&mountport=20492"
# Ready when it answers; a server's start is measured below.
for _ in $(seq 100); do
  timeout 5 nfs-ls "$url_ganesha" >/dev/null 2>&1 && break
  sleep 0.2
done
timeout 5 nfs-ls "$url_ganesha" >/dev/null || { tail -n 5 "$work/g.log" >&2; echo "nfs.sh: ganesha does not answer" >&2; exit 1; }
timeout 5 nfs-ls "$url_ours" >/dev/null

run() {
  echo "$1 $2 $("$work/client" "$3" "$2" "$4")"
}
both() {
  run ours "$1" "$url_ours" "$2"
  run ganesha "$1" "$url_ganesha" "$2"
}
for round in $(seq "$rounds"); do
  [ "$round" = 1 ] && both seqwrite 256 >/dev/null # both files are there, all blocks allocated
  both seqwrite 1024
  both seqread 2048
  both randwrite 100000
  both randread 200000
  both create 5000
  both stat 5000
  both lookup 5000
  both openread 5000
  both readdirplus 20
  both paced 2000
  both rename 5000
  both unlink 5000
done >"$work/figures"

# 100,000 files met, then asked for.
python3 - "$work/ours" "$work/ganesha" <<'PY'
import os, sys
for d in sys.argv[1:]:
    os.mkdir(d + "/many")
    for i in range(100000):
        os.close(os.open("%s/many/%06d" % (d, i), os.O_CREAT, 0o644))
PY
rss() { awk '/^VmRSS:/ {print $2}' "/proc/$1/status"; }
echo "memory-before ours $(rss $ours) ganesha $(rss $ganesha)" >>"$work/figures"
timeout 300 "$work/client" "${url_ours/\/vol/\/vol/many}" readdirplus 1 >/dev/null
timeout 300 "$work/client" "${url_ganesha/\/ganesha/\/ganesha/many}" readdirplus 1 >/dev/null
sleep 4
echo "memory-after ours $(rss $ours) ganesha $(rss $ganesha)" >>"$work/figures"

# From exec to the first answer of a server that listens.
python3 - "$server" "$work/ours" >>"$work/figures" <<'PY'
import socket, struct, subprocess, sys, time
times = []
for i in range(20):
    a = time.perf_counter()
    p = subprocess.Popen([sys.argv[1], "--listen", "127.0.0.1:0", "--export", sys.argv[2] + ":name=/vol"], stdout=subprocess.PIPE)
    port = int(p.stdout.readline().decode().rsplit(":", 1)[1])
    s = socket.create_connection(("127.0.0.1", port))
    call = struct.pack(">10I", 1, 0, 2, 100003, 3, 0, 0, 0, 0, 0)
    s.sendall(struct.pack(">I", 0x80000000 | len(call)) + call)
    s.recv(100)
    times.append((time.perf_counter() - a) * 1000)
    p.terminate()
    p.wait()
times.sort()
print("start ours %.1f ms (%.1f to %.1f)" % (times[len(times) // 2], times[0], times[-1]))
PY

python3 - "$work/figures" "$rounds" <<'PY'
import statistics, sys
runs, order, rest = {}, [], []
for line in open(sys.argv[1]):
    f = line.split()
    if f[0] in ("ours", "ganesha"):
        if f[1] not in order:
            order.append(f[1])
        runs.setdefault((f[0], f[1]), []).append([float(x) for x in f[2:]])
    else:
        rest.append(line.strip())
print("NFSv3 on loopback, %s rounds, medians; MB/s or per second; latencies in microseconds" % sys.argv[2])
print("%-12s %10s %10s %6s   %-22s %s" % ("", "ours", "ganesha", "ratio", "ours p50 p99 p99.9", "ganesha p50 p99 p99.9"))
for work in order:
    med = {}
    for who in ("ours", "ganesha"):
        med[who] = [statistics.median(c) for c in zip(*runs[(who, work)])]
    o, g = med["ours"], med["ganesha"]
    print("%-12s %10.0f %10.0f %6.2f   %-22s %s" % (work, o[0], g[0], o[0] / g[0],
          " ".join("%.0f" % x for x in o[1:]), " ".join("%.0f" % x for x in g[1:])))
for line in rest:
    print(line + (" KiB" if line.startswith("memory") else ""))
PY
