#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# runcvm-volumes against nfs-ganesha and, where it is found, unfs3's unfsd: the same libnfs client, alternating in one run.  Each
# serves a fresh ext4 of its own, in an image on the same disk: where ext4 looks for a free inode depends on what was removed before,
# by whomever.  Who begins changes with each round.  All of it happens in a network namespace of its own, for ganesha wants an rpcbind.
#
#   nfs.sh [ROUNDS]     BUILD as in tests/run-vm; WHERE: a directory on the disk to serve from; RUNCVM_UNFSD: unfsd; BEFORE: another
#                       build's runcvm-volumes, which runs along; WORKS: those kinds of work and no other
#
# The CPU time of each server (user and system, all of its threads) per call, entry or MiB is told, too: a machine that is busy with other
# work changes it little.
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
  for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || :; done
  wait "${pids[@]}" 2>/dev/null || :
  for m in "${mounts[@]}"; do umount "$m"; done
  umount /run 2>/dev/null || :
  rm -rf "$work"
}
trap finish EXIT
ip link set lo up
# rpcbind's and ganesha's own files go to a /run that nobody else sees.
mount -t tmpfs none /run
unfsd=${RUNCVM_UNFSD:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v unfsd || :)}
servers=(ours ganesha)
[ -z "${BEFORE-}" ] || servers+=(before)
[ -z "$unfsd" ] || servers+=(unfsd)
declare -A pid_of url_of
mounts=()
for s in "${servers[@]}"; do
  mkdir "$work/$s"
  truncate -s 3G "$work/$s.img"
  mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 "$work/$s.img"
  if mount -o loop "$work/$s.img" "$work/$s" 2>/dev/null; then mounts+=("$work/$s")
  else echo "nfs.sh: no loop device: $s serves a directory of the disk, and the rows of names depend on each other" >&2; fi
done
mkdir -p /run/ganesha /run/rpcbind /run/dbus
cc -O2 -D_GNU_SOURCE "$top/tests/bench/nfs-client.c" -o "$work/client" -lnfs

"$server" --listen 127.0.0.1:20490 --export "$work/ours:name=/vol" >/dev/null &
pids+=($!) pid_of[ours]=$!
if [ -n "${BEFORE-}" ]; then
  "$BEFORE" --listen 127.0.0.1:20494 --export "$work/before:name=/vol" >/dev/null &
  pids+=($!) pid_of[before]=$!
fi
rpcbind -f -w >/dev/null 2>&1 &
pids+=($!)
cat >"$work/g.conf" <<C
NFS_CORE_PARAM { Protocols = 3; NFS_Port = 20491; MNT_Port = 20492; Enable_NLM = false; Enable_RQUOTA = false; }
EXPORT_DEFAULTS { Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Transports = TCP; }
EXPORT { Export_Id = 1; Path = $work/ganesha; Pseudo = /vol; FSAL { Name = VFS; } }
LOG { Default_Log_Level = WARN; }
C
ganesha.nfsd -F -f "$work/g.conf" -L "$work/g.log" -p "$work/g.pid" &
pids+=($!) pid_of[ganesha]=$!

if [ -n "$unfsd" ]; then
  echo "$work/unfsd (rw,no_root_squash,insecure)" >"$work/exports"
  "$unfsd" -d -t -p -n 20493 -m 20493 -e "$work/exports" -i "$work/u.pid" >"$work/u.log" 2>&1 &
  pids+=($!) pid_of[unfsd]=$!
fi
url_of[unfsd]="nfs://127.0.0.1$work/unfsd?nfsport=20493&mountport=20493"
url_of[ours]="nfs://127.0.0.1/vol?nfsport=20490&mountport=20490"
url_of[before]="nfs://127.0.0.1/vol?nfsport=20494&mountport=20494"
url_of[ganesha]="nfs://127.0.0.1$work/ganesha?nfsport=20491&mountport=20492"
# Ready when it answers; a server's start is measured below.
for _ in $(seq 100); do
  timeout 5 nfs-ls "${url_of[ganesha]}" >/dev/null 2>&1 && break
  sleep 0.2
done
timeout 5 nfs-ls "${url_of[ganesha]}" >/dev/null || { tail -n 5 "$work/g.log" >&2; echo "nfs.sh: ganesha does not answer" >&2; exit 1; }
timeout 5 nfs-ls "${url_of[ours]}" >/dev/null
[ -z "$unfsd" ] || timeout 5 nfs-ls "${url_of[unfsd]}" >/dev/null

