#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""terminal.py COMMAND...: runs it on a terminal of 30 by 90 characters, as a person would who asks the shell in it for the size, makes
the window larger, asks again, and types `exit 5`.  Prints the sizes and the exit code."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

TIMEOUT = 90
master, slave = pty.openpty()


def resize(rows, cols):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


text = b""


def expect(pattern):
    global text
    end = time.monotonic() + TIMEOUT
    while True:
        found = re.search(pattern, text)
        if found:
            text = text[found.end():]
            return found
        if not select.select([master], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit("waited too long for %r in %r" % (pattern, text))
        try:
            piece = os.read(master, 4096)
        except OSError:
            piece = b""
        if not piece:
            sys.exit("%r ended without %r" % (text, pattern))
        text += piece


def ask(wanted, again=lambda: None):
    # Docker passes the new size on a moment later: the question is asked again until the answer changes.  Before its client has
    # begun to listen it misses what happens to the window, which one who drags it does not notice.
    end = time.monotonic() + TIMEOUT
    while True:
        os.write(master, b"echo \"=$(stty size 2>/dev/null)= $(tty)\"\r")
        answer = expect(rb"\n=([\d ]*)= (/dev/\w+)[^\r\n]*\r?\n")
        if answer[1] == wanted or time.monotonic() > end:
            return answer[1].decode(), answer[2].decode()
        again()
        time.sleep(0.2)


def drag():
    resize(44, 100)
    resize(44, 101)


resize(30, 90)
process = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                           preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
os.close(slave)
expect(rb"[#$] ")
print("size", *ask(b"30 90"))
drag()
print("then", *ask(b"44 101", drag))
os.write(master, b"exit 5\r")
end = time.monotonic() + TIMEOUT
while time.monotonic() < end:
    try:
        if select.select([master], [], [], 1)[0] and not os.read(master, 4096):
            break
    except OSError:
        break
print("exit", process.wait(TIMEOUT))
