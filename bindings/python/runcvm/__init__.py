# SPDX-License-Identifier: LGPL-2.1-or-later
"""OCI containers as microVMs.

    import runcvm, sys

    with runcvm.VM("hello", rootfs="/srv/alpine", args=["echo", "hello"],
                   stdout=sys.stdout, stderr=sys.stderr) as vm:
        vm.start()
        code = vm.wait()
        vm.delete()

A VM object is a handle: closing it, or losing it, does not stop the VM; VM.open() finds it again,
from any process.  Failures raise runcvm.Error.  Objects may be used from several threads; the GIL
is free while a call waits.  The man pages (libruncvm(3), rcvm_vm_create(3), ...) have the details.
"""

import collections
import collections.abc
import json
import os
import signal
import threading

from . import raw
from .raw import Error

__all__ = ["Error", "VM", "Process", "Phase", "Check", "list_vms", "host_check", "build_rootfs",
           "grow_rootfs", "inspect_rootfs", "verify_rootfs", "write_back_rootfs", "Cache", "CachedImage",
           "check_spec", "default_spec", "features", "version",
           "Tap", "tap_in_netns", "delete_tap"]


def _export_constants():
    """RCVM_E_INVALID becomes runcvm.E_INVALID, and so on for every enumerator."""
    for name in dir(raw):
        if name.startswith("RCVM_") and isinstance(getattr(raw, name), int):
            globals()[name[len("RCVM_"):]] = getattr(raw, name)
            __all__.append(name[len("RCVM_"):])


_export_constants()

Phase = collections.namedtuple("Phase", "name seconds")
Check = collections.namedtuple("Check", "name result detail advice")


class _Handle:
    """Owns one pointer.  close() may come while threads are in a call: the last one out frees."""

    def __init__(self, what, pointer, free):
        self._what = what
        self._pointer = pointer
        self._free = free
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def __enter__(self):
        with self._lock:
            if self._closed:
                raise ValueError(f"the {self._what} is closed")
            self._users += 1
            return self._pointer

    def __exit__(self, *unused):
        with self._lock:
            self._users -= 1
        self._free_if_last()

    def close(self):
        with self._lock:
            self._closed = True
        self._free_if_last()

    def _free_if_last(self):
        with self._lock:
            if self._users or not self._closed or self._pointer is None:
                return
            pointer, self._pointer = self._pointer, None
        self._free(pointer)


