# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM under QEMU TCG and the host's side of the agent protocol (common/agent-wire.h)."""

import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

HELLO, READY, STARTED, FAILED, EXIT, GOODBYE, LOG = range(1, 8)
SETUP, EXEC, SIGNAL, RESIZE, SHUTDOWN = range(16, 21)
FROZEN, THAWED, CHANGED, FREEZE, THAW = 10, 11, 15, 30, 31
NET_ANSWER, NET_ADD, NET_DEL, NET_QUERY = 8, 21, 22, 23
STDIN, STDOUT, STDERR, WINDOW, CLOSE = range(32, 37)
WINDOW_SIZE = 256 * 1024

SMALL = {1: ("version", "u"), 2: ("kernel", "s"), 3: ("boot_usec", "u"), 4: ("setup_usec", "u"),
         5: ("pid", "u"), 6: ("stage", "s"), 7: ("errno", "u"), 8: ("message", "s"),
         9: ("exit_code", "u"), 10: ("signal", "u"), 11: ("core", "u"), 12: ("level", "u"),
         13: ("rows", "u"), 14: ("cols", "u"), 15: ("stream", "u"), 16: ("bytes", "u"),
         17: ("all", "u"), 18: ("clock_nsec", "u")}

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 1, 2, 4, 8, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_STRICTATIME, MS_RELATIME = 1 << 24, 1 << 21


def field(tag, value):
    return struct.pack("<HI", tag, len(value)) + value


def u32(tag, value):
    return field(tag, struct.pack("<I", value & 0xffffffff))


def u64(tag, value):
    return field(tag, struct.pack("<Q", value))


def text(tag, value):
    return field(tag, (value if isinstance(value, bytes) else value.encode()) + b"\0")


def small(payload):
    out, at = {}, 0
    while at < len(payload):
        tag, n = struct.unpack_from("<HI", payload, at)
        data = payload[at + 6:at + 6 + n]
        name, kind = SMALL[tag]
        out[name] = data[:-1].decode() if kind == "s" else int.from_bytes(data, "little")
        at += 6 + n
    return out


def mount(destination, fstype, source=None, flags=0, data="", propagation=0, optional=0, copy_up=0):
    return field(10, text(1, destination) + text(2, fstype) + text(3, source or fstype)
                 + u64(4, flags) + u64(5, propagation) + text(6, data) + u32(7, optional)
                 + u32(8, copy_up))


def oci_mounts():
    nse = MS_NOSUID | MS_NOEXEC | MS_NODEV
    return [mount("/proc", "proc", flags=nse),
            mount("/dev", "tmpfs", flags=MS_NOSUID | MS_STRICTATIME, data="mode=755,size=65536k"),
            mount("/dev/pts", "devpts", flags=MS_NOSUID | MS_NOEXEC,
                  data="newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/dev/shm", "tmpfs", "shm", flags=nse, data="mode=1777,size=65536k"),
            mount("/dev/mqueue", "mqueue", flags=nse),
            mount("/sys", "sysfs", flags=nse | MS_RDONLY),
            mount("/sys/fs/cgroup", "cgroup", flags=nse | MS_RDONLY)]


def setup_record(*more, mounts=None, hostname="box", disk="serial:root",
                 namespaces=NEWUTS | NEWIPC | NEWCGROUP, level=3):
    record = text(1, hostname) + text(3, disk) + u64(15, namespaces) + u32(18, level)
    record += u64(16, time.time_ns()) + field(17, os.urandom(64))
    record += b"".join(oci_mounts() if mounts is None else mounts)
    return record + b"".join(more)


DEFAULT_ENV = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def exec_record(argv, *more, env=None, cwd="/"):
    record = b"".join(text(1, a) for a in argv)
    record += b"".join(text(2, e) for e in (DEFAULT_ENV if env is None else env))
    return record + text(3, cwd) + b"".join(more)


class Dead(Exception):
    pass


