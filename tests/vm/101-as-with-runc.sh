#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same bundle and the same script, once under runc and once in a VM: what they leave in the root directory is the same.
# Then once more on top of that.
. "$(dirname "$0")/functions.sh"

mkdir -p "$work/runc" "$work/runcvm"
tree=$work/runc/rootfs
cp -a "$BUSYBOX" "$tree"
# Links of the tree among each other, and a directory to replace.
mkdir -p "$tree/srv/old/deep"
echo one >"$tree/srv/linked"
ln "$tree/srv/linked" "$tree/srv/old/also"
head -c 300000 /dev/zero | tr '\0' x >"$tree/srv/old/deep/data"
cp -a "$tree" "$work/runcvm/rootfs"
for who in runc runcvm; do (cd "$work/$who" && runcvm spec); done

cat >"$work/script" <<'SH'
set -e
cd /srv
echo two >>linked
echo new >new; chmod 4711 new; chown 1000:1000 new
ln new newlink
ln -s /etc/../etc/passwd sym
mkdir -m 2775 dir; touch dir/a dir/b; rm dir/a
mv old/deep/data moved
dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null
rm -r old; mkdir old; echo replaced >old/file
mkfifo fifo
mknod null c 1 3
rm /bin/vi; mkdir /bin/vi; touch /bin/vi/was-a-link
mv /etc/group /etc/group-; echo root:x:0: >/etc/group
rm -r /home; echo "no directory" >/home
touch -d '1999-12-31 23:59:59' /srv/dated
chown 1000 new; chmod 4711 new
chmod 700 /root
SH
cat >"$work/again" <<'SH'
set -e
cat /srv/linked /srv/old/file /home; ls -l /srv | wc -l
rm /home; mkdir /home; echo back >/home/file
mv /srv/dir /srv/directory; rm /srv/newlink; echo three >>/srv/linked
SH

configure() {
  python3 - "$work/$1/config.json" "$(cat "$work/$2")" <<'PY'
import json, sys
path, script = sys.argv[1:]
with open(path) as f:
    c = json.load(f)
c["process"]["terminal"] = False
c["process"]["args"] = ["/bin/sh", "-c", script]
c["root"]["readonly"] = False
caps = c["process"]["capabilities"]
for k in ("bounding", "effective", "permitted"):
    caps[k] = sorted(set(caps.get(k, []) + ["CAP_MKNOD", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_DAC_OVERRIDE"]))
c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] in ("pid", "mount", "ipc", "uts", "network")]
c["process"].pop("rlimits", None)
c["linux"].pop("seccomp", None)
c["linux"].pop("cgroupsPath", None)
c["linux"].pop("resources", None)
# Not on every host can runc make a cgroup mount.
c["mounts"] = [m for m in c["mounts"] if m["type"] not in ("cgroup", "cgroup2")]
with open(path, "w") as f:
    json.dump(c, f)
PY
}
run_runc() { (cd "$work/runc" && runc --root "$work/runc-state" run --no-pivot "r-$$"); }
run_vm() { (cd "$work/runcvm" && runcvm run --memory 160M --log-level error as-runc); }
# Everything but the times of what the scripts have touched, and of the directories that they did.
describe() {
  (cd "$work/$1/rootfs" && find . \( -type d -printf '%P %y %m %U %G\n' \) -o \( -type l -printf '%P %y %l\n' \) \
    -o -printf '%P %y %m %U %G %s %n\n' | sort
   find . -type f ! -path './bin/busybox' -print0 | sort -z | xargs -0 sha256sum
   find . -type f ! -newermt "$began" -printf '%P %T@\n' | sort
   find . -type f -links +1 -printf '%i %P\n' | sort | awk '{print $1 == last ? "same" : "other", $2; last = $1}'
   stat -c '%n %t:%T %a' srv/null
   du --apparent-size -b srv/sparse) 2>&1
}
began=$(date +'%Y-%m-%d %H:%M:%S.%N')

configure runc script
configure runcvm script
out_runc=$(run_runc 2>&1); code=$?
is "$code" 0 "the script under runc"
diag "$out_runc"
run_vm >"$work/out" 2>&1
is "$?" 0 "and in a VM"
is "$(diff <(describe runc) <(describe runcvm))" "" "leave the same"
like "$(du -k "$work/runcvm/rootfs/srv/sparse")" "^[0-9]{1,2}	" "a hole is a hole"

configure runc again
configure runcvm again
is "$(run_vm 2>&1)" "$(run_runc 2>&1)" "both see the same the next time"
is "$(diff <(describe runc) <(describe runcvm))" "" "and leave the same again"
