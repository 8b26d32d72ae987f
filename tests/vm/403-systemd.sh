#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cgroup driver systemd, with a systemd that runs in namespaces of its own: the container's cgroup is a scope of its, with the
# limits as its properties, and is gone when the container is.
. "$(dirname "$0")/functions.sh"

group=/sys/fs/cgroup/unified/runcvm-systemd-$$
[ -d /sys/fs/cgroup/unified ] || group=/sys/fs/cgroup/runcvm-systemd-$$
if ! mkdir "$group" 2>/dev/null; then
  echo "ok 1 - # skip cgroups of version 2 cannot be made here"
  n_checks=1
  exit
fi

mkdir -p "$work/box" "$work/bad" "$work/units"
# bundle NAME CGROUPSPATH
bundle() {
  cat >"$work/$1/config.json" <<JSON
{ "ociVersion": "1.0.2", "root": { "path": "$BUSYBOX" },
  "process": { "cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"] },
  "linux": { "cgroupsPath": "$2", "namespaces": [ {"type": "pid"}, {"type": "mount"} ],
             "resources": { "memory": { "limit": 167772160 }, "cpu": { "quota": 150000, "period": 100000, "shares": 512, "cpus": "0-1" },
                            "pids": { "limit": 30 } } },
  "annotations": { "org.runcvm.network-mode": "none" } }
JSON
}
bundle box web-front.slice:docker:box
bundle bad no:good

