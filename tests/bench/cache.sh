#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# cache.sh [ROUNDS]: what an image costs that is in the cache, for a small and for a large one, against building it and
# against a copy of it for each VM.  Needs 7 GB in $TMPDIR.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
: "${BUILD:=$here/../../build}"
work=$(mktemp -d "${TMPDIR:-/tmp}/cache-bench.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

"$BUILD/run" python3 "$here/cache.py" "${1:-200}" "$work"
