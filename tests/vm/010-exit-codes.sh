#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Exit codes come back exactly: by the command line tool, by rcvm_vm_wait and in the state.
. "$(dirname "$0")/functions.sh"

# by_cli ID WANTED COMMAND...: also in the state that is kept.
by_cli() {
  local id=$1 wanted=$2 got state
  shift 2
  runcvm run --keep --memory 160M --log-level error --rootfs "$BUSYBOX" "$id" -- "$@" 2>"$work/stderr"
  got=$?
  is "$got" "$wanted" "'$*' exits with $wanted"
  state=$(runcvm state "$id")
  like "$state" "\"exitCode\": $wanted\b" "and the state of '$*' says so"
  like "$state" '"status": "stopped"' "and that it has stopped"
  runcvm delete "$id"
}

by_cli zero 0 true
by_cli one 1 false
by_cli seven 7 sh -c 'exit 7'
by_cli top 255 sh -c 'exit 255'
by_cli own126 126 sh -c 'exit 126'
by_cli own127 127 sh -c 'exit 127'
by_cli segv 139 probe segv

# PID 1 of a namespace is not killed by its own signals: a child's death is what a shell reports, and the process
# itself dies by a signal from outside.
is "$(busybox_run sub sh -c 'sh -c "kill -SEGV \$\$"; echo $?')" 139 "a child that dies by SIGSEGV"

python() { "$BUILD/run" /usr/bin/python3 "$@"; }
by_signal() {
  python - "$BUSYBOX" "$1" <<'PY'
import signal, sys, os
import runcvm
rootfs, number = sys.argv[1], int(sys.argv[2])
r, w = os.pipe()
# The handler of the default action: PID 1 gets TERM and SEGV from outside only if it has one, or by SIGKILL; exec
# resets it, so a program that wants to die by a signal has itself not be PID 1.
vm = runcvm.VM("signal-%d" % number, rootfs=rootfs, memory=160 << 20, stdout=w,
               args=["sh", "-c", "echo up; exec sleep 1000" if number == signal.SIGKILL else
                     "trap 'exit %d' %d; echo up; while :; do sleep 1000 & wait; done" % (128 + number, number)])
vm.start()
os.read(r, 1)
vm.kill(number)
code = vm.wait()
state = vm.state()
vm.delete()
print(code, state["org.runcvm"]["exitCode"])
PY
}
by_signal_exec() {
  python - "$BUSYBOX" <<'PY'
import signal, sys
import runcvm
vm = runcvm.VM("signals", rootfs=sys.argv[1], memory=160 << 20, args=["sleep", "100000"])
vm.start()
codes = []
for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMAX):
    p = vm.exec(["sleep", "100000"])
    p.start()
    p.kill(number)
    codes.append(p.wait())
vm.delete(force=True)
print(*codes)
PY
}
is "$(by_signal_exec)" "143 137 139 192" "death by SIGTERM, SIGKILL, SIGSEGV and the last real-time signal"
is "$(by_signal 9)" "137 137" "SIGKILL by rcvm_vm_kill: rcvm_vm_wait and the state say 137"
is "$(by_signal 15)" "143 143" "a handler of SIGTERM that exits with 143"

# An exec is no PID 1: it dies by its signal.
runcvm run --detach --memory 160M --log-level error --rootfs "$BUSYBOX" execs -- sleep 1000
for s in TERM:143 KILL:137 SEGV:139 ABRT:134 USR1:138; do
  runcvm exec execs sh -c "kill -${s%:*} \$\$"
  is $? "${s#*:}" "an exec that dies by SIG${s%:*} exits with ${s#*:}"
done
for c in 0 1 7 126 127 255; do
  runcvm exec execs sh -c "exit $c"
  is $? $c "an exec that exits with $c"
done
runcvm exec execs /no/such/program 2>"$work/stderr"
is $? 127 "an exec of a program that is not there: 127"
like "$(cat "$work/stderr")" '/no/such/program' "and its name in the error"
runcvm exec execs /etc/passwd 2>/dev/null
is $? 126 "an exec of a file that is no program: 126"

busybox_run none /no/such/program 2>"$work/stderr"
is $? 127 "run of a program that is not there: 127"
is "$(wc -l <"$work/stderr")" 1 "and one line of error"
for name in nosuch /no/such ./sh; do
  runcvm create --memory 160M --log-level error --rootfs "$BUSYBOX" --cwd /made/for/it uncreated -- $name 2>"$work/stderr"
  is "$? $(grep -c 'executable file not found in $PATH' "$work/stderr") $(runcvm list --quiet | grep -c uncreated)" "1 1 0" "create tells of '$name', which is not there, and leaves nothing"
done
is "$(runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" --cwd /bin relative -- ./echo found)" found "a program is found from the working directory on"
busybox_run noexec /etc/passwd 2>/dev/null
is $? 126 "run of a file that is no program: 126"
