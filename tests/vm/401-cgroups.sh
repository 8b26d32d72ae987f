#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The container's cgroup on the host: who is in it, what it is limited to, and when it is gone.
. "$(dirname "$0")/functions.sh"

# groups PATTERN: the cgroups of that name, in all hierarchies.
groups() { find /sys/fs/cgroup -type d -path "*$1" 2>/dev/null; }
# of PID CONTROLLER: the directory of a process's group.
of() {
  local path
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    path=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
    echo "/sys/fs/cgroup$path"
  else
    path=$(sed -n "s/^[0-9]*:\([^:]*,\)\{0,1\}$2\(,[^:]*\)\{0,1\}://p" "/proc/$1/cgroup")
    echo "/sys/fs/cgroup/$2$path"
  fi
}
# either V1 V2: the value of whichever file there is.
either() { cat "$1" 2>/dev/null || cat "$2"; }
# bundle NAME CGROUPSPATH RESOURCES [COMMAND]
bundle() {
  mkdir -p "$work/$1"
  cat >"$work/$1/config.json" <<JSON
{ "ociVersion": "1.0.2", "root": { "path": "$BUSYBOX" },
  "process": { "cwd": "/", "args": ["sh", "-c", "${4:-sleep 1000}"], "env": ["PATH=/bin"] },
  "mounts": [ { "destination": "/sys", "type": "sysfs" }, { "destination": "/sys/fs/cgroup", "type": "cgroup" },
              { "destination": "/proc", "type": "proc" } ],
  "linux": { ${2:+\"cgroupsPath\": \"$2\",} "namespaces": [ {"type": "pid"}, {"type": "mount"} ], "resources": { $3 } },
  "annotations": { "org.runcvm.network-mode": "none" } }
JSON
}
if ! mkdir "/sys/fs/cgroup/${name%.sh}-$$" 2>/dev/null && ! mkdir "/sys/fs/cgroup/memory/${name%.sh}-$$" 2>/dev/null; then
  echo "ok 1 - # skip cgroups cannot be made here"
  n_checks=1
  exit
fi
rmdir "/sys/fs/cgroup/${name%.sh}-$$" "/sys/fs/cgroup/memory/${name%.sh}-$$" 2>/dev/null

path=/runcvm-test-$$/web
bundle web "$path" '"memory": {"limit": 167772160}, "cpu": {"shares": 512, "quota": 150000, "period": 100000, "cpus": "0"}, "pids": {"limit": 30}'
runcvm create --log-level warning --bundle "$work/web" --pid-file "$work/pid" web >"$work/out" 2>&1 </dev/null
is "$?:$(grep -v KVM "$work/out")" "0:" "a container with limits is created, without a warning"
pid=$(cat "$work/pid")
vmm=$(runcvm state web | sed -n 's/.*"vmmPid": \([0-9]*\).*/\1/p')
memory=$(of "$pid" memory) cpu=$(of "$pid" cpu) pids=$(of "$pid" pids) cpuset=$(of "$pid" cpuset)
like "$memory" "$path\$" "the monitor is in the cgroup of cgroupsPath"
for c in memory cpu pids cpuset; do is "$(of "$vmm" $c)" "$(of "$pid" $c)" "the VMM is in the same group ($c)"; done
mib=$(($(either "$memory/memory.limit_in_bytes" "$memory/memory.max") / 1048576))
succeeds "its memory limit is the guest's 160 MiB with room for the VMM ($mib MiB)" [ "$mib" -ge 224 ] && [ "$mib" -le 512 ]
is "$(either "$cpu/cpu.cfs_quota_us" <(cut -d' ' -f1 "$cpu/cpu.max" 2>/dev/null))" 150000 "its quota is that of config.json"
is "$(either "$cpu/cpu.shares" <(sed 's/^20$/512/' "$cpu/cpu.weight" 2>/dev/null))" 512 "its shares are"
is "$(cat "$cpuset/cpuset.cpus")" 0 "its CPUs are"
like "$(cat "/proc/$vmm/status")" 'Cpus_allowed_list:.0$' "the VMM is bound to them"
succeeds "its PID limit has room for the VMM's threads" [ "$(cat "$pids/pids.max")" -gt 100 ]
runcvm start web
is "$(runcvm exec web -- cat /sys/fs/cgroup/pids.max)" 30 "the container's own PID limit is that of config.json"
is "$(runcvm exec web -- sh -c 'cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo max' | cut -d' ' -f1)" max "its time is not limited twice"
"$BUILD/run" python3 - >"$work/py" 2>&1 <<'PY'
import json, runcvm
vm = runcvm.VM.open("web")
print(*sorted(vm.processes()))
s = vm.stats()
print(s["memory"]["usage"]["usage"] > 20 << 20, s["cpu"]["usage"]["total"] > 1000000, s["pids"]["current"] >= 3)
print(s["memory"]["usage"]["limit"] >> 20)
guest = s["org.runcvm"]["guest"]
print(guest["memory"]["usage"] > 0, guest["pids"]["current"])
vm.update({"cpu": {"quota": 50000, "period": 100000, "shares": 256}, "pids": {"limit": 40}, "memory": {"limit": 100 << 20}})
try:
    vm.update({"cpu": {"shares": 128}, "memory": {"limit": 1 << 30}})
except runcvm.Error as e:
    print(e.code_name)
try:
    vm.update('{"cpu": {"shares": "many"}}')
except runcvm.Error as e:
    print(e.code_name)
PY
is "$(sed -n 1p "$work/py")" "$(sort -n <(cat "$memory/cgroup.procs") | tr '\n' ' ' | sed 's/ $//')" "its processes are those of the cgroup"
is "$(sed -n 2p "$work/py")" "True True True" "its statistics have memory, time and processes"
is "$(sed -n 3p "$work/py")" "$mib" "and its limit"
is "$(sed -n 4p "$work/py")" "True 1" "and the guest's own of the container"
is "$(either "$cpu/cpu.cfs_quota_us" <(cut -d' ' -f1 "$cpu/cpu.max" 2>/dev/null))" 50000 "an update changes the quota"
is "$(either "$cpu/cpu.shares" <(sed 's/^10$/256/' "$cpu/cpu.weight" 2>/dev/null))" 256 "and the shares; one that is refused changes nothing"
is "$(runcvm exec web -- cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max | tr '\n' ' ')" "40 104857600 " "and the limits in the guest"
is "$(sed -n 5,6p "$work/py" | tr '\n' ' ')" "RCVM_E_UNSUPPORTED RCVM_E_SPEC " "more memory than the VM has, and what is no limit, are refused"
runcvm delete --force web
is "$(groups "$path")" "" "the cgroup goes with the container"

# A container that uses up its memory is killed in the guest; the VMM is not.
bundle greedy "$path" '"memory": {"limit": 134217728, "swap": 134217728}' 'head -c 300000000 /dev/zero | tail'
runcvm create --log-level error --bundle "$work/greedy" greedy >"$work/out" 2>&1 </dev/null
runcvm start greedy
"$BUILD/run" python3 - >"$work/py" 2>&1 <<'PY'
import runcvm
vm = runcvm.VM.open("greedy")
print(vm.wait(60), vm.oom_kills, vm.state()["org.runcvm"]["oomKills"])
PY
is "$(cat "$work/py")" "137 1 1" "a container that needs more than its memory is killed, which is counted"
runcvm delete greedy
bundle full "$path" '"memory": {"limit": 201326592}' 'mkdir /mnt; mount -t tmpfs -o size=400m t /mnt; head -c 100000000 /dev/zero >/mnt/a && echo full'
is "$(runcvm run --log-level warning --bundle "$work/full" full 2>&1 | grep -v KVM)" full "one that fills its memory does not make the VMM hit the limit"

# The default, and what is left by a monitor that is killed.
bundle plain "" ''
runcvm create --log-level warning --bundle "$work/plain" --pid-file "$work/pid" plain >"$work/out" 2>&1 </dev/null
is "$?:$(grep -v KVM "$work/out")" "0:" "without cgroupsPath"
pid=$(cat "$work/pid")
like "$(of "$pid" memory)" '/plain@[0-9a-f]{8}$' "the group has the container's name"
kill -9 "$pid"
like "$(runcvm state plain)" 'stopped' "the monitor was killed"
is "$(groups '/plain@*')" "" "the next call removes its cgroup"
runcvm delete plain

# With version 2 alone, which the guest has: the unit test of cgroups runs in there, too.
test=$BUILD/tests/unit/test-cgroup
if [ -x "$test" ]; then
  cp "$test" "$BUSYBOX/"
  ldd "$test" | sed -n 's/.* \(\/[^ ]*\) (.*/\1/p' | while read -r lib; do mkdir -p "$BUSYBOX$(dirname "$lib")"; cp -L "$lib" "$BUSYBOX$lib"; done
  mkdir -p "$BUSYBOX/lib64"
  cp -L /lib64/ld-linux-x86-64.so.2 "$BUSYBOX/lib64/"
  bundle v2 "" '' 'mkdir /sys/fs/cgroup/init; echo 1 >/sys/fs/cgroup/init/cgroup.procs; export LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu; /test-cgroup 2>&1; echo exit $?; find /sys/fs/cgroup -type d | wc -l'
  sed -i 's/{"type": "mount"}/{"type": "mount"}, {"type": "cgroup"}/; s/"type": "cgroup" }/"type": "cgroup", "options": ["rw"] }/; s/"org.runcvm.network/"org.runcvm.mem-size": "256M", &/' "$work/v2/config.json"
  out=$(runcvm run --log-level error --bundle "$work/v2" v2 2>&1)
  like "$(grep -v '^\[ ' <<<"$out" | tr '\n' ' ')" 'exit 0 2 $' "the code of the host's cgroups works with version 2 alone"
  is "$(grep -c 'OK.*test_real' <<<"$out")" 2 "with groups that were really made"
else
  ok "the unit tests were not built # skip"
fi

# What is not ours is not touched.
bundle taken "$path" ''
controller=$(of $$ memory)
controller=${controller#/sys/fs/cgroup}
base=/sys/fs/cgroup
[ -f $base/cgroup.controllers ] || base+=/pids
mkdir -p "$base$path"
sleep 1000 &
other=$!
echo $other >"$base$path/cgroup.procs"
like "$(runcvm run --bundle "$work/taken" taken 2>&1)" 'there are processes in the cgroup' "a cgroup with processes of others is refused"
succeeds "which live on" kill $other
wait $other 2>/dev/null
bundle root / ''
like "$(runcvm run --bundle "$work/root" root 2>&1)" 'that of all processes' "so is the root"
bundle dots /a/../b ''
like "$(runcvm run --bundle "$work/dots" dots 2>&1)" "has the name '..' in it" "and a path with .."
for d in /sys/fs/cgroup/*/"runcvm-test-$$" "/sys/fs/cgroup/runcvm-test-$$"; do
  [ ! -d "$d" ] || rmdir "$d/web" "$d" 2>/dev/null
  [ ! -d "$d" ] || rmdir "$d" 2>/dev/null
done
is "$(groups "/runcvm-test-$$*")" "" "no cgroup is left"
