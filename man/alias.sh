#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# alias.sh NAME POD...: the page that leads to the one whose NAME line lists NAME.
set -eu
name=$1
shift
for pod; do
  if sed -n '/^=head1 NAME/,/^=head1 SYNOPSIS/p' "$pod" | tr -s ', ' '\n' | grep -qx "$name"; then
    page=${pod##*/}
    echo ".so man3/${page%.pod}.3"
    exit 0
  fi
done
echo "alias.sh: no page lists $name in its NAME line" >&2
exit 1
