// SPDX-License-Identifier: LGPL-2.1-or-later

package tests

import (
	"fmt"
	"syscall"
	"testing"

	runcvm "github.com/libruncvm/libruncvm/bindings/go"
)

func TestPoll070(t *testing.T) {
	loop, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(t, err)
	defer syscall.Close(loop)
	vms := map[int32]*runcvm.VM{}
	for i := 1; i <= 2; i++ {
		vm := newVM(t, fmt.Sprintf("poll%d", i), fmt.Sprintf("exit %d", i))
		must(t, vm.Create())
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(vm.FD())}
		must(t, syscall.EpollCtl(loop, syscall.EPOLL_CTL_ADD, vm.FD(), &event))
		vms[event.Fd] = vm
	}
	for _, vm := range vms {
		must(t, vm.Start())
	}
	sum := 0
	events := make([]syscall.EpollEvent, 2)
	for len(vms) > 0 {
		n, err := syscall.EpollWait(loop, events, 60000)
		if err == syscall.EINTR {
			continue
		}
		must(t, err)
		if n == 0 {
			t.Fatal("nothing happens")
		}
		for _, event := range events[:n] {
			vm := vms[event.Fd]
			status, err := vm.Dispatch()
			must(t, err)
			if status == runcvm.StatusStopped {
				code, err := vm.Wait(0)
				must(t, err)
				sum += code
				must(t, syscall.EpollCtl(loop, syscall.EPOLL_CTL_DEL, int(event.Fd), nil))
				delete(vms, event.Fd)
			}
		}
	}
	if sum != 3 {
		t.Fatal(sum)
	}
}
