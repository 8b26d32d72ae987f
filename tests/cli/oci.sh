#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What callers of an OCI runtime rely on, apart from containers that run: options and words of runc's, Docker's settings.
. "$(dirname "$0")/functions.sh"

# The words by which containerd and others know what is no failure.
fails "a container that is not there, in runc's words" 1 state "container does not exist" kill nobody 9
fails "in an exec, too" 125 state "container does not exist" exec nobody true

fails "a checkpoint of nobody" 1 state "container does not exist" checkpoint --image-path "$work/none" nobody
fails "what only CRIU could save" 1 cli "--page-server is of CRIU: a VM is saved as a whole" checkpoint --page-server a:1 x
fails "a parent that is not seen from the image" 1 cli "--parent-path is seen from --image-path, so it is not absolute: '/tmp' is" \
  checkpoint --parent-path /tmp x
fails "a difference of nobody" 1 state "container does not exist" checkpoint --parent-path ../a --image-path "$work/none" nobody
fails "a checkpoint that is none" 1 snapshot "cannot open '$work/none/index', which a snapshot has" restore -d --image-path "$work/none" --pid-file p x
fails "open files for a VM" 125 cli "open files cannot be passed into a VM" run --preserve-fds 1 --rootfs / x -- true
fails "and for an exec" 125 cli "open files cannot be passed into a VM" exec --preserve-fds 3 x true
fails "no number of files" 1 cli "open files cannot be passed into a VM" create --preserve-fds many --rootfs / x -- true
fails "a console socket that waits for no end" 125 cli "--console-socket goes with --detach" run --console-socket s --rootfs / x -- true
fails "a console for streams" 1 cli "--console-socket is for a process with a terminal" create --console-socket s --rootfs / x -- true
fails "a console that nobody has" 1 cli "nobody can be reached at the console socket '$work/none': No such file" \
  create --tty --console-socket "$work/none" --rootfs / x -- true
fails "a console socket with too long a name" 1 cli "File name too long" \
  create --tty --console-socket "/$(printf 'x%.0s' $(seq 200))" --rootfs / x -- true
fails "an exec with a console for streams" 125 cli "--console-socket is for a process with a terminal" exec -d --console-socket s x true
fails "an exec's console without --detach" 125 cli "--console-socket goes with --detach" exec -t --console-socket s x true
for o in "--cap CAP_KILL" "-g 5" --no-new-privs; do
  # shellcheck disable=SC2086
  fails "exec $o" 125 cli "alone is not supported: give the whole process by --process" exec $o x true
done
fails "exec --cgroup" 125 cli "--cgroup is not supported" exec --cgroup a x true
fails "ps in no format" 1 cli "'xml' is no format for --format" ps --format xml x
fails "events at no time" 1 cli "'soon' is no time for --interval" events --interval soon x
for t in 5s 500ms 1m30s; do fails "events each $t" 1 state "there is no VM 'x'" events --interval $t x; done
fails "an update by what is no number" 1 cli "'much' is no number" update --memory much x
fails "an update from no file" 1 cli "cannot read the resources from '$work/none'" update --resources "$work/none" x
for o in l3-cache-schema mem-bw-schema; do
  fails "an update's --$o" 1 cli "--$o is not supported: the classes of cache and bandwidth are the host's" update --$o L3:0=f x
done
fails "a spec for who is not root" 1 cli "--rootless is not supported" spec --rootless --bundle "$work"
bundle <<<'{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/"}}'
bundle <<<'{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/"}, "linux": {"cgroupsPath": "/docker/x"}}'
fails "a path that is not systemd's" 1 plan "'linux.cgroupsPath' is '/docker/x', and with the cgroup driver systemd it is SLICE:PREFIX:NAME" \
  --systemd-cgroup create --bundle "$work/bundle" x
fails "an update of no VM" 1 state "there is no VM 'x'" update --memory 64M --cpu-quota -1 --cpuset-cpus 0-1 x

# The standard error of `create` is the container's: warnings are not for it.
fake_guest
bundle <<'END'
{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}}, "unknown": 1,
 "hooks": {"prestart": [{"path": "/nonexistent"}]}}
END
quiet=("${guest[@]:2}" --bundle "$work/bundle" x)
fails "create says nothing but errors" 1 hooks "the prestart hook '/nonexistent' cannot be run" create "${quiet[@]}"
fails "with a log, too" 1 hooks "the prestart hook '/nonexistent' cannot be run" --log "$work/log" create "${quiet[@]}"
like "$(cat "$work/log")" "level=warning.*'unknown' is no property" "its warnings are in the log"
runcvm create --log-level warning "${quiet[@]}" >/dev/null 2>"$work/err" </dev/null
like "$(cat "$work/err")" "warning: .*'unknown' is no property" "or where they were asked for"

