// SPDX-License-Identifier: LGPL-2.1-or-later

// Package tests has the tests of the Go binding, with the numbers of those of the Python binding.
//
// From the environment:
//
//	ROOTFS              a root directory with a POSIX shell and the usual tools (busybox does)
//	                    (BUSYBOX, which tests/run-vm sets, is taken where it is not set)
//	KERNEL, INITRAMFS   what guests boot; without them, what the library finds by itself
//	RUNCVM_ROOT         where the state of VMs goes; without it, a directory of the test's own
package tests

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestMain(m *testing.M) {
	// A child of a test: it does its part, and is gone.
	if id := os.Getenv("RUNCVM_GO_CHILD"); id != "" {
		os.Exit(child(id))
	}
	work, err := os.MkdirTemp("", "runcvm-go.")
	if err != nil {
		panic(err)
	}
	if os.Getenv("RUNCVM_ROOT") == "" {
		os.Setenv("RUNCVM_ROOT", work+"/state")
	}
	if os.Getenv("RUNCVM_DATA_DIR") == "" {
		os.Setenv("RUNCVM_DATA_DIR", work+"/data")
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails checks that the error has this code, and returns it.
func fails(t *testing.T, code runcvm.Code, err error) *runcvm.Error {
	t.Helper()
	var failure *runcvm.Error
	if !errors.As(err, &failure) || failure.Code != code || !errors.Is(err, code) {
		t.Fatalf("%v, not %v", err, code)
	}
	return failure
}

func id(name string) string {
	return fmt.Sprintf("go-%s-%d", name, os.Getpid())
}

func rootfs() string {
	if path := os.Getenv("ROOTFS"); path != "" {
		return path
	}
	return os.Getenv("BUSYBOX")
}

func configure(vm *runcvm.VM, script string) error {
	if err := vm.SetRootfs(rootfs()); err != nil {
		return err
	}
	if err := vm.SetMemory(160 << 20); err != nil {
		return err
	}
	if kernel := os.Getenv("KERNEL"); kernel != "" {
		if err := vm.SetKernel(kernel); err != nil {
			return err
		}
	}
	if initramfs := os.Getenv("INITRAMFS"); initramfs != "" {
		if err := vm.SetInitramfs(initramfs); err != nil {
			return err
		}
	}
	return vm.SetArgs("/bin/sh", "-c", script)
}

// newVM makes a VM that runs a shell script; without a root directory, the test is skipped.
func newVM(t *testing.T, name, script string) *runcvm.VM {
	t.Helper()
	if rootfs() == "" {
		t.Skip("ROOTFS is not set")
	}
	vm, err := runcvm.New("", id(name))
	must(t, err)
	t.Cleanup(func() {
		vm.Delete(true)
		vm.Close()
	})
	must(t, configure(vm, script))
	return vm
}

func expectExit(t *testing.T, wait func(time.Duration) (int, error), want int) {
	t.Helper()
	code, err := wait(time.Minute)
	must(t, err)
	if code != want {
		t.Fatalf("exit code %d, not %d", code, want)
	}
}

// A collector gets what is written into W.
type collector struct {
	W    *os.File
	done chan string
}

func collect(t *testing.T) *collector {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	c := &collector{W: w, done: make(chan string, 1)}
	go func() {
		data, _ := io.ReadAll(r)
		r.Close()
		c.done <- string(data)
	}()
	return c
}

// text is everything, once every writer has closed its end; this process's end is closed here.
func (c *collector) text(t *testing.T) string {
	t.Helper()
	c.W.Close()
	select {
	case text := <-c.done:
		return text
	case <-time.After(time.Minute):
		t.Fatal("somebody keeps the pipe open")
		return ""
	}
}

func contains(list []string, what string) bool {
	for _, s := range list {
		if strings.Contains(s, what) {
			return true
		}
	}
	return false
}
