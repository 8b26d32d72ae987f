#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The command line: help, versions, and what is not understood.
. "$(dirname "$0")/functions.sh"

commands="run create start exec state list kill delete flush pause resume update ps events checkpoint restore spec check features metrics install-docker help"

overview=$(runcvm --help)
is $? 0 "--help"
is "$(runcvm help)" "$overview" "help says the same"
[ "$(wc -l <<<"$overview")" -lt 65 ] && ok "it fits on a page" || not_ok "the overview is too long"
for c in $commands "rootfs build" "rootfs inspect" "rootfs grow" "rootfs verify" "rootfs write-back" "cache add" "cache list" "cache path" "cache prune" "cache verify" "template create" "template list" "template remove"; do
  like "$overview" "^  $c  " "the overview has '$c'"
  # shellcheck disable=SC2086
  help=$(runcvm $c --help)
  is $? 0 "$c --help"
  like "$help" "^Usage: runcvm $c" "with its usage"
  # shellcheck disable=SC2086
  is "$(runcvm help $c)" "$help" "help $c says the same"
done
for c in run exec; do like "$(runcvm $c -h)" '^Examples:' "$c --help has examples"; done
is "$(runcvm run --help | awk 'length > 120' | wc -l)" 0 "lines of a reasonable length"

version=$(runcvm --version)
like "$(sed -n 1p <<<"$version")" '^runcvm version [0-9]+\.[0-9]+\.[0-9]+$' "the version, as runc says it"
like "$(sed -n 2p <<<"$version")" '^spec: [0-9]+\.[0-9]+\.[0-9]+$' "the version of the specification"
is "$(runcvm -v)" "$version" "-v"

runcvm >"$work/out"
is $? 1 "without a command: the overview, and no success"
is "$(cat "$work/out")" "$overview" "the overview"