# Pods: the sandbox is made by runc, and what is meant for it is handed on.
mkdir -p "$work/programs" "$RUNCVM_ROOT/sandboxes:/pod"
printf '#!/bin/sh\necho "$*"\nexit 9\n' >"$work/programs/runc"
chmod +x "$work/programs/runc"
with_runc() { PATH=$work/programs:$PATH runcvm "$@" 2>&1; echo $?; }
sandboxes="--root $RUNCVM_ROOT/sandboxes:"
for name in io.kubernetes.cri.container-type io.kubernetes.cri-o.ContainerType; do
  bundle <<<"{\"annotations\": {\"$name\": \"sandbox\"}}"
  is "$(with_runc --log "$work/log" --log-format json create --bundle "$work/bundle" --pid-file p --no-pivot pod)" \
    "$sandboxes --log $work/log --log-format json create --bundle $work/bundle --pid-file p --no-pivot pod
9" "the sandbox of a pod is made by runc ($name)"
done
for c in start state kill delete exec ps events pause resume update; do
  is "$(with_runc --debug $c pod)" "$sandboxes --debug $c pod
9" "$c of it is handed on"
done
is "$(with_runc kill --all pod 9)" "$sandboxes kill --all pod 9
9" "with options"
like "$(with_runc state other)" "container does not exist" "but not what is no sandbox"
like "$(with_runc state ../sandboxes:/pod)" "the id '../sandboxes:/pod' must be" "nor what leads elsewhere"
is "$(runcvm list -q)" "" "it is no VM of the list"
rm -r "${RUNCVM_ROOT:?}"

# Docker's settings.
config=$work/etc/docker/daemon.json
mkdir "$work/etc"
installs() { runcvm install-docker --config "$config" --path "$top_builddir/examples/runcvm" "$@" >"$work/out" 2>"$work/err"; }
get() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$config" "$1"; }
command -v python3 >/dev/null || skip "no python3"

installs
is "$?$(cat "$work/err")" 0 "settings that are not there are made"
is "$(get d)" "{'runtimes': {'runcvm': {'path': '$(realpath "$top_builddir/examples/runcvm")'}}}" "with the runtime"
like "$(cat "$work/out")" 'systemctl reload docker' "and it says what to do"
before=$(stat -c '%i %Y' "$config")
installs
is "$?$(stat -c '%i %Y' "$config")" "0$before" "what is there already is left alone"
like "$(cat "$work/out")" 'nothing was changed' "and that is said"
installs --uninstall
is "$?$(get d)" "0{}" "nothing is left of it"

printf '%s' '{"log-opts": {"max-size": "10m"}, "debug": false, "x": 1.10, "n": 18446744073709551615, "u": "ä\u0001/",
  "runtimes": {"other": {"path": "/opt/other", "runtimeArgs": ["--x"]}, "runcvm": {"path": "/old", "runtimeArgs": ["--debug"]}},
  "default-runtime": "other"}' >"$config"
chmod 0640 "$config"
was=$(get '{k: v for k, v in d.items() if k != "runtimes"}')
ln -s "$config" "$work/link"
config=$work/link installs --name vm --default
is "$?$(stat -c %a "$config")" 0640 "mode and link stay"
[ -L "$work/link" ] && ok "the link is one" || not_ok "the link was replaced"
is "$(get '{k: v for k, v in d.items() if k not in ("runtimes", "default-runtime")}')" "${was/, \'default-runtime\': \'other\'/}" "the rest is what it was"
is "$(get 'list(d)')" "['log-opts', 'debug', 'x', 'n', 'u', 'runtimes', 'default-runtime']" "in its order"
is "$(get 'd["default-runtime"], sorted(d["runtimes"])')" "('vm', ['other', 'runcvm', 'vm'])" "another name, as the default"
installs
is "$(get 'd["runtimes"]["runcvm"]["runtimeArgs"], d["runtimes"]["runcvm"]["path"] != "/old"')" "(['--debug'], True)" "a new path, with the old arguments"
installs --uninstall --name vm
is "$(get '"default-runtime" in d, sorted(d["runtimes"])')" "(False, ['other', 'runcvm'])" "the default goes with it"
is "$(find "$work/etc/docker" -type f | wc -l)" 1 "no other file is left"

for bad in '{"runtimes": ' '[]' '{"runtimes": []}' '{} trailing' '{"runtimes": {"runcvm": 5}}'; do
  printf '%s' "$bad" >"$config"
  fails "settings that are wrong: $bad" 1 cli "is left as it is" install-docker --config "$config"
  is "$(cat "$config")" "$bad" "they are as they were"
done
fails "runc's own name" 1 cli "'runc' is no name for this runtime" install-docker --name runc --config "$config"
fails "a program that is none" 1 cli "cannot be used: No such file" install-docker --path "$work/none" --config "$config"
fails "a directory that is none" 1 cli "cannot write '/proc/none/daemon.json'" install-docker --config /proc/none/daemon.json
