#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# kill -9 of every process that takes part, at five points of a run.  What is left is cleaned by who created the VM, or by the next call
# on that id, and the error says what died.
#
# The points: while the image is built, while the kernel boots, when the VM is created, while the process runs, and while its
# output is under way.
. "$(dirname "$0")/functions.sh"

python=$work/kills.py
cat >"$python" <<'PY'
"""kills.py WHO POINT: runs the tool as a child, kills WHO with SIGKILL at POINT, and says what the next calls find."""
import json, os, re, shutil, signal, subprocess, sys, time

import runcvm

who, point = sys.argv[1:3]
build, busybox, debian, root = (os.environ[k] for k in ("BUILD", "BUSYBOX", "DEBIAN", "RUNCVM_ROOT"))
tool = [build + "/run", "runcvm"]
vm = "k-%s-%s" % (who, point)


def call(*args):
    return subprocess.run(tool + list(args), capture_output=True, text=True, stdin=subprocess.DEVNULL)


def state():
    try:
        with open("%s/%s/state.json" % (root, vm)) as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


def until(condition):
    # What is waited for is in another process's file: inotify would say no more than looking does.
    while True:
        value = condition()
        if value:
            return value
        if tool_process.poll() is not None:
            return None
        time.sleep(0.001)  # the VM is on the same CPU, perhaps


def processes(pattern):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if re.search(pattern, line):
            found.append(int(pid))
    return found


# The first point needs an image that takes a while, and that nobody has made before.
rootfs = debian if point == "rootfs" else busybox
cache = "%s.cache" % root
if point == "rootfs":
    os.environ["RUNCVM_CACHE_DIR"] = cache
command = {"output": ["sh", "-c", "yes | head -c 300000000"]}.get(point, ["sleep", "100000"])
out_r, out_w = os.pipe()
verb = "create" if point == "created" else "run"
bundle = None
if verb == "create":
    bundle = "%s.bundle" % root + vm
    os.makedirs(bundle)
    call("spec", "--bundle", bundle)
    with open(bundle + "/config.json") as f:
        config = json.load(f)
    config["root"]["path"], config["process"]["args"] = rootfs, command
    with open(bundle + "/config.json", "w") as f:
        json.dump(config, f)
    arguments = ["create", "--annotation", "org.runcvm.mem-size=160M", "--bundle", bundle, vm]
else:
    arguments = ["run", "--memory", "160M", "--log-level", "error", "--rootfs", rootfs, vm, "--"] + command
err_path = "%s.%s.err" % (root, vm)
with open(err_path, "w") as err_file:
    tool_process = subprocess.Popen(tool + arguments, stdin=subprocess.DEVNULL, stdout=out_w, stderr=err_file)
os.close(out_w)

if point == "rootfs":
    until(lambda: (state() or {}).get("org.runcvm", {}).get("disks"))
elif point == "kernel":
    until(lambda: (state() or {}).get("org.runcvm", {}).get("vmmPid"))
elif point == "created":
    tool_process.wait()
else:
    until(lambda: (state() or {}).get("status") == "running")
    if point == "output":
        os.read(out_r, 100000)

s = state() or {}
ours = s.get("org.runcvm", {})
victims = {
    "cli": [tool_process.pid],
    "monitor": [ours.get("monitorPid")],
    "vmm": [ours.get("vmmPid")] if ours.get("vmmPid") else processes("(qemu-system.*-name|firecracker.*--id) %s " % vm),
    "process": [],
}[who]
if who == "process":
    call("kill", vm, "KILL")
for pid in filter(None, victims):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        print("it had ended already")
if who == "cli" and point != "created":
    tool_process.wait()
os.close(out_r)

# The tool itself, where it still waits, ends with a sentence.
if who != "cli":
    if who == "process" and point in ("rootfs", "kernel"):
        tool_process.send_signal(signal.SIGTERM)
    code = tool_process.wait()
    with open(err_path) as f:
        text = f.read().strip()
    print("tool:", code, text.replace("\n", " | "))
os.unlink(err_path)

# What was created goes on without the tool, so its end has to be waited for.
if verb == "create" and who != "cli":
    try:
        runcvm.VM.open(vm).wait()
    except runcvm.Error:
        pass

# The next call on that id finds what is left, and another takes it away.
got = call("state", vm)
if got.returncode == 0:
    found = json.loads(got.stdout)
    print("state:", found["status"], found["org.runcvm"].get("error", {}).get("message", found["org.runcvm"].get("exitCode")))
else:
    print("state: gone")
deleted = call("delete", "--force", vm)
print("delete:", deleted.returncode, deleted.stderr.strip())
shutil.rmtree(cache, ignore_errors=True)
if bundle:
    subprocess.run(["rm", "-rf", bundle])
PY

points=$(scaled "rootfs kernel created running output" "kernel running")
mkdir -p "$work/state"
for who in cli monitor vmm process; do
  for point in $points; do
    [ "$who,$point" != vmm,rootfs ] || continue # there is no VMM yet
    got=$("$BUILD/run" /usr/bin/python3 "$python" "$who" "$point" 2>&1)
    case $who,$point in
      cli,*) wanted='delete: 0' ;;
      monitor,created) wanted='state: stopped the monitor of VM .* died' ;;
      monitor,rootfs | monitor,kernel) wanted='state: gone' ;;
      monitor,*) wanted='monitor' ;;
      vmm,created) wanted='state: stopped the VMM \('"$(hypervisor)"', pid [0-9]+\) was killed by signal 9' ;;
      vmm,*) wanted='tool: 125 .*VMM .* killed by signal 9' ;;
      process,created) wanted='state: stopped 137' ;;
      process,running | process,output) wanted='tool: 137' ;;
      process,*) wanted='tool: [1-9]' ;;
    esac
    like "$got" "$wanted" "kill -9 of the $who at '$point' is told"
    like "$got" 'delete: 0' "and what is left can be deleted"
    no_leaks "and nothing of it remains"
    [ "$n_failed" = 0 ] || diag "$got"
  done
done
