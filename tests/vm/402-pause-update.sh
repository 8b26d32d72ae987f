#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A VM that is paused stands still and goes on as if nothing had been; its limits change while it runs.
. "$(dirname "$0")/functions.sh"

cat >"$work/call.py" <<'PY'
import os, sys
import runcvm

vm = runcvm.VM.open(sys.argv[1])
try:
    result = getattr(vm, sys.argv[2])(*sys.argv[3:])
    print(result if result is not None else "done")
except runcvm.Error as e:
    print(e.code_name, e)
    sys.exit(1)
PY
# call ID METHOD [ARG...]: of the Python binding, for what the tool has no command for
call() { "$BUILD/run" python3 "$work/call.py" "$@" 2>&1; }

mkfifo "$work/in" "$work/out"
runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" still -- \
  sh -c 'trap "echo hup" HUP; while :; do line=; read -r line && echo "$line $(date +%s)"; done' \
  <"$work/in" >"$work/out" 2>&1 &
tool=$!
exec 7>"$work/in" 8<"$work/out"
# answer: the next line that it writes, or nothing
answer() { local line=; read -r -t "${1:-60}" -u 8 line; echo "$line"; }
echo one >&7
like "$(answer)" '^one' "it answers"
is "$(call still pause)" done "a VM that runs is paused"
like "$(runcvm state still)" '"status": "paused"' "its state says so"
like "$(call still pause)" 'RCVM_E_STATE.*paused already' "it cannot be paused twice"
like "$(runcvm exec still -- true 2>&1)" 'paused' "no process can be started in it"
echo two >&7
is "$(answer 3)" "" "it stands still, and answers nothing"
is "$(call still resume)" done "it is resumed"
line=$(answer)
like "$line" '^two' "what it was sent meanwhile reaches it"
# What runs in the first moment may still see the old time; what follows on a request to the agent does not.
runcvm exec still -- true
echo three >&7
line=$(answer)
late=$(($(date +%s) - ${line#three }))
succeeds "its clock is the host's again ($late s)" [ "$late" -lt 3 ]
like "$(call still resume)" 'RCVM_E_STATE.*not paused' "it cannot be resumed twice"

call still pause >/dev/null
runcvm kill still HUP
is "$(answer 1)" "" "a signal waits"
call still resume >/dev/null
is "$(answer)" hup "and arrives when it goes on"

call still pause >/dev/null
runcvm kill still KILL
wait $tool
is "$?" 137 "SIGKILL ends one that is paused"
exec 7>&- 8<&-
runcvm delete still 2>/dev/null

runcvm create --memory 160M --log-level error --rootfs "$BUSYBOX" gone -- sleep 1000
like "$(call gone pause)" 'RCVM_E_STATE.*not running' "one that was not started cannot be paused"
runcvm start gone
call gone pause >/dev/null
runcvm delete gone 2>/dev/null
is $? 1 "one that runs or is paused is not deleted without --force"
succeeds "but with it" runcvm delete --force gone
runcvm create --memory 160M --log-level error --rootfs "$BUSYBOX" created -- true
succeeds "one that is created is, without" runcvm delete created

# The VMM is killed while its guest stands still.
runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" shot -- sleep 1000 >"$work/shot" 2>&1 </dev/null &
tool=$!
until runcvm state shot 2>/dev/null | grep -q '"running"' || ! kill -0 $tool; do sleep 0.1; done
call shot pause >/dev/null
kill -9 "$(runcvm state shot | sed -n 's/.*"vmmPid": \([0-9]*\).*/\1/p')"
wait $tool
is "$?" 125 "one whose VMM is killed while it is paused ends with 125"
like "$(cat "$work/shot")" 'the VMM \([a-z]*, pid [0-9]*\) was killed by signal 9' "and its error says so"
no_leaks "nothing of it is left"
