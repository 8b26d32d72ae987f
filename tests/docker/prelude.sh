# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the commands of the table may use besides docker.  From the environment: work (a directory), RT (the runtime), TOP.
R=--runtime=$RT
D=$work/rows/$row.$RT # a directory of the row's own
N=row$row-$RT         # a name for a container
C=shared-$RT          # a container that runs all the time
[ -e "$work/commands/$row.slow" ] && AGAIN=200
mkdir -p "$D"
cd "$D" || exit 1
trap 'docker rm -fv $N $N-2 $N-3 >/dev/null 2>&1; docker network rm $N $N-2 >/dev/null 2>&1' EXIT

# logged NAME TEXT: waits until its logs have a line with that.
logged() { again sh -c 'docker logs "$0" 2>&1 | grep -q -- "$1"' "$1" "$2"; }
# ended NAME: waits for its end and says how that was.
ended() {
  timeout 120 docker wait "$1" >/dev/null
  docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"
}
terminal() { "$TOP/tests/docker/terminal.py" "$@"; }
# again COMMAND...: until it succeeds.
again() {
  local end=$((SECONDS + ${AGAIN:-60}))
  until "$@" 2>/dev/null; do
    [ $SECONDS -lt $end ] || { echo "'$*' never succeeded"; return 1; }
    sleep 0.2
  done
}
# with_default_runtime COMMAND...: while $RT is the daemon's default; that is what builds get, and no other row.
with_default_runtime() {
  (
    flock 9
    sed -i 's/"default-runtime": .*/"default-runtime": "'"$RT"'",/' "$work/daemon.json"
    kill -HUP "$(cat "$work/docker.pid")"
    again sh -c '[ "$(docker info -f "{{.DefaultRuntime}}")" = "$1" ]' sh "$RT"
    DOCKER_BUILDKIT=0 "$@" 9>&-
  ) 9>"$work/default-runtime.lock"
}
# image NAME: of the tree $BUILD/NAME, made when it is first wanted.
image() {
  local tree=$BUILD/$1 path=/usr/sbin:/usr/bin:/sbin:/bin
  [ "$1" = programs ] && path=/usr/lib/postgresql/15/bin:$path
  (
    flock 9
    docker image inspect "$1" >/dev/null 2>&1 || tar -C "$tree" -c . | docker import -c "ENV PATH=$path" - "$1" >/dev/null
  ) 9>"$work/image.$1.lock"
}
# The option --privileged.  With runc it takes all capabilities; on a machine that lacks one, it is all the rest of what the option means: with
# the machine's cgroups: the hierarchies, or, with "all", the directory of their mounts, of which systemd would make what it likes.
privileged() {
  local cgroups
  if [ "$RT" = runcvm ] || docker run --rm $R --privileged busybox true >/dev/null 2>&1; then
    echo --privileged
  else
    cgroups=$(awk '$5 ~ "^/sys/fs/cgroup" && / - cgroup2? / { print "-v", $5 ":" $5 }' /proc/self/mountinfo | sort -u | xargs)
    [ "${1:-}" != all ] || cgroups="-v /sys/fs/cgroup:/sys/fs/cgroup"
    echo --cap-add ALL --cap-drop SYS_RESOURCE --security-opt seccomp=unconfined --security-opt systempaths=unconfined --cgroupns host "$cgroups"
  fi
}
compose() {
  COMPOSE_PROJECT_NAME=${N//-} PYTHONPATH=$BUILD/compose/usr/lib/python3/dist-packages python3 -c 'from compose.cli.main import main; main()' "$@"
}
