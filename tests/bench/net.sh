#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# net.sh [ROUNDS]: what a TAP in a namespace costs: by the library, and by the forked commands that beta9 uses
# (`ip netns exec NS ip tuntap add`, `ip link set up`, `ip link delete`), taking turns in one run.  Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip () { echo "SKIP: $*"; exit 77; }

[ "$(id -u)" = 0 ] || skip "needs root"
[ -e /dev/net/tun ] || skip "needs /dev/net/tun"
command -v ip > /dev/null || skip "needs iproute2"
exec "${BUILD:-$PWD/build}/run" python3 tests/bench/net.py "${1:-50}"
