// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <stdlib.h>
// #include <runcvm/runcvm.h>
import "C"

import "unsafe"

// SetCgroupDriver says who makes the container's cgroup on the host: "cgroupfs" or "systemd".
func (vm *VM) SetCgroupDriver(driver string) error {
	return vm.callString(driver, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_set_cgroup_driver(p, s, e)
	})
}

// Flush writes back what the container has changed in its root until now.
func (vm *VM) Flush() error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_flush(p, e) })
}

// Pause stops the virtual CPUs of a container that runs.
func (vm *VM) Pause() error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_pause(p, e) })
}

// Resume lets them go on.
func (vm *VM) Resume() error {
	return vm.call(func(p *C.rcvm_vm, e **C.rcvm_error) C.int { return C.rcvm_vm_resume(p, e) })
}

// Snapshot saves a running container with its VM into a directory that is new or empty; then it goes on, or ends.
func (vm *VM) Snapshot(dir string, leaveRunning bool) error {
	return vm.snapshot(dir, nil, leaveRunning)
}

// SnapshotDifference does the same, but saves of the guest's memory only what is different from an earlier snapshot, which has to stay.
func (vm *VM) SnapshotDifference(dir, parent string, leaveRunning bool) error {
	below := C.CString(parent)
	defer C.free(unsafe.Pointer(below))
	return vm.snapshot(dir, below, leaveRunning)
}

func (vm *VM) snapshot(dir string, below *C.char, leaveRunning bool) error {
	flags := C.uint(0)
	if leaveRunning {
		flags = C.RCVM_SNAPSHOT_LEAVE_RUNNING
	}
	return vm.callString(dir, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_snapshot(p, s, below, flags, e)
	})
}

// Restore makes a VM of a handle that has none yet, which goes on where another one was saved.
func (vm *VM) Restore(dir string) error {
	return vm.callString(dir, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_restore(p, s, e)
	})
}

// Update sets new limits, from the text of an OCI linux.resources object.
func (vm *VM) Update(resourcesJSON string) error {
	return vm.callString(resourcesJSON, func(p *C.rcvm_vm, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_vm_update(p, s, e)
	})
}

// StatsJSON returns what the VM uses, as the data object of runc's statistics events.
func (vm *VM) StatsJSON() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_stats(p, e) })
}

// OOMKills says how many processes of the container were killed for want of memory, as far as it was heard.
func (vm *VM) OOMKills() uint64 {
	p, err := vm.h.acquire()
	if err != nil {
		return 0
	}
	defer vm.h.release()
	return uint64(C.rcvm_vm_get_oom_kills((*C.rcvm_vm)(p)))
}

// ProcessesJSON returns the PIDs of the VM's processes on the host, as a JSON array.
func (vm *VM) ProcessesJSON() (string, error) {
	return vm.text(func(p *C.rcvm_vm, e **C.rcvm_error) *C.char { return C.rcvm_vm_processes(p, e) })
}
