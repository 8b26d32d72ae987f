# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# dockerd dies and comes back: the container of a dockerd that was killed goes on until that ends it, as with runc.

left_vms() { pgrep -f '^[^ ]*(runcvm-monitor|qemu-system)'; }

running kill-dockerd
kill -KILL "$dockerd_pid"
wait "$dockerd_pid" 2>/dev/null
left_vms >/dev/null && ok "kill -9 of dockerd: a container goes on" || not_ok "a container went with its dockerd"
start_dockerd || not_ok "dockerd starts again"
docker ps -aq | xargs docker rm -f >/dev/null 2>&1
is "$(docker ps -aq | wc -l)" 0 "after a kill -9 of dockerd its containers can be removed"
