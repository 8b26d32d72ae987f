// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

// child creates the VM, and is gone without any farewell.
func child(id string) int {
	vm, err := runcvm.New("", id)
	if err == nil {
		err = configure(vm, "exit 17")
	}
	if err == nil {
		err = vm.Create()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestReopen050(t *testing.T) {
	name := newVM(t, "reopen", "").ID()
	maker := exec.Command(os.Args[0])
	maker.Env = append(os.Environ(), "RUNCVM_GO_CHILD="+name)
	maker.Stderr = os.Stderr
	must(t, maker.Run())

	vm, err := runcvm.Open("", name)
	must(t, err)
	if vm.Status() != runcvm.StatusCreated || vm.PID() < 2 {
		t.Fatal(vm.Status(), vm.PID())
	}
	fails(t, runcvm.BadState, vm.SetCPUs(2))
	fails(t, runcvm.BadState, vm.Create())
	must(t, vm.Start())
	second, err := runcvm.Open("", name)
	must(t, err)
	expectExit(t, second.Wait, 17)
	must(t, second.Close())
	expectExit(t, vm.Wait, 17)
	must(t, vm.Close())

	late, err := runcvm.Open("", name)
	must(t, err)
	if late.Status() != runcvm.StatusStopped {
		t.Fatal(late.Status())
	}
	expectExit(t, late.Wait, 17)
	must(t, late.Delete(false))
	must(t, late.Close())
	_, err = runcvm.Open("", name)
	fails(t, runcvm.NotFound, err)
}