class _Closing:
    """What has a handle, or overrides close().  Left as a context manager, or forgotten, it is closed."""

    def close(self):
        """Frees the handle; what it stands for does not notice.  May be called twice."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __del__(self):
        self.close()


def _fd(stream):
    """None (/dev/null), a file descriptor, or an object that has one."""
    if stream is None:
        return -1
    if isinstance(stream, int):
        return stream
    stream.flush()
    return stream.fileno()


def _text(document):
    """JSON text of a str or bytes that is one already, or of an object."""
    return document if isinstance(document, (str, bytes)) else json.dumps(document)


def _strings(environment):
    if isinstance(environment, collections.abc.Mapping):
        return [f"{name}={value}" for name, value in environment.items()]
    return list(environment)


def _milliseconds(timeout):
    """Rounded up, so that a time-out is never early."""
    return -1 if timeout is None else max(0, -int(-timeout * 1000 // 1))


class _Options(_Closing):
    """Keyword arguments and attributes that are setters of the library."""

    _setters = {}

    def _apply(self, options):
        streams = {name: options.pop(name) for name in ("stdin", "stdout", "stderr")
                   if name in options}
        for name in options:
            if name not in self._setters:
                raise TypeError(f"{type(self).__name__} has no option '{name}'")
        for name, value in options.items():
            setattr(self, name, value)
        if streams:
            self.set_stdio(**streams)


def _option(name, setter, doc):
    """A property that calls `setter (pointer, value)` and remembers the value."""

    def get(self):
        return self._values.get(name)

    def put(self, value):
        with self._handle as pointer:
            setter(pointer, value)
        self._values[name] = value

    return property(get, put, doc=doc)


def _with_options(table):
    def decorate(cls):
        for name, (setter, doc) in table.items():
            setattr(cls, name, _option(name, setter, doc))
        cls._setters = table
        return cls

    return decorate


def _add_each(function):
    def add(vm, values):
        for value in values:
            function(vm, value)
    return add


def _set_vm_env(vm, environment):
    for entry in _strings(environment):
        raw.rcvm_vm_add_env(vm, entry)


def _set_annotations(vm, annotations):
    for key, value in annotations.items():
        raw.rcvm_vm_set_annotation(vm, key, value)


def _add_rootfs_digests(vm, digests):
    for digest in digests:
        raw.rcvm_vm_add_rootfs_digest(vm, digest)


def _set_process_env(process, environment):
    for entry in _strings(environment):
        raw.rcvm_process_add_env(process, entry)


@_with_options({
    "bundle": (raw.rcvm_vm_set_bundle, "Directory with config.json."),
    "config": (lambda vm, value: raw.rcvm_vm_set_config_json(vm, _text(value)),
               "A config.json in place of the bundle's: text, or an object to be made JSON of."),
    "rootfs": (raw.rcvm_vm_set_rootfs, "The container's root directory."),
    "args": (raw.rcvm_vm_set_args, "Program and arguments: a sequence of strings."),
    "env": (_set_vm_env, "A mapping, or NAME=VALUE strings; variables that are added or replaced."),
    "user": (raw.rcvm_vm_set_user, "'uid', 'uid:gid', 'name' or 'name:group'."),
    "cwd": (raw.rcvm_vm_set_cwd, "Working directory in the container."),
    "hostname": (raw.rcvm_vm_set_hostname, "Host name in the container."),
    "terminal": (lambda vm, on: raw.rcvm_vm_set_terminal(vm, bool(on)),
                 "Whether there is a terminal."),
    "readonly_rootfs": (lambda vm, on: raw.rcvm_vm_set_readonly_rootfs(vm, bool(on)),
                        "Whether the container sees its root read-only."),
    "annotations": (_set_annotations, "A mapping of annotations that are added or replaced."),
    "hypervisor": (raw.rcvm_vm_set_hypervisor, "'auto', 'qemu' or 'firecracker'."),
    "confinement": (raw.rcvm_vm_set_confinement, "'auto' (default), 'own', 'jailer' or 'off': what the VMM's process may see and do on the host."),
    "kernel": (raw.rcvm_vm_set_kernel, "Path of the guest's kernel."),
    "initramfs": (raw.rcvm_vm_set_initramfs, "Path of the guest's initramfs."),
    "kernel_args": (raw.rcvm_vm_set_kernel_args, "Appended to the kernel's command line."),
    "memory": (raw.rcvm_vm_set_memory, "Memory in bytes."),
    "cpus": (raw.rcvm_vm_set_cpus, "Number of virtual CPUs."),
    "rootfs_disk": (raw.rcvm_vm_set_rootfs_disk, "'overlay' or 'single'."),
    "binds": (raw.rcvm_vm_set_binds, "What bind mounts become: 'live' volumes or 'copy'."),
    "rootfs_changes": (raw.rcvm_vm_set_rootfs_changes, "'writeback', 'discard' or 'keep'."),
    "rootfs_digests": (_add_rootfs_digests,
                       "Digests of the layers that the root is made of, lowest first; they are added."),
    "network": (raw.rcvm_vm_set_network,
                "'none', 'host', 'netns', 'pid:NUMBER' or the path of a network namespace to take over."),
    "network_join": (raw.rcvm_vm_set_network_join, "'tc' or 'bridge'."),
    "tap_name": (raw.rcvm_vm_set_tap_name, "Name of the first TAP."),
    "cgroup_driver": (raw.rcvm_vm_set_cgroup_driver, "'cgroupfs' (default) or 'systemd'."),
    "dhcp": (raw.rcvm_vm_set_dhcp, "Seconds that a DHCP server has for its first answer; 0: no DHCP."),
    "nics": (_add_each(raw.rcvm_vm_add_nic),
             "'NAME,address=...,gateway=...' strings: what the VM has in place of what an interface has; they are added."),
    "ports": (_add_each(raw.rcvm_vm_add_port), "'[ADDRESS:]HOST:VM[/udp]' strings: ports of the host; they are added."),
    "rootfs_size": (raw.rcvm_vm_set_rootfs_size, "What the root can hold in bytes; 0: the default."),
})
class VM(_Options):
    """A handle for a VM.

    VM(id, root=None, **options) is one that is not there yet; VM.open(id, root=None) one that some
    process made.  The options are the attributes (bundle, rootfs, args, env, memory, cpus, ...) and stdin,
    stdout, stderr: None, a file descriptor, or a file.
    """

    def __init__(self, id, root=None, **options):
        self._adopt(raw.rcvm_vm_new(root, id))
        try:
            self._apply(options)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, id, root=None):
        """A handle for a VM that exists.  Error with E_NOT_FOUND if there is none of that id."""
        self = cls.__new__(cls)
        self._adopt(raw.rcvm_vm_open(root, id))
        return self

    def _adopt(self, pointer):
        self._values = {}
        self._handle = _Handle("VM's handle", pointer, raw.rcvm_vm_free)

    def set_stdio(self, stdin=None, stdout=None, stderr=None):
        """The process's streams: None (/dev/null), a file descriptor or a file.  They stay yours."""
        with self._handle as vm:
            raw.rcvm_vm_set_stdio(vm, _fd(stdin), _fd(stdout), _fd(stderr))

    def set_console(self, terminal):
        """Makes a terminal the process's: the slave of a pseudo-terminal, as a file descriptor or a file.  The VM's monitor relays
        it and follows its size."""
        with self._handle as vm:
            raw.rcvm_vm_set_console(vm, _fd(terminal))

    def set_log(self, level, function):
        """Calls function(level, stage, message) for messages up to `level` (LOG_ERROR to LOG_DEBUG),
        from within calls on this object.  None turns it off."""
        with self._handle as vm:
            raw.rcvm_vm_set_log(vm, level, function)

    def create(self):
        """Boots the VM and prepares the container; the process is not started."""
        with self._handle as vm:
            raw.rcvm_vm_create(vm)

    def start(self):
        """Starts the container's process; creates the VM first where that was not done."""
        with self._handle as vm:
            raw.rcvm_vm_start(vm)

    def wait(self, timeout=None):
        """The exit code, once the container has stopped.  `timeout` is in seconds (None: for ever);
        when it is over, Error with E_TIMEOUT.  Signal handlers of Python run after the call: a program
        that wants Ctrl-C meanwhile gives a time-out, or polls fileno()."""
        with self._handle as vm:
            return raw.rcvm_vm_wait(vm, _milliseconds(timeout))

    def kill(self, signum=signal.SIGTERM, all=False):
        """Sends a signal to the container's process, or to all of its processes."""
        with self._handle as vm:
            (raw.rcvm_vm_kill_all if all else raw.rcvm_vm_kill)(vm, int(signum))

    def resize(self, rows, cols):
        """The size of the process's terminal, in characters."""
        with self._handle as vm:
            raw.rcvm_vm_resize(vm, rows, cols)

    def delete(self, force=False):
        """Removes a stopped VM; with `force` also one that runs, or that is gone already."""
        with self._handle as vm:
            raw.rcvm_vm_delete(vm, bool(force))

    def exec(self, args=None, **options):
        """A Process in this container, not started yet.  Options: json (an OCI process object), env,
        user, cwd, terminal, stdin, stdout, stderr."""
        with self._handle as vm:
            return Process(raw.rcvm_vm_exec(vm, args), **options)

    def fileno(self):
        """A file descriptor that polls readable when dispatch() has work; -1 before create()."""
        with self._handle as vm:
            return raw.rcvm_vm_get_fd(vm)

    def dispatch(self):
        """Takes in what has happened, without waiting; returns the status as `status` does."""
        with self._handle as vm:
            return raw.rcvm_status_name(raw.rcvm_vm_dispatch(vm))

    @property
    def id(self):
        with self._handle as vm:
            return raw.rcvm_vm_get_id(vm)

    @property
    def status(self):
        """'new', 'creating', 'created', 'running', 'paused' or 'stopped', as last seen."""
        with self._handle as vm:
            return raw.rcvm_status_name(raw.rcvm_vm_get_status(vm))

    @property
    def pid(self):
        """The host's PID of the container (its monitor), or None."""
        with self._handle as vm:
            pid = raw.rcvm_vm_get_pid(vm)
            return pid if pid > 0 else None

    def state(self):
        """The OCI state (runtime.md#state) as a dict, with more under 'org.runcvm'."""
        with self._handle as vm:
            return json.loads(raw.rcvm_vm_state(vm))

    def phases(self):
        """The phases of the start, in order, as Phase(name, seconds)."""
        with self._handle as vm:
            return [Phase(raw.rcvm_vm_phase_name(vm, i), raw.rcvm_vm_phase_usec(vm, i) / 1e6)
                    for i in range(raw.rcvm_vm_phase_count(vm))]

    def net(self):
        """The network: a dict of "host" (what was taken from where) and "guest" (what the guest has)."""
        with self._handle as vm:
            return json.loads(raw.rcvm_vm_net_json(vm))

    def _attach(self, function, source, target, readonly=False, uid=-1, gid=-1, cached=0, fstype=None, write_back=None,
                notify=False, transport=None, server=None):
        options = raw.rcvm_volume_options_new()
        try:
            raw.rcvm_volume_options_set_readonly(options, bool(readonly))
            raw.rcvm_volume_options_set_squash(options, uid, gid)
            raw.rcvm_volume_options_set_cached(options, cached)
            raw.rcvm_volume_options_set_notify(options, bool(notify))
            raw.rcvm_volume_options_set_transport(options, transport)
            raw.rcvm_volume_options_set_server(options, server)
            raw.rcvm_volume_options_set_fstype(options, fstype)
            raw.rcvm_volume_options_set_write_back(options, write_back)
            with self._handle as vm:
                function(vm, source, target, options)
        finally:
            raw.rcvm_volume_options_free(options)

    def attach_nfs(self, source, target, *, readonly=False, uid=-1, gid=-1, cached=0, notify=False, transport=None,
                   server=None):
        """Shares a directory or file of the host, live, with a VM that has not been created.

        uid, gid: everyone in the VM is that one of the host.  cached: seconds for which the VM may rely on what it has
        seen.  notify: watchers in the VM hear of what others change.  transport: 'link', 'tunnel', or over the VM's network
        'tcp' or 'tcp:FIRST-LAST' (ports).  server: 'unfsd' for unfs3's, of all volumes.
        """
        self._attach(raw.rcvm_volume_attach_nfs, source, target, readonly, uid, gid, cached, notify=notify,
                     transport=transport, server=server)

    def attach_virtiofs(self, source, target, *, readonly=False, cached=0):
        """Shares a directory of the host, live, with a VM that QEMU runs."""
        self._attach(raw.rcvm_volume_attach_virtiofs, source, target, readonly, cached=cached)

    def attach_9p(self, source, target, *, readonly=False):
        """Shares a directory of the host, live, by 9P, which takes a guest kernel that has it."""
        self._attach(raw.rcvm_volume_attach_9p, source, target, readonly)

    def attach_block(self, source, target, *, readonly=False, fstype=None):
        """Gives the VM a block device or an image file of the host; fstype 'raw': as a device node, and not mounted."""
        self._attach(raw.rcvm_volume_attach_block, source, target, readonly, fstype=fstype)

    def attach_copy(self, source, target, *, readonly=False, write_back=None):
        """Gives the VM a copy of a directory or file; write_back 'exit': its changes go back when the VM has stopped;
        'periodic:SECONDS' or 'change:SECONDS': while it runs, too."""
        self._attach(raw.rcvm_volume_attach_copy, source, target, readonly, write_back=write_back)

    def attach_scratch(self, target, size=0, source=None):
        """Gives the VM a disk that is empty at first: its own, or the image file `source`, which stays."""
        with self._handle as vm:
            raw.rcvm_volume_attach_scratch(vm, source, target, size)

    def attach_tmpfs(self, target, size=0, mode=0):
        """Gives a VM that has not been created a tmpfs: size 0: half of its memory; mode 0: 01777."""
        with self._handle as vm:
            raw.rcvm_volume_attach_tmpfs(vm, target, size, mode)

    def volumes(self):
        """The "volumes" and what their "server" has done, as a dict."""
        with self._handle as vm:
            return json.loads(raw.rcvm_vm_volumes_json(vm))

    def attach_disk(self, source, target, *, readonly=False, fstype=None):
        """Gives a VM that is there a block device or an image file of the host; returns when the guest has it."""
        self._attach(raw.rcvm_vm_attach_disk, source, target, readonly, fstype=fstype)

    def detach_disk(self, target):
        """Takes a disk away that came by attach_disk."""
        with self._handle as vm:
            raw.rcvm_vm_detach_disk(vm, target)

    def attach_nic(self, name):
        """Returns when the VM has the interface `name` of its network namespace."""
        with self._handle as vm:
            raw.rcvm_vm_attach_nic(vm, name)

    def detach_nic(self, name):
        """Takes it away, until it is attached again."""
        with self._handle as vm:
            raw.rcvm_vm_detach_nic(vm, name)

    def flush(self):
        """Writes back what the container has changed in its root until now."""
        with self._handle as vm:
            raw.rcvm_vm_flush(vm)

    def pause(self):
        """Stops the virtual CPUs of a container that runs."""
        with self._handle as vm:
            raw.rcvm_vm_pause(vm)

    def resume(self):
        """Lets them go on."""
        with self._handle as vm:
            raw.rcvm_vm_resume(vm)

    def snapshot(self, directory, leave_running=False, parent=None):
        """Saves a running container with its VM into a directory that is new or empty; then it goes on, or ends.
        With parent, an earlier snapshot's directory, only what is different of its memory is saved."""
        below = None if parent is None else os.fspath(parent)
        with self._handle as vm:
            raw.rcvm_vm_snapshot(vm, os.fspath(directory), below, raw.RCVM_SNAPSHOT_LEAVE_RUNNING if leave_running else 0)

    def restore(self, directory):
        """Of a VM that was not created yet: goes on where another one was saved."""
        with self._handle as vm:
            raw.rcvm_vm_restore(vm, os.fspath(directory))

    def update(self, resources):
        """New limits: an OCI linux.resources object as a dict, or its text."""
        with self._handle as vm:
            raw.rcvm_vm_update(vm, _text(resources))

    def stats(self):
        """What the VM uses: the data of runc's statistics events as a dict."""
        with self._handle as vm:
            return json.loads(raw.rcvm_vm_stats(vm))

    def processes(self):
        """The PIDs of the VM's processes on the host."""
        with self._handle as vm:
            return json.loads(raw.rcvm_vm_processes(vm))

    @property
    def oom_kills(self):
        """How many processes of the container were killed for want of memory, as far as it was heard."""
        with self._handle as vm:
            return raw.rcvm_vm_get_oom_kills(vm)

    def metrics(self):
        """The same and more as Prometheus text."""
        with self._handle as vm:
            return raw.rcvm_vm_metrics(vm)


