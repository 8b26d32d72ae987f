#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""rcvm-init in a VM, by its protocol: test_guest.py GUEST-DIR [NAME...] (needs root, QEMU, e2fsprogs,
busybox-static and a C compiler; prints TAP)."""

import errno
import os
import shutil
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guestbench import *  # noqa: E402,F403

tests = []


def test(f):
    tests.append(f)
    return f


def eq(got, wanted):
    assert got == wanted, "got %r, wanted %r" % (got, wanted)


def code(p):
    assert p.exit, "failed: %r" % p.failed
    return p.exit.get("exit_code")


def caps(*numbers):
    return sum(1 << n for n in numbers)


def cap_sets(bounding, effective, inheritable, permitted, ambient):
    return b"".join(u64(12 + i, v) for i, v in
                    enumerate((bounding, effective, inheritable, permitted, ambient)))


# What a process is given


@test
def exit_codes(b):
    vm = b.common()
    for n in (0, 1, 7, 125, 126, 127, 128, 255):
        eq(code(vm.run(["sh", "-c", "exit %d" % n])), n)
    for s in (1, 2, 3, 6, 9, 11, 15, 31, 64):
        eq(vm.run(["probe", "die", str(s)]).exit, {"signal": s})


@test
def output_apart(b):
    p = b.common().run(["probe", "both"])
    eq(bytes(p.out), b"".join(b"out %d\n" % i for i in range(2000)))
    eq(bytes(p.err), b"".join(b"err %d\n" % i for i in range(2000)))
    eq(p.ended, {STDOUT, STDERR})


@test
def failures(b):
    vm = b.common()
    for argv, kw, stage, exit_code in (
            (["nothere"], {}, "exec", 127), (["/no/where"], {}, "exec", 127),
            ([""], {}, "exec", 127), (["noexec"], {}, "exec", 126), (["/etc"], {}, "exec", 126),
            (["/bin/noexec"], {}, "exec", 126), (["/etc/passwd/x"], {}, "exec", 126),
            (["badscript"], {}, "exec", 127), (["garbage"], {}, "exec", 126),
            (["true"], {"cwd": "/etc/passwd"}, "cwd", 126), (["true"], {"cwd": "/no"}, "cwd", 127),
            (["sh"], {"env": ["PATH=/nope"]}, "exec", 127)):
        p = vm.run(argv, **kw)
        assert p.failed, (argv, p.exit)
        eq((p.failed["stage"], p.failed["exit_code"]), (stage, exit_code))
        assert len(p.failed["message"]) > 10 and "\n" not in p.failed["message"]
    p = vm.run(["true"], text(7, "nobody"))
    eq((p.failed["stage"], p.failed["exit_code"]), ("user", 126))
    p = vm.run(["true"], text(7, "joe:nogroup"))
    assert "nogroup" in p.failed["message"]
    p = vm.run(["true"], u32(17, 3))
    eq(p.failed["stage"], "exec")
    p = vm.run(["true"], field(17, u32(1, 999) + u64(2, 1) + u64(3, 1)))
    eq((p.failed["stage"], p.failed["errno"]), ("rlimit", errno.EINVAL))
    eq(code(vm.run(["true"])), 0)


@test
def users(b):
    vm = b.common()
    show = ["sh", "-c", "id -u; id -g; id -G; echo $HOME"]

    def run(*more, env=None):
        return bytes(vm.run(show, *more, env=env).out).decode().split("\n")[:4]
    eq(run(), ["0", "0", "0", "/root"])
    eq(run(text(7, "joe")), ["1000", "1001", "1001 10 63", "/home/joe"])
    eq(run(text(7, "1000")), ["1000", "1001", "1001 10 63", "/home/joe"])
    eq(run(text(7, "joe:44")), ["1000", "44", "44", "/home/joe"])
    eq(run(text(7, "joe:video")), ["1000", "44", "44", "/home/joe"])
    eq(run(text(7, "4000:video")), ["4000", "44", "44", "/"])
    eq(run(text(7, "4000")), ["4000", "0", "0", "/"])
    eq(run(u32(4, 1000), u32(5, 7), u32(6, 8), u32(6, 9)), ["1000", "7", "7 8 9", "/home/joe"])
    eq(run(u32(4, 1000), env=["HOME=/x", "PATH=/bin"])[3], "/x")


@test
def environment(b):
    vm = b.common()
    eq(bytes(vm.run(["env"], env=["PATH=/bin", "A=1\n2", "B=", "HOME=/h", "X==y"]).out),
       b"PATH=/bin\nA=1\n2\nB=\nHOME=/h\nX==y\n")
    eq(bytes(vm.run(["env"], env=[]).out), b"HOME=/root\n")
    args = ["printf", "[%s]", "", "a b", "\"'$", "x" * 100000]
    eq(bytes(vm.run(args).out), b"[][a b][\"'$][" + b"x" * 100000 + b"]")
    big = ["V%d=%s" % (i, "y" * 1000) for i in range(900)] + ["PATH=/bin"]
    eq(code(vm.run(["sh", "-c", "test ${#V899} = 1000"], env=big)), 0)


@test
def clean_start(b):
    vm = b.common()
    eq(bytes(vm.run(["probe", "fds"]).out), b"0 1 2 ")
    eq(bytes(vm.run(["probe", "nonblock"], stdin=b"").out), b"0 0 0 ")
    eq(code(vm.run(["probe", "signals"])), 0)
    eq(bytes(vm.run(["sh", "-c", "umask; pwd"], cwd="/home/joe").out), b"0022\n/home/joe\n")
    eq(bytes(vm.run(["sh", "-c", "umask"], u32(8, 0o27)).out), b"0027\n")
    eq(bytes(vm.run(["probe", "session"]).out)[:1], b"1")
    eq(bytes(vm.run(["sh", "-c", "readlink /proc/self/fd/0"]).out), b"/dev/null\n")


@test
def capabilities(b):
    vm = b.common()
    show = ["grep", "-E", "^Cap|NoNew|Seccomp:", "/proc/self/status"]

    def run(*more):
        p = vm.run(show, *more)
        assert p.exit, p.failed
        return {line.split(":")[0]: int(line.split()[1], 16)
                for line in p.out.decode().splitlines()}
    some = caps(5, 10)
    got = run(u32(4, 1000), u32(5, 1000), cap_sets(some, some, some, some, caps(10)))
    eq(got, {"CapInh": some, "CapPrm": caps(10), "CapEff": caps(10), "CapBnd": some,
             "CapAmb": caps(10), "NoNewPrivs": 0, "Seccomp": 0})
    got = run(cap_sets(some, some, 0, some, 0), u32(18, 1))
    eq((got["CapPrm"], got["CapEff"], got["CapBnd"], got["NoNewPrivs"]), (some, some, some, 1))
    got = run(u32(4, 1000))
    eq((got["CapPrm"], got["CapEff"]), (0, 0))
    assert run()["CapEff"] > 1 << 37
    got = run(cap_sets((1 << 64) - 1, *[(1 << 64) - 1] * 4))
    assert got["CapEff"] > 1 << 37 and got["CapAmb"] == got["CapEff"]
    # Files belong to the user from the start: the directory is one that root alone could not be denied.
    p = vm.run(["pwd"], text(7, "joe"), cwd="/home/joe")
    eq(bytes(p.out), b"/home/joe\n")


@test
def seccomp(b):
    vm = b.common()
    # mkdir (83) fails with ENOTTY, all else is allowed
    def filter_(*insns):
        return b"".join(struct.pack("<HBBI", *i) for i in insns)
    f = filter_((0x20, 0, 0, 0), (0x15, 0, 1, 83), (6, 0, 0, 0x50000 | errno.ENOTTY),
                (6, 0, 0, 0x7fff0000))
    for more in ((), (u32(18, 1),), (u32(4, 1000), cap_sets(0, 0, 0, 0, 0)),
                 (u32(4, 1000), u32(18, 1)), (cap_sets(caps(1), caps(1), 0, caps(1), 0),)):
        p = vm.run(["probe", "mkdir", "/tmp/never"], field(21, f), *more)
        assert p.exit, p.failed
        eq(bytes(p.out), b"Inappropriate ioctl for device")
    eq(vm.run(["true"], field(21, b"1234567")).failed["errno"], errno.EPROTO)


@test
def limits(b):
    vm = b.common()
    p = vm.run(["probe", "limit", "7"], field(17, u32(1, 7) + u64(2, 100) + u64(3, 200)))
    eq(bytes(p.out), b"100 200")
    p = vm.run(["cat", "/proc/self/oom_score_adj"], u32(19, -500))
    eq(bytes(p.out), b"-500\n")
    p = vm.run(["probe", "sched"], u32(23, 3 << 13 | 0),
               field(24, u32(1, 3) + u32(2, 7)))
    eq(bytes(p.out), b"3 7 %d" % (3 << 13))
    eq(bytes(vm.run(["sh", "-c", "cat /sys/fs/cgroup/pids.max; cat /proc/self/cgroup"]).out),
       b"500\n0::/\n")


# The container


@test
def file_systems(b):
    vm = b.common()

    def sh(command):
        p = vm.run(["sh", "-c", "exec 2>&1; " + command])
        return p.out.decode()
    eq(sh("ls -A /secret; wc -c < /deep/file; touch /secret/x"), "0\ntouch: /secret/x: Read-only file system\n")
    assert "Read-only" in sh("touch /ro/file") and sh("cat /ro/file") == "ro\n"
    assert "Read-only" in sh("touch /data/f") and sh("cat /data/f") == "data\n"
    eq(sh("head -1 /new/dir/file"), "root:x:0:0:root:/root:/bin/sh\n")
    eq(sh("stat -f -c %T /etc/esc; stat -c %a /etc/esc"), "tmpfs\n1777\n")
    eq(sh("stat -f -c %T /not/there/yet/x; stat -c %a /not/there/yet/x"), "tmpfs\n700\n")
    eq(sh("stat -f -c %T /home; stat -c '%a %u %g' /home/joe"), "tmpfs\n700 1000 1001\n")
    eq(sh("stat -c '%a %F' /tmp"), "1777 directory\n")
    eq(sh("grep -c ' /sys sysfs ro' /proc/mounts"), "1\n")
    eq(sh("stat -c %a /staged; touch /staged/x; grep -c '/run\\|stage:' /proc/self/mountinfo"),
       "711\ntouch: /staged/x: Read-only file system\n0\n")
    eq(sh("grep ' /slave ' /proc/self/mountinfo | grep -c shared:"), "1\n")
    assert any("nowhere" in l["message"] and "No such device" in l["message"] for l in vm.logs), vm.logs
    # The module was there, the network is not.
    assert any("/down" in l["message"] and "unreachable" in l["message"] for l in vm.logs), vm.logs
    # The kernel itself asks for a module.
    eq(sh("ip link add d0 type dummy && ip link del d0 && echo made"), "made\n")
    assert "/run/" not in sh("cat /proc/self/mountinfo")
    eq(sh("cd /; cd ..; ls -d bin; ls /proc/1/root/etc/group; ls /../../bin/sh"), "bin\n/proc/1/root/etc/group\n/../../bin/sh\n")
    eq(sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; hostname"), "1\n12345\nbox\n")
    assert "UP,LOWER_UP" in sh("ip link show lo") and "127.0.0.1" in sh("ip addr show lo")


@test
def devices(b):
    vm = b.common()

    def sh(command):
        return vm.run(["sh", "-c", "exec 2>&1; " + command]).out.decode()
    eq(sh("cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty; stat -c '%t:%T %a %u %g' sub/mine"),
       "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\n1:5 640 1000 63\n")
    eq(sh("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done"),
       "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n")
    eq(bytes(vm.run(["sh", "-c", "echo x >/dev/stdout"], text(7, "joe")).out), b"x\n")
    eq(bytes(vm.run(["sh", "-c", "cat /dev/stdin"], text(7, "joe"), stdin=b"in").out), b"in")


@test
def processes_of_container(b):
    vm = b.common()
    out = vm.run(["ps", "-o", "pid,args"]).out.decode()
    assert "1 sleep 100000" in out and "rcvm" not in out and "init" not in out, out
    eq(code(vm.run(["sh", "-c", "test $$ -lt 100000; kill -0 1"])), 0)
    for _ in range(3):
        eq(code(vm.run(["probe", "double"])), 0)
    # Whatever was orphaned became a child of `sleep`, which reaps nothing: that is the container's affair.  The
    # agent's own children must not stay.
    p = vm.run(["sh", "-c", "ps -o stat,ppid | grep -c '^Z *0'"])
    eq(bytes(p.out), b"0\n")


# Streams


@test
def stdin_to_stdout(b):
    vm = b.common()
    data = os.urandom(3 << 20)
    p = vm.start(["cat"])
    vm.write(p, data)
    vm.send(STDIN, p.number)
    vm.until(lambda: p.over)
    assert bytes(p.out) == data and code(p) == 0


@test
def much_output(b):
    vm = b.common()
    n = 100 << 20
    p = vm.start(["probe", "pattern", str(n)], NO_STDIN)
    p.keep = False
    t = time.monotonic()
    check = {"x": 0, "rest": b""}
    plain = vm.frame

    def frame(kind, number, payload):
        if kind == STDOUT and number == p.number and payload:
            data = check["rest"] + payload
            count = len(data) // 4
            wanted = range(check["x"], check["x"] + count)
            # Spot checks: the first, the middle and the last word of each frame.
            for i in (0, count // 2, count - 1):
                if count:
                    assert struct.unpack_from("<I", data, 4 * i)[0] == wanted[i], "bytes out of order"
            check["x"] += count
            check["rest"] = data[4 * count:]
        plain(kind, number, payload)
    vm.frame = frame
    try:
        vm.until(lambda: p.over, 300)
    finally:
        vm.frame = plain
    t = time.monotonic() - t
    eq((p.out_bytes, code(p)), (n, 0))
    print("# 100 MiB of output in %.1f s: %.1f MiB/s" % (t, 100 / t))


@test
def stalled_reader(b):
    vm = b.common()
    p = vm.start(["probe", "pattern", str(2 << 20)], NO_STDIN)
    p.hold = True
    vm.until(lambda: p.out_bytes == WINDOW_SIZE)
    t = time.monotonic()
    eq(bytes(vm.run(["echo", "others go on"]).out), b"others go on\n")
    assert time.monotonic() - t < 5
    eq(p.out_bytes, WINDOW_SIZE)
    # It dies with its output in the pipe: that is delivered all the same.
    vm.signal(p.number, 9)
    vm.run(["true"])
    assert not p.exit
    # The agent sleeps meanwhile.
    def busy():
        with open("/proc/%d/stat" % vm.qemu.pid) as f:
            return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
    before = busy()
    time.sleep(1)
    assert busy() - before < 50, "%d ticks" % (busy() - before)
    p.hold = False
    vm.release(p.number, STDOUT)
    vm.until(lambda: p.over)
    eq(p.exit, {"signal": 9})
    assert p.out_bytes > WINDOW_SIZE


@test
def closed_reader(b):
    vm = b.common()
    p = vm.start(["yes"], NO_STDIN)
    p.hold, p.keep = True, False
    vm.until(lambda: p.out_bytes == WINDOW_SIZE)
    vm.send(CLOSE, p.number, u32(15, STDOUT))
    vm.until(lambda: p.over)
    # busybox's yes sees EPIPE or dies of SIGPIPE
    assert p.exit in ({"signal": 13}, {"exit_code": 1}), p.exit


@test
def closed_stdin(b):
    vm = b.common()
    p = vm.start(["sh", "-c", "exec <&-; echo closed; sleep 1000"])
    vm.until(lambda: p.out and p.stdin_closed)
    vm.signal(p.number, 9)
    vm.until(lambda: p.over)
    p = vm.start(["true"])
    vm.write(p, b"x" * 100000)
    vm.until(lambda: p.over)
    eq(code(p), 0)


@test
def background_child(b):
    vm = b.common()
    for argv in (["probe", "holder"], ["probe", "holder", "write"]):
        p = vm.run(argv)
        eq(code(p), 4)
        assert b"parent\n" in p.out
    vm.run(["killall", "-9", "probe"])
    p = vm.run(["sh", "-c", "(sleep 1000; echo never) & probe pattern 300000"])
    eq((code(p), p.out_bytes), (0, 300000))
    vm.run(["killall", "-9", "sleep"])  # PID 1 is not to be killed from within


@test
def terminal(b):
    vm = b.common()
    p = vm.run(["probe", "session"], TTY)
    eq(bytes(p.out), b"1 1 3")
    p = vm.start(["probe", "winch"], TTY, u32(10, 33), u32(11, 99))
    vm.until(lambda: b"33x99" in p.out)
    vm.send(RESIZE, p.number, u32(13, 50) + u32(14, 132))
    vm.until(lambda: b"50x132" in p.out)
    vm.write(p, b"\x03")
    vm.until(lambda: p.over)
    eq(p.exit, {"signal": 2})
    p = vm.run(["sh", "-c", "read a; read b; echo \"<$a|$b>\"; cat; echo end"], TTY,
               stdin=b"one\ntwo\nthree")
    assert b"<one|two>" in p.out and p.out.endswith(b"end\r\n"), p.out
    eq(code(p), 0)
    p = vm.run(["sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"], TTY)
    eq(bytes(p.out), b"".join(b"line %d\r\n" % i for i in range(3000)))
    p = vm.run(["sh", "-c", "stat -c '%a %u' /proc/self/fd/0 -L; tty"], TTY, text(7, "joe"))
    assert p.out.startswith(b"620 1000\r\n/dev/pts/"), p.out
    # One that closes its terminal and opens it again.
    p = vm.run(["sh", "-c", "exec 0<&- 1>&- 2>&-; sleep 0.2; echo again >/dev/tty"], TTY)
    eq((bytes(p.out), code(p)), (b"again\r\n", 0))


@test
def many_execs(b):
    vm = b.common()
    number, running, done = 1000, {}, 0
    t = time.monotonic()
    while done < 400:
        while len(running) < 8 and number < 1400:
            running[number] = vm.start(["probe", "pattern", "65536"], NO_STDIN, number=number)
            number += 1
        vm.until(lambda: any(p.over for p in running.values()))
        for n, p in list(running.items()):
            if p.over:
                eq((p.out_bytes, code(p)), (65536, 0))
                del running[n], vm.processes[n]
                done += 1
    t = time.monotonic() - t
    print("# %d execs with 64 KiB each in %.1f s: %.1f ms each" % (done, t, 1000 * t / done))
    # Nothing is left of them.
    out = vm.run(["ps", "-o", "stat,args"]).out.decode().splitlines()
    out = [line for line in out if not line.startswith("Z")]
    assert len(out) <= 3, out


# Signals and ends


@test
def signals(b):
    vm = b.common()
    p = vm.start(["probe", "handler"], NO_STDIN)
    vm.until(lambda: p.out)
    vm.signal(p.number, 15)
    vm.until(lambda: p.over)
    eq(p.exit, {"exit_code": 15})
    vm.signal(p.number, 15)      # dead already
    vm.signal(4242, 9)           # never was
    vm.signal(p.number, 77)      # no signal
    p = vm.start(["sleep", "1000"], NO_STDIN)
    q = vm.start(["sleep", "1000"], NO_STDIN)
    vm.until(lambda: p.started and q.started)
    vm.signal(0, 15, everyone=1)
    vm.until(lambda: p.over and q.over)
    eq((p.exit, q.exit), ({"signal": 15}, {"signal": 15}))
    eq(code(vm.run(["true"])), 0)  # PID 1 has no handler and lives
    p = vm.start(["sleep", "1000"], NO_STDIN)
    vm.signal(p.number, 9)       # perhaps before its execve
    vm.until(lambda: p.over)
    assert p.failed or p.exit == {"signal": 9}


@test
def end_of_container(b):
    with b.vm() as vm:
        p = vm.start(["sleep", "1000"], NO_STDIN)
        vm.until(lambda: p.started)
        vm.signal(0, 9)
        vm.until(lambda: vm.first.over and p.over)
        eq((vm.first.exit, p.exit), ({"signal": 9}, {"signal": 9}))
        p = vm.run(["true"])
        eq((p.failed["stage"], p.failed["exit_code"]), ("exec", 125))
        assert "stopped" in p.failed["message"]
        vm.shutdown()
        eq(vm.wait_qemu(), 0)
        subprocess.check_call(["e2fsck", "-fn", vm.image], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)


@test
def first_process(b):
    with b.vm(run_first=False) as vm:
        # An exec before the container's process, as runc allows it.
        eq(code(vm.run(["true"])), 0)
        p = vm.start(["sh", "-c", "echo $$; pwd; trap 'echo term; exit 5' TERM; (sleep 1000 &); "
                      "echo ready; while :; do sleep 0.1; done"], NO_STDIN, number=0, cwd="/made/up")
        vm.until(lambda: b"ready" in p.out)
        eq(bytes(p.out), b"1\n/made/up\nready\n")
        vm.signal(0, 15)
        vm.until(lambda: p.over)
        eq((p.exit, bytes(p.out)), ({"exit_code": 5}, b"1\n/made/up\nready\nterm\n"))
    with b.vm(run_first=False) as vm:
        p = vm.start(["nothere"], NO_STDIN, number=0)
        vm.until(lambda: p.over)
        eq(p.failed["exit_code"], 127)
        vm.shutdown()
    with b.vm(run_first=False) as vm:
        vm.signal(0, 9)
        vm.until(lambda: 0 in vm.processes and vm.processes[0].exit)
        eq(vm.processes[0].exit, {"signal": 9})
    with b.vm(u32(8, 1), run_first=False) as vm:
        p = vm.start(["sh", "-c", "pwd; touch /x; stat -c %t:%T /dev/console; tty"], TTY, number=0,
                     cwd="/made/ro")
        vm.until(lambda: p.over)
        assert b"/made/ro\r\n" in p.out and b"Read-only" in p.out and b"88:0\r\n" in p.out, p.out
        t = time.monotonic()
        vm.shutdown()
        print("# GOODBYE after %.0f ms" % ((time.monotonic() - t) * 1000))


@test
def durable(b):
    with b.vm() as vm:
        eq(code(vm.run(["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; "
                        "echo kept >/kept; sleep 1000 >/dev/null 2>&1 & exit 0"])), 0)
        vm.shutdown()
        vm.qemu.kill()
        out = subprocess.check_output(["debugfs", "-R", "cat /kept", vm.image],
                                      stderr=subprocess.DEVNULL)
        eq(out, b"kept\n")
        subprocess.check_call(["e2fsck", "-fn", vm.image], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        assert not any("still mounted" in l["message"] for l in vm.logs), vm.logs


@test
def overlay(b):
    upper = os.path.join(b.dir, "upper")
    os.makedirs(upper + "/upper")
    os.makedirs(upper + "/work")
    image = b.image("upper.img", upper, "32M")
    base = b.image("base.img")
    with VM(b.guest, [("root", base, True), ("up", image, False)]) as vm:
        assert vm.setup(setup_record(u32(6, 1), text(7, "serial:up"))), vm.setup_failed
        p = vm.start(["sh", "-c", "rm /etc/group; echo new >/new; cat /new; "
                      "grep -c '^overlay / ' /proc/mounts; grep -c vd /proc/mounts"], NO_STDIN, number=0)
        vm.until(lambda: p.over)
        eq(bytes(p.out), b"new\n1\n0\n")
        vm.shutdown()
        assert not any("still mounted" in l["message"] for l in vm.logs), vm.logs
    for i in (base, image):
        subprocess.check_call(["e2fsck", "-fn", i], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listing = subprocess.check_output(["debugfs", "-R", "ls -l /upper/etc", image],
                                      stderr=subprocess.DEVNULL, text=True)
    assert "group" in listing


@test
def copies(b):
    tree = os.path.join(b.dir, "copies")
    for d in ("0", "upper0", "work0"):
        os.makedirs(os.path.join(tree, d))
    image, root = b.image("copies.img", tree, "32M"), b.image("c.img")

    def on_disk(path):
        return subprocess.check_output(["debugfs", "-R", "cat " + path, image], stderr=subprocess.DEVNULL)

    def freeze(vm, number):
        vm.send(FREEZE, number)
        vm.until(lambda: number in vm.frozen)
        return vm.frozen[number]

    def thaw(vm, number):
        vm.send(THAW, number)
        vm.until(lambda: number in vm.thawed)
        return vm.thawed[number]
    watched = (u32(25, 1), u32(26, 0))
    mounts = oci_mounts() + [mount("stage:copies", "ext4", "serial:copies"), mount("stage:copy0", "overlay", "copy:0"),
                             mount("/c", "bind", "stage:copy0", MS_BIND)]
    disks = [("root", root, False), ("copies", image, False)]
    with VM(b.guest, disks) as vm:
        assert vm.setup(setup_record(*watched, mounts=mounts)), vm.setup_failed
        first = vm.start(["sleep", "100000"], NO_STDIN, number=0)
        vm.until(lambda: first.started)
        eq(vm.changed, 0)
        vm.run(["sh", "-c", "cat /c/* /c; ls /c"])
        eq(vm.changed, 0)  # looking is no change
        vm.run(["sh", "-c", "echo one >/c/one; echo two >/c/two; rm /c/two"])
        vm.until(lambda: vm.changed)
        eq(vm.changed, 1)
        before = time.time_ns()
        assert abs(freeze(vm, 7)["clock_nsec"] - before) < 60e9, vm.frozen
        eq(on_disk("/upper0/one"), b"one\n")
        # Whoever writes waits; others do not, and nothing gets to the disk.
        p = vm.start(["sh", "-c", "echo began >&2; echo three >/c/one; echo done"], NO_STDIN)
        vm.until(lambda: p.err)
        eq(bytes(vm.run(["cat", "/c/one"]).out), b"one\n")
        eq(freeze(vm, 8)["errno"], errno.EBUSY)
        vm.send(THAW, 6)  # that is none
        vm.run(["true"])
        assert not p.out and not vm.thawed
        eq(on_disk("/upper0/one"), b"one\n")
        eq(thaw(vm, 7), {})
        vm.until(lambda: p.over)
        eq(bytes(p.out), b"done\n")
        vm.until(lambda: vm.changed == 2)
        # Names and attributes count, too; a thaw that comes at once is obeyed.
        vm.send(FREEZE, 9)
        eq(thaw(vm, 9), {})
        for number, change in enumerate(("mv /c/one /c/eins", "chmod 600 /c/eins", "mkdir /c/dir", "rm /c/eins"), 10):
            n = vm.changed
            vm.run(["sh", "-c", change])
            vm.until(lambda: vm.changed == n + 1)
            assert "clock_nsec" in freeze(vm, number)
            eq(thaw(vm, number), {})
        assert "clock_nsec" in freeze(vm, 20)
        # What is frozen when the machine is told to end thaws for that.
        p = vm.start(["sh", "-c", "echo began >&2; echo late >/c/late"], NO_STDIN)
        vm.until(lambda: p.err)
        vm.shutdown()
        eq(vm.thawed[20], {})
        assert not any("still mounted" in l["message"] for l in vm.logs), vm.logs
    subprocess.check_call(["e2fsck", "-fn", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # The host is gone while the disk is frozen: the machine ends all the same.
    vm = VM(b.guest, disks)
    try:
        assert vm.setup(setup_record(*watched, mounts=mounts)), vm.setup_failed
        first = vm.start(["sh", "-c", "while :; do date >/c/date; done"], NO_STDIN, number=0)
        vm.until(lambda: vm.changed)
        assert "clock_nsec" in freeze(vm, 1)
        vm.sock.close()
        eq(vm.wait_qemu(30), 0)
    finally:
        vm.close()
    # Without such copies there is nothing to be frozen.
    eq(freeze(b.common(), 1)["errno"], errno.ENODEV)


@test
def user_namespace(b):
    idmap = u32(1, 0) + u32(2, 100000) + u32(3, 65536)
    device = field(11, text(1, "/dev/mine") + u32(2, 0o020000) + u32(3, 1) + u32(4, 5) + u32(5, 0o666))
    tree = os.path.join(b.dir, "mapped")
    shutil.copytree(b.tree, tree, symlinks=True)
    subprocess.check_call("find %s -exec chown -h 100000:100000 {} +" % tree, shell=True)
    image = b.image("mapped.img", tree)
    with VM(b.guest, [("root", image, False)]) as vm:
        record = setup_record(field(20, idmap), field(21, idmap), device, text(13, "/secret"),
                              text(14, "/ro"),
                              field(12, text(1, "net.ipv4.ip_forward") + text(2, "1")),
                              namespaces=NEWUTS | NEWIPC | NEWCGROUP | NEWUSER)
        assert vm.setup(record), vm.setup_failed
        p = vm.start(["sh", "-c", "id -u; cat /proc/self/uid_map; touch /tmp/x; ls -ln /tmp/x; "
                      "echo >/dev/null; stat -c %t:%T /dev/mine; ls -A /secret; hostname; "
                      "grep -c sysfs /proc/mounts; cat /proc/sys/net/ipv4/ip_forward; sleep 1000"], NO_STDIN, number=0)
        vm.until(lambda: p.over or p.out.endswith(b"1\n1\n"), 20)
        out = p.out.decode()
        assert out.startswith("0\n         0     100000      65536\n"), (out, p.err, p.failed)
        assert "1:5\nbox\n1\n1\n" in out, (out, p.err)
        q = vm.run(["sh", "-c", "id -u; touch /ro/x; tty"], TTY)
        assert b"0\r\n" in q.out and b"Read-only" in q.out and b"/dev/pts" in q.out, (q.out, q.failed)
        vm.shutdown()


NICS = ["-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0,mac=52:54:00:00:00:01",
        "-netdev", "user,id=n1,restrict=on", "-device", "virtio-net-device,netdev=n1,mac=52:54:00:00:00:02"]


def nic(tag, name, mac, *more):
    return field(tag, text(1, name) + field(2, bytes.fromhex(mac.replace(":", ""))) + b"".join(more))


def ip4(a):
    return bytes(int(x) for x in a.split("."))


def net_ask(vm, kind, number, payload=b""):
    vm.send(kind, number, payload)
    vm.until(lambda: number in vm.net_answers)
    return vm.net_answers[number]


@test
def network(b):
    # The names are crossed, and one is no usual one; QEMU's own DHCP server answers.
    vm = b.vm(text(40, ""),
              nic(19, "eth0", "52:54:00:00:00:02", u32(3, 1400),
                  field(5, field(1, ip4("10.9.0.2")) + u32(2, 24) + field(4, ip4("10.9.0.255"))),
                  field(5, field(1, b"\xfd" + bytes(14) + b"\2") + u32(2, 64) + u32(6, 2)),
                  # The gateway's own route comes after it, and is needed first.
                  field(6, field(1, ip4("10.77.0.0")) + u32(2, 16) + field(3, ip4("10.8.0.9")) + u32(5, 7)),
                  field(6, field(1, ip4("10.8.0.0")) + u32(2, 24) + u32(6, 253)),
                  field(6, field(1, ip4("10.78.0.0")) + u32(2, 16) + field(3, ip4("172.31.0.1")) + u32(9, 4)),
                  field(7, field(1, ip4("10.9.0.77")) + field(2, b"\2\0\0\0\0\7") + u32(3, 0x80))),
              nic(19, "wan0", "52:54:00:00:00:01", u32(4, 20)),
              field(12, text(1, "net.ipv4.conf.eth0.forwarding") + text(2, "1")), qemu=NICS)
    try:
        def out(*argv):
            p = vm.run(list(argv))
            return (p.out + p.err).decode()
        addresses = out("ip", "-o", "addr")
        for line in ("eth0    inet 10.9.0.2/24 brd 10.9.0.255 scope global", "eth0    inet6 fd00::2/64",
                     "wan0    inet 10.0.2.15/24"):
            assert line in addresses, (line, addresses)
        assert "tentative" not in "".join(l for l in addresses.splitlines() if "fd00" in l), addresses
        assert "mtu 1400" in out("ip", "link", "show", "eth0")
        routes = out("ip", "route")
        for line in ("10.77.0.0/16 via 10.8.0.9 dev eth0  metric 7", "10.78.0.0/16 via 172.31.0.1 dev eth0 onlink",
                     "default via 10.0.2.2 dev wan0"):
            assert line in routes, (line, routes)
        neighbours = out("cat", "/proc/net/arp")
        assert "10.9.0.77        0x1         0x6         02:00:00:00:00:07" in neighbours, neighbours
        eq(out("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding"), "1\n")
        eq(sorted(out("ls", "/sys/class/net").split()), ["eth0", "lo", "wan0"])
        eq(out("cat", "/etc/resolv.conf"), "nameserver 10.0.2.3\n")
        answer = net_ask(vm, NET_QUERY, 5)
        for piece in (b"wan0\0", field(2, bytes.fromhex("525400000001")), field(1, ip4("10.0.2.15")), text(1, "lo")):
            assert piece in answer, (piece, answer)
        # A change: the old address goes.
        answer = net_ask(vm, NET_ADD, 6, nic(0, "eth0", "52:54:00:00:00:02", field(5, field(1, ip4("10.9.0.3")) + u32(2, 24)))[6:])
        assert field(1, ip4("10.9.0.3")) in answer and field(1, ip4("10.9.0.2")) not in answer, answer
        assert b"malformed" in net_ask(vm, NET_ADD, 7, b"\1\2\3")
        assert b"malformed" in net_ask(vm, NET_DEL, 8, text(1, "eth0"))
        eq(net_ask(vm, NET_DEL, 9, nic(0, "x", "52:54:00:00:00:02")[6:]), b"")
        eq(sorted(out("ls", "/sys/class/net").split()), ["lo", "wan0"])
        eq(net_ask(vm, NET_DEL, 10, nic(0, "x", "52:54:00:00:00:99")[6:]), b"")
    finally:
        vm.close()


@test
def network_failures(b):
    image = b.image("n.img")
    for record, word in (
            (nic(19, "eth0", "52:54:00:00:00:01", field(6, field(1, ip4("10.0.0.0")) + u32(2, 8) + field(3, ip4("1.2.3.4")))),
             "cannot add the route to 10.0.0.0/8 via 1.2.3.4 on eth0"),
            (nic(19, "lo", "52:54:00:00:00:01"), "has a network interface lo already"),
            (nic(19, "eth0", "52:54:00:00:00:01", u32(3, 70000)), "cannot set the MTU of eth0 to 70000"),
            (field(19, text(1, "eth0")), "lacks its name or its MAC"),
            (nic(19, "a/b", "52:54:00:00:00:01"), "malformed"),
            (nic(19, "eth0", "52:54:00:00:00:05", u32(4, 1)), "DHCP without an answer on eth0 in 1 s")):
        silent = ["-netdev", "hubport,id=h,hubid=1", "-device", "virtio-net-device,netdev=h,mac=52:54:00:00:00:05"]
        with VM(b.guest, [("root", image, False)], qemu=NICS + silent) as vm:
            assert vm.setup(setup_record(record)) is None
            assert word in vm.setup_failed["message"], vm.setup_failed
            vm.shutdown()


@test
def setup_failures(b):
    image = b.image("f.img")
    for record, stage, word in (
            (setup_record(disk="serial:root", mounts=[mount("/x", "nosuchfs")]), "mount", "nosuchfs"),
            (setup_record(mounts=[mount("/x", "bind", "/not/there", MS_BIND)]), "mount", "/not/there"),
            (setup_record(mounts=[mount("/", "tmpfs")]), "mount", "/"),
            (setup_record(disk="bad"), "rootfs", "bad"),
            (setup_record(disk="dev:vdz", mounts=[])[:-3], "setup", "malformed"),
            (setup_record(field(12, text(1, "no.such.thing") + text(2, "1"))), "sysctl", "no.such"),
            (setup_record(field(22, text(1, "pids.max") + text(2, "many"))), "cgroup", "pids.max"),
            (setup_record(text(5, "nonsense")), "rootfs", "ext4")):
        with VM(b.guest, [("root", image, False)]) as vm:
            eq(vm.setup(record), None)
            eq(vm.setup_failed["stage"], stage)
            assert word in vm.setup_failed["message"], vm.setup_failed
            p = vm.run(["true"])
            assert p.failed, p.exit
            vm.shutdown()
            eq(vm.wait_qemu(), 0)


@test
def lost_channel(b):
    for break_it in (lambda vm: vm.sock.close(), lambda vm: vm.sock.send(b"\xff" * 64)):
        vm = b.vm()
        try:
            vm.sock.setblocking(True)
            break_it(vm)
            eq(vm.wait_qemu(20), 0)
            assert "rcvm-init: fatal: " in vm.console(), vm.console()
        finally:
            vm.close()


@test
def kernels(b):
    """As it is packed, and as it is not."""
    image = b.image("t.img")
    for kernel in ("vmlinuz", "vmlinux"):
        with VM(b.guest, [("root", image, False)], kernel=kernel) as vm:
            assert vm.setup(setup_record()), vm.setup_failed
            p = vm.start(["true"], NO_STDIN, number=0)
            vm.until(lambda: p.over)
            print("# %s: HELLO after %.2f s (in the guest %.2f s), /bin/true has exited after %.2f s"
                  % (kernel, vm.hello_time, vm.hello["boot_usec"] / 1e6, time.monotonic() - vm.t0))
            vm.shutdown()


def main():
    bench = Bench(os.path.abspath(sys.argv[1]))
    names = sys.argv[2:]
    chosen = [t for t in tests if not names or t.__name__ in names]
    failed = 0
    try:
        for i, t in enumerate(chosen, 1):
            began = time.monotonic()
            try:
                t(bench)
                print("ok %d - %s (%.1f s)" % (i, t.__name__, time.monotonic() - began), flush=True)
            except Exception:
                failed += 1
                print("not ok %d - %s" % (i, t.__name__))
                print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
                if bench.shared:
                    if bench.shared.qemu.poll() is not None:
                        print("# " + bench.shared.console())
                    bench.shared.close()
                    bench.shared = None
        print("1..%d" % len(chosen))
    finally:
        bench.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
