#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the process is given, seen from inside.
. "$(dirname "$0")/functions.sh"

# One VM for what can be shown by execs, one run each for what belongs to the container.
run() { runcvm run --memory 160M --log-level error --rootfs "$BUSYBOX" "$@"; }

run --detach --kernel-args loglevel=7 main -- sh -c 'while :; do sleep 100000 & wait; done'
is "$(runcvm exec --user 1000:44 main probe ids)" "uid=1000 gid=44 groups= cwd=/ umask=0022" "--user with numbers"
is "$(runcvm exec --user app main probe ids)" "uid=1000 gid=1000 groups=29,44 cwd=/ umask=0022" \
  "--user with a name has its groups"
is "$(runcvm exec --user app:video main probe ids)" "uid=1000 gid=44 groups= cwd=/ umask=0022" \
  "--user with a name and a group has that group alone"
runcvm exec --user nobody-here main true 2>"$work/err"
is $? 126 "a user that is not there: 126"
like "$(cat "$work/err")" "nobody-here" "and its name in the error"
is "$(runcvm exec --cwd /home/app main pwd)" /home/app "--cwd"
runcvm exec --cwd /etc/passwd main pwd 2>"$work/err"
is $? 126 "a working directory that is a file: 126"
like "$(cat "$work/err")" "/etc/passwd" "and its name in the error"
is "$(runcvm exec main probe args '' 'a b' "it's \"quoted\"" $'line\nbreak' '')" \
  $'5 arguments\n[]\n[a b]\n[it\'s "quoted"]\n[line\nbreak]\n[]' "arguments: empty, quoted, with a newline"
is "$(runcvm exec -e $'A=two\nlines' -e 'B=a=b="c d"' -e C= main probe env A B C D)" \
  $'A=two\\nlines\nB=a=b="c d"\nC=\nD=(unset)' "environment: newlines, quotes, = and nothing"
is "$(runcvm exec main probe double-fork; echo $?)" 0 "a double fork"
like "$(runcvm exec main ps -o pid,args)" '^ *1 sh -c while' "PID 1 is the container's process"
is "$(runcvm exec main ps -o stat | grep -c Z)" 0 "and nothing stays a zombie"
like "$(cat "$RUNCVM_ROOT/main/console.log")" 'Linux version.*' "what the console has shown is in a file"
runcvm delete --force main

is "$(run --user app --cwd /tmp a -- probe ids)" "uid=1000 gid=1000 groups=29,44 cwd=/tmp umask=0022" \
  "run --user --cwd"
is "$(run --cwd /made/for/it b -- pwd)" /made/for/it "a working directory that is not there is made"
is "$(run --read-only --hostname box c -- sh -c 'touch /x 2>&1; echo $?; hostname')" \
  $'touch: /x: Read-only file system\n1\nbox' "a read-only root, and a host name"
is "$(run -e PATH=/bin -e X='$HOME `id`' d -- sh -c 'printf %s "$X"')" '$HOME `id`' "an environment that no shell has touched"

# The rest by a config.json.
bundle=$work/bundle
mkdir "$bundle"
runcvm spec --bundle "$bundle"
ln -s "$BUSYBOX" "$bundle/rootfs"
/usr/bin/python3 - "$bundle/config.json" <<'PY'
import json, sys
with open(sys.argv[1]) as f:
    c = json.load(f)
p = c["process"]
p["args"] = ["sh", "-c", """
  probe ids
  probe limit nofile
  probe limit core
  grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status
  cat /proc/self/oom_score_adj
  cat /proc/sys/net/ipv4/ip_forward
  cat /masked-file; echo "masked: $?"
  ls /masked-dir | wc -l
  echo x >/readonly-dir/x; echo "readonly: $?"
  stat -c '%F %t %T %a' /dev/mine
  stat -f -c %T /scratch; stat -c %a /scratch
  echo $$
"""]
p["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 44], "umask": 0o27}
p["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
caps = ["CAP_NET_BIND_SERVICE", "CAP_KILL"]
p["capabilities"] = {k: caps for k in ("bounding", "effective", "inheritable", "permitted", "ambient")}
p["noNewPrivileges"] = True
p["oomScoreAdj"] = 321
c["mounts"] += [{"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=750", "nosuid"]}]
c["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
c["linux"]["maskedPaths"] += ["/masked-file", "/masked-dir", "/not/there"]
c["linux"]["readonlyPaths"] += ["/readonly-dir"]
c["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 0, "gid": 0}]
c["root"]["readonly"] = False
with open(sys.argv[1], "w") as f:
    json.dump(c, f)
PY
# The tree with the paths that are masked.
cp -a "$BUSYBOX" "$work/tree"
rm "$bundle/rootfs"
mv "$work/tree" "$bundle/rootfs"
mkdir "$bundle"/rootfs/{masked-dir,readonly-dir}
echo secret | tee "$bundle/rootfs/masked-file" >"$bundle/rootfs/masked-dir/secret"
chmod 777 "$bundle/rootfs/readonly-dir"
got=$(runcvm run --memory 160M --log-level error --bundle "$bundle" spec 2>&1)
wanted="uid=1000 gid=1000 groups=5,44 cwd=/ umask=0027
100 200
0 0
CapInh:	0000000000000420
CapPrm:	0000000000000420
CapEff:	0000000000000420
CapBnd:	0000000000000420
CapAmb:	0000000000000420
NoNewPrivs:	1
321
1
masked: 0
0
sh: can't create /readonly-dir/x: Read-only file system
readonly: 1
character special file 1 3 640
tmpfs
750
1"
is "$got" "$wanted" "config.json: user, groups, umask, rlimits, capabilities, sysctl, masks, devices, mounts, PID 1"