@_with_options({
    "json": (lambda process, value: raw.rcvm_process_set_json(process, _text(value)),
             "An OCI process object (config.md#process) in place of the container's."),
    "env": (_set_process_env,
            "A mapping, or NAME=VALUE strings; variables that are added or replaced."),
    "user": (raw.rcvm_process_set_user, "'uid', 'uid:gid', 'name' or 'name:group'."),
    "cwd": (raw.rcvm_process_set_cwd, "Working directory in the container."),
    "terminal": (lambda process, on: raw.rcvm_process_set_terminal(process, bool(on)),
                 "Whether there is a terminal."),
    "tied": (lambda process, on: raw.rcvm_process_set_tied(process, bool(on)),
             "Whether it is killed when its handle is closed or this program ends."),
})
class Process(_Options):
    """A further process in a running container, made by VM.exec()."""

    def __init__(self, pointer, **options):
        self._values = {}
        self._handle = _Handle("process's handle", pointer, raw.rcvm_process_free)
        try:
            self._apply(options)
        except BaseException:
            self.close()
            raise

    def set_stdio(self, stdin=None, stdout=None, stderr=None):
        """As VM.set_stdio."""
        with self._handle as process:
            raw.rcvm_process_set_stdio(process, _fd(stdin), _fd(stdout), _fd(stderr))

    def start(self):
        """Error with E_PROCESS if it cannot be started; its exit_code is then 126 or 127."""
        with self._handle as process:
            raw.rcvm_process_start(process)

    def wait(self, timeout=None):
        """The exit code, once the process has ended and all of its output is written."""
        with self._handle as process:
            return raw.rcvm_process_wait(process, _milliseconds(timeout))

    def kill(self, signum=signal.SIGTERM):
        """Sends a signal to the process."""
        with self._handle as process:
            raw.rcvm_process_kill(process, int(signum))

    def resize(self, rows, cols):
        """The size of the process's terminal, in characters."""
        with self._handle as process:
            raw.rcvm_process_resize(process, rows, cols)

    def fileno(self):
        """A file descriptor that polls readable when wait(0) may have news; -1 before start()."""
        with self._handle as process:
            return raw.rcvm_process_get_fd(process)

    @property
    def guest_pid(self):
        """The process's PID in the guest, or None."""
        with self._handle as process:
            pid = raw.rcvm_process_get_guest_pid(process)
            return pid if pid > 0 else None


