# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The rows of the table are run with both runtimes, and compared.

n_passed=0 n_failed=0
ok() { n_passed=$((n_passed + 1)); echo "ok $((n_passed + n_failed)) - $*"; }
not_ok() { n_failed=$((n_failed + 1)); echo "not ok $((n_passed + n_failed)) - $*"; }
diag() { sed 's/^/# /' <<<"$*"; }
is() {
  if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3"; diag "wanted: $2"; diag "got:    $1"; fi
}

# What is left of containers, a line each; checks count them, and say which they are.
left_processes() {
  local p
  for p in /proc/[0-9]*; do
    tr '\0' ' ' 2>/dev/null <"$p/cmdline" | grep -E '^([^ ]*/)?(runcvm|lt-runcvm|qemu-system|containerd-shim)[^/ ]* ' | cut -c1-150
  done
}
# A network namespace is one of the mounts; Docker removes the file below it once a minute.
left_mounts() { cut -d ' ' -f 5 /proc/self/mountinfo | grep "^$work/.*\(merged\|rootfs\|netns/[^d]\)"; }
left_links() { ip -o link | grep -oE "^[0-9]+: ($1)[^:]*"; }
left_disks() { find "$work/data/vms" -mindepth 1 2>/dev/null; }
left_states() { find "$work/docker-exec/runtime-runc/moby" -mindepth 1 ! -name .lock 2>/dev/null; }
left_cgroups() { find /sys/fs/cgroup -path "*$cgroup_parent/?*" -type d | while read -r dir; do echo "$dir $(xargs <"$dir/cgroup.procs")"; done; }
# But for the files whose locks say which users are taken, and that state directories are being changed.
left_in_run() { find /run -mindepth 1 -path '*runcvm*' ! -type d ! -name runcvm-users ! -path /run/runcvm/.lock ! -path "$work/*"; }
# none_left NAME COMMAND...: whether it prints nothing.
none_left() {
  local name=$1 left
  shift
  left=$("$@")
  if [ -z "$left" ]; then ok "$name"; else not_ok "$name"; diag "$left"; fi
}

