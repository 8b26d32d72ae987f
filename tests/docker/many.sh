# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Many containers, some at a time, and nothing is left of them; the same while what runs them dies at random moments (dockerd: many-dockerd.sh).
#
# `tests/docker/run --part many`: MANY=100 of them; with all the other tests, few.  SEED: of the moments, printed.

MANY=${MANY:-100} AT_ONCE=${AT_ONCE:-10} KILLS=${KILLS:-20} SEED=${SEED:-$RANDOM}
export RUNTIME=${RUNTIME:-runcvm} # runc: what Docker itself leaves

# What there is of containers, in one line: what is runcvm's, and what is Docker's.
ours() {
  echo "$(left_processes | grep -vc containerd-shim) processes" \
    "$(left_links "tap|rcvm|runcvm" | wc -l) links" \
    "$(left_disks | wc -l) images" \
    "$(left_states | wc -l) states and sockets" \
    "$(left_cgroups | wc -l) cgroups"
}
dockers() {
  echo "$(left_processes | grep -c containerd-shim) shims" \
    "$(left_mounts | wc -l) mounts" \
    "$(left_links veth | wc -l) veths"
}
# What is known of containers whose state is left: the state, and what the daemons say of them.
about_left() {
  local dir
  for dir in "$work"/docker-exec/runtime-runc/moby/?*/; do
    [ -d "$dir" ] || continue
    echo "$dir: $(tr -d ' \n' <"$dir/state.json" | cut -c1-1500)"
    grep -h "$(basename "$dir")" "$work/containerd.log" "$work/dockerd.log" | cut -c1-400 | tail -n 20
  done
}
# is_clean GOT WANTED NAME: and what it is, where it is not.
is_clean() {
  is "$@"
  [ "$1" = "$2" ] || diag "$(left_processes; left_links "tap|rcvm|runcvm|veth"; left_disks; left_states; left_cgroups; left_mounts; docker ps -a; about_left)"
}
none_of_ours="0 processes 0 links 0 images 0 states and sockets 0 cgroups" none_of_dockers="0 shims 0 mounts 0 veths"
no_container() { [ -z "$(docker ps -aq)" ]; }
nothing_left() { no_container && [ "$(ours), $(dockers)" = "$none_of_ours, $none_of_dockers" ]; }
remove_all() { docker ps -aq | xargs -r timeout 60 docker rm -f >/dev/null 2>&1; }
# What is killed while Docker hands over a network namespace may be gone when Docker binds that: it then never lets go of it.
but_netns() { echo "$(left_processes | grep -c containerd-shim) shims $(left_mounts | grep -vc /docker-exec/netns/) mounts"; }
clean() { remove_all; no_container && [ "$(ours), $(but_netns)" = "$none_of_ours, 0 shims 0 mounts" ]; }

# one NUMBER: whether it did what it was to do.
one() {
  local name=many-$1
  case $(($1 % 4)) in
    0) [ "$(docker run --rm --runtime="$RUNTIME" --name "$name" busybox echo "$1")" = "$1" ] ;;
    1) docker run --runtime="$RUNTIME" --name "$name" busybox sh -c "exit $(($1 % 100))"; [ $? = $(($1 % 100)) ] && docker rm "$name" >/dev/null ;;
    2) docker run -d --runtime="$RUNTIME" --name "$name" busybox sleep 1000 >/dev/null && [ "$(docker exec "$name" echo "$1")" = "$1" ] && docker rm -f "$name" >/dev/null ;;
    *) docker run -d --runtime="$RUNTIME" --name "$name" busybox sleep 1000 >/dev/null && docker stop -t 0 "$name" >/dev/null && docker rm "$name" >/dev/null ;;
  esac
}
export -f one

began=$SECONDS
seq "$MANY" | PATH=$work/bin:$PATH xargs -P "$AT_ONCE" -I{} bash -c 'one {} && echo {}' 2>"$work/many.err" >"$work/many.out"
is "$(wc -l <"$work/many.out")" "$MANY" "$MANY containers, $AT_ONCE at a time, do what they are to do"
[ "$(wc -l <"$work/many.out")" = "$MANY" ] || diag "$(tail -n 5 "$work/many.err")"
wait_for 30 nothing_left
is_clean "$(docker ps -aq | wc -l) containers, $(ours), $(dockers)" "0 containers, $none_of_ours, $none_of_dockers" "and nothing is left of them"
diag "$MANY containers: $((SECONDS - began)) s"

# Who is killed: the monitor, the VMM or the shim of any of them.
RANDOM=$SEED
diag "seed $SEED"
victim() {
  case $1 in
    monitor) pgrep -f '^[^ ]*runcvm-monitor|^sleep 1000' ;;
    shim) pgrep -f '^[^ ]*containerd-shim-runc' ;;
    vmm) pgrep -f '^[^ ]*qemu-system' ;;
  esac | sort -n | awk -v n="$RANDOM" '{ pid[NR] = $1 } END { if (NR) print pid[n % NR + 1] }'
}
kill_one() {
  local what=$1 pid
  if [ "$what" = dockerd ]; then
    kill -KILL "$dockerd_pid"
    wait "$dockerd_pid" 2>/dev/null
    start_dockerd || not_ok "dockerd starts again"
  else
    pid=$(victim "$what")
    [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null || return 1
  fi
  killed="$killed $what"
}
# with_kills N KIND...: so many of these, while containers come and go.  They may fail as they like, but not hang.
with_kills() {
  local n=$1 runner began=$SECONDS
  shift
  killed=
  : >"$work/go"
  # So many at a time, each with numbers of its own.
  seq "$AT_ONCE" | PATH=$work/bin:$PATH xargs -P "$AT_ONCE" -I{} bash -c 'for ((i = {}; ; i += '"$AT_ONCE"')); do
    [ -e "$work/go" ] || exit 0; one $i; timeout 60 docker rm -f many-$i; done' >/dev/null 2>&1 &
  runner=$!
  while [ "$(wc -w <<<"$killed")" -lt "$n" ] && [ $((SECONDS - began)) -lt $((n * 10)) ]; do
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    kill_one "${@:RANDOM % $# + 1:1}"
  done
  rm "$work/go"
  diag "killed:$killed"
  no_runner() { ! kill -0 "$runner" 2>/dev/null; }
  wait_for 120 no_runner && ok "no client hangs" || { not_ok "no client hangs"; diag "$(ps -eo pid,etimes,args | grep '[d]ocker ' | cut -c1-120)"; }
}

began=$SECONDS
with_kills "$KILLS" monitor shim vmm
wait_for 60 clean
is_clean "$(docker ps -aq | wc -l) containers, $(ours), $(but_netns)" "0 containers, $none_of_ours, 0 shims 0 mounts" "after kill -9 of monitors, VMMs and shims at random moments nothing is left"
# That is no leak of runcvm's, and the checks that follow are about those.
find "$work/docker-exec/netns" -mindepth 1 ! -name default 2>/dev/null | while read -r n; do umount "$n"; rm -f "$n"; done 2>/dev/null
is "$(docker run --rm --runtime="$RUNTIME" busybox echo well)" well "and the next container runs"
diag "kills: $((SECONDS - began)) s"