def list_vms(root=None):
    """The ids of the VMs below `root`, or below the default."""
    return raw.rcvm_vm_list(root).splitlines()


def host_check():
    """What this host offers: a list of Check(name, result, detail, advice)."""
    host = raw.rcvm_host_check()
    try:
        return [Check(raw.rcvm_host_get_name(host, i), raw.rcvm_host_get_result(host, i),
                      raw.rcvm_host_get_detail(host, i), raw.rcvm_host_get_advice(host, i))
                for i in range(raw.rcvm_host_count(host))]
    finally:
        raw.rcvm_host_free(host)


_MISSING = {"fail": raw.RCVM_ROOTFS_MISSING_FAILS, "dir": raw.RCVM_ROOTFS_MISSING_DIRECTORY,
            "file": raw.RCVM_ROOTFS_MISSING_FILE}


def build_rootfs(source, image, size=0, headroom=None, copies=(), journal=True,
                 sync=True, progress=None):
    """Builds the ext4 image file `image` from the directory `source`, or from the layers of an OCI image.

    source is a path, or a list of paths: of layers, the lowest first, each a tar (plain, gzip, zstd) or a
    directory as overlayfs has its upper ones.  copies is a sequence of (path on the host, path in the image), or
    (path, path, missing): what becomes of it if the first one does not exist, "fail", "dir" or "file".  journal
    and sync: whether the image has a journal, and whether it is on the host's disk when the call returns.
    progress(phase, files, bytes) is called as the build goes on; if it returns something true, the build fails
    with E_CANCELLED; if it raises, so does build_rootfs.
    """
    options = raw.rcvm_rootfs_options_new()
    try:
        raw.rcvm_rootfs_options_set_size(options, size)
        if headroom is not None:
            raw.rcvm_rootfs_options_set_headroom(options, headroom)
        raw.rcvm_rootfs_options_set_journal(options, bool(journal))
        raw.rcvm_rootfs_options_set_sync(options, bool(sync))
        for path, destination, *missing in copies:
            raw.rcvm_rootfs_options_set_missing_source(options, _MISSING[missing[0] if missing else "fail"])
            raw.rcvm_rootfs_options_add_copy(options, path, destination)
        if progress is not None:
            raw.rcvm_rootfs_options_set_progress(options, progress)
        if isinstance(source, (list, tuple)):
            raw.rcvm_rootfs_build_layers([os.fspath(layer) for layer in source], os.fspath(image), options)
        else:
            raw.rcvm_rootfs_build(os.fspath(source), os.fspath(image), options)
    finally:
        raw.rcvm_rootfs_options_free(options)


