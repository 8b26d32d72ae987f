#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A VM outlives whoever created it, and can be taken up again by its id.
. "$(dirname "$0")/functions.sh"

python() { "$BUILD/run" /usr/bin/python3 "$@"; }

python - "$BUSYBOX" "$work/out" <<'PY'
import os, sys
import runcvm
out = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o600)
vm = runcvm.VM("lasting", rootfs=sys.argv[1], memory=160 << 20, stdout=out, stderr=out,
               args=["sh", "-c", "trap 'echo got it; exit 33' USR1; echo up; while :; do sleep 1; done"])
vm.start()
os._exit(0)  # without a word
PY
like "$(runcvm state lasting)" '"status": "running"' "the VM runs on when its creator has ended"
is "$(runcvm exec lasting echo hello)" hello "an exec from another process"
is "$(python - <<'PY'
import signal
import runcvm
vm = runcvm.VM.open("lasting")
vm.kill(signal.SIGUSR1)
print(vm.wait())
PY
)" 33 "rcvm_vm_open, kill and wait in a third process"
is "$(cat "$work/out")" $'up\ngot it' "and all of its output where its creator wanted it"
like "$(runcvm state lasting)" '"exitCode": 33' "the state says how it ended"
busybox_run lasting true 2>"$work/err"
is $? 125 "its id cannot be used while it is there"
like "$(cat "$work/err")" "in use" "and the error says why"
succeeds "it is deleted" runcvm delete lasting
busybox_run lasting true
is $? 0 "and its id is free again"

# The same while it lives.
runcvm run --detach --memory 160M --log-level error --rootfs "$BUSYBOX" alive -- sleep 100000
busybox_run alive true 2>"$work/err"
is $? 125 "the id of a VM that lives cannot be used"
runcvm delete alive 2>"$work/err"
is $? 1 "a VM that runs is not deleted"
like "$(cat "$work/err")" "running" "and the error says that it runs"
succeeds "but by force it is" runcvm delete --force alive
no_leaks
