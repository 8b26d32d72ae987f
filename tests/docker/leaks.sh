# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# After all that: what is left of containers that are gone.

# A process that was killed, or the shim of one, may take a moment to go.
gone() { [ -z "$(left_processes)" ]; }

is "$(docker ps -aq)" "" "no container is left"
wait_for 20 gone
is "$(left_processes)" "" "no monitor, VMM, shepherd or shim"
is "$(grep -c " $work/.*\(merged\|rootfs\|netns/[^d]\)" /proc/self/mountinfo)" 0 "no mount"
is "$(ip -o link | grep -cE ': (tap|veth|rcvm|runcvm)')" 0 "no TAP or veth"
is "$(find "$work/data/vms" -mindepth 1 2>/dev/null)" "" "no disk"
is "$(find "$work/docker-exec/runtime-runc/moby" -mindepth 1 ! -name .lock 2>/dev/null)" "" "no state or socket"
is "$(find /sys/fs/cgroup -path "*$cgroup_parent/?*" -type d)" "" "no cgroup"
# But for the files whose locks say which users and which names are taken.
is "$(find /run -mindepth 1 -path '*runcvm*' ! -type d ! -name runcvm-users ! -name .lock)" "" "nothing in /run"
