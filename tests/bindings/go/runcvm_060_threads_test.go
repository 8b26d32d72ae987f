// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestThreads060WaitAndKill(t *testing.T) {
	vm := newVM(t, "threads", "sleep 1000")
	var mu sync.Mutex
	messages := 0
	must(t, vm.SetLog(runcvm.LogDebug, func(level runcvm.LogLevel, stage, message string) {
		mu.Lock()
		defer mu.Unlock()
		messages++
		if level > runcvm.LogDebug || stage == "" || message == "" || strings.Contains(message, "\n") {
			t.Errorf("%d %q %q", level, stage, message)
		}
	}))
	must(t, vm.Start())
	codes := make(chan int, 3)
	for i := 0; i < cap(codes); i++ {
		go func() {
			code, err := vm.Wait(-1)
			if err != nil {
				t.Error(err)
			}
			codes <- code
		}()
	}
	select {
	case code := <-codes:
		t.Fatal("it has stopped", code)
	case <-time.After(300 * time.Millisecond):
	}
	if vm.Status() != runcvm.StatusRunning {
		t.Fatal(vm.Status())
	}
	must(t, vm.Kill(syscall.SIGKILL))
	for i := 0; i < cap(codes); i++ {
		if code := <-codes; code != 137 {
			t.Error(code)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if messages == 0 {
		t.Fatal("a boot at this level says something")
	}
}

func TestThreads060CloseWhileWaiting(t *testing.T) {
	vm := newVM(t, "closed", "sleep 1000")
	must(t, vm.Start())
	name := vm.ID()
	codes := make(chan int, 1)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		code, _ := vm.Wait(-1)
		codes <- code
	}()
	<-waiting
	// By the end of this wait, the other one is in the call.
	_, err := vm.Wait(200 * time.Millisecond)
	fails(t, runcvm.Timeout, err)
	must(t, vm.Close())
	other, err := runcvm.Open("", name)
	must(t, err)
	defer other.Close()
	must(t, other.Kill(syscall.SIGKILL))
	if code := <-codes; code != 137 {
		t.Fatal(code)
	}
	must(t, other.Delete(true))
}

func TestThreads060DeleteWhileWaiting(t *testing.T) {
	vm := newVM(t, "deleted", "sleep 1000")
	must(t, vm.Start())
	codes := make(chan int, 1)
	go func() {
		code, _ := vm.Wait(-1)
		codes <- code
	}()
	_, err := vm.Wait(200 * time.Millisecond)
	fails(t, runcvm.Timeout, err)
	must(t, vm.Delete(true))
	if code := <-codes; code != 137 {
		t.Fatal(code)
	}
	expectExit(t, vm.Wait, 137)
}