# What is asked in there: lines KEY=VALUE.
cat >"$work/inside" <<'S'
scope() { systemctl show "docker-box.scope" -p "$1" | cut -d= -f2-; }
runcvm() { "$BUILD/run" runcvm --root "$RUNCVM_ROOT" --systemd-cgroup "$@"; }
say() { echo "$1=$(tr '\n' ' ' <<<"$2" | sed 's/ *$//')"; }
until systemctl show -p Version >/dev/null 2>&1; do sleep 0.1; done
say bad "$(runcvm create --bundle "$work/bad" bad 2>&1)"
runcvm create --log-level error --bundle "$work/box" --pid-file "$work/pid" box </dev/null >"$work/create.out" 2>&1
say create "$? $(cat "$work/create.out")"
say state "$(scope ActiveState)"
say slice "$(scope Slice)"
say delegate "$(scope Delegate)"
say group "$(sed -n 's/^0:://p' "/proc/$(cat "$work/pid")/cgroup")"
say vmm "$(sed -n 's/^0:://p' "/proc/$(runcvm state box | sed -n 's/.*"vmmPid": \([0-9]*\).*/\1/p')/cgroup")"
say memory "$(scope MemoryMax)"
say tasks "$(scope TasksMax)"
say cpus "$(scope AllowedCPUs)"
say quota "$(scope CPUQuotaPerSecUSec)"
runcvm start box
say exec "$(runcvm exec box echo hello)"
say update "$(runcvm update --pids-limit 50 box 2>&1)"
say tasks_then "$(scope TasksMax)"
say again "$(runcvm create --bundle "$work/box" --log-level error again 2>&1 </dev/null)"
runcvm delete --force again 2>/dev/null
say delete "$(runcvm delete --force box 2>&1)"
for i in $(seq 100); do [ "$(scope ActiveState)" = inactive ] && break; sleep 0.1; done
say state_then "$(scope ActiveState)"
say left "$(find /sys/fs/cgroup -name 'docker-box*')"
# Killed with nobody to tidy up but systemd and the next call.
runcvm create --log-level error --bundle "$work/box" --pid-file "$work/pid" box </dev/null >/dev/null 2>&1
kill -KILL "$(cat "$work/pid")"
runcvm delete --force box
for i in $(seq 100); do [ "$(scope ActiveState)" = inactive ] && break; sleep 0.1; done
say state_killed "$(scope ActiveState)"
systemctl stop dbus.socket dbus.service
say no_bus "$(runcvm create --log-level error --bundle "$work/box" box 2>&1 </dev/null)"
echo end=
S
cat >"$work/units/tests.service" <<U
[Unit]
DefaultDependencies=no
After=dbus.service
[Service]
Type=oneshot
ExecStart=/bin/bash $work/inside
Environment="BUILD=$BUILD" "work=$work" "RUNCVM_ROOT=$RUNCVM_ROOT" "RUNCVM_DATA_DIR=$RUNCVM_DATA_DIR" "RUNCVM_GUEST_DIR=$RUNCVM_GUEST_DIR" "PATH=$PATH"
StandardOutput=file:$work/said
StandardError=file:$work/errors
U
# By these names systemd knows when there is a bus to be on.
cat >"$work/units/dbus.socket" <<U
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
U
cat >"$work/units/dbus.service" <<U
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation --nosyslog
U
printf '[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service tests.service\n' >"$work/units/tests.target"
# systemd is the first process, with a bus and nothing else that this machine may have units for.
cat >"$work/boot" <<'S'
mount --bind "$work" /mnt || exit
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
# It may be below /run, as in the lab.
mkdir -p "$work" /run/systemd/system /run/dbus /run/lock
mount --bind /mnt "$work" && umount /mnt || exit
# Without them systemd would start what this machine has, which tidies up /tmp.
cp "$work"/units/* /run/systemd/system/ || exit
ip link set lo up
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --system --unit=tests.target --show-status=no --log-target=null
S
: >"$work/said"
(
  echo "$BASHPID" >"$group/cgroup.procs"
  export work
  exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child --mount-proc --propagation private bash "$work/boot"
) >"$work/systemd.log" 2>&1 &
systemd=$!
for i in $(seq 1200); do
  grep -q '^end=' "$work/said" && break
  kill -0 $systemd 2>/dev/null || break
  sleep 0.1
done
said() { sed -n "s/^$1=//p" "$work/said"; }
grep -q '^end=' "$work/said" || diag "$(cat "$work/systemd.log" "$work/errors" "$work/said" 2>/dev/null)"

like "$(said bad)" "'linux.cgroupsPath' is 'no:good', and with the cgroup driver systemd it is SLICE:PREFIX:NAME" "another path than systemd's is refused"
is "$(said create)" "0" "a container is created with --systemd-cgroup"
is "$(said state) $(said slice) $(said delegate)" "active web-front.slice yes" "its scope is active, in its slice, and delegated"
is "$(said group)" /web.slice/web-front.slice/docker-box.scope "the monitor is in it"
is "$(said vmm)" /web.slice/web-front.slice/docker-box.scope "so is the VMM"
mib=$(($(said memory) / 1048576))
succeeds "systemd knows its memory limit, with room for the VMM ($mib MiB)" [ "$mib" -ge 224 -a "$mib" -le 512 ]
succeeds "and how many tasks it may have ($(said tasks))" [ "$(said tasks)" -gt 100 ]
is "$(said cpus)" 0-1 "and its CPUs"
is "$(said quota)" 1.500000s "and its share of them"
is "$(said exec)" hello "the container runs"
is "$(said update)" "" "its limits are changed"
is "$(($(said tasks_then) - $(said tasks)))" 20 "which systemd hears of"
like "$(said again)" "systemd refused to make the unit 'docker-box.scope': .*already" "a second one in the same scope is refused"
is "$(said delete) $(said state_then) $(said left)" " inactive " "with the container its scope is gone"
is "$(said state_killed)" inactive "also where the monitor was killed"
like "$(said no_bus)" "cgroup: the cgroup driver is systemd, and its system bus cannot be reached" "no bus is an error that says so"

# It ends by a signal to its parent, with all that is in there.
kill -KILL $systemd 2>/dev/null
wait $systemd 2>/dev/null
wait_for rmdir "$group" || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
is "$(ls -d "$group" 2>/dev/null)" "" "and nothing of systemd's is left"
