# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# docker checkpoint create, and docker start --checkpoint.

count='i=0; while :; do i=$((i + 1)); echo $i; sleep 0.2; done'
docker run -d -m 160m --name counter --runtime=runcvm busybox sh -c "$count" >/dev/null
said() { docker logs counter 2>/dev/null | sed -n '$='; }
has_said() { [ "$(said)" -gt "$1" ]; }
# All from 1 on, none missing and none twice.
is_exact() { docker logs counter 2>/dev/null | awk '$1 != NR { exit 1 }'; }
state() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' counter; }
has_ended() { [ "$(docker inspect -f '{{.State.Status}}' counter)" = exited ]; }
reaches() { ping -q -c 1 -W 10 "$(docker inspect -f '{{.NetworkSettings.IPAddress}}' counter)" >/dev/null; }
wait_for 120 has_said 5

if [ "${RUNCVM_HYPERVISOR:-qemu}" != firecracker ]; then
  out=$(docker checkpoint create counter one 2>&1)
  is "$? $(grep -oE "the VMM driver '[a-z]+' cannot save or restore a container that runs \(snapshots\): firecracker can" <<<"$out")" \
    "1 the VMM driver 'qemu' cannot save or restore a container that runs (snapshots): firecracker can" "a VMM that cannot: docker checkpoint says so"
  n=$(said)
  wait_for 60 has_said $((n + 5))
  is "$(state)" "running 0" "and the container goes on"
else
  is "$(docker checkpoint create --leave-running counter one 2>&1)" one "docker checkpoint create --leave-running"
  n=$(said)
  wait_for 60 has_said $((n + 5))
  is "$(state)" "running 0" "the container goes on"
  reaches && ok "with its network" || not_ok "its network does not work any more"
  is "$(docker checkpoint create counter two 2>&1)" two "docker checkpoint create"
  wait_for 60 has_ended
  is "$(state)" "exited 137" "the container has ended"
  is "$(docker checkpoint ls counter | sed 1d | sort | xargs)" "one two" "docker checkpoint ls"
  n=$(said)
  is "$(docker start --checkpoint two counter 2>&1)" "" "docker start --checkpoint"
  wait_for 60 has_said $((n + 5))
  is_exact && ok "it goes on where it was" || { not_ok "it goes on where it was"; diag "$(docker logs counter | xargs)"; }
  reaches && ok "with its network" || not_ok "its network does not work any more"
  is "$(docker exec counter echo in it)" "in it" "and docker exec works"
fi
docker rm -f counter >/dev/null
. tests/docker/leaks.sh
