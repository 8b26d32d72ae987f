#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# unfs3's server in place of ours, where it is installed (it is in no release of Debian 12); elsewhere the error.
. "$(dirname "$0")/functions.sh"

# with OPTION... -- ID COMMAND...
with() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  local id=$1
  shift
  runcvm run --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" "${options[@]}" "$id" -- "$@"
}
stops() { for _ in $(seq 300); do runcvm state "$1" 2>/dev/null | grep -q '"status": "stopped"' && return; sleep 0.2; done; not_ok "$1 stops"; }
servers() { local p; for p in /proc/[0-9]*; do [ "$(cat "$p/comm" 2>/dev/null)" = unfsd ] && grep -q "${work##*/}" "$p/mountinfo" 2>/dev/null && echo "${p#/proc/}"; done; }

a=$work/a b=$work/b c=$work/c
mkdir -p "$a/sub" "$b" "$c" "$work/elsewhere"
echo one >"$a/one"
echo b >"$b/b"
echo secret >"$work/elsewhere/secret"
like "$(RUNCVM_UNFSD=/nonexistent with --volume "$a:/a:server=unfsd" -- bad true 2>&1)" "unfsd is not there: install unfs3, leave out 'server=unfsd'" "without it"
like "$(RUNCVM_UNFSD=/bin/false with --volume "$a:/a:server=unfsd" -- bad true 2>&1)" "unfsd, which serves the volumes of VM 'bad', ended with exit code 1" "one that fails"
like "$(with --volume "$a:/a:server=unfsd,transport=tcp" -- bad true 2>&1)" "through the tunnel, and not by TCP" "by TCP"
like "$(with --mount "type=virtiofs,src=$a,dst=/a,server=unfsd" -- bad true 2>&1)" "'server' means nothing" "another kind of volume"
no_leaks "errors leave nothing"
export RUNCVM_UNFSD=${RUNCVM_UNFSD:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v unfsd || :)}
if [ -z "$RUNCVM_UNFSD" ]; then
  ok "volumes by unfsd # skip without unfsd"
  exit 0
fi

chmod 1777 "$c"
head -c 3000000 /dev/urandom >"$a/big"
out=$(with --volume "$a:/a:server=unfsd" --volume "$b:/b:ro" --volume "$c:/c:squash=7:8" --volume "$a/one:/etc/single" -- one sh -c '
  cat /a/one /b/b /etc/single; grep -E "^127.*:/[0-9]" /proc/mounts | wc -l; echo two >/a/sub/two; chown 7:8 /a/sub/two; ln /a/sub/two /a/three; echo x >/b/x
  sha256sum </a/big; cp /a/big /a/copy; touch /c/mine; su app -c "touch /c/app; touch /a/app"' 2>&1)
like "$(tr '\n' '|' <<<"$out")" "^one\|b\|one\|4\|.*Read-only file system\|" "two directories, one to be read only, and a file"
is "$(cat "$a/sub/two"; stat -c '%u %g %h' "$a/sub/two")" $'two\n7 8 2' "what the VM writes is there, and whose it is"
is "$(stat -c '%u %g' "$c/mine" "$c/app" | uniq)" "7 8" "squashed"
like "$out" "Permission denied" "another user may not more"
like "$out" "$(sha256sum <"$a/big" | cut -d' ' -f1)" "a large file is read"
succeeds "and written" cmp "$a/big" "$a/copy"
no_leaks

with --detach --volume "$a:/a:server=unfsd" -- live sleep 100000
for i in 1 22 333; do # its times are whole seconds
  echo "host $i" >"$a/one"
  is "$(runcvm exec live cat /a/one)" "host $i" "a change of the host is seen at once ($i)"
done
unfsd=$(servers)
is "$(wc -w <<<"$unfsd")" 1 "one server"
is "$(sed -n 's/^CapEff:\t//p' "/proc/$unfsd/status")" 00000000080000df "it has these capabilities of root's, and no others"
is "$(nsenter -n -t "$unfsd" ip -br link | awk '{ print $1 }')" lo "a network namespace of its own, in which it listens alone"
like "$(nsenter -n -t "$unfsd" ss -Hltn | awk '{ print $4 }')" ":2049$" "at NFS's port"
is "$(ls "/proc/$unfsd/root")" "0
dev
etc
$(ls "/proc/$unfsd/root" | grep -E '^(lib|lib64|usr|run|work|root|home|opt|tmp)$')" "its root has the volume, and what it loads"
like "$(runcvm volume list live 2>&1)" "$a" "the volumes are listed"
kill -9 "$unfsd"
stops live
like "$(runcvm state live)" "unfsd, which serves the volumes of VM 'live', ended with signal 9" "without it the VM ends, and says why"
runcvm delete --force live
is "$(servers)" "" "and nothing of it is left"
no_leaks
