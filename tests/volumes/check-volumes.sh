#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The volume server's tests, and a run of a client that is not ours.  Ends with `volumes: N passed, N failed, N skipped`.
#
#   check-volumes.sh [TEST...]     BUILD as in tests/run-vm
set -u
cd "$(dirname "$0")" || exit 1
build=${BUILD:-$(cd ../.. && pwd)/build}
export VOLUMES="$build/lib/runcvm-volumes"
# One that can be copied: libtool's may be a script.
VOLUMES_BINARY=$VOLUMES
[ -e "$build/lib/.libs/runcvm-volumes" ] && VOLUMES_BINARY=$build/lib/.libs/runcvm-volumes
export VOLUMES_BINARY
PYTHONDONTWRITEBYTECODE=1 exec python3 run.py "$@"
