#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals: size, resize, Ctrl-C, raw mode, end of input; and stubborn processes.  The command line tool runs on a real
pseudo-terminal, as it does for a person."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios

BUILD, BUSYBOX = os.environ["BUILD"], os.environ["BUSYBOX"]
work = tempfile.mkdtemp(prefix="runcvm-test.")
os.environ["RUNCVM_ROOT"] = work + "/state"
checks = failed = 0


def check(good, name, detail=""):
    global checks, failed
    checks += 1
    failed += not good
    print("%s %d - %s" % ("ok" if good else "not ok", checks, name))
    if not good:
        print("# " + repr(detail))


class Session:
    """`runcvm ARGS` on a terminal of its own."""

    def __init__(self, *args, rows=24, cols=80):
        self.master, slave = pty.openpty()
        self.resize(rows, cols)
        self.text = b""
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [BUILD + "/run", "runcvm", *args], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def expect(self, pattern):
        while not re.search(pattern, self.text):
            try:
                piece = os.read(self.master, 4096)
            except OSError:
                piece = b""
            if not piece:
                return False
            self.text += piece
        return True

    def type(self, data):
        os.write(self.master, data)

    def end(self):
        code = self.process.wait()
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        os.close(self.master)
        return code, after == self.before


RUN = ["run", "--tty", "--memory", "160M", "--log-level", "error", "--rootfs", BUSYBOX]

s = Session(*RUN, "size", "--", "probe", "size", rows=37, cols=111)
check(s.expect(rb"tty 111 /dev/(pts/\d+|console)"), "all three streams are a terminal", s.text)
check(s.expect(rb"37 x 111"), "it has the size of the user's", s.text)
s.resize(50, 132)
check(s.expect(rb"50 x 132"), "and follows it", s.text)
s.type(b"quit\r")
code, restored = s.end()
check(code == 5, "the exit code of a process on a terminal", code)
check(restored, "the user's terminal is as it was")

s = Session(*RUN, "ctrl-c", "--", "sh", "-c", "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 1; done")
s.expect(rb"up")
s.type(b"\x03")
check(s.expect(rb"interrupted"), "Ctrl-C is SIGINT in a cooked program", s.text)
check(s.end()[0] == 9, "and its handler's exit code comes back")

s = Session(*RUN, "raw", "--", "probe", "raw")
s.expect(rb"raw\r\n")
s.type(b"\x03")
check(s.expect(rb"byte 3"), "Ctrl-C is a byte in a raw one", s.text)
check(s.end()[0] == 0, "which ends as it likes")

s = Session(*RUN, "eof", "--", "sh", "-c", "cat; echo after")
s.type(b"line\r")
s.expect(rb"line\r\n.*line\r\n")
s.type(b"\x04")
check(s.expect(rb"after"), "Ctrl-D is the end of input", s.text)
s.end()

s = Session("run", "--memory", "160M", "--log-level", "error", "--rootfs", BUSYBOX, "stubborn", "--", "probe", "ignore-term")
s.expect(rb"ignoring")
s.process.send_signal(signal.SIGTERM)
kill = lambda *a: subprocess.run([BUILD + "/run", "runcvm", *a], capture_output=True, text=True)
check('"running"' in kill("state", "stubborn").stdout, "a process that ignores SIGTERM goes on")
check(kill("kill", "stubborn", "KILL").returncode == 0, "SIGKILL is sent")
check(s.end()[0] == 137, "and ends it with 137")

# A terminal for an exec in a container that has none.
subprocess.run([BUILD + "/run", "runcvm", "run", "--detach", *RUN[2:], "execs", "--", "sleep", "100000"], check=True)
s = Session("exec", "--tty", "execs", "probe", "size", rows=11, cols=22)
check(s.expect(rb"tty 111") and s.expect(rb"11 x 22"), "exec --tty has a terminal of the right size", s.text)
s.resize(12, 34)
check(s.expect(rb"12 x 34"), "that follows", s.text)
s.type(b"quit\r")
check(s.end() == (5, True), "and ends like any other")
kill("delete", "--force", "execs")

left = os.listdir(work + "/state")
check(left == [".lock"], "nothing is left", left)
subprocess.run(["rm", "-rf", work])
print("1..%d" % checks)
sys.exit(failed > 0)
