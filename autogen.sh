#!/bin/sh
# Makes ./configure from a git checkout.
set -e
cd "$(dirname "$0")"
exec autoreconf --install
