# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What people run under Docker, of Debian's packages: nginx, systemd, Docker itself, PostgreSQL, and services of Compose.  Those of $ONLY:
# with all the other tests nginx, systemd and Compose; all of them by `tests/docker/run --part workloads`, after make_programs and
# make_workloads of tests/setup.sh.

WORKLOADS=${WORKLOADS:-$BUILD/workloads} PROGRAMS=${PROGRAMS:-$BUILD/programs} COMPOSE=${COMPOSE:-$BUILD/compose}

# start NAME [OPTION...] IMAGE COMMAND...
start() { docker run -d --runtime runcvm --name "$@" >/dev/null; }
# says SECONDS TEXT COMMAND...: waits until it prints that
says() { local s=$1 text=$2; shift 2; wait_for "$s" sh -c 't=$1; shift; "$@" 2>&1 | grep -q -- "$t"' sh "$text" "$@"; }

import workloads "$WORKLOADS/" 'CMD ["/bin/bash"]' 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin'

nginx_serves() {
  start web -p 127.0.0.1:8080:80 workloads sh -c 'ln -sf ../sites-available/default /etc/nginx/sites-enabled/; mkdir -p /var/www/html; echo "from nginx" >/var/www/html/index.html; exec nginx -g "daemon off;"'
  wait_for 120 wget -T 5 -t 1 -qO- http://127.0.0.1:8080/
  is "$(wget -T 5 -t 1 -qO- http://127.0.0.1:8080/)" "from nginx" "nginx serves at a port of the host"
  docker stop web >/dev/null
  is "$(docker inspect -f '{{.State.ExitCode}}' web)" 0 "and ends well when it is stopped"
  docker rm -f web >/dev/null
}

systemd_starts() {
  mkdir -p "$work/units/multi-user.target.wants"
  printf '%s\n' '[Service]' 'Type=oneshot' 'RemainAfterExit=yes' 'ExecStart=/bin/sh -c "echo started by systemd >/root/unit"' >"$work/units/hello.service"
  ln -sf ../hello.service "$work/units/multi-user.target.wants/hello.service"
  docker create --runtime runcvm --name init --privileged -e container=docker --tmpfs /run --tmpfs /tmp --stop-signal SIGRTMIN+3 workloads /lib/systemd/systemd >/dev/null
  docker cp "$work/units/." init:/etc/systemd/system
  docker start init >/dev/null
  says 120 '^active' docker exec init systemctl is-active hello.service
  is "$(docker exec init cat /root/unit) $(docker exec init cat /proc/1/comm)" "started by systemd systemd" "systemd is the container's init, and starts a unit"
  docker stop -t 30 init >/dev/null
  is "$(docker inspect -f '{{.State.ExitCode}}' init)" 130 "and ends the container when it is stopped"
  docker rm -f init >/dev/null
}

docker_in_docker() {
  start outer --privileged -e RUNCVM_MEM_SIZE=768M -e 'RUNCVM_DISKS=/docker.img,/var/lib/docker,ext4,4G' workloads \
    sh -c 'for i in iptables ip6tables; do ln -sf $i-nft /usr/sbin/$i; done; exec dockerd --exec-opt native.cgroupdriver=cgroupfs'
  wait_for 180 docker exec outer docker version
  tar -C "$BUSYBOX/" -c . | docker exec -i outer docker import - busybox >/dev/null
  is "$(docker exec outer docker run --rm busybox echo inner 2>&1)" inner "Docker in Docker runs a container"
  is "$(docker exec outer docker info -f '{{.Driver}}')" overlay2 "with overlay2 on a disk of the VM's own"
  docker rm -f outer >/dev/null
}

postgres_keeps() {
  import programs "$PROGRAMS/" 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  start db -v db:/data programs sh -c 'chown 70:70 /data; [ -e /data/db ] || first="initdb -D /data/db &&"
    exec setpriv --reuid 70 --regid 70 --clear-groups sh -c "cd /data; $first exec postgres -D /data/db -k /tmp"'
  sql() { docker exec -u 70:70 db psql -h /tmp -d postgres -Atc "$1"; }
  wait_for 240 sql 'select 1'
  sql 'create table t (n int); insert into t select generate_series(1, 1000)' >/dev/null
  docker kill -s KILL db >/dev/null
  docker start db >/dev/null
  wait_for 240 sql 'select 1'
  is "$(sql 'select count(*), sum(n) from t')" "1000|500500" "PostgreSQL on a named volume has what it had when it was killed"
  docker rm -fv db >/dev/null
  docker rmi programs >/dev/null
}

compose() { (cd "$work/project" && PYTHONPATH=$COMPOSE/usr/lib/python3/dist-packages python3 -c 'from compose.cli.main import main; main()' "$@"); }

compose_connects() {
  mkdir -p "$work/project"
  cat >"$work/project/docker-compose.yml" <<'END'
version: "2.4"
services:
  web:
    image: busybox
    runtime: runcvm
    command: ["sh", "-c", "echo from the other >/tmp/index.html; exec httpd -f -p 80 -h /tmp"]
  client:
    image: debian
    runtime: runcvm
    depends_on: [web]
    command: ["bash", "-c", "until exec 3<>/dev/tcp/web/80; do sleep 0.5; done 2>/dev/null; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3; getent hosts web | wc -l"]
END
  compose up -d >"$work/compose.log" 2>&1
  says 120 '^1' docker logs project_client_1 || { tail -n 5 "$work/compose.log"; docker logs project_client_1; } >&2
  is "$(docker logs project_client_1 2>/dev/null)" "$(printf 'from the other\n1')" "two services of Compose find each other by their names"
  compose down -t 1 >>"$work/compose.log" 2>&1
  is "$(docker ps -aq --filter name=project | wc -l)$(docker network ls -q --filter name=project | wc -l)" 00 "and all of them go"
}

# Side by side, each in a process of its own: most of their time they boot.
run_workload() {
  local began=$SECONDS
  "$1"
  diag "$1: $((SECONDS - began)) s"
}
workloads=${ONLY:-docker_in_docker postgres_keeps systemd_starts compose_connects nginx_serves} pids=
for w in $workloads; do
  run_workload "$w" >"$work/workload.$w" 2>&1 &
  pids="$pids $!"
done
# shellcheck disable=SC2086 # several words
wait $pids
for w in $workloads; do
  grep -q '^\(not \)\?ok ' "$work/workload.$w" || not_ok "$w says what it has found"
  while IFS= read -r line; do
    case $line in
      "ok "*) ok "${line#ok * - }" ;;
      "not ok "*) not_ok "${line#not ok * - }" ;;
      *) echo "$line" ;;
    esac
  done <"$work/workload.$w"
done
docker rmi workloads >/dev/null
