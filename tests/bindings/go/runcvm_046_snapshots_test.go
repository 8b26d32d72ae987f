// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestSnapshots046(t *testing.T) {
	place := filepath.Join(t.TempDir(), "saved")
	vm := newVM(t, "saved", "sleep 1000")
	fails(t, runcvm.BadState, vm.Snapshot(place, false))
	must(t, vm.Start())
	if os.Getenv("RUNCVM_HYPERVISOR") != "firecracker" {
		err := vm.Snapshot(place, true)
		fails(t, runcvm.Unsupported, err)
		if !strings.Contains(err.Error(), "cannot save or restore a container that runs") {
			t.Fatal(err)
		}
		fails(t, runcvm.Unsupported, vm.SnapshotDifference(place, t.TempDir(), true))
		fails(t, runcvm.Invalid, vm.SnapshotDifference(place, "", true))
		if _, err := os.Stat(place); err == nil {
			t.Fatal("something was made")
		}
		if vm.Status() != runcvm.StatusRunning {
			t.Fatal(vm.Status())
		}
	} else {
		must(t, vm.Snapshot(place, true))
		must(t, vm.SnapshotDifference(place+"2", place, true))
	}
	must(t, vm.Delete(true))
}

func TestSnapshots046Missing(t *testing.T) {
	vm := newVM(t, "missing", "true")
	fails(t, runcvm.NotFound, vm.Restore("/nowhere/at/all"))
	fails(t, runcvm.Invalid, vm.Restore(""))
}
