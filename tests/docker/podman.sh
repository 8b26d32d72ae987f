# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2016
# Podman, which has no daemon: its conmon calls the runtime (docs/podman.md).  Each piece's commands are run with runc and with runcvm, and
# print the same.

podman=$work/podman
mkdir -p "$podman"/{root,runroot,tmp,out,bin,net}
# Whatever this machine has set up for Podman is not meant.  A container gets no more open files than there may be.
printf '%s\n' '[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]' '[engine]' 'events_logger = "file"' \
  'runtime_supports_json = ["runc", "runcvm"]' \
  '[network]' 'network_backend = "netavark"' "network_config_dir = \"$podman/net\"" >"$podman/containers.conf"
printf '%s\n' '[storage]' 'driver = "overlay"' "graphroot = \"$podman/root\"" "runroot = \"$podman/runroot\"" >"$podman/storage.conf"
printf '%s\n' '#!/bin/sh' 'case $RT in' "  runcvm) program=$work/runcvm ;;" '  *) program=/usr/sbin/runc ;;' 'esac' \
  'unset DOCKER_CONFIG DOCKER_HOST' "export CONTAINERS_CONF='$podman/containers.conf' CONTAINERS_STORAGE_CONF='$podman/storage.conf'" \
  "exec /usr/bin/podman --tmpdir '$podman/tmp' --cgroup-manager cgroupfs --runtime \"\$program\" \"\$@\"" >"$podman/bin/podman"
chmod +x "$podman/bin/podman"
podman() { RT=runc "$podman/bin/podman" "$@"; }

# What the pieces may use besides podman.
podman_prelude='
N=$piece-$RT
mkdir -p "$podman/$N"
cd "$podman/$N" || exit 1
R="--cgroup-parent '"$cgroup_parent"' --network none"
terminal() { "$TOP/tests/docker/terminal.py" "$@"; }
again() {
  local end=$((SECONDS + 30))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "\"$*\" never succeeded"; return 1; }
    sleep 0.2
  done
}
logged() { again sh -c "podman logs $1 2>&1 | grep -q $2"; }
state() { podman inspect -f "{{.State.Status}} {{.State.ExitCode}}" "$1"; }
'

