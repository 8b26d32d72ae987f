// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestErrors010BadIDs(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "a b", strings.Repeat("x", 129), "line\nbreak"} {
		_, err := runcvm.New("", bad)
		failure := fails(t, runcvm.Invalid, err)
		if failure.Stage == "" || failure.Message == "" || failure.ExitCode != 125 || failure.Errno != 0 {
			t.Fatalf("%q: %+v", bad, failure)
		}
	}
	vm, err := runcvm.New("", strings.Repeat("x", 128))
	must(t, err)
	must(t, vm.Close())
}

func TestErrors010Missing(t *testing.T) {
	_, err := runcvm.Open("", "go-nobody")
	fails(t, runcvm.NotFound, err)
	vm, err := runcvm.New("", "go-nobody")
	must(t, err)
	defer vm.Close()
	if vm.Status() != runcvm.StatusNew || vm.ID() != "go-nobody" || vm.PID() != -1 || vm.FD() != -1 {
		t.Fatal(vm.Status(), vm.ID(), vm.PID(), vm.FD())
	}
	if len(vm.Phases()) != 0 {
		t.Fatal(vm.Phases())
	}
	_, err = vm.Wait(0)
	fails(t, runcvm.BadState, err)
	_, err = vm.State()
	fails(t, runcvm.BadState, err)
	_, err = vm.Metrics()
	fails(t, runcvm.BadState, err)
	fails(t, runcvm.BadState, vm.Kill(syscall.SIGTERM))
	process, err := vm.Exec("true")
	must(t, err)
	fails(t, runcvm.NotFound, process.Start())
	must(t, process.Close())
	fails(t, runcvm.Invalid, vm.Create())
	fails(t, runcvm.NotFound, vm.Delete(false))
	must(t, vm.Delete(true))
}

func TestErrors010Setters(t *testing.T) {
	vm, err := runcvm.New("", "go-nobody")
	must(t, err)
	defer vm.Close()
	must(t, vm.SetMemory(512<<20))
	must(t, vm.SetCPUs(2))
	must(t, vm.AddEnv("A=1", "B=2"))
	must(t, vm.SetAnnotation("k", "v"))
	must(t, vm.SetCwd("/tmp"))
	must(t, vm.SetUser("0:0"))
	must(t, vm.SetHostname("h"))
	must(t, vm.SetTerminal(true))
	must(t, vm.SetReadonlyRootfs(true))
	must(t, vm.SetHypervisor("qemu"))
	must(t, vm.SetRootfsSize(1<<30))
	must(t, vm.SetKernelArgs("quiet"))
	fails(t, runcvm.Invalid, vm.AddEnv("NOVALUE"))
	fails(t, runcvm.Invalid, vm.SetArgs())
	must(t, vm.SetRootfs("/"))
	must(t, vm.SetArgs("true"))
	must(t, vm.SetKernel("/k"))
	must(t, vm.SetInitramfs("/i"))
	must(t, vm.SetHypervisor("bochs"))
	if failure := fails(t, runcvm.Invalid, vm.Create()); failure.Stage != "plan" {
		t.Fatal(failure.Stage, failure)
	}
}

func TestErrors010Closed(t *testing.T) {
	vm, err := runcvm.New("", "go-nobody")
	must(t, err)
	must(t, vm.Close())
	must(t, vm.Close())
	if err := vm.SetCPUs(2); !errors.Is(err, runcvm.ErrClosed) {
		t.Fatal(err)
	}
}

func TestErrors010Specs(t *testing.T) {
	if failure := fails(t, runcvm.BadSpec, runcvm.CheckSpec("{")); failure.Stage != "spec" {
		t.Fatal(failure.Stage)
	}
	text, err := runcvm.DefaultSpec()
	must(t, err)
	must(t, runcvm.CheckSpec(text))
	features, err := runcvm.Features()
	must(t, err)
	if !json.Valid([]byte(features)) || runcvm.Version() == "" {
		t.Fatal(features)
	}
	ids, err := runcvm.List("")
	must(t, err)
	if contains(ids, "go-nobody") {
		t.Fatal(ids)
	}
}

func TestErrors010NoFdIsLost(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	before := count()
	for i := 0; i < 50; i++ {
		vm, err := runcvm.New("", "go-nobody")
		must(t, err)
		must(t, vm.SetStdio(null, null, null))
		must(t, vm.SetLog(runcvm.LogDebug, func(runcvm.LogLevel, string, string) {}))
		must(t, vm.Close())
	}
	if after := count(); after != before {
		t.Fatal(before, after)
	}
}

func TestErrors010Host(t *testing.T) {
	checks, err := runcvm.HostCheck()
	must(t, err)
	seen := map[string]bool{}
	for _, check := range checks {
		seen[check.Name] = true
		if check.Detail == "" || (check.Result != runcvm.CheckOK && check.Advice == "") {
			t.Errorf("%+v", check)
		}
	}
	for _, name := range []string{"kvm", "qemu", "kernel", "initramfs", "state"} {
		if !seen[name] {
			t.Error(name)
		}
	}
}
