# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What dies at the wrong moment, and what becomes of it.

running() { docker run -d --name "$1" --runtime=runcvm busybox sh -c 'trap "exit 0" TERM; while :; do sleep 1; done' >/dev/null; }
pid_of() { docker inspect -f '{{.State.Pid}}' "$1"; }
shim_of() { ps -o pid= -o args= -C containerd-shim-runc-v2 | grep -- "$(docker inspect -f '{{.Id}}' "$1")" | awk '{print $1}'; }
alive() { grep -qa -- "$1" /proc/[0-9]*/cmdline 2>/dev/null; }
dead() { ! pgrep -f -- "^[^ ]*(qemu-system|runcvm-monitor).*$1" >/dev/null; }
exited() { [ "$(docker inspect -f '{{.State.Status}}' "$1")" = exited ]; }

# Side by side: each takes a boot.
for n in kill-monitor kill-vmm kill-shim kill-exec; do running $n & done
wait $(jobs -p | grep -vxE "$dockerd_pid|$containerd_pid")

id=$(docker inspect -f '{{.Id}}' kill-monitor)
kill -KILL "$(pid_of kill-monitor)"
wait_for 30 exited kill-monitor
is "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' kill-monitor)" "exited 137" "kill -9 of a container's PID: Docker sees 137"
wait_for 10 dead "$id"
dead "$id" && ok "and its VM is gone" || not_ok "the VM of a monitor that was killed goes on"
is "$(docker start kill-monitor 2>&1; docker inspect -f '{{.State.Status}}' kill-monitor)" "kill-monitor
running" "it can be started again"

id=$(docker inspect -f '{{.Id}}' kill-vmm)
kill -KILL "$(pgrep -f "qemu-system.*$id")"
wait_for 30 exited kill-vmm
is "$(docker inspect -f '{{.State.Status}}' kill-vmm)" exited "kill -9 of the VMM ends the container"
[ "$(docker inspect -f '{{.State.ExitCode}}' kill-vmm)" != 0 ] && ok "with a failure" || not_ok "a VMM that was killed is no success"

id=$(docker inspect -f '{{.Id}}' kill-shim)
kill -KILL "$(shim_of kill-shim)"
wait_for 30 exited kill-shim
wait_for 10 dead "$id"
dead "$id" && ok "kill -9 of the shim: the VM is gone" || not_ok "the VM of a shim that was killed goes on"

# The process on the host that stands for an exec.
docker exec kill-exec sleep 4242 &
exec_client=$!
shepherd() { pgrep -P "$(shim_of kill-exec)" -f 'exec --process'; }
wait_for 30 shepherd
wait_for 30 docker exec kill-exec pgrep -f 'sleep 424[2]'
kill -KILL "$(shepherd)"
wait $exec_client
is $? 137 "kill -9 of an exec's PID: Docker sees 137"
gone_inside() { ! docker exec kill-exec pgrep -f 'sleep 424[2]'; }
wait_for 30 gone_inside && ok "and the process in the VM is gone" || not_ok "the process of an exec that was killed goes on"
docker exec kill-exec true && ok "its container is not" || not_ok "its container went with it"

# A kernel that panics; only where it is the VM's.
docker run --name panic --runtime=runcvm --privileged busybox sh -c 'grep -q cryptomgr.notests /proc/cmdline && echo c >/proc/sysrq-trigger; sleep 60' >"$work/panic" 2>&1
is "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' panic)" "exited 125 false" "a guest whose kernel panics: its container has ended, with a failure"
docker ps -aq | xargs docker rm -f >/dev/null 2>&1
is "$(docker ps -aq | wc -l)" 0 "all of them can be removed"
