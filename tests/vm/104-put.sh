#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What others put into the root of a VM that runs is put into the VM, as `docker cp` does it: it opens the file `lower`, and writes to
# the overlay.
. "$(dirname "$0")/functions.sh"

mkdir "$work/layer" && mkdir "$work/layer"/{diff,work,merged} && echo lower >"$work/layer/lower"
mount -t overlay overlay -o "lowerdir=$BUSYBOX,upperdir=$work/layer/diff,workdir=$work/layer/work" "$work/layer/merged"
root=$work/layer/merged
echo delta >"$root/root/delta"

# vm ID [OPTION...]: runs until it is killed
vm() {
  local id=$1 i; shift
  runcvm run --memory 192M --log-level warning --rootfs "$root" "$@" "$id" -- sh -c 'echo up; sleep 10000' >"$work/$id.out" 2>&1 &
  for i in $(seq 900); do grep -q up "$work/$id.out" && return 0; sleep 0.1; done
  cat "$work/$id.out" >&2
  return 1
}
in_vm() { runcvm exec "$1" -- sh -c "$2"; }
look() { cat "$work/layer/lower" >/dev/null; }
names() { (cd "$1" && ls -A | tr '\n' ' '); }

vm one || exit 1
look
echo put >"$root/root/put"
is "$(in_vm one 'cat /root/put; stat -c "%a %u:%g" /root/put')" "put
644 0:0" "a file, and a process that is started right after it"

# Made elsewhere, so that it gets there at one go: what comes in two is two changes, and a link of one's files in the other is a copy.
made=$work/made/a
mkdir -p "$made/b"
cp "$BUSYBOX/bin/probe" "$made/program"
ln "$made/program" "$made/b/link"
ln -s /etc/passwd "$made/soft"
mkfifo -m 620 "$made/fifo"
chown 1000:1001 "$made/b" "$made/program" && chown -h 7:8 "$made/soft"
chmod 4751 "$made/program"
chmod 2770 "$made/b"
setfattr -n user.colour -v blue "$made/program"
truncate -s 3M "$made/large"
head -c 1000 /dev/urandom >>"$made/large"
touch -hd '2001-02-03 04:05:06.789' "$made/b" "$made/program" "$made/soft" "$made"
look
mkdir -p "$root/srv"
cp -a "$made" "$root/srv/a"
# -h: of the link itself
show='cd /srv/a; for f in . b program b/link soft fifo large; do stat -c "%n %A %u:%g %Y %h" $f; done; readlink soft; sha1sum large program; stat -c %i program b/link | uniq | wc -l'
is "$(in_vm one "$show" | sed 's/ [0-9]*$//')" "$(cd "$root" && sh -c "${show/\/srv\/a/srv\/a}" | sed 's/ [0-9]*$//')" \
  "directories, links, FIFOs, owners, modes, times"
is "$(in_vm one '/srv/a/program args 2>&1 | head -n 1')" "$("$root/srv/a/program" args | head -n 1)" "a program runs"
runcvm flush one
is "$(getfattr --only-values -n user.colour "$root/srv/a/program") $(stat -c %h "$root/srv/a/b/link") $(cat "$root/root/put")" "blue 2 put" \
  "attributes and links come back with the next write-back"

# Nobody starts anything: the VM sees it all the same.
in_vm one 'until test -e /root/awaited; do sleep 0.1; done; cat /root/awaited >/root/seen; until test -d /root/dir/inner; do sleep 0.1; done; echo both >>/root/seen' &
waiter=$!
sleep 1
look
echo event >"$root/root/awaited"
sleep 1
look
mkdir -p "$root/root/dir/inner"
wait $waiter
is "$(in_vm one 'cat /root/seen')" "event
both" "what waits in the VM sees a file, and a directory, without a further process"
# Who takes his time.
in_vm one 'until test -d /root/late/inner; do sleep 0.1; done' &
waiter=$!
sleep 1
look
sleep 2
mkdir -p "$root/root/late/inner"
succeeds "also one that is made some time after somebody has looked" wait $waiter
in_vm one 'rm -r /root/late'

# What the VM has done with it counts.
look
echo 1 >"$root/root/goes"; echo 1 >"$root/root/stays"; mkdir "$root/root/dir-goes"; echo 1 >"$root/root/dir-goes/f"
in_vm one 'cd /root; rm -r goes dir-goes; echo 2 >>stays; mv put moved; echo mine >own'
look
is "$(names "$root/root") $(cat "$root/root/stays" "$root/root/moved" | tr '\n' ' ')" "awaited delta dir moved own seen stays  1 2 put " \
  "what it removes of it is gone, before anything of it was written back; what it changes and moves, too"
