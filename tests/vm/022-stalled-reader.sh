#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A reader that stalls for 10 seconds stalls nothing else, and loses nothing.
. "$(dirname "$0")/functions.sh"

"$BUILD/run" /usr/bin/python3 - "$BUSYBOX" >"$work/log" 2>&1 <<'PY'
import os, sys, time
import runcvm
vm = runcvm.VM("stall", rootfs=sys.argv[1], memory=160 << 20, args=["sleep", "100000"])
vm.start()
r, w = os.pipe()
stalled = vm.exec(["sh", "-c", "head -c 3000000 /dev/zero; echo finished >&2"])
er, ew = os.pipe()
stalled.set_stdio(-1, w, ew)
stalled.start()
os.close(w), os.close(ew)
# Nobody reads r.  Meanwhile others run, from start to exit, for ten seconds.
end, rounds = time.monotonic() + 10, 0
while time.monotonic() < end:
    r2, w2 = os.pipe()
    p = vm.exec(["sh", "-c", "head -c 500000 /dev/zero; echo x"])
    p.set_stdio(-1, w2, -1)
    p.start()
    os.close(w2)
    n = 0
    while piece := os.read(r2, 1 << 20):
        n += len(piece)
    os.close(r2)
    assert n == 500002 and p.wait() == 0, n
    rounds += 1
assert rounds > 0
n = 0
while piece := os.read(r, 1 << 20):
    n += len(piece)
assert n == 3000000, n
assert os.read(er, 100) == b"finished\n"
assert stalled.wait() == 0
vm.delete(force=True)
print("good")
PY
is "$(tail -n 1 "$work/log")" good "others run while one reader stalls, and that one gets all its bytes"
[ "$n_failed" = 0 ] || diag "$(cat "$work/log")"