# Nanoseconds on a CPU: of the threads that there are, and of all that there were, but that in steps of 10 ms.
cpu() {
  local pid=${pid_of[$1]}
  cat /proc/"$pid"/task/*/schedstat 2>/dev/null | awk '{ sum += $1 } END { printf "%.0f ", sum }'
  sed 's/.*) //' "/proc/$pid/stat" | awk '{ printf "%.0f\n", ($12 + $13) * 10000000 }'
}
run() {
  local live all live_after all_after figures used
  read -r live all < <(cpu "$1")
  figures=$("$work/client" "${url_of[$1]}" "$2" "$3")
  read -r live_after all_after < <(cpu "$1")
  used=$((live_after - live))
  # One of ganesha's has ended.
  [ "$used" -ge $((all_after - all - 10000000)) ] || used=$((all_after - all))
  # Its unit: a listing is of the 5,000 files.
  [ "$2" != readdirplus ] || set -- "$1" "$2" $(($3 * 5000))
  echo "$1 $2 $figures $((used / $3))"
}
all() {
  local i s
  [[ -z "${WORKS-}" || " $WORKS " == *" $1 "* ]] || return 0
  for i in "${!servers[@]}"; do
    s=${servers[(i + round) % ${#servers[@]}]}
    # unfs3 has none; and what was written before is on the disk before it is the next one's turn.
    [ "$1 $s" = "readdirplus unfsd" ] || run "$s" "$1" "$2"
    sync
  done
}
for round in $(seq "$rounds"); do
  [ "$round" = 1 ] && WORKS= all seqwrite 256 >/dev/null # both files are there, all blocks allocated
  all seqwrite 1024
  all seqread 2048
  all randwrite 100000
  all randread 200000
  all create 5000
  all stat 5000
  all lookup 5000
  all openread 5000
  all readdirplus 20
  all paced 2000
  all rename 5000
  all unlink 5000
done >"$work/figures"

# 100,000 files met, then asked for.
python3 - "${servers[@]/#/$work/}" <<'PY'
import os, sys
for d in sys.argv[1:]:
    os.mkdir(d + "/many")
    for i in range(100000):
        os.close(os.open("%s/many/%06d" % (d, i), os.O_CREAT, 0o644))
PY
memory() {
  local s line="memory-$1"
  for s in "${servers[@]}"; do line+=" $s $(awk '/^VmRSS:/ {print $2}' "/proc/${pid_of[$s]}/status")"; done
  echo "$line" >>"$work/figures"
}
memory before
for s in "${servers[@]}"; do
  [ "$s" = unfsd ] || timeout 300 "$work/client" "$(sed -E "s,(/vol|/ganesha)\?,\1/many?," <<<"${url_of[$s]}")" readdirplus 1 >/dev/null
done
memory right-after
sleep 4
memory later

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

python3 - "$work/figures" "$rounds" "${servers[@]}" <<'PY'
import statistics, sys
runs, order, rest, servers = {}, [], [], sys.argv[3:]
for line in open(sys.argv[1]):
    f = line.split()
    if f[0] in servers:
        if f[1] not in order:
            order.append(f[1])
        runs.setdefault((f[0], f[1]), []).append([float(x) for x in f[2:]])  # value, three latencies, CPU
    else:
        rest.append(line.strip())
print("NFSv3 on loopback, %s rounds, medians; MB/s or per second, ours as a multiple of the better peer; latencies (p50 p99 p99.9) in microseconds"
      % sys.argv[2])
peers = [s for s in servers if s in ("ganesha", "unfsd")]
print("%-12s" % "" + "".join("%10s" % s for s in servers) + "%7s   " % "ratio" + "".join("%-22s" % s for s in servers))
rows = {}
for work in order:
    med = rows[work] = {who: [statistics.median(c) for c in zip(*runs[(who, work)])] for who in servers if (who, work) in runs}
    best = max(med[who][0] for who in peers if who in med)
    print("%-12s" % work + "".join("%10.0f" % med[s][0] if s in med else "%10s" % "-" for s in servers)
          + "%7.2f   " % (med["ours"][0] / best)
          + "".join("%-22s" % (" ".join("%.0f" % x for x in med[s][1:4]) if s in med else "-") for s in servers))
print("\nCPU time of the server, microseconds per call, entry (readdirplus) or MiB (seq); ratio: the better peer's to ours")
print("%-12s" % "" + "".join("%10s" % s for s in servers) + "%7s" % "ratio")
for work in order:
    med = rows[work]
    best = min(med[who][4] for who in peers if who in med)
    print("%-12s" % work + "".join("%10.2f" % (med[s][4] / 1000) if s in med else "%10s" % "-" for s in servers)
          + "%7.2f" % (best / med["ours"][4]))
print()
for line in rest:
    print(line + (" KiB" if line.startswith("memory") else ""))
PY
