// SPDX-License-Identifier: LGPL-2.1-or-later

package runcvm

// #include <runcvm/runcvm.h>
import "C"

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Process is a further process in a running container.
type Process struct {
	h handle
}

// Exec makes a handle for a process that is not started yet.  Without args, SetJSON must follow.
// The handle may outlive vm.
func (vm *VM) Exec(args ...string) (*Process, error) {
	p, err := vm.h.acquire()
	if err != nil {
		return nil, err
	}
	defer vm.h.release()
	argv := stringVector(args)
	defer freeVector(argv, len(args))
	var cerr *C.rcvm_error
	process := C.rcvm_vm_exec((*C.rcvm_vm)(p), argv, &cerr)
	if process == nil {
		return nil, takeError(cerr)
	}
	free := func(p unsafe.Pointer) { C.rcvm_process_free((*C.rcvm_process)(p)) }
	return &Process{h: handle{pointer: unsafe.Pointer(process), free: free}}, nil
}

// Close frees the handle.  A process that runs goes on.  Closing twice does nothing.
func (process *Process) Close() error {
	process.h.close()
	return nil
}

func (process *Process) call(fn func(p *C.rcvm_process, cerr **C.rcvm_error) C.int) error {
	p, err := process.h.acquire()
	if err != nil {
		return err
	}
	defer process.h.release()
	var cerr *C.rcvm_error
	return status(fn((*C.rcvm_process)(p), &cerr), cerr)
}

func (process *Process) callString(value string,
	fn func(p *C.rcvm_process, s *C.char, cerr **C.rcvm_error) C.int) error {
	s := C.CString(value)
	defer freeString(s)
	return process.call(func(p *C.rcvm_process, cerr **C.rcvm_error) C.int { return fn(p, s, cerr) })
}

// SetJSON takes an OCI process object (config.md#process) in place of the container's.
func (process *Process) SetJSON(text string) error {
	return process.callString(text, func(p *C.rcvm_process, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_process_set_json(p, s, e)
	})
}

// AddEnv sets variables, each NAME=VALUE.
func (process *Process) AddEnv(variables ...string) error {
	for _, variable := range variables {
		err := process.callString(variable, func(p *C.rcvm_process, s *C.char, e **C.rcvm_error) C.int {
			return C.rcvm_process_add_env(p, s, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// SetUser takes "uid", "uid:gid", "name" or "name:group".
func (process *Process) SetUser(user string) error {
	return process.callString(user, func(p *C.rcvm_process, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_process_set_user(p, s, e)
	})
}

// SetCwd sets the working directory.
func (process *Process) SetCwd(path string) error {
	return process.callString(path, func(p *C.rcvm_process, s *C.char, e **C.rcvm_error) C.int {
		return C.rcvm_process_set_cwd(p, s, e)
	})
}

// SetTerminal says whether the process gets a terminal.
func (process *Process) SetTerminal(on bool) error {
	return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_set_terminal(p, flag(on), e)
	})
}

// SetTied says whether the process is killed when its handle is freed or this program ends.
func (process *Process) SetTied(on bool) error {
	return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_set_tied(p, flag(on), e)
	})
}

// SetStdio is as VM.SetStdio.
func (process *Process) SetStdio(stdin, stdout, stderr *os.File) error {
	return withFds(stdin, stdout, stderr, func(in, out, errFd C.int) error {
		return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
			return C.rcvm_process_set_stdio(p, in, out, errFd, e)
		})
	})
}

// Start starts the process.  An error with code NotStarted has the ExitCode 126 or 127.
func (process *Process) Start() error {
	return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_start(p, e)
	})
}

// Wait is as VM.Wait.  All output has been written when it returns.
func (process *Process) Wait(timeout time.Duration) (int, error) {
	code := C.int(0)
	err := process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_wait(p, milliseconds(timeout), &code, e)
	})
	return int(code), err
}

// Kill sends a signal to the process.
func (process *Process) Kill(signal syscall.Signal) error {
	return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_kill(p, C.int(signal), e)
	})
}

// Resize sets the size of the process's terminal, in characters.
func (process *Process) Resize(rows, cols uint) error {
	return process.call(func(p *C.rcvm_process, e **C.rcvm_error) C.int {
		return C.rcvm_process_resize(p, C.uint(rows), C.uint(cols), e)
	})
}

// FD polls readable when Wait(0) may have news; -1 before Start.
func (process *Process) FD() int {
	p, err := process.h.acquire()
	if err != nil {
		return -1
	}
	defer process.h.release()
	return int(C.rcvm_process_get_fd((*C.rcvm_process)(p)))
}

// GuestPID is the process's PID in the guest, or -1.
func (process *Process) GuestPID() int {
	p, err := process.h.acquire()
	if err != nil {
		return -1
	}
	defer process.h.release()
	return int(C.rcvm_process_get_guest_pid((*C.rcvm_process)(p)))
}
