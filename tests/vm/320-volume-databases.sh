#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# PostgreSQL and MariaDB on live volumes: what they said was committed is there after their VM was killed.
. "$(dirname "$0")/functions.sh"

chmod 755 "$work"
mkdir "$work/pg" "$work/my" "$work/tools"
chown 70:70 "$work/pg"
chown 71:71 "$work/my"
# The directories are made by the same programs, here: that takes a VM without KVM very long.
in_tree() {
  unshare --mount --propagation private bash -c 'for d in pg my; do mkdir -p "$0/mnt/$d" && mount --bind "$1/$d" "$0/mnt/$d"; done; shift; exec env -u TMPDIR "$@"' \
    "$PROGRAMS" "$work" chroot "$@" >"$work/output" 2>&1
}
succeeds "initdb" in_tree --userspec=70:70 "$PROGRAMS" /usr/lib/postgresql/15/bin/initdb -D /mnt/pg --locale=C -A trust --no-sync
cat >>"$work/pg/postgresql.conf" <<'CONF'
unix_socket_directories = '/tmp'
listen_addresses = ''
shared_buffers = 16MB
max_connections = 8
dynamic_shared_memory_type = mmap
autovacuum = off
CONF
succeeds "pgbench's tables" in_tree --userspec=70:70 "$PROGRAMS" sh -c \
  'PATH=/usr/lib/postgresql/15/bin:$PATH; pg_ctl -D /mnt/pg -w -l /mnt/pg/first.log start && pgbench -h /tmp -U postgres -i -q -s 1 postgres; r=$?; pg_ctl -D /mnt/pg -w stop && exit $r'
succeeds "mariadb-install-db" in_tree "$PROGRAMS" mariadb-install-db --user=mysql --datadir=/mnt/my --skip-test-db --auth-root-authentication-method=normal --force

cat >"$work/tools/postgres" <<'PG'
PATH=/usr/lib/postgresql/15/bin:$PATH
export PGHOST=/tmp PGUSER=postgres
as() { setpriv --reuid=70 --regid=70 --clear-groups "$@"; }
as pg_ctl -D /mnt/pg status >/dev/null || as pg_ctl -D /mnt/pg -w -t 300 -l /tmp/pg.log start >/dev/null 2>&1 || cat /tmp/pg.log
PG
cat >"$work/tools/mariadb" <<'MY'
mariadb-admin -u root -S /tmp/my.sock ping 2>/dev/null && return
setpriv --reuid=71 --regid=71 --clear-groups mariadbd --no-defaults --datadir=/mnt/my --socket=/tmp/my.sock --skip-networking --innodb-buffer-pool-size=16M --innodb-log-file-size=8M >/tmp/my.log 2>&1 &
until mariadb-admin -u root -S /tmp/my.sock ping 2>/dev/null; do kill -0 $! || { cat /tmp/my.log; exit 1; }; sleep 0.5; done
MY
start() {
  runcvm run --detach --memory 512M --log-level error --rootfs "$PROGRAMS" --rootfs-changes discard --volume "$work/pg:/mnt/pg" --volume "$work/my:/mnt/my" \
    --volume "$work/tools:/tools:ro" "$1" -- sleep 100000
}
in_vm() { local vm=$1; shift; runcvm exec "$vm" -- bash -c ". /tools/postgres; $*"; }
psql="psql -Atq -c"

start one
is "$(in_vm one "pgbench -n -c 2 -t 10 postgres | grep -c 'number of transactions actually processed: 20/20'")" 1 "pgbench on a volume"
in_vm one "$psql 'create table acked (i int primary key)'"
# Says each row's number once it is committed; the load goes on beside it.
runcvm exec one -- bash -c '. /tools/postgres; pgbench -n -c 2 -T 1000 postgres >/dev/null 2>&1 & for i in $(seq 100000); do echo "insert into acked values ($i);"; echo "\echo $i"; done | psql -Atq' >"$work/acked" 2>/dev/null &
said=$!
runcvm exec one -- bash -c '. /tools/mariadb; mariadb -u root -S /tmp/my.sock -e "create database d; create table d.acked (i int primary key) engine=innodb"; for i in $(seq 100000); do echo "insert into d.acked values ($i); select $i;"; done | mariadb -u root -S /tmp/my.sock -n -N' >"$work/acked.my" 2>"$work/my.err" &
until [ "$(wc -l <"$work/acked")" -gt 20 ] && [ "$(wc -l <"$work/acked.my")" -gt 20 ]; do
  kill -0 $! || break
  sleep 0.2
done
kill -9 "$(runcvm state one | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')"
wait $said $!
runcvm delete --force one
acked=$(tail -n 1 "$work/acked") acked_my=$(grep -x '[0-9]*' "$work/acked.my" | tail -n 1)

start two
# What was under way may have been committed without having been said.
rows=$(in_vm two "$psql 'select count(*) = max(i) and max(i) in ($acked, $acked + 1) from acked'; grep -c 'redo starts\|automatic recovery' /tmp/pg.log")
is "$rows" $'t\n2' "PostgreSQL recovers from the end of its VM, and has all $acked rows that it had committed"
is "$(in_vm two "$psql 'select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches) and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)'; $psql 'reindex database postgres' 2>&1")" t "and its books balance"
is "$(runcvm exec two -- bash -c ". /tools/mariadb >/dev/null; mariadb -u root -S /tmp/my.sock -N -e 'select count(*) = max(i) and max(i) in ($acked_my, $acked_my + 1) from d.acked; check table d.acked'" | xargs)" "1 d.acked check status OK" \
  "so has MariaDB its $acked_my rows"
runcvm exec two -- bash -c '. /tools/postgres; as pg_ctl -D /mnt/pg -m fast -w stop >/dev/null'
