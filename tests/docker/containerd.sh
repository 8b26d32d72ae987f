# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# containerd without Docker: its own client, and runcvm in the place of runc (docs/containerd.md).

image=docker.io/library/busybox:latest
docker save busybox | ctr images import - >/dev/null
status_of() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
stopped() { [ "$(status_of "$1")" = STOPPED ]; }

# What it prints with this program as runc.
with_containerd() {
  local program=$1 id=$2
  run() { ctr run --runtime io.containerd.runc.v2 --runc-binary "$program" "$@"; }
  run --rm $image "$id-1" sh -c 'echo out; exit 7'
  echo "exit $?"
  run -d $image "$id-2" sleep 1000
  status_of "$id-2"
  ctr task exec --exec-id one "$id-2" sh -c 'echo exec; exit 5' 2>/dev/null
  echo "exec $?"
  ctr task pause "$id-2"
  status_of "$id-2"
  ctr task resume "$id-2"
  status_of "$id-2"
  ctr task metrics "$id-2" | grep -c 'memory.usage_in_bytes *[1-9]'
  ctr task kill -s KILL "$id-2"
  wait_for 30 stopped "$id-2"
  status_of "$id-2"
  ctr task delete "$id-2" 2>/dev/null
  echo "delete $?"
  ctr container rm "$id-2"
  ctr container ls -q | grep -c "$id"
}

with_containerd /usr/sbin/runc by-runc >"$work/containerd.runc" 2>&1
with_containerd "$work/runcvm" by-runcvm >"$work/containerd.runcvm" 2>&1
is "$(cat "$work/containerd.runcvm")" "$(cat "$work/containerd.runc")" "containerd: run, exec, pause, metrics, kill and delete as with runc"

# A pod as the CRI plugin makes it: a sandbox, which is a process of the host, and a container that is told to join its namespaces, and is
# a VM with the pod's host name and network; in the end another one after it.
runtime=(--runtime io.containerd.runc.v2 --runc-binary "$work/runcvm")
type=io.kubernetes.cri.container-type
ctr run -d "${runtime[@]}" --annotation $type=sandbox $image pod sleep 1000 || not_ok "a pod's sandbox starts"
pid=$(ctr task ls | awk '$1 == "pod" { print $2 }')
is "$(status_of pod) $(tr '\0' ' ' <"/proc/$pid/cmdline")" "RUNNING sleep 1000 " "a pod's sandbox is a process of the host"
nsenter -t "$pid" -u hostname the-pod
ip link add pod0 type veth peer name pod1
ip link set pod1 netns "$pid" name eth0
ip addr add 10.98.0.1/24 dev pod0 && ip link set pod0 up
nsenter -t "$pid" -n sh -c 'ip addr add 10.98.0.2/24 dev eth0 && ip link set eth0 up'
# This client has no option for what the CRI plugin writes there.
python3 - "$work/containerd/state/io.containerd.runtime.v2.task/default/pod/config.json" <<'END'
import json, sys
config = json.load(open(sys.argv[1]))
config["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "79", "kernel.shm_rmid_forced": "1"}
json.dump(config, open(sys.argv[1], "w"))
END
in_pod() {
  ctr run --rm "${runtime[@]}" --annotation $type=container --annotation io.kubernetes.cri.sandbox-id=pod --with-ns "network:/proc/$pid/ns/net" --with-ns "uts:/proc/$pid/ns/uts" \
    --with-ns "ipc:/proc/$pid/ns/ipc" --with-ns "pid:/proc/$pid/ns/pid" $image "$@" 2>/dev/null
}
for n in 1 2; do
  is "$(in_pod "pod-$n" sh -c 'hostname; uname -r; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced; ping -c 1 -W 20 10.98.0.1 | grep -c "1 packets received"' | grep -v "^$(uname -r)\$" | sed 's/^[0-9].*-cloud-.*/KERNEL/' | xargs)" \
    "the-pod KERNEL 79 1 1" "container $n of a pod is a VM with the pod's name, network and sysctls"
done
ctr task kill -s KILL pod
wait_for 30 stopped pod
ctr task delete pod 2>/dev/null
ctr container rm pod
ip link del pod0 2>/dev/null
is "$(ctr container ls -q | grep -c pod)$(find /run -path '*sandboxes:/*' | wc -l)" 00 "nothing is left of the pod"

# The settings of docs/containerd.md are settings for containerd.
sed -n '/^    \[plugins/,/^    *SystemdCgroup/p' docs/containerd.md | sed 's/^    //' >"$work/cri.part"
{ printf 'version = 2\nroot = "%s/cri/root"\nstate = "%s/cri/state"\n' "$work" "$work"; cat "$work/cri.part"; } >"$work/cri.toml"
like_runtime=$(containerd -c "$work/cri.toml" config dump 2>&1 | grep -A 30 'containerd.runtimes.runcvm')
case $like_runtime in
  *'BinaryName = "/usr/bin/runcvm"'*) ok "containerd takes the settings of docs/containerd.md" ;;
  *) not_ok "containerd takes the settings of docs/containerd.md"; diag "$like_runtime" ;;
esac
