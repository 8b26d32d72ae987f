// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestBoot020ExitCode(t *testing.T) {
	vm := newVM(t, "exit", "exit 42")
	must(t, vm.Start())
	if vm.PID() < 2 {
		t.Fatal(vm.PID())
	}
	expectExit(t, vm.Wait, 42)
	expectExit(t, vm.Wait, 42)
	if vm.Status() != runcvm.StatusStopped {
		t.Fatal(vm.Status())
	}
	state, err := vm.State()
	must(t, err)
	var ours struct {
		ExitCode int `json:"exitCode"`
	}
	must(t, json.Unmarshal(state.Runcvm, &ours))
	if state.ID != vm.ID() || state.Status != "stopped" || state.PID != 0 || ours.ExitCode != 42 {
		t.Fatalf("%+v", state)
	}
	var names []string
	for _, phase := range vm.Phases() {
		names = append(names, phase.Name)
		if phase.Duration < 0 {
			t.Fatal(phase)
		}
	}
	if got := strings.Join(names, " "); got != "spec plan cgroup netns hooks rootfs disks virtiofs volumes notify net vmm kernel agent process" {
		t.Fatal(got)
	}
	metrics, err := vm.Metrics()
	must(t, err)
	if !strings.Contains(metrics, "runcvm_") {
		t.Fatal(metrics)
	}
	must(t, vm.Delete(false))
	fails(t, runcvm.NotFound, vm.Delete(false))
}

func TestBoot020Killed(t *testing.T) {
	vm := newVM(t, "killed", "sleep 1000")
	must(t, vm.Create())
	if vm.Status() != runcvm.StatusCreated {
		t.Fatal(vm.Status())
	}
	fails(t, runcvm.BadState, vm.Create())
	fails(t, runcvm.BadState, vm.SetCPUs(2))
	must(t, vm.Start())
	fails(t, runcvm.BadState, vm.Start())
	_, err := vm.Wait(100 * time.Millisecond)
	fails(t, runcvm.Timeout, err)
	fails(t, runcvm.BadState, vm.Delete(false))
	fails(t, runcvm.Invalid, vm.Kill(12345))
	must(t, vm.Kill(syscall.SIGKILL))
	expectExit(t, vm.Wait, 128+int(syscall.SIGKILL))
	fails(t, runcvm.BadState, vm.Kill(syscall.SIGKILL))
	must(t, vm.Delete(false))
}

func TestBoot020NoSuchProgram(t *testing.T) {
	for program, code := range map[string]int{"/no/such/program": 127, "/etc": 126} {
		vm := newVM(t, "none", "")
		must(t, vm.SetArgs(program))
		failure := fails(t, runcvm.NotStarted, vm.Start())
		if failure.ExitCode != code || !strings.Contains(failure.Message, program) {
			t.Fatal(failure.ExitCode, failure)
		}
	}
}

func TestBoot020NoSuchDirectory(t *testing.T) {
	vm := newVM(t, "missing", "")
	must(t, vm.SetRootfs("/nonexistent/rootfs"))
	failure := fails(t, runcvm.NotFound, vm.Start())
	if !strings.Contains(failure.Message, "/nonexistent/rootfs") || failure.Stage != "rootfs" ||
		!errors.Is(failure, syscall.ENOENT) {
		t.Fatal(failure.Stage, failure)
	}
}