# run and exec keep 1 to 124 for the container.
fails "no command of that name" 1 cli "'fly' is no command: see 'runcvm --help'" fly
fails "help for no command" 1 cli "'fly' is no command" help fly
fails "half a command" 1 cli "'rootfs' is no command; there are 'rootfs build', 'rootfs inspect', 'rootfs grow', 'rootfs verify'" rootfs
fails "half a command, and more" 1 cli "'rootfs mend' is no command" rootfs mend
fails "a global option that is not known" 1 cli "option '--bogus' is not known" --bogus list
fails "a global option without its value" 1 cli "option '--root' needs a value" --root
fails "an option that is not known" 125 cli "option '--bogus' is not known: see 'runcvm run --help'" run --bogus
fails "a letter that is not known" 125 cli "option '-Z' is not known" run -dZ
fails "an option of another command" 1 cli "option '--detach' is not known" create --detach x
fails "long options with one dash are taken, as runc takes them" 1 snapshot "cannot open '/nonexistent/index'" restore -no-subreaper -image-path=/nonexistent x
fails "an option without its value" 125 cli "option '--memory' needs a value" run --memory
fails "a letter without its value" 125 cli "option '-m' needs a value" run -m
fails "a flag with a value" 125 cli "option '--tty=yes' takes no value" run --tty=yes
fails "no size" 125 cli "'12x' is no size for --memory" run --memory 12x x
fails "a negative size" 125 cli "'-5' is no size for --memory" run --memory=-5 x
fails "a size beyond all bounds" 125 cli "'99999999999T' is no size" run -m 99999999999T x
fails "no number" 125 cli "'two' is no number for --cpus" run --cpus two x
fails "not even one CPU" 125 cli "'0' is no number for --cpus" run --cpus 0 x
fails "no level" 125 cli "'loud' is no level" run --log-level loud x
fails "no annotation" 125 cli "the annotation 'here' is not of the form KEY=VALUE" run --annotation here x
fails "no variable" 125 api "'=b' is not of the form NAME=VALUE" run -e =b x
fails "an option after the ID" 125 cli "option '--env' stands after the ID" run --rootfs / x --env a=b
fails "a command without --" 125 cli "'sh' stands after the ID: a command comes after '--'" run --rootfs / x sh
fails "a command that is missing" 125 cli "the command after '--' is missing" run --rootfs / x --
fails "a root directory and no command" 125 cli "with --rootfs alone a command is needed" run --rootfs /
fails "a terminal where there is none" 125 cli "the input device is not a TTY" run -ti --rootfs / -- sh
fails "an exec on a terminal where there is none" 125 cli "the input device is not a TTY" exec -ti x sh
for c in create start state metrics kill delete flush pause resume update ps events checkpoint restore; do fails "$c without an ID" 1 cli "an ID is missing: see 'runcvm $c --help'" $c; done
fails "exec without an ID" 125 cli "an ID is missing" exec
fails "exec without a command" 125 cli "the command is missing" exec x
fails "exec with a PID file, but not detached" 125 cli "--pid-file goes with --detach" exec --pid-file f x ls
fails "exec of a process in no file" 125 cli "cannot read '$work/no.json': No such file or directory" exec -p "$work/no.json" x
for c in start state metrics flush pause resume update events checkpoint restore; do fails "$c of two" 1 cli "'b' is one argument too many" $c a b; done
fails "kill with no signal" 1 cli "'MURDER' is no signal" kill x MURDER
fails "kill with signal 0" 1 cli "'0' is no signal" kill x 0
fails "kill with signal 65" 1 cli "'65' is no signal" kill x 65
fails "kill with RTMAX+1" 1 cli "'RTMAX+1' is no signal" kill x RTMAX+1
for s in 15 TERM SIGTERM sigterm RTMIN+3 SIGRTMAX-2; do fails "kill knows $s" 1 state "there is no VM 'x'" kill x $s; done
fails "kill knows --all at the end" 1 state "there is no VM 'x'" kill x KILL --all
fails "list in no format" 1 cli "'xml' is no format" list --format xml
fails "check in no format" 1 cli "'xml' is no format" check --format xml
fails "systemd's cgroups: what there is can be looked at" 1 state "there is no VM 'x'" --systemd-cgroup state x
fails "a log in no format" 1 cli "'xml' is no format for --log-format" --log-format xml list
fails "a log that cannot be written" 1 cli "cannot open the log '/nonexistent/log': No such file" --log /nonexistent/log list
for c in state start metrics kill delete flush pause resume update ps events; do fails "$c of no VM" 1 state "there is no VM 'nobody' in '$RUNCVM_ROOT'" $c nobody; done
fails "exec in no VM" 125 state "there is no VM 'nobody'" exec nobody ls
fails "--root" 1 state "there is no VM 'nobody' in '$work/other'" --root "$work/other" state nobody
runcvm delete --force nobody >"$work/out" 2>&1
is "$?$(cat "$work/out")" 0 "delete --force of no VM is no error"
fails "delete --force of what can be no VM" 1 plan "the id 'a/b'" delete --force a/b

# Many wrong IDs; the last stands for a path.
for id in a/b .. . 'a b' ../../etc "$(printf 'x%.0s' $(seq 129))" $'a\nb'; do
  fails "the ID $(printf %q "${id:0:20}")" 125 plan "must be 1 to 128 characters" run --rootfs / "$id" -- true
done

# What cannot be printed is not.
runcvm $'\033[31mred\n' 2>"$work/err"
is "$(LC_ALL=C tr -d '\n -~' <"$work/err" | wc -c)$(wc -l <"$work/err")" 01 "control characters of an argument are not printed"

# The log.
runcvm --log "$work/log" --log-format json state 'a"b' 2>/dev/null
runcvm --log "$work/log" --log-format json state nobody 2>/dev/null
is "$(wc -l <"$work/log")" 2 "each message is a line of the log"
if command -v python3 >/dev/null; then
  is "$(python3 -c 'import json, sys
for l in open(sys.argv[1]):
    d = json.loads(l); print(sorted(d), d["level"], "a\"b" in d["msg"], "nobody" in d["msg"])' "$work/log")" \
    "['level', 'msg', 'time'] error True False
['level', 'msg', 'time'] error False True" "in JSON"
fi
runcvm --log "$work/text" state nobody 2>"$work/err"
like "$(cat "$work/text")" '^time="[0-9TZ:-]+" level=error msg="state: there is no VM' "and as text"
like "$(cat "$work/err")" '^runcvm: state: there is no VM' "errors go to stderr, too"

# A full disk is not silent.
if [ -w /dev/full ]; then
  runcvm features >/dev/full 2>"$work/err"
  is $? 1 "output that cannot be written is a failure"
  like "$(cat "$work/err")" '^runcvm: cli: cannot write to the standard output: No space left' "and said"
fi
