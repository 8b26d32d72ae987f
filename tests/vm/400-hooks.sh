#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# OCI hooks: at their time, in their place, with the right state; what becomes of those that fail or hang.
. "$(dirname "$0")/functions.sh"

cat >"$work/hook" <<'SH'
#!/bin/bash
# hook NAME: writes down when it ran and what it saw.
files=$(ls /proc/self/fd) # and 3, the directory that it reads
state=$(cat)
field() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},*$/\1/p" <<<"$state" | head -n 1; }
pid=$(field pid)
{
  echo "$1 $(field status) id=$(field id) pid=${pid:-none} var=${VAR:-} path=${PATH_SEEN:-} dir=$PWD"
  echo "$1 netns $(readlink /proc/self/ns/net) $(if [ -n "$pid" ]; then readlink "/proc/$pid/ns/net"; fi)"
  echo "$1 cgroup $(grep -c "$(field id)@" /proc/self/cgroup)"
  echo "$1 files" $files
} >>"$LOG"
exit "${EXIT:-0}"
SH
chmod +x "$work/hook"

# bundle NAME HOOKS [ARGS]: HOOKS is the inside of the "hooks" object.
bundle() {
  mkdir -p "$work/$1"
  cat >"$work/$1/config.json" <<JSON
{ "ociVersion": "1.0.2", "root": { "path": "$BUSYBOX" },
  "process": { "cwd": "/", "args": ${3:-[\"sh\", \"-c\", \"echo ran\"]}, "env": ["PATH=/bin"] },
  "linux": { "namespaces": [ {"type": "network"}, {"type": "pid"}, {"type": "mount"} ] },
  "annotations": { "org.runcvm.mem-size": "160M" },
  "hooks": { $2 } }
JSON
}
# hook KIND [MORE]: one that writes to $work/log.
hook() { echo "\"$1\": [ { \"path\": \"$work/hook\", \"args\": [\"hook\", \"$1\"], \"env\": [\"LOG=$work/log\", \"PATH=$PATH\", \"VAR=of $1\"${2:-}] } ]"; }
saw() { grep "^$1 " "$work/log"; }

all=
for kind in prestart createRuntime createContainer poststart poststop; do all+="${all:+, }$(hook $kind)"; done
bundle all "$all"
runcvm create --log-level error --bundle "$work/all" --pid-file "$work/pid" all >"$work/out" 2>&1 </dev/null
is "$?" 0 "a container with hooks is created"
pid=$(cat "$work/pid")
is "$(saw prestart | head -n 1)" "prestart creating id=all pid=$pid var=of prestart path= dir=$work/all" "prestart: the state, its variables and directory"
is "$(saw createRuntime | head -n 1)" "createRuntime creating id=all pid=$pid var=of createRuntime path= dir=$work/all" "createRuntime: the same"
is "$(awk '{print $1}' "$work/log" | uniq | tr '\n' ' ')" "prestart createRuntime createContainer " "in this order, and none too early"
here=$(readlink /proc/self/ns/net) there=$(readlink "/proc/$pid/ns/net")
succeeds "the container has a network namespace of its own" [ "$here" != "$there" ]
is "$(saw createRuntime | grep netns)" "createRuntime netns $here $there" "createRuntime runs in the host's, and finds the container's by the PID"
is "$(saw createContainer | grep netns)" "createContainer netns $there $there" "createContainer runs in the container's"
is "$(saw prestart | grep cgroup)" "prestart cgroup 0" "prestart runs outside of the container's cgroup"
like "$(saw prestart | grep files)" '^prestart files 0 1 2 3$' "no file of the monitor is passed on"
runcvm start all
is "$(saw poststart | head -n 1)" "poststart running id=all pid=$pid var=of poststart path= dir=$work/all" "poststart has run when start returns"
is "$(saw poststart | grep netns)" "poststart netns $here $there" "in the host's network namespace"
while runcvm state all 2>/dev/null | grep -q '"status": "running"'; do sleep 0.1; done
is "$(saw poststop)" "" "poststop waits for the deletion"
runcvm delete all
is "$(saw poststop | head -n 1)" "poststop stopped id=all pid=none var=of poststop path= dir=$work/all" "and comes after it"
is "$(cat "$work/out")" ran "the process has run"

# Failures.
rm -f "$work/log"
bundle fails "$(hook createRuntime ', "EXIT=3"'), $(hook createContainer), $(hook poststop)"
out=$(runcvm run --log-level error --bundle "$work/fails" fails 2>&1)
like "$out" "the createRuntime hook '$work/hook' ended with exit code 3" "a hook that fails fails the creation"
is "$(awk '{print $1}' "$work/log" | uniq | tr '\n' ' ')" "createRuntime poststop " "none comes after it but those of the end"
is "$(runcvm list -q)" "" "nothing is left of the container"
rm -f "$work/log"
bundle late "$(hook poststart ', "EXIT=4"'), $(hook poststop ', "EXIT=5"')"
out=$(runcvm run --log-level warning --bundle "$work/late" late 2>&1)
is "$?:$(grep -c '^ran' <<<"$out")" "0:1" "what fails after the start changes nothing"
like "$out" 'the poststart hook .* ended with exit code 4' "but is said: poststart"
like "$out" 'the poststop hook .* ended with exit code 5' "and poststop"
bundle missing "\"prestart\": [ { \"path\": \"/nowhere/hook\" } ]"
like "$(runcvm run --log-level error --bundle "$work/missing" missing 2>&1)" "the prestart hook '/nowhere/hook' cannot be run" "one that is not there"
bundle says "\"prestart\": [ { \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo first; echo >&2 because of me; exit 1\"] } ]"
like "$(runcvm run --log-level error --bundle "$work/says" says 2>&1)" 'exit code 1: because of me' "its last line is in the message"

# startContainer: in the container, before its process.
sh_hook() { echo "\"startContainer\": [ { \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"$1\"], \"env\": [\"WHO=hook\"], \"timeout\": 5 } ]"; }
bundle inside "$(sh_hook 'cat >/state; echo $$ $WHO $PPID >/seen')" '["sh", "-c", "cat /seen; sed -n 4,5p /state"]'
is "$(runcvm run --log-level error --bundle "$work/inside" inside 2>&1 | tr '\n' ' ' | tr -s ' ')" '2 hook 1 "status": "created", "pid": 1, ' "startContainer runs in the container, as a child of what becomes its process"
bundle inside "$(sh_hook 'echo no way; exit 9'), $(hook poststop)"
like "$(runcvm run --log-level error --bundle "$work/inside" inside 2>&1)" 'startContainer hook ./bin/sh. ended with exit code 9: no way' "one that fails fails the start"
bundle inside "$(sh_hook 'sleep 1000')"
like "$(runcvm run --log-level error --bundle "$work/inside" inside 2>&1)" 'startContainer hook .* was killed after its 5 seconds' "one that hangs is killed in time"

# As Docker does it: a hook fills the network namespace of the PID that it reads.
cat >"$work/fill" <<SH
#!/bin/sh -e
pid=\$(sed -n 's/^ *"pid": \([0-9]*\),/\1/p')
ip link add name hk$$ type veth peer name eth0 netns \$pid
ip link set hk$$ up
nsenter --net=/proc/\$pid/ns/net sh -ec 'ip addr add 192.0.2.9/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1'
SH
chmod +x "$work/fill"
bundle fills "\"prestart\": [ { \"path\": \"$work/fill\", \"env\": [\"PATH=$PATH\"] } ]" \
  '["sh", "-c", "ip -o addr show dev eth0 | grep -o 192.0.2.[0-9]*/24; ip route | grep -o default.via.[0-9.]*"]'
is "$(runcvm run --log-level error --bundle "$work/fills" fills 2>&1 | tr '\n' ' ')" "192.0.2.9/24 default via 192.0.2.1 " "what a prestart hook puts into the network namespace is the VM's"
# The kernel takes its time to dismantle it.
is_gone() { ! ip link show "hk$$" >/dev/null 2>&1; }
wait_for is_gone
is "$(ip link show "hk$$" 2>/dev/null)" "" "and the namespace goes with the VM"

# One that hangs, with children.
bundle hangs "\"prestart\": [ { \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"sleep 7654 & sleep 7654\"], \"timeout\": 1 } ]"
like "$(runcvm run --log-level error --bundle "$work/hangs" hangs 2>&1)" 'was killed after its 1 seconds' "one that hangs is killed in time"
is "$(pgrep -xf 'sleep 7654')" "" "with its children"
bundle slow "\"poststart\": [ { \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo >$work/slow-runs; sleep 7656\"] } ]"
runcvm create --log-level error --bundle "$work/slow" slow >/dev/null 2>&1 </dev/null
runcvm start slow >/dev/null 2>&1 &
tool=$!
until [ -e "$work/slow-runs" ]; do sleep 0.05; done
succeeds "a container whose poststart hook hangs can be deleted" timeout 60 "$BUILD/run" runcvm delete --force slow
wait $tool
is "$(pgrep -xf 'sleep 7656')" "" "which ends the hook"
bundle waits "\"prestart\": [ { \"path\": \"/bin/sh\", \"args\": [\"sh\", \"-c\", \"echo \$PPID >$work/worker; sleep 7655\"] } ]"
"$BUILD/run" runcvm create --log-level error --bundle "$work/waits" waits >/dev/null 2>&1 &
tool=$!
until [ -s "$work/worker" ]; do sleep 0.05; done
kill -9 $tool
wait $tool 2>/dev/null
until [ -z "$(our_processes)" ] && [ -z "$(pgrep -xf 'sleep 7655')" ]; do sleep 0.05; done
ok "a hook ends with whoever created the container"
