# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# dockerd dies and comes back: the container of a dockerd that was killed goes on until that ends it, as with runc.

left_vms() { pgrep -f '^[^ ]*(runcvm-monitor|qemu-system)'; }

running kill-dockerd

# What install-docker writes a dockerd that runs takes in, and no container is stopped by that.
settings() { python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1])), sort_keys=True))' "$work/daemon.json"; }
knows_vm() { docker info -f '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' | grep -qw vm; }
knows_no_vm() { ! knows_vm; }
before=$(settings)
"$work/runcvm" install-docker --config "$work/daemon.json" --name vm --path "$work/runcvm" >/dev/null
kill -HUP "$dockerd_pid"
wait_for 20 knows_vm
is "$(docker run --rm --runtime=vm busybox echo installed 2>&1)" installed "the runtime that install-docker has added runs a container"
"$work/runcvm" install-docker --config "$work/daemon.json" --name vm --uninstall >/dev/null
kill -HUP "$dockerd_pid"
wait_for 20 knows_no_vm
is "$(docker run --rm --runtime=vm busybox true 2>&1 | grep -c 'unknown or invalid runtime name: vm\|Unknown runtime specified vm')" 1 "with --uninstall Docker does not know it any more"
is "$(settings)" "$before" "and its settings are what they were"
is "$(docker inspect -f '{{.State.Status}}' kill-dockerd)" running "a container that ran meanwhile still does"

kill -KILL "$dockerd_pid"
wait "$dockerd_pid" 2>/dev/null
left_vms >/dev/null && ok "kill -9 of dockerd: a container goes on" || not_ok "a container went with its dockerd"
start_dockerd || not_ok "dockerd starts again"
docker ps -aq | xargs docker rm -f >/dev/null 2>&1
is "$(docker ps -aq | wc -l)" 0 "after a kill -9 of dockerd its containers can be removed"
