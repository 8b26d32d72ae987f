#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# On a Debian 12 machine: installs what is missing, builds, and runs a container in a microVM.
set -eu
cd "$(dirname "$0")"
mkdir -p build
. tests/setup.sh
# The cache of root disks, too, stays in build/.
export RUNCVM_DATA_DIR=$build/data

install_packages $BUILD_PACKAGES $RUN_PACKAGES
build_tree
make_guest
make_debian

say "what this host offers (runcvm check):"
"$build/run" runcvm check || die "this host cannot run VMs yet; the lines above say what to do"

say "a bundle: config.json and a root file system"
bundle=$(mktemp -d "$build/bundle.XXXXXX")
trap 'rm -rf "$bundle"' EXIT
ln -s "$build/debian" "$bundle/rootfs"
"$build/run" runcvm spec --bundle "$bundle"
python3 - "$bundle/config.json" <<'PY'
import json, sys
with open(sys.argv[1]) as f:
    config = json.load(f)
config["process"]["args"] = ["/bin/sh", "-c", """
  . /etc/os-release
  echo "hello from $PRETTY_NAME"
  echo "the guest's kernel:  $(uname -r)"
  echo "my PID:              $$"
  exit 42"""]
with open(sys.argv[1], "w") as f:
    json.dump(config, f, indent=2)
PY

say "runcvm run --timings --bundle $bundle quickstart"
code=0
"$build/run" runcvm run --timings --bundle "$bundle" "quickstart-$$" || code=$?
echo "the host's kernel:   $(uname -r)"
say "exit code of the container: $code (it asked for 42)"
[ "$code" = 42 ] || die "the exit code got lost"
