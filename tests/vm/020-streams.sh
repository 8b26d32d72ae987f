#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Standard streams: whole, apart, ended, and independent of each other.
. "$(dirname "$0")/functions.sh"

mb=$(scaled 100 5)
head -c ${mb}000000 /dev/urandom >"$work/random"
wanted=$(sha256sum <"$work/random")
is "$(busybox_run big cat <"$work/random" | sha256sum)" "$wanted" "$mb MB from stdin to stdout, from a file"
is "$(cat "$work/random" | busybox_run pipe cat | sha256sum)" "$wanted" "$mb MB from stdin to stdout, through pipes"
rm "$work/random"

busybox_run apart sh -c 'echo to-stdout; echo to-stderr >&2' >"$work/out" 2>"$work/err"
is "$(cat "$work/out")" to-stdout "stdout holds what was written to stdout"
is "$(cat "$work/err")" to-stderr "stderr holds what was written to stderr"

is "$(printf 'a\nb\n' | busybox_run eof sh -c 'cat; echo closed')" $'a\nb\nclosed' "the end of stdin reaches the process"
is "$(busybox_run null sh -c 'wc -c; echo done' </dev/null)" $'0\ndone' "stdin from /dev/null"

# A reader that goes away: the writer sees EPIPE, and does not hang.
busybox_run epipe sh -c 'trap "" PIPE; while echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy 2>/dev/null; do :; done; exit 3' \
  2>"$work/err" | head -c 100 >/dev/null
is "${PIPESTATUS[0]}" 3 "a writer whose reader has gone sees a broken pipe"

# The flags of the caller's files are the caller's.
mkfifo "$work/fifo"
sleep 1000 <>"$work/fifo" >/dev/null &
holder=$!
exec 5<>"$work/fifo"
busybox_run flags true <&5
is "$(grep flags: /proc/self/fdinfo/5 | grep -c '4...$')" 0 "O_NONBLOCK is not set on the caller's pipe"
exec 5>&-
kill $holder
