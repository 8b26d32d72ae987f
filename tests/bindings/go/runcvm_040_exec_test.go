// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"syscall"
	"testing"
	"time"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestExec040(t *testing.T) {
	vm := newVM(t, "exec", "trap 'exit 9' TERM; while :; do sleep 1; done")
	must(t, vm.AddEnv("FROM=container"))
	must(t, vm.Start())

	out, errors := collect(t), collect(t)
	process, err := vm.Exec("sh", "-c", `echo "$FROM $MORE $(pwd)"; echo no >&2; exit 5`)
	must(t, err)
	must(t, process.AddEnv("MORE=exec"))
	must(t, process.SetCwd("/tmp"))
	must(t, process.SetStdio(nil, out.W, errors.W))
	if process.FD() != -1 || process.GuestPID() != -1 {
		t.Fatal(process.FD(), process.GuestPID())
	}
	_, err = process.Wait(0)
	fails(t, runcvm.BadState, err)
	must(t, process.Start())
	if process.FD() < 0 || process.GuestPID() < 2 {
		t.Fatal(process.FD(), process.GuestPID())
	}
	fails(t, runcvm.BadState, process.Start())
	expectExit(t, process.Wait, 5)
	expectExit(t, process.Wait, 5)
	fails(t, runcvm.BadState, process.Kill(syscall.SIGTERM))
	must(t, process.Close())
	if got := out.text(t); got != "container exec /tmp\n" {
		t.Fatalf("%q", got)
	}
	if got := errors.text(t); got != "no\n" {
		t.Fatalf("%q", got)
	}

	process, err = vm.Exec("/no/such/program")
	must(t, err)
	if failure := fails(t, runcvm.NotStarted, process.Start()); failure.ExitCode != 127 {
		t.Fatal(failure.ExitCode)
	}
	must(t, process.Close())

	process, err = vm.Exec()
	must(t, err)
	must(t, process.SetJSON(`{"args": ["sleep", "1000"], "cwd": "/"}`))
	must(t, process.Start())
	_, err = process.Wait(50 * time.Millisecond)
	fails(t, runcvm.Timeout, err)
	must(t, process.Kill(syscall.SIGTERM))
	expectExit(t, process.Wait, 128+int(syscall.SIGTERM))
	must(t, process.Close())

	// It ends with its handle.
	process, err = vm.Exec("sleep", "4242")
	must(t, err)
	must(t, process.SetTied(true))
	must(t, process.Start())
	must(t, process.Close())
	process, err = vm.Exec("sh", "-c", "while pgrep -f 'sleep 424[2]'; do :; done")
	must(t, err)
	must(t, process.Start())
	expectExit(t, process.Wait, 0)
	must(t, process.Close())

	_, err = vm.Wait(0)
	fails(t, runcvm.Timeout, err)
	survivor, err := vm.Exec("sleep", "1000")
	must(t, err)
	must(t, survivor.Start())
	must(t, vm.Kill(syscall.SIGTERM))
	expectExit(t, vm.Wait, 9)
	expectExit(t, survivor.Wait, 128+int(syscall.SIGKILL))
	must(t, survivor.Close())
	late, err := vm.Exec("true")
	must(t, err)
	fails(t, runcvm.BadState, late.Start())
	must(t, late.Close())
}