look
in_vm one 'echo 3 >>/root/stays; rm /root/awaited'
is "$(in_vm one 'cat /root/stays' | tr '\n' ' ')" "1 2 3 " "it is put there once"
look
echo new >"$root/root/own"
echo newer >"$root/root/delta"
is "$(in_vm one 'cat /root/own /root/delta' | tr '\n' ' ')" "new newer " "files that are there are replaced"

# What cannot be.
look
mkdir -p "$root/dev/below" "$root/etc/dir" && echo x >"$root/etc/dir/f" && echo 1 >"$root/dev/below/f"
is "$(in_vm one 'ls -d /dev/below; cat /etc/dir/f' 2>/dev/null)" "x" "what is covered by a mount in the VM stays covered"
is "$(grep -c 'rootfs:' "$work/one.out")" 0 "and nobody complains"
look
in_vm one 'rm -r /etc/dir; ln -s /tmp /etc/dir; mkdir /root/full; touch /root/full/f'
echo y >"$root/etc/dir/g"
echo file >"$root/root/full"
is "$(in_vm one 'ls -A /tmp; cat /etc/dir/g; ls -A /root/full')" "y
f" "a symlink in the place of a directory is not followed; a directory that is in the way stays"
like "$(cat "$work/one.out")" "1 of [0-9]* names that others have put.*'root/full' first" "and the log says so"
in_vm one 'rm -r /root/full'

# Many at once, and all come.
look
mkdir "$root/root/many" && (cd "$root/root/many" && for i in $(seq 500); do echo "$i" >"f$i"; done)
is "$(in_vm one 'cat /root/many/f* | sort -n | sha1sum; rm -r /root/many')" "$(seq 500 | sha1sum)" "500 files"
look
head -c 20M /dev/urandom >"$root/root/big"
is "$(in_vm one 'sha1sum </root/big')" "$(sha1sum <"$root/root/big")" "20 MB"
runcvm pause one
echo paused >"$root/root/paused"
runcvm resume one
is "$(in_vm one 'cat /root/paused')" paused "put there while it was paused"
monitor=$(runcvm state one | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p')
look # after which it looks from time to time
runcvm flush one
holds() { echo "$(find "/proc/$monitor/fd" -type l | wc -l) $(pgrep -P "$monitor" | wc -l)"; }
before=$(for i in 1 2 3 4 5 6 7 8 9 10; do holds; sleep 0.1; done | sort -n | head -n 1)
for i in 1 2 3 4 5; do look; echo $i >"$root/root/again"; in_vm one "test \$(cat /root/again) = $i" || not_ok "round $i"; done
runcvm flush one
as_before() { local now; now=$(holds); [ "${now% *}" -le "${before% *}" ] && [ "${now#* }" -le "${before#* }" ]; }
succeeds "the monitor keeps nothing of it open" wait_for as_before
is "$(in_vm one 'ps | grep -c [r]cvm-unpack; cat /proc/1/comm')" "0
sleep" "nor does the VM"

look
echo 1 >"$root/root/last"
in_vm one 'rm /root/last /root/big'
kill -9 "$monitor"
wait
runcvm delete --force one >/dev/null 2>&1
is "$(ls "$root/root/last" 2>&1 | grep -c 'No such') $(cat "$root/root/paused")" "0 paused" "a monitor that is killed: what was not synced in the VM is as it was put there"
find "$work/data" -name '*.put' | grep . && not_ok "a list is left"

RUNCVM_FLUSH=asked vm two --env RUNCVM_FLUSH=asked
echo two >"$root/root/two"
is "$(in_vm two 'cat /root/two 2>/dev/null || echo not there')" "not there" "RUNCVM_FLUSH=asked: what others put there is theirs"
runcvm delete --force two
wait

if [ "$(hypervisor)" = firecracker ]; then
  vm three
  look
  head -c 30M /dev/urandom >"$root/root/saved"
  runcvm checkpoint --leave-running --image-path "$work/snap" three 2>"$work/err"
  is "$? $(cat "$work/err")" "0 " "a snapshot that is asked for while something is put there"
  look
  echo after >"$root/root/after"
  is "$(in_vm three 'cat /root/after; sha1sum </root/saved')" "after
$(sha1sum <"$root/root/saved")" "and it goes on being put there"
  runcvm delete --force three
  wait
  rm "$root/root/after"
  runcvm restore --detach --image-path "$work/snap" four 2>"$work/err" >/dev/null
  is "$? $(cat "$work/err")" "0 " "it can be restored"
  is "$(in_vm four 'sha1sum </root/saved; ls /root/after 2>&1')" "$(sha1sum <"$root/root/saved")
ls: /root/after: No such file or directory" "the snapshot has it"
  runcvm delete --force four
fi
umount "$root"