class Process:
    def __init__(self):
        self.out, self.err = bytearray(), bytearray()
        self.out_bytes = 0
        self.ended = set()
        self.started = self.failed = self.exit = None
        self.stdin_window = WINDOW_SIZE
        self.stdin_closed = False
        self.hold = False      # keep the credit of its output to ourselves
        self.held = {STDOUT: 0, STDERR: 0}
        self.keep = True       # keep what it prints

    @property
    def over(self):
        return self.failed or self.exit


class VM:
    """Boots `guest` (a directory of runcvm-mkguest) with disks [(serial, path, readonly)]."""

    def __init__(self, guest, disks, memory=256, append="", kernel="vmlinux", qemu=(), vsock=None):
        self.dir = tempfile.mkdtemp(prefix="guestvm.")
        self.agent = path = os.path.join(self.dir, "agent")
        self.t0 = time.monotonic()
        cmd = ["qemu-system-x86_64", "-M", "microvm,x-option-roms=off,rtc=on", "-accel", "tcg",
               "-cpu", "max", "-m", str(memory), "-nodefaults", "-no-user-config", "-display",
               "none", "-no-reboot", "-serial", "file:" + os.path.join(self.dir, "console"),
               "-kernel", os.path.join(guest, kernel),
               "-initrd", os.path.join(guest, "initramfs"),
               "-append", "console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=2500000 " + append,
               "-device", "virtio-serial-device", "-chardev", "socket,id=a,path=" + path,
               "-device", "virtserialport,chardev=a,name=org.runcvm.agent"]
        for serial, image, readonly in disks:
            cmd += ["-drive", "id=%s,file=%s,format=raw,if=none,cache=unsafe%s"
                    % (serial, image, ",readonly=on" if readonly else ""),
                    "-device", "virtio-blk-device,drive=%s,serial=%s" % (serial, serial)]
        self.log_file = open(os.path.join(self.dir, "qemu"), "wb")
        self.cmd = cmd + list(qemu)
        self.boot()
        self.inbuf, self.outbuf = bytearray(), bytearray()
        self.processes, self.logs = {}, []
        self.net_answers = {}
        self.frozen, self.thawed, self.changed = {}, {}, 0
        self.hello = self.ready = self.setup_failed = None
        self.goodbye = self.eof = False
        self.number = 0

    def boot(self):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.agent)
        listener.listen(1)
        self.qemu = subprocess.Popen(self.cmd, stdout=self.log_file, stderr=self.log_file, stdin=subprocess.DEVNULL)
        listener.settimeout(20)
        self.sock = listener.accept()[0]
        listener.close()
        os.unlink(self.agent)
        self.sock.setblocking(False)

    # As the library's monitor does: on a busy host an emulated machine's kernel may find that its only timer does not work.
    def await_hello(self):
        def has_no_timer():
            return "the kernel has no timer that works" in self.console()

        for _ in range(3):
            self.until(lambda: self.hello or has_no_timer(), step=1)
            if self.hello:
                return
            self.qemu.kill()
            self.qemu.wait()
            self.sock.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.dir, "console"))
            self.boot()
        raise TimeoutError("no timer works; console %r" % self.console())

    # frames

    def send(self, kind, process=0, payload=b""):
        self.outbuf += struct.pack("<IHHI", len(payload), kind, 0, process) + payload

    def pump(self, timeout):
        want = [self.sock] if self.outbuf else []
        r, w, _ = select.select([self.sock], want, [], timeout)
        if w:
            try:
                n = self.sock.send(self.outbuf[:1 << 20])
                del self.outbuf[:n]
            except BlockingIOError:
                pass
        if not r:
            return
        data = self.sock.recv(1 << 20)
        if not data:
            self.eof = True
            raise Dead(self.console())
        self.inbuf += data
        at = 0
        while len(self.inbuf) - at >= 12:
            n, kind, zero, process = struct.unpack_from("<IHHI", self.inbuf, at)
            assert zero == 0 and n <= 65536, (n, kind, zero)
            if len(self.inbuf) - at - 12 < n:
                break
            self.frame(kind, process, bytes(self.inbuf[at + 12:at + 12 + n]))
            at += 12 + n
        del self.inbuf[:at]

    def frame(self, kind, number, payload):
        p = self.processes.get(number)
        if kind == HELLO:
            self.hello, self.hello_time = small(payload), time.monotonic() - self.t0
        elif kind == READY:
            self.ready = small(payload)
        elif kind == LOG:
            self.logs.append(small(payload))
        elif kind == GOODBYE:
            self.goodbye = True
        elif kind == NET_ANSWER:
            self.net_answers[number] = payload
        elif kind in (FROZEN, THAWED):
            answers = self.frozen if kind == FROZEN else self.thawed
            assert number not in answers
            answers[number] = small(payload)
        elif kind == CHANGED:
            self.changed += 1
        elif kind == FAILED and not self.ready and not p:
            self.setup_failed = small(payload)
        elif kind == STARTED:
            assert p.started is None and not p.out_bytes
            p.started = small(payload)
        elif kind == FAILED:
            p.failed = small(payload)
            assert not p.started
        elif kind == EXIT:
            if p is None:
                p = self.processes[number] = Process()
            assert p.exit is None
            p.exit = small(payload)
        elif kind in (STDOUT, STDERR):
            assert p.started and not p.exit and kind not in p.ended, (kind, number)
            if not payload:
                p.ended.add(kind)
                return
            p.out_bytes += len(payload)
            if p.keep:
                (p.out if kind == STDOUT else p.err).extend(payload)
            p.held[kind] += len(payload)
            assert p.held[kind] <= WINDOW_SIZE, "the window is exceeded"
            if not p.hold:
                self.release(number, kind)
        elif kind == WINDOW:
            p.stdin_window += small(payload)["bytes"]
        elif kind == CLOSE:
            p.stdin_closed = True
        else:
            raise AssertionError("frame type %d" % kind)

    def release(self, number, kind):
        p = self.processes[number]
        if p.held[kind]:
            self.send(WINDOW, number, u32(15, kind) + u32(16, p.held[kind]))
            p.held[kind] = 0

    def until(self, condition, timeout=60, step=None):
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer; logs %r, console %r" % (self.logs, self.console()))
            self.pump(min(left, step or left))

    # requests

    def setup(self, record):
        self.await_hello()
        self.send(SETUP, 0, record)
        self.until(lambda: self.ready or self.setup_failed)
        return self.ready

    def start(self, argv, *more, number=None, **kw):
        if number is None:
            self.number += 1
            number = self.number
        self.processes[number] = p = Process()
        p.number = number
        self.send(EXEC, number, exec_record(argv, *more, **kw))
        return p

    def run(self, argv, *more, stdin=None, timeout=60, **kw):
        p = self.start(argv, *(more if stdin is not None else more + (u32(20, 1),)), **kw)
        if stdin is not None:
            self.write(p, stdin)
            self.send(STDIN, p.number)
        self.until(lambda: p.over, timeout)
        return p

    def write(self, p, data):
        view = memoryview(data)
        while len(view):
            self.until(lambda: p.stdin_window > 0 or p.over or p.stdin_closed)
            if p.over or p.stdin_closed:
                return
            n = min(len(view), 65536, p.stdin_window)
            p.stdin_window -= n
            self.send(STDIN, p.number, bytes(view[:n]))
            view = view[n:]
            self.pump(0)

    def signal(self, number, signum, everyone=0):
        self.send(SIGNAL, number, u32(10, signum) + u32(17, everyone))

    def shutdown(self):
        self.send(SHUTDOWN)
        self.until(lambda: self.goodbye)

    def console(self):
        try:
            with open(os.path.join(self.dir, "console"), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def wait_qemu(self, timeout=10):
        return self.qemu.wait(timeout)

    def close(self):
        self.sock.close()
        if self.qemu.poll() is None:
            self.qemu.kill()
        self.qemu.wait()
        self.log_file.close()
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