# make_images [busybox]: all, or that one.
make_images() {
  # Scripts that are run find this docker first.
  mkdir -p "$work/bin" "$work/shellless"
  ln -sf /usr/bin/docker "$work/bin/docker"
  cp "$BUSYBOX/bin/probe" "$work/shellless/"
  import busybox "$BUSYBOX/" 'CMD ["/bin/sh"]'
  [ $# = 0 ] || return 0
  import shellless "$work/shellless/"
  import with-entry "$BUSYBOX/" 'ENTRYPOINT ["/bin/echo", "entry"]' 'CMD ["default"]'
  import with-cmd "$BUSYBOX/" 'CMD ["echo", "of the image"]'
  import debian "$DEBIAN/" 'CMD ["/bin/bash"]'
}

# rows.sh speaks in these.
n_rows=0 current=
declare -a sections features reasons commands slow
section() { current=$1; }
row() {
  sections[n_rows]=$current features[n_rows]=$1 reasons[n_rows]=$2 commands[n_rows]=$3
  n_rows=$((n_rows + 1))
}
workload() {
  slow[n_rows]=$1
  row "$2" "" "$3"
}
# Whether these two have been there and are to be looked at: workloads may be left out.
was_run() { [ -e "$work/out/$(number "$1").runcvm" ]; }

number() { printf '%02d' "$1"; }

# run_rows [PATTERN]: those of runc one after the other, since each takes but a moment; those of runcvm some at once, first those that take long.
run_rows() {
  local i rt chosen=() long=()
  mkdir -p "$work/commands" "$work/out" "$work/rows"
  . tests/docker/rows.sh
  for ((i = 0; i < n_rows; i++)); do
    printf '%s\n' "${commands[i]}" >"$work/commands/$(number $i)"
    [[ ${features[i]} =~ ${1:-} ]] || continue
    if [ -z "${slow[i]:-}" ]; then
      [ -n "${ONLY_WORKLOADS:-}" ] || chosen+=("$(number $i)")
    elif [[ " $WORKLOADS " == *" ${slow[i]} "* || $WORKLOADS = all ]]; then
      long+=("$(number $i)")
      touch "$work/commands/$(number $i).slow"
    fi
  done
  chosen=("${long[@]}" "${chosen[@]}")
  for rt in runc runcvm; do
    docker run -d --name "shared-$rt" --runtime "$rt" busybox sh -c 'trap "exit 0" TERM; while :; do sleep 1; done' >/dev/null
  done
  export PATH=$work/bin:$PATH
  printf '%s\n' "${chosen[@]}" | xargs -I{} -P 1 tests/docker/run-row {} runc &
  printf '%s\n' "${chosen[@]}" | xargs -I{} -P "${JOBS:-$(nproc)}" tests/docker/run-row {} runcvm
  wait $!
  # What depends on who is faster is looked at once more, with nothing beside it.
  for i in "${chosen[@]}"; do
    if cmp -s "$work/out/$i.runc" "$work/out/$i.runcvm"; then [ -n "${reasons[10#$i]}" ] || continue; else [ -z "${reasons[10#$i]}" ] || continue; fi
    diag "${features[10#$i]}: is run again; it was: $(diff "$work/out/$i.runc" "$work/out/$i.runcvm" | head -n 8)"
    tests/docker/run-row "$i" runc
    tests/docker/run-row "$i" runcvm
  done
  docker rm -f shared-runc shared-runcvm >/dev/null
}

show_rows() {
  local f
  for f in "$work"/out/*.runcvm; do
    i=$((10#$(basename "$f" .runcvm)))
    echo "== ${features[i]}"
    diff "$work/out/$(number $i).runc" "$f" && { echo "same:"; sed 's/^/   /' "$f"; }
  done
}

# What a row printed, as a cell.
cell() { head -c 300 "$1" | tr -d '\r' | sed 's/|/\\|/g; s/^$/ /; s/.*/`&`/' | paste -sd'~' | sed 's/~/<br>/g'; }

write_table() {
  local i last= differ=0
  cat <<'END'
# Docker: runcvm beside runc

Written by tests/docker, with the dockerd and containerd of Debian: each row's commands were run with `--runtime=runc` and with
`--runtime=runcvm` on the same image, and what they printed was compared. The rows are those of the feature tables in RunCVM's
roadmap, and what users of Docker meet besides. tests/docker/rows.sh has the commands as they were run.

END
  for ((i = 0; i < n_rows; i++)); do [ -z "${reasons[i]}" ] || differ=$((differ + 1)); done
  echo "$((n_rows - differ)) of $n_rows rows are the same. Of the roadmap's rows, the balloon is in tests/vm/110-memory.sh."
  for ((i = 0; i < n_rows; i++)); do
    if [ "${sections[i]}" != "$last" ]; then
      last=${sections[i]}
      printf '\n## %s\n\n| feature | | runc | runcvm |\n|---|---|---|---|\n' "$last"
    fi
    if ! was_run $i; then
      grep -F -- "| ${features[i]} |" docs/docker-parity.md || echo "| ${features[i]} | not run | | |"
    elif [ -z "${reasons[i]}" ]; then
      printf '| %s | same | %s | |\n' "${features[i]}" "$(cell "$work/out/$(number $i).runc")"
    else
      printf '| %s | differs: %s | %s | %s |\n' "${features[i]}" "${reasons[i]}" "$(cell "$work/out/$(number $i).runc")" \
        "$(cell "$work/out/$(number $i).runcvm")"
    fi
  done
}

check_rows() {
  local i runc runcvm
  for ((i = 0; i < n_rows; i++)); do
    was_run $i || continue
    runc=$(cat "$work/out/$(number $i).runc") runcvm=$(cat "$work/out/$(number $i).runcvm")
    if [ -z "$runc" ]; then
      not_ok "${features[i]}: runc prints something"
    elif [ -z "${reasons[i]}" ]; then
      is "$runcvm" "$runc" "${features[i]}: as with runc"
    elif [ "$runc" = "$runcvm" ]; then
      not_ok "${features[i]} no longer differs: take the reason out of tests/docker/rows.sh"
    else
      ok "${features[i]}: differs, and the table says why"
    fi
  done
  write_table >"$BUILD/docker-parity.md"
  if cmp -s "$BUILD/docker-parity.md" docs/docker-parity.md; then
    ok "docs/docker-parity.md is what was seen"
  else
    not_ok "docs/docker-parity.md is what was seen: else copy build/docker-parity.md there"
    diag "$(diff "$BUILD/docker-parity.md" docs/docker-parity.md | head -20)"
  fi
}

finish_checks() {
  echo "docker: $n_passed passed, $n_failed failed, 0 skipped"
  [ "$n_failed" = 0 ]
}
