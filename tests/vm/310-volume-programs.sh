#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Programs that ask much of a file system, on a live volume and, for comparison, on the VM's own ext4.
. "$(dirname "$0")/functions.sh"

mkdir "$work/volume" "$work/tools"
chmod 755 "$work"
# Says what was found at $1, alike for any file system.
cat >"$work/tools/work" <<'WORK'
cd "$1" || exit
export HOME=$1 GIT_CONFIG_NOSYSTEM=1
exec 2>&1
tell() { local what=$1; shift; "$@" >/tmp/output 2>&1; echo "$what: $?"; }
git_work() {
  git init -q repo && cd repo && git config user.name N && git config user.email E || return
  for i in 1 2 3; do
    mkdir "d$i" && for j in 1 2 3 4; do seq "$i$j" 400 >"d$i/f$j"; done
    git add . && git commit -qm "$i" || return
  done
  git mv d1 d4 && git commit -qm moved && git gc -q && git fsck --strict && cd .. && git clone -q repo clone && git -C clone fsck &&
    diff -r -x .git repo clone && [ "$(git -C clone log --format=%s | xargs)" = "moved 3 2 1" ]
}
tell git git_work

# Two writers and SQLite's own locks.
sqlite3 db 'create table t (a, b); insert into t values (1, 0);'
add() { for i in 1 2 3 4 5 6 7 8; do echo 'begin immediate; update t set b = b + 1 where a = 1; commit;'; done | sqlite3 -cmd '.timeout 100000' db; }
add & add & wait
echo "sqlite: $(sqlite3 db 'select b from t; pragma integrity_check' | xargs)"
# One dies in a transaction that has reached the file.
mkfifo input
sleep 100000 >input &
holder=$!
sqlite3 -cmd 'pragma cache_size = 5' -cmd 'begin; update t set b = 99' -cmd 'insert into t select value, hex(randomblob(500)) from generate_series(1, 300)' \
  -cmd '.shell touch spilled' db <input >/dev/null &
writer=$!
until [ -e spilled ]; do sleep 0.1; done
[ -s db-journal ] && [ "$(stat -c %s db)" -gt 100000 ] && echo "sqlite: the transaction is in the file"
disown -a
kill -9 "$writer" "$holder"
while kill -0 "$writer" 2>/dev/null; do sleep 0.1; done
echo "sqlite: $(sqlite3 db 'select count(*), b from t; pragma integrity_check' | xargs)"

tell fio fio --name=verify --filename="$PWD/fio" --size=4m --bsrange=1k-64k --rw=randrw --ioengine=psync --verify=crc32c --verify_fatal=1 --end_fsync=1
tell fio-mmap fio --name=mmap --filename="$PWD/mmap" --size=1m --bs=4k --rw=randwrite --ioengine=mmap --verify=md5 --verify_fatal=1
head -n 1500 /usr/share/dbench/client.txt >/tmp/client.txt
tell dbench dbench -c /tmp/client.txt -t 2 -D "$PWD" 2
for s in dir rename chmod chown hdd flock lockf utime getdent fstat; do
  tell "stress-ng $s" stress-ng --"$s" 1 --"$s-ops" 3 --hdd-bytes 2m --verify --temp-path "$PWD" --timeout 60
done
ls -A
WORK
runcvm run --detach --memory 512M --log-level error --rootfs "$PROGRAMS" --rootfs-changes discard --volume "$work/volume:/volume" --volume "$work/tools:/tools:ro" programs -- sleep 100000
runcvm exec programs mkdir /local
runcvm exec programs bash /tools/work /local >"$work/local"
runcvm exec programs bash /tools/work /volume >"$work/live"
wanted="git: 0
sqlite: 16 ok
sqlite: the transaction is in the file
sqlite: 1|16 ok
fio: 0
fio-mmap: 0
dbench: 0"
is "$(head -n 7 "$work/local")" "$wanted" "git, SQLite, fio and dbench on the VM's own disk"
is "$(head -n 7 "$work/live")" "$wanted" "and on a live volume"
is "$(grep -c 'stress-ng.*: 0' "$work/live")" 10 "stress-ng's file system stressors on a volume"
is "$(cat "$work/live")" "$(cat "$work/local")" "all of it alike"
is "$(git -c safe.directory='*' -C "$work/volume/repo" fsck 2>&1; git -c safe.directory='*' -C "$work/volume/repo" status --short)" "" "the host's git finds what the VM's made in order"
