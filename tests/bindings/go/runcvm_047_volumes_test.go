// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func runIn(t *testing.T, vm *runcvm.VM, script string, want int) {
	t.Helper()
	process, err := vm.Exec("sh", "-c", script)
	must(t, err)
	defer process.Close()
	must(t, process.Start())
	expectExit(t, process.Wait, want)
}

func TestVolumes047(t *testing.T) {
	host := t.TempDir()
	must(t, os.Chown(host, 12345, 54321))
	must(t, os.Chmod(filepath.Dir(host), 0o755))
	must(t, os.WriteFile(filepath.Join(host, "in"), []byte("from the host"), 0o644))
	vm := newVM(t, "volumes", "cat /data/in && echo from the VM >/data/out && ! echo x >/ro/in && sleep 1000")
	must(t, vm.AttachNFS(host, "/data", &runcvm.VolumeOptions{Squash: &runcvm.Owner{UID: 12345, GID: 54321}}))
	must(t, vm.AttachNFS(host, "/ro", &runcvm.VolumeOptions{ReadOnly: true, Cached: 3}))
	must(t, vm.AttachTmpfs("/scratch", 65536, 0o700))
	must(t, vm.Start())
	runIn(t, vm, "until [ -s /data/out ]; do sleep 0.1; done", 0)
	out, err := os.ReadFile(filepath.Join(host, "out"))
	must(t, err)
	if string(out) != "from the VM\n" {
		t.Fatalf("the VM wrote %q", out)
	}
	info, err := os.Stat(filepath.Join(host, "out"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 54321 {
		t.Fatalf("the file is %d:%d's", st.Uid, st.Gid)
	}
	// One page more than fits.
	runIn(t, vm, "dd if=/dev/zero of=/scratch/x bs=4096 count=17", 1)
	text, err := vm.VolumesJSON()
	must(t, err)
	for _, word := range []string{`"destination":"/data"`, `"cachedSeconds":3`, `"bytesWritten":12`} {
		if !strings.Contains(text, word) {
			t.Fatalf("%s is not in %s", word, text)
		}
	}
	fails(t, runcvm.BadState, vm.AttachTmpfs("/late", 0, 0))
	must(t, vm.Delete(true))
}

func TestVolumes047Refused(t *testing.T) {
	vm := newVM(t, "refused", "true")
	fails(t, runcvm.Invalid, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Squash: &runcvm.Owner{UID: 5, GID: -1}}))
	fails(t, runcvm.Invalid, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Cached: 100000}))
	fails(t, runcvm.Invalid, vm.AttachTmpfs("/x", 0, 0o10000))
	must(t, vm.AttachNFS("/nonexistent/volume", "/data", nil))
	fails(t, runcvm.NotFound, vm.Start())
	vm = newVM(t, "pigeon", "true")
	must(t, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Transport: "pigeon"}))
	fails(t, runcvm.Invalid, vm.Start())
	vm = newVM(t, "unfsd", "true")
	fails(t, runcvm.Invalid, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Server: "ganesha"}))
	must(t, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Server: "unfsd", Transport: "tcp"}))
	fails(t, runcvm.Unsupported, vm.Start())
	// It has no network.
	vm = newVM(t, "tcp", "true")
	must(t, vm.AttachNFS("/tmp", "/data", &runcvm.VolumeOptions{Transport: "tcp:1000-1050"}))
	fails(t, runcvm.Unsupported, vm.Start())
	vm = newVM(t, "binds", "true")
	must(t, vm.SetBinds("dead"))
	fails(t, runcvm.Invalid, vm.Start())
}
