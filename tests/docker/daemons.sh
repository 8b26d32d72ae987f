# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A private containerd and dockerd, both of Debian's packages: sourced by what runs in the namespaces that
# tests/docker/run makes.  Everything of theirs lies in $work; they are ended by their PIDs.

work=$(mktemp -d "${TMPDIR:-/tmp}/runcvm-docker.XXXXXX")
cgroup_parent=/$(basename "$work")
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/docker-config DOCKER_CLI_HINTS=false
containerd_pid= dockerd_pid=

# Whatever else is called docker on this machine is not meant.
docker() { /usr/bin/docker "$@"; }
ctr() { /usr/bin/ctr --address "$work/containerd.sock" "$@"; }

# wait_for SECONDS COMMAND...: until it succeeds; what it waits for has no event that a shell could wait for.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

write_settings() {
  # Docker knows a runtime by a path; this one finds the tree's library, monitor and guest.
  printf '%s\n' '#!/bin/sh' "export RUNCVM_GUEST_DIR='$RUNCVM_GUEST_DIR' RUNCVM_DATA_DIR='$work/data'" \
    "exec '$BUILD/run' runcvm ${RUNCVM_ARGS:-} \"\$@\"" >"$work/runcvm"
  chmod +x "$work/runcvm"
  cat >"$work/containerd.toml" <<END
version = 2
root = "$work/containerd/root"
state = "$work/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
[debug]
  address = "$work/containerd-debug.sock"
END
  cat >"$work/daemon.json" <<END
{
  "data-root": "$work/docker",
  "exec-root": "$work/docker-exec",
  "pidfile": "$work/docker.pid",
  "hosts": ["unix://$work/docker.sock"],
  "containerd": "$work/containerd.sock",
  "storage-driver": "overlay2",
  "exec-opts": ["native.cgroupdriver=cgroupfs"],
  "cgroup-parent": "$cgroup_parent",
  "shutdown-timeout": 5,
  "experimental": true,
  "default-runtime": "runc",
  "runtimes": { "runcvm": { "path": "$work/runcvm" } }
}
END
}

start_containerd() {
  containerd -c "$work/containerd.toml" >>"$work/containerd.log" 2>&1 &
  containerd_pid=$!
  wait_for 60 ctr version
}

start_dockerd() {
  # The package's PATH for its helpers: whatever else is called docker-proxy is not meant either.
  PATH=/usr/sbin:/usr/bin:/sbin:/bin dockerd --config-file "$work/daemon.json" >>"$work/dockerd.log" 2>&1 &
  dockerd_pid=$!
  wait_for 60 docker version
}

# import NAME TREE [CHANGE...]
import() {
  local name=$1 tree=$2 changes=() c
  shift 2
  for c in "$@"; do changes+=(-c "$c"); done
  tar -C "$tree" -c . | docker import "${changes[@]}" - "$name" >/dev/null
}

# All containers together would count as one process of a machine that does something else besides.
make_cgroup() {
  local top=/sys/fs/cgroup/cpu
  [ -e $top/cpu.shares ] || return 0
  mkdir -p "$top$cgroup_parent" && echo 4096 >"$top$cgroup_parent/cpu.shares"
}

start_daemons() {
  make_cgroup
  mkdir -p "$work/docker-config"
  write_settings
  start_containerd && start_dockerd && return 0
  echo "the daemons did not start:"
  tail -n 20 "$work/containerd.log" "$work/dockerd.log"
  return 1
}

end_process() {
  [ -n "$1" ] || return 0
  kill "$1" 2>/dev/null
  wait "$1" 2>/dev/null
  return 0
}

stop_daemons() {
  local ids
  if [ -n "$dockerd_pid" ] && kill -0 "$dockerd_pid" 2>/dev/null; then
    ids=$(docker ps -aq)
    # shellcheck disable=SC2086 # several words
    [ -z "$ids" ] || docker rm -f $ids >/dev/null 2>&1
  fi
  end_process "$dockerd_pid"
  end_process "$containerd_pid"
  dockerd_pid='' containerd_pid=''
}

# The cgroups that were made for the containers; the kernel's are no files, and only directories go.
remove_cgroups() {
  local top
  for top in /sys/fs/cgroup/*"$cgroup_parent" "/sys/fs/cgroup$cgroup_parent"; do
    [ -d "$top" ] && find "$top" -depth -type d -exec rmdir {} +
  done
  return 0
}

remove_work() {
  local m
  # The deepest first.
  while read -r m; do umount "$m"; done < <(cut -d' ' -f5 /proc/self/mountinfo | grep "^$work/" | sort -r)
  find "$work" -xdev -mindepth 1 -delete
  if mountpoint -q "$work"; then umount "$work"; fi
  rmdir "$work"
}
