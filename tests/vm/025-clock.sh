#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Time passes in the guest as it does outside.
. "$(dirname "$0")/functions.sh"

mkfifo "$work/in" "$work/out"
busybox_run clock sh -c 'while read -r _; do read -r up _ </proc/uptime; echo "$up"; done' <"$work/in" >"$work/out" &
exec 7>"$work/in" 8<"$work/out"
# look: the guest's clock, and the host's before and after, in seconds: of some looks the one that took least
look() {
  local i before up after
  for i in 1 2 3 4 5 6 7 8; do
    read -r before _ </proc/uptime
    echo >&7
    read -r -t 60 -u 8 up
    read -r after _ </proc/uptime
    echo "$before $up $after"
  done | awk '{ took = $3 - $1 } NR == 1 || took < least { least = took; line = $0 } END { print line }'
}
first=$(look)
wait_for false # ten seconds
second=$(look)
exec 7>&- 8<&-
wait

# However late an answer is: more than between the outer two moments cannot have passed, nor less than between the inner two.
verdict=$(awk -v a="$first" -v b="$second" 'BEGIN {
  split(a, x); split(b, y); guest = y[2] - x[2]; most = y[3] - x[1]; least = y[1] - x[3]
  printf "%s: %.2f s, and between %.2f and %.2f on the host", (guest <= most * 1.01 + 0.05 && guest >= least * 0.99 - 0.05 ? "good" : "bad"), guest, least, most }')
like "$verdict" '^good: ' "the guest's clock goes as fast as the host's"
diag "$verdict"
