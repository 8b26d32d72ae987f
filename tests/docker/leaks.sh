# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# After all that: what is left of containers that are gone.

# A process that was killed, or the shim of one, may take a moment to go.
gone() { [ -z "$(left_processes)" ]; }

is "$(docker ps -aq)" "" "no container is left"
wait_for 20 gone
none_left "no monitor, VMM, shepherd or shim" left_processes
none_left "no mount" left_mounts
none_left "no TAP or veth" left_links "tap|veth|rcvm|runcvm"
none_left "no disk" left_disks
none_left "no state or socket" left_states
none_left "no cgroup" left_cgroups
none_left "nothing in /run" left_in_run
