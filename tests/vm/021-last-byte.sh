#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The last byte before the exit is never lost: 20 VMs, and 1,000 execs in one VM, of a process that prints
# 64 KiB and exits at once.
. "$(dirname "$0")/functions.sh"

bad=0 vms=$(scaled 20 2) execs=$(scaled 1000 50)
for i in $(seq "$vms"); do
  got=$(busybox_run "vm$i" sh -c 'head -c 65535 /dev/zero | tr "\0" x; printf E' | tr -d '\n' | wc -c)
  [ "$got" = 65536 ] || { bad=$((bad + 1)); diag "VM $i: $got bytes"; }
done
is $bad 0 "$vms VMs: 65536 bytes each"

# The API does it faster than 1,000 starts of the tool.
"$BUILD/run" /usr/bin/python3 - "$BUSYBOX" "$execs" >"$work/log" 2>&1 <<'PY'
import os, sys
import runcvm
vm = runcvm.VM("execs", rootfs=sys.argv[1], memory=160 << 20, args=["sleep", "100000"])
vm.start()
bad = 0
for i in range(int(sys.argv[2])):
    r, w = os.pipe()
    p = vm.exec(["sh", "-c", "head -c 65535 /dev/zero | tr '\\0' x; printf E; exit %d" % (i % 256)])
    p.set_stdio(-1, w, -1)
    p.start()
    os.close(w)
    data = b""
    while piece := os.read(r, 1 << 20):
        data += piece
    os.close(r)
    code = p.wait()
    if len(data) != 65536 or data[-1:] != b"E" or code != i % 256:
        bad += 1
        print("exec", i, len(data), code)
vm.delete(force=True)
print("bad:", bad)
PY
is "$(tail -n 1 "$work/log")" "bad: 0" "$execs execs: 65536 bytes and the right exit code each"
[ "$n_failed" = 0 ] || diag "$(head "$work/log")"
