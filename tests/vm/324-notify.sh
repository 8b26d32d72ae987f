#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A watcher in the VM hears of what the host does to a volume.
. "$(dirname "$0")/functions.sh"
appears() { for _ in $(seq 100); do runcvm exec "$1" test -e "$2" 2>/dev/null && return; sleep 0.2; done; not_ok "$2 appears in $1"; }

v=$work/v
mkdir -p "$v/sub"
echo one >"$v/one"
chmod 640 "$v/one"
touch -d @1000000000 "$v/one"
musl-gcc -static -Os "$TOP/tests/vm/watch.c" -o "$BUSYBOX/bin/watch-files"
runcvm run --detach --memory 160M --log-level error --rootfs-changes discard --rootfs "$BUSYBOX" --volume "$v:/v:notify" n1 -- \
  sh -c 'watch-files /v /v/sub >/tmp/events & until grep -q ready /tmp/events; do sleep 0.1; done; touch /tmp/ready; wait'
appears n1 /tmp/ready
is "$(runcvm list -q)" n1 "a VM with a watcher"
[ "$n_failed" = 0 ] || exit 1
# heard PATTERN NAME: within a few seconds, as it has to get through two kernels
heard() {
  local events
  for _ in $(seq 10); do
    events=$(runcvm exec n1 cat /tmp/events 2>/dev/null)
    if grep -Eq -- "$1" <<<"$events"; then ok "$2"; return; fi
    sleep 0.2
  done
  not_ok "$2"
  diag "$events"
}
before=$(stat -c '%a %Y %s' "$v/one")
echo changed >>"$v/sub/file"
heard '^w+ /v/sub file|^e+ /v/sub file' "a file that the host makes is heard of"
heard '^w /v/sub file' "as one that was written"
heard '^e /v/sub file' "and as one whose attributes have changed"
exec 3<>"$v/one"; exec 3>&-
heard '^w /v one' "a file that was opened for writing is heard of, too"
is "$(stat -c '%a %Y %s' "$v/one")" "$before" "which changes neither its mode, nor its time, nor its size"
echo new >"$v/.tmp"
mv "$v/.tmp" "$v/renamed"
heard '^e /v renamed' "an editor's rename"
rm "$v/renamed"
heard '^e /v *$' "what is removed changes its directory"
mkdir -p "$v/sub/deep/er"
echo x >"$v/sub/deep/er/x"
heard '^e /v/sub deep' "a new directory"
# No echo without end: when all is quiet, nothing comes any more.
sleep 1
count=$(runcvm exec n1 sh -c 'wc -l </tmp/events')
sleep 2
is "$(runcvm exec n1 sh -c 'wc -l </tmp/events')" "$count" "then it is quiet"
runcvm exec n1 sh -c 'echo guest >/v/of-guest'
sleep 1
count=$(runcvm exec n1 sh -c 'wc -l </tmp/events')
sleep 2
is "$(runcvm exec n1 sh -c 'wc -l </tmp/events')" "$count" "also after the guest itself has written"
# A VM that plants symlinks hears nothing of where they lead.
mkdir "$work/secret"
runcvm exec n1 sh -c 'ln -s ../secret /v/link; mv /v/sub/deep /v/sub/gone; ln -s /etc /v/sub/deep'
echo x >"$work/secret/name-of-a-secret"
echo y >"$v/last"
heard '^w /v last' "what comes last is heard"
is "$(runcvm exec n1 grep -c name-of-a-secret /tmp/events)" 0 "and nothing of what is outside"
runcvm delete --force n1
no_leaks

like "$(runcvm run --rootfs "$BUSYBOX" --volume "$v:/v:ro,notify" bad -- true 2>&1)" "cannot be touched" "a volume that is read-only cannot notify"
like "$(runcvm run --rootfs "$BUSYBOX" --mount "type=copy,src=$v,dst=/v,notify" bad -- true 2>&1)" "'notify' means nothing" "nor can a copy"
no_leaks
