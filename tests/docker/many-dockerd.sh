# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What is left when dockerd is killed at random moments: of runcvm's nothing.  After many.sh, and the last of all, for much is left of Docker's
# own: network interfaces, shims that containerd forgets (it waits 5 seconds for a shim, which has no other ear while its runtime creates),
# and a layer that dockerd had mounted for itself.

# A dockerd that is killed while it makes a container knows nothing of it when it comes back: containerd does.
clean_for_dockerd() {
  remove_all
  # A container that is removed before its task leaves the task's shim behind.
  ctr -n moby container ls -q | while read -r id; do
    if ctr -n moby task ls -q | grep -qx "$id"; then timeout 20 ctr -n moby task delete -f "$id" || continue; fi
    ctr -n moby container rm "$id"
  done >/dev/null 2>&1
  no_container && [ "$(ours)" = "$none_of_ours" ]
}


began=$SECONDS
with_kills $(((KILLS + 4) / 5)) dockerd
wait_for 60 clean_for_dockerd
is_clean "$(docker ps -aq | wc -l) containers, $(ours)" "0 containers, $none_of_ours" "after kill -9 of dockerd at random moments nothing of runcvm's is left"
diag "of Docker's: $(dockers)"
is "$(docker run --rm --runtime="$RUNTIME" busybox echo well)" well "and the next container runs"
diag "kills of dockerd: $((SECONDS - began)) s"