def inspect_rootfs(image):
    """What an image is, as a dict: type, usage, uuid, label, size; of ext4 also free, blockSize, inodes, freeInodes,
    journal, checksums, clean."""
    return json.loads(raw.rcvm_rootfs_inspect_json(os.fspath(image)))


def grow_rootfs(image, size):
    """Makes an image that build_rootfs has made, and that is not in use, larger: to `size` bytes."""
    raw.rcvm_rootfs_grow(os.fspath(image), size)


def verify_rootfs(image):
    """Reads all metadata of an unmounted image; raises Error with E_IMAGE if something is wrong with them."""
    raw.rcvm_rootfs_verify(os.fspath(image))


def write_back_rootfs(upper_image, rootfs):
    """Applies what a VM has changed, in the upper layer of its root, to the directory that it was started from.

    What failed or was interrupted is done again by the same call; until it is done, upper_image + ".write-back" exists."""
    raw.rcvm_rootfs_write_back(os.fspath(upper_image), os.fspath(rootfs))


class CachedImage(_Closing):
    """An image of a cache, in use (never removed) until it is closed, or left as a context manager.

    key, path, size (bytes of the file system), allocated (bytes on disk), hit (it was there already), note (a damaged
    image was replaced, or None).  fileno() is what holds it: another process that has a copy of it holds it, too.
    """

    def __init__(self, about, fd):
        self._fd = fd
        self.key = about["key"]
        self.path = about["path"]
        self.size = about["size"]
        self.allocated = about["allocated"]
        self.hit = about["hit"]
        self.note = about.get("note")

    def fileno(self):
        if self._fd < 0:
            raise ValueError("the image is closed")
        return self._fd

    def close(self):
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Cache(_Closing):
    """The cache of base images in `directory`, or the one that VMs use."""

    def __init__(self, directory=None, limit=None):
        self._handle = _Handle("cache", raw.rcvm_cache_open(directory), raw.rcvm_cache_free)
        if limit is not None:
            try:
                with self._handle as cache:
                    raw.rcvm_cache_set_limit(cache, limit)
            except BaseException:
                self.close()
                raise

    @property
    def path(self):
        """The directory."""
        with self._handle as cache:
            return raw.rcvm_cache_get_path(cache)

    def add(self, rootfs, digests=None):
        """Has an image of the directory `rootfs`: a CachedImage, found, waited for, or built.

        digests ("sha256:...", of its layers) name the contents; without them the metadata of the tree do.
        """
        with self._handle as cache:
            text, fd = raw.rcvm_cache_add_json(cache, rootfs, digests)
        return CachedImage(json.loads(text), fd)

    def list(self):
        """The images, the one used last first: dicts, see rcvm_cache_list_json(3)."""
        with self._handle as cache:
            return json.loads(raw.rcvm_cache_list_json(cache))

    def prune(self, keep=0):
        """Removes unused images, the oldest first, until `keep` bytes are left.  Returns the bytes that are free now."""
        with self._handle as cache:
            return raw.rcvm_cache_prune(cache, keep)

    def remove(self, key):
        """Removes the image or the template with that key, which must not be in use."""
        with self._handle as cache:
            raw.rcvm_cache_remove(cache, key)

    def verify(self, remove=False):
        """Reads all metadata of all images: dicts of key, good, problem, removed."""
        with self._handle as cache:
            return json.loads(raw.rcvm_cache_verify_json(cache, bool(remove)))


