#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# docker checkpoint, with a dockerd of its own.
set -u
cd "$(dirname "$0")/../.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
tests/docker/run --part checkpoint 2>&1 | tee "$log"
code=${PIPESTATUS[0]}
echo "1..$(grep -cE '^(not )?ok ' "$log")"
exit "$code"
