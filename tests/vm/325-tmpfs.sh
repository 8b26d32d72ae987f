#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# tmpfs: its size, its mode, whose it is, and that it goes with the VM.
. "$(dirname "$0")/functions.sh"

mkdir "$work/bundle"
cat >"$work/bundle/config.json" <<JSON
{ "ociVersion": "1.0.2", "root": { "path": "$BUSYBOX" },
  "annotations": { "org.runcvm.rootfs": "discard", "org.runcvm.mem-size": "160M", "org.runcvm.network-mode": "none" },
  "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": [ "PATH=/bin" ], "args": [ "/bin/sh", "/t/script" ] },
  "mounts": [
    { "destination": "/proc", "type": "proc", "source": "proc" },
    { "destination": "/t", "type": "bind", "source": "$work/t", "options": [ "ro" ] },
    { "destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": [ "nosuid", "nodev", "noexec", "mode=0750", "uid=7", "gid=8", "size=1m" ] },
    { "destination": "/few", "type": "tmpfs", "source": "tmpfs", "options": [ "nr_inodes=10" ] },
    { "destination": "/fixed", "type": "tmpfs", "source": "tmpfs", "options": [ "ro" ] } ] }
JSON
mkdir "$work/t"
cat >"$work/t/script" <<'SH'
stat -c '%a %u %g' /own
cp /bin/true /own/program 2>/dev/null || cp /bin/busybox /own/program 2>/dev/null
printf '#!/bin/sh\n' >/own/executable; chmod 755 /own/executable; /own/executable 2>&1 | grep -o 'Permission denied'
rm /own/*
dd if=/dev/zero of=/own/big bs=64k count=100 2>&1 | grep -o 'No space left on device'
stat -c %s /own/big
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do : >/few/$i || break; done 2>&1 | grep -o 'No space left on device'
ls /few | wc -l
touch /fixed/x 2>&1 | grep -o 'Read-only file system'
grep -c ' /own tmpfs .*noexec' /proc/mounts
SH
out=$(runcvm run --log-level error --bundle "$work/bundle" t1 2>&1)
is "$out" $'750 7 8\nPermission denied\nNo space left on device\n1048576\nNo space left on device\n9\nRead-only file system\n1' \
  "config.json's options: mode, owner, noexec, size, inodes, ro"
out=$(busybox_run t2 true; runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" \
  --mount type=tmpfs,dst=/a/b,tmpfs-size=128K,tmpfs-mode=700 --mount type=tmpfs,dst=/c t3 -- \
  sh -c 'stat -c %a /a/b /c; dd if=/dev/zero of=/a/b/x bs=1k count=129 2>&1 | grep -o "No space left on device"; dd if=/dev/zero of=/c/x bs=1M count=20 2>/dev/null; ls -l /c/x | tr -s " " | cut -d" " -f5; df -k /c | tail -n 1 | tr -s " " | cut -d" " -f2')
like "$(tr '\n' '|' <<<"$out")" "^700\|1777\|No space left on device\|20971520\|[5-9][0-9]{4}\|$" "the tool's: size and mode, or half of the memory"
is "$(ls -d "$BUSYBOX/a" "$BUSYBOX/c" 2>/dev/null)" "" "nothing of them is on the host"
no_leaks