def _open_netns(netns, pid, fd):
    if fd is not None:
        return raw.rcvm_net_ns_open_fd(_fd(fd))
    if pid is not None:
        return raw.rcvm_net_ns_open_pid(pid)
    return raw.rcvm_net_ns_open(netns)


class Tap(_Closing):
    """A TAP device, made by tap_in_netns().  One that is not persistent goes when it is closed."""

    def __init__(self, pointer):
        self._handle = _Handle("TAP", pointer, raw.rcvm_net_tap_free)
        self.name = raw.rcvm_net_tap_get_name(pointer)
        self.index = raw.rcvm_net_tap_get_index(pointer)
        self.mac = raw.rcvm_net_tap_get_mac(pointer)

    def fileno(self, queue=0):
        """The fd of a queue, which stays this object's; -1 where there is none."""
        with self._handle as tap:
            return raw.rcvm_net_tap_get_fd(tap, queue)

    def take_fd(self, queue=0):
        """The fd of a queue, which is the caller's from now on."""
        with self._handle as tap:
            return raw.rcvm_net_tap_take_fd(tap, queue)


def tap_in_netns(netns=None, *, pid=None, fd=None, name=None, mac=None, mtu=0, uid=-1, gid=-1, queues=1,
                 vnet_hdr=True, persistent=False, up=True):
    """Makes a TAP in a network namespace: by path, by pid, by fd, or in the calling thread's own.

    name: None for a free one.  queues: more than one makes a multi-queue device.  persistent: it stays until
    delete_tap(), for a VMM that opens it by name.
    """
    ns = _open_netns(netns, pid, fd)
    try:
        options = raw.rcvm_net_tap_options_new()
        try:
            raw.rcvm_net_tap_options_set_name(options, name)
            raw.rcvm_net_tap_options_set_mac(options, mac)
            raw.rcvm_net_tap_options_set_mtu(options, mtu)
            raw.rcvm_net_tap_options_set_owner(options, uid, gid)
            raw.rcvm_net_tap_options_set_queues(options, queues)
            raw.rcvm_net_tap_options_set_vnet_hdr(options, bool(vnet_hdr))
            raw.rcvm_net_tap_options_set_persistent(options, bool(persistent))
            raw.rcvm_net_tap_options_set_up(options, bool(up))
            return Tap(raw.rcvm_net_tap_in_netns(ns, options))
        finally:
            raw.rcvm_net_tap_options_free(options)
    finally:
        raw.rcvm_net_ns_free(ns)


def delete_tap(name, netns=None, *, pid=None, fd=None):
    """Deletes a TAP, persistent or in use."""
    ns = _open_netns(netns, pid, fd)
    try:
        raw.rcvm_net_tap_delete(ns, name)
    finally:
        raw.rcvm_net_ns_free(ns)


def check_spec(config):
    """Raises Error with E_SPEC if `config`, the text of a config.json or an object, is not one."""
    raw.rcvm_spec_check(_text(config))


def default_spec():
    """A config.json to start from, as a dict."""
    return json.loads(raw.rcvm_spec_default_json())


def features():
    """The OCI features document of the library, as a dict."""
    return json.loads(raw.rcvm_features_json())


def version():
    """The library's version, 'MAJOR.MINOR.PATCH'."""
    return raw.rcvm_version()