declare -A pieces=(
  [run]='seq 100000 | podman run --rm -i $R busybox sh -c "sha1sum; echo err >&2; exit 42" 2>err; echo $? $(cat err)
    podman run --rm $R busybox /etc/passwd 2>/dev/null; echo $?
    for name in nosuch /no/such ./such; do podman run --rm $R -w /tmp busybox $name 2>/dev/null; echo $?; done'
  [exec]='podman run -d --name $N $R busybox sleep 1000 >/dev/null
    podman exec $N sh -c "echo out; echo err >&2; exit 7" 2>err; echo $? $(cat err)
    podman exec -u app -e WHO=me -w /tmp $N sh -c "id -un; id -G; echo \$WHO; pwd"
    seq 100000 | podman exec -i $N sha1sum
    terminal podman exec -it $N sh
    podman exec -d $N touch /tmp/detached >/dev/null; again podman exec $N ls /tmp/detached
    podman exec $N nosuch >/dev/null 2>&1; echo $?
    podman stop -t 1 $N >/dev/null 2>&1; state $N
    podman start $N >/dev/null; podman exec $N ls /tmp/detached; podman rm -f -t 0 $N >/dev/null; podman container exists $N; echo $?'
  [terminal]='terminal podman run -it --rm $R busybox sh'
  [life]='podman run -d --name $N $R busybox sh -c "trap \"echo bye; exit 7\" TERM; echo up; while :; do sleep 0.1; done" >/dev/null
    logged $N up; state $N
    podman pause $N >/dev/null; state $N; podman unpause $N >/dev/null; state $N
    podman stop $N >/dev/null; state $N; podman logs $N
    podman restart $N >/dev/null; state $N; podman kill $N >/dev/null; podman wait $N; state $N
    podman inspect -f "{{.State.Pid}} {{.State.OOMKilled}} {{.State.Error}}" $N
    podman rm $N >/dev/null; echo $?'
  [attach]='podman run -di --name $N $R busybox sh -c "echo up; read x; echo got \$x; exit 4" >/dev/null
    logged $N up; echo word | podman attach $N; echo $?; podman logs $N; podman rm $N >/dev/null'
  [volumes]='echo host >f; podman run --rm $R -v $PWD:/data -v $PWD/f:/etc/motd:ro --tmpfs /scratch:size=1m --read-only busybox sh -c "cat /data/f /etc/motd; echo guest >/data/g
    echo x >/etc/motd; touch /x; touch /scratch/x && ls /scratch" 2>/dev/null; cat g
    podman run --rm $R -v $N:/home busybox sh -c "ls /home; echo kept >/home/kept"; podman run --rm $R -v $N:/home busybox cat /home/kept; podman volume rm $N >/dev/null'
  [changes]='podman create --name $N $R busybox sh -c "echo x >/root/new; rm /etc/group; echo late; exit 3" >/dev/null; podman start -a $N; echo $?; podman diff $N | grep -E "root|etc" | sort
    podman commit -q $N $N >/dev/null; podman run --rm $R $N sh -c "cat /root/new; test -e /etc/group || echo no group"; podman cp $N:/root/new - | tar -xO
    podman rm $N >/dev/null; podman rmi $N >/dev/null; echo $?'
  [bridge]='R="--cgroup-parent $cgroup_parent --network $N"; podman network create --disable-dns $N >/dev/null
    podman run -d --name $N $R -p 127.0.0.1:$port:80 busybox sh -c "mkdir -p /srv/www; echo page >/srv/www/index.html; httpd -f -p 80 -h /srv/www" >/dev/null
    again podman exec $N wget -qO- http://127.0.0.1/
    ip=$(podman inspect -f "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}" $N); busybox wget -qO- http://$ip/; busybox wget -qO- http://127.0.0.1:$port/
    podman run --rm $R busybox sh -c "wget -qO- http://$ip/; ip route | grep -c default"
    podman port $N | grep -c 80/tcp; podman rm -f -t 0 $N >/dev/null; podman network rm $N >/dev/null; echo $?'
  [host]='podman run --rm --network host --cgroup-parent $cgroup_parent busybox hostname | sed "s/^$(hostname)\$/NAME/"'
  [limits]='podman run -d --name $N $R --label $N=b -m 256m --cpus 0.5 --pids-limit 50 busybox sleep 1000 >/dev/null
    podman ps --filter label=$N=b --format "{{.Image}}"; podman stats --no-stream --format "{{.MemUsage}}" $N | grep -c "^[1-9]"
    podman top $N pid >/dev/null; echo $?; podman kill -s KILL $N >/dev/null; podman wait $N; podman rm $N >/dev/null; echo $?'
)

tar -C "$BUSYBOX" -c . | podman import -q -c 'CMD ["/bin/sh"]' - busybox >/dev/null 2>&1
export podman cgroup_parent
for p in "${!pieces[@]}"; do printf '%s\n' "$podman_prelude ${pieces[$p]}" >"$podman/out/$p.sh"; done
# run-piece PIECE: with both, on ports of its own.
printf '%s\n' '#!/bin/bash' 'export piece=$1 RT port PATH='"$podman/bin"':$PATH' 'for RT in runc runcvm; do' \
  '  [ $RT = runc ] && port=8801 || port=8802' \
  "  timeout --kill-after=10 150 bash $podman/out/\$1.sh >$podman/out/\$1.\$RT 2>&1 </dev/null" 'done' >"$podman/bin/run-piece"
chmod +x "$podman/bin/run-piece"
# shellcheck disable=SC2086 # several words
printf '%s\n' ${PIECES:-"${!pieces[@]}"} | xargs -P "${JOBS:-$(nproc)}" -I{} "$podman/bin/run-piece" {}
for p in ${PIECES:-"${!pieces[@]}"}; do
  # Two that fail in the same way are no success.
  if grep -E 'Error|never succeeded|waited too long' "$podman/out/$p.runc"; then not_ok "podman: $p: runc can do it"; fi
  is "$(cat "$podman/out/$p.runcvm")" "$(cat "$podman/out/$p.runc")" "podman: $p: as with runc"
done
is "$(podman ps -aq)" "" "podman: no container is left"
# The group of the conmons themselves Podman leaves where it is.
gone_conmons() { find /sys/fs/cgroup -path "*$cgroup_parent/conmon" -type d -exec rmdir {} + && [ -z "$(left_cgroups | grep -E 'libpod|conmon')" ]; }
wait_for 20 gone_conmons && ok "podman: no cgroup is left" || { not_ok "podman: no cgroup is left"; diag "$(left_cgroups)"; }
