// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func runDisks(t *testing.T, id, script string, attach func(vm *runcvm.VM)) {
	t.Helper()
	vm := newVM(t, id, script)
	attach(vm)
	must(t, vm.Start())
	expectExit(t, vm.Wait, 0)
	must(t, vm.Delete(false))
}

func TestDisks049(t *testing.T) {
	host := t.TempDir()
	copied, shared, kept := filepath.Join(host, "copy"), filepath.Join(host, "share"), filepath.Join(host, "kept.img")
	must(t, os.Mkdir(copied, 0o755))
	must(t, os.Mkdir(shared, 0o755))
	runDisks(t, "kinds", "echo kept >/kept/file && echo own >/own/file && echo new >/copy/new && echo new >/share/new && ! echo x >/readonly/x", func(vm *runcvm.VM) {
		must(t, vm.AttachScratch("", "/own", 64<<20))
		must(t, vm.AttachScratch(kept, "/kept", 64<<20))
		must(t, vm.AttachCopy(copied, "/copy", &runcvm.VolumeOptions{WriteBack: "exit"}))
		must(t, vm.AttachCopy(copied, "/readonly", &runcvm.VolumeOptions{ReadOnly: true}))
		must(t, vm.AttachVirtiofs(shared, "/share", &runcvm.VolumeOptions{Cached: 1}))
	})
	for _, directory := range []string{copied, shared} {
		text, err := os.ReadFile(filepath.Join(directory, "new"))
		must(t, err)
		if string(text) != "new\n" {
			t.Fatalf("%s/new is %q", directory, text)
		}
	}
	runDisks(t, "disk", "grep -q kept /disk/file && ! echo x >/disk/x", func(vm *runcvm.VM) {
		must(t, vm.AttachBlock(kept, "/disk", &runcvm.VolumeOptions{ReadOnly: true}))
	})
	runDisks(t, "raw", "test -b /dev/mine", func(vm *runcvm.VM) {
		must(t, vm.AttachBlock(kept, "/dev/mine", &runcvm.VolumeOptions{FSType: "raw"}))
	})
}

func TestDisks049ComeAndGo(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "kept.img")
	runDisks(t, "made", "echo kept >/kept/file", func(vm *runcvm.VM) {
		must(t, vm.AttachScratch(kept, "/kept", 16<<20))
	})
	vm := newVM(t, "hot", "sleep 1000")
	must(t, vm.SetAnnotation("org.runcvm.hotplug", "on"))
	fails(t, runcvm.BadState, vm.AttachDisk(kept, "/hot", nil))
	must(t, vm.Start())
	fails(t, runcvm.Invalid, vm.AttachDisk("", "/hot", nil))
	fails(t, runcvm.Invalid, vm.AttachDisk(kept, "/", nil))
	fails(t, runcvm.NotFound, vm.DetachDisk("/hot"))
	look := func(code int) {
		process, err := vm.Exec("test", "-e", "/hot/file")
		must(t, err)
		must(t, process.Start())
		expectExit(t, process.Wait, code)
		must(t, process.Close())
	}
	must(t, vm.AttachDisk(kept, "/hot", &runcvm.VolumeOptions{ReadOnly: true}))
	text, err := vm.VolumesJSON()
	must(t, err)
	if !strings.Contains(text, `"destination":"/hot"`) {
		t.Fatalf("the disk is not listed: %s", text)
	}
	look(0)
	must(t, vm.DetachDisk("/hot"))
	look(1)
	must(t, vm.Delete(true))
}

func TestDisks049Refused(t *testing.T) {
	vm := newVM(t, "refused", "true")
	fails(t, runcvm.Invalid, vm.AttachScratch("", "/x", 0))
	fails(t, runcvm.Invalid, vm.AttachBlock("", "/x", nil))
	fails(t, runcvm.Invalid, vm.AttachBlock("/x", "/x", &runcvm.VolumeOptions{FSType: "a,b"}))
	fails(t, runcvm.Invalid, vm.AttachCopy("/x", "x", nil))
	fails(t, runcvm.Invalid, vm.AttachVirtiofs("", "/x", nil))
	fails(t, runcvm.Invalid, vm.Attach9P("/x", "x", nil))
	must(t, vm.Attach9P("/x", "/9p", &runcvm.VolumeOptions{ReadOnly: true}))
	must(t, vm.AttachBlock("/dev/null", "/x", nil))
	fails(t, runcvm.Invalid, vm.Start())
}
